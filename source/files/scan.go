package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/source/files/internal/document"
)

// listAtOnce is how many entries of a folder are read at once.
const listAtOnce = 1024

// sweep is one round of looking at the folder: what was looked at in whole, so that what is
// known below it and was not found has vanished.
type sweep struct {
	whole    map[string]bool // folders, and those that are gone
	unclear  map[string]bool // folders that could not be read: nothing is known of what is below
	verdicts map[verdict]int // files that were passed over by what they are
	files    int
}

func newSweep() *sweep {
	return &sweep{whole: map[string]bool{}, unclear: map[string]bool{}, verdicts: map[verdict]int{}}
}

// within reports whether a folder of the set is above path; "" is above all.
func within(set map[string]bool, path string) bool {
	if len(set) == 0 {
		return false
	}
	for i := len(path); i > 0; i = strings.LastIndexByte(path[:i], '/') {
		if set[path[:i]] {
			return true
		}
	}
	return set[""]
}

// scan looks at everything, and says after how long it should be done again.
func (f *follower) scan(ctx context.Context, first bool) (wait time.Duration, err error) {
	f.round++
	f.watch.begin()
	before := f.state.sent
	sw := newSweep()
	if err := f.folder(ctx, "", sw); err != nil {
		return 0, err
	}
	if err := f.finish(ctx, sw); err != nil {
		return 0, err
	}
	if sw.unclear[""] {
		return min(pollEvery, f.opts.Rescan), nil // it has been said why
	}
	if first {
		f.opts.Logger.Info("files are watched", "folder", f.root, "files", sw.files, "events", f.state.sent-before,
			"too_large", sw.verdicts[tooLarge], "binary", sw.verdicts[binary], "empty", sw.verdicts[blank], "unreadable", sw.verdicts[unread])
	}
	if err := f.watch.incomplete(); err != nil {
		f.warn("", "some folders can't be watched and are scanned instead; raise the system's limit "+
			"(Linux: fs.inotify.max_user_watches and max_user_instances)", "error", err, "every", pollEvery)
		return min(pollEvery, f.opts.Rescan), nil
	}
	return f.opts.Rescan, nil
}

// look brings paths up to date to which something has happened. It is the content of files
// that decides here, never their time: two changes may have the same.
func (f *follower) look(ctx context.Context, paths []touched) error {
	if len(paths) == 0 {
		return nil
	}
	f.round++
	sw := newSweep()
	for _, t := range paths { // in order: folders come before what is in them
		info, err := os.Lstat(f.join(t.path))
		if t.folder && (missing(err) || err == nil && !info.IsDir()) {
			sw.whole[t.path] = true
		}
		switch {
		case missing(err):
			delete(f.unread, t.path)
			err = f.forget(ctx, t.path, vanished)
		case err != nil:
			f.unreadable(t.path, err, sw)
			err = nil
		case !info.IsDir():
			err = f.file(ctx, t.path, info, true, sw)
		case !f.rules.folder(info) && !within(sw.whole, t.path):
			err = f.folder(ctx, t.path, sw)
		}
		if err != nil {
			return err
		}
	}
	return f.finish(ctx, sw)
}

// finish deletes what has vanished and sends everything.
func (f *follower) finish(ctx context.Context, sw *sweep) error {
	if len(sw.whole) > 0 {
		for path, known := range f.state.files {
			if known.round != f.round && within(sw.whole, path) && !within(sw.unclear, path) {
				if err := f.forget(ctx, path, vanished); err != nil {
					return err
				}
			}
		}
	}
	return f.out.flush(ctx)
}

// folder looks at a folder and everything below it. Each folder is watched before it is
// listed, so that what comes into it is either listed or reported.
func (f *follower) folder(ctx context.Context, top string, sw *sweep) error {
	sw.whole[top] = true
	for stack := []string{top}; len(stack) > 0; {
		dir := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		f.watch.add(dir)
		below, err := f.list(ctx, dir, sw)
		if err != nil {
			return err
		}
		stack = append(stack, below...)
	}
	return nil
}

// list looks at the files of a folder and returns the folders in it.
func (f *follower) list(ctx context.Context, dir string, sw *sweep) (below []string, err error) {
	d, err := os.Open(f.join(dir))
	if err != nil {
		f.unreadable(dir, err, sw)
		return nil, nil
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(listAtOnce)
		for _, e := range entries {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if f.rules.name(e.Name()) {
				continue
			}
			info, ierr := e.Info()
			name := path.Join(dir, e.Name())
			switch {
			case missing(ierr): // since it was listed
			case ierr != nil:
				f.unreadable(name, ierr, sw)
			case !info.IsDir():
				if err := f.file(ctx, name, info, false, sw); err != nil {
					return nil, err
				}
			case !f.rules.folder(info):
				below = append(below, name)
			}
		}
		if errors.Is(err, io.EOF) {
			return below, nil
		}
		if err != nil {
			f.unreadable(dir, err, sw)
			return below, nil
		}
	}
}

// unreadable notes a path of which nothing can be said now. One that is missing has vanished,
// unless it is the whole folder: that is rather a file system that is not mounted.
func (f *follower) unreadable(path string, err error, sw *sweep) {
	if path != "" && missing(err) {
		return
	}
	sw.unclear[path] = true
	if path == "" {
		f.opts.Logger.Error("the folder can't be read; nothing is deleted, and it is tried again", "folder", f.root, "error", err)
		return
	}
	f.warn(path, "can't be read; what is known of it stays, and it is tried again", "error", err)
}

// file brings one file up to date. Unless it is certain that something has happened to it, a
// file whose size and time are those that are known is taken for unchanged.
func (f *follower) file(ctx context.Context, path string, info fs.FileInfo, certain bool, sw *sweep) error {
	if problem := idProblem(path); problem != "" {
		f.warn(path, "the path can't be the id of an entity; the file is passed over", "problem", problem)
		return nil
	}
	known, sent := f.state.files[path]
	v := f.reader.judge(path, info)
	if v == text && !certain && !sent && f.unread[path].unchanged(info) {
		sw.verdicts[unread]++
		return nil
	}
	if v == text && sent && !certain && known.unchanged(info) {
		f.found(path, known, sw)
		return nil
	}
	var content []byte
	var now sentFile
	var modified int64
	if v == text {
		var err error
		if content, now, modified, v, err = f.reader.read(path, certain); missing(err) {
			return f.forget(ctx, path, vanished)
		} else if err != nil {
			f.unreadable(path, err, sw)
			return nil
		}
	}
	switch {
	case v == unsettled || v == blank && sent && !known.emptied:
		f.later(path, known, sent, v, sw)
		return nil
	case v != text:
		sw.verdicts[v]++
		return f.forget(ctx, path, v)
	}
	now.round = f.round
	switch {
	case !sent || known.hash != now.hash:
		return f.send(ctx, path, content, now, modified, sw)
	case known.size != now.size || known.mtime != now.mtime:
		sw.files++
		return f.out.note(ctx, change{path: path, file: now})
	}
	f.found(path, known, sw)
	return nil
}

// later has a file looked at again once it has settled. Programs empty a file before they
// write it anew, and for a moment it then still has its old time (ext4 sets that last): so a
// file is taken for empty only when it is found so twice.
func (f *follower) later(path string, known sentFile, sent bool, v verdict, sw *sweep) {
	f.watch.touch(path)
	if sent {
		sw.files++
		known.round, known.emptied = f.round, v == blank
		f.state.files[path] = known
	}
}

// found notes that a file is there as it is known.
func (f *follower) found(path string, known sentFile, sw *sweep) {
	sw.files++
	known.round, known.emptied = f.round, false
	f.state.files[path] = known
}

// send sends what a file says, unless that can't be read, or the intake takes no event of that size.
func (f *follower) send(ctx context.Context, path string, content []byte, now sentFile, modified int64, sw *sweep) error {
	doc, err := document.Read(path, content)
	if err == nil && strings.TrimSpace(doc.Text) == "" {
		err = errors.New("it has no text")
	}
	if err != nil {
		f.warn(path, "the file's text can't be read, and it is passed over until it changes", "problem", err)
		f.unread[path] = now
		sw.verdicts[unread]++
		return f.forget(ctx, path, unread)
	}
	delete(f.unread, path)
	err = f.out.upsert(ctx, path, payloadOf(path, doc, len(content)), now, modified)
	if e, ok := errors.AsType[*freshet.Error](err); ok && e.Code == freshet.CodeTooLarge {
		f.warn(path, "the file makes an event that is too large, and is passed over; raise limits.event_bytes or lower max_bytes", "error", err)
		sw.verdicts[tooLarge]++
		return f.forget(ctx, path, tooLarge)
	}
	sw.files++
	return err
}

// forget deletes a file's entity if there is one.
func (f *follower) forget(ctx context.Context, path string, why verdict) error {
	if _, ok := f.state.files[path]; !ok {
		return nil
	}
	if why == vanished {
		// The whole folder may have gone since it was listed. That is rather a file system that is not mounted.
		if _, err := os.Lstat(f.root); err != nil {
			return nil
		}
	} else {
		f.opts.Logger.Info("a file can't be searched any more and is deleted from the index", "folder", f.root, "path", path, "because", string(why))
	}
	return f.out.remove(ctx, path)
}

func (f *follower) join(path string) string {
	return filepath.Join(f.root, filepath.FromSlash(path))
}

// missing reports whether an error says that there is nothing of that path, or no folder
// above it any more.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// idProblem says why a path can't be an entity's id, or "".
func idProblem(path string) string {
	if !utf8.ValidString(path) {
		return fmt.Sprintf("%q is not valid UTF-8", path)
	}
	return codec.IDProblem(path)
}
