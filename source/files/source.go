package files

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/source"
)

// Options are the settings of a Source. Path, Intake and Log are needed.
type Options struct {
	// Path of the folder. It may itself be a symbolic link.
	Path string
	// Collection and Namespace of the entities. Default freshet.DefaultCollection and
	// freshet.DefaultNamespace.
	Collection string
	Namespace  string
	// MaxBytes is the size of the largest file that is read, but for PDFs, which may be 64 times as
	// large. Default 256 KiB.
	MaxBytes int64
	// Ignore holds patterns of base names, as path/filepath.Match, of files and folders that
	// are passed over.
	Ignore []string
	// Rescan is how long after a scan everything is scanned again, for changes that the watch
	// has missed. Default 1 minute; longer where a scan takes long.
	Rescan time.Duration
	Intake *source.Intake
	Log    *embedded.Log
	Logger *slog.Logger // default slog.Default()
}

// DefaultMaxBytes is the default of Options.MaxBytes.
const DefaultMaxBytes = 256 << 10

// Times between scans.
const (
	defaultRescan = time.Minute
	// pollEvery is the time where the system gives no watch for some folder, or the folder
	// itself can't be read at present.
	pollEvery = 2 * time.Second
	// lostAfter is the least time from one scan to the next when events are lost again and again.
	lostAfter = time.Second
	// scanShare bounds the time spent scanning: one part in so many.
	scanShare = 20
)

func (o Options) withDefaults() Options {
	if o.Collection == "" {
		o.Collection = freshet.DefaultCollection
	}
	if o.Namespace == "" {
		o.Namespace = freshet.DefaultNamespace
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Rescan == 0 {
		o.Rescan = defaultRescan
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Validate names the first field that has an impossible value.
func (o Options) Validate() error {
	switch {
	case o.Path == "":
		return errors.New("path: is missing; name the folder to watch")
	case o.MaxBytes < 0:
		return fmt.Errorf("max_bytes: %d is negative", o.MaxBytes)
	case o.Rescan < 0:
		return fmt.Errorf("rescan: %s is negative", o.Rescan)
	}
	return checkPatterns(o.Ignore)
}

// Source keeps the files of one folder and their entities in step.
type Source struct {
	opts Options
}

// New returns a source; it does nothing before Run.
func New(o Options) *Source { return &Source{opts: o.withDefaults()} }

// Run sends what has changed since it ran last, and then every change, until ctx ends: then it
// returns nil. What can heal is logged and tried again: a full backlog or disk, a file that
// can't be read, a folder that vanishes meanwhile (nothing is deleted for it). Errors are
// wrong options, a folder that is missing at the start, and what an event can't be accepted
// for, such as an unknown collection. One Run at a time.
func (s *Source) Run(ctx context.Context) error {
	if err := s.opts.Validate(); err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	f, err := follow(ctx, s.opts)
	if err == nil {
		defer f.close()
		err = f.run(ctx)
	}
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("watch files of %s: %w", s.opts.Path, err)
	}
	return nil
}

// follower is the source while it runs. All but the watcher is for one goroutine.
type follower struct {
	opts   Options
	root   string // absolute
	rules  rules
	state  *state
	out    *sender
	reader reader
	watch  *watcher
	warned map[string]struct{} // see warn
	unread map[string]sentFile // documents whose text can't be read, as they are; so they are not read at every scan
	round  uint32              // number of the present round
}

// folder finds the folder, and that of the log if it is on this file system, or says why the folder can't be watched.
func (o Options) folder() (root string, data os.FileInfo, err error) {
	if root, err = filepath.Abs(o.Path); err != nil {
		return "", nil, err
	}
	info, err := os.Stat(root)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", nil, errors.New("there is no such folder; make it, or set path to the one you mean")
	case err != nil:
		return "", nil, err
	case !info.IsDir():
		return "", nil, errors.New("path is no folder; name the folder that the file is in")
	}
	if data, err = os.Stat(o.Log.Dir()); err != nil {
		return root, nil, nil
	}
	if os.SameFile(info, data) {
		return "", nil, errors.New("path is the data folder of freshet; its files are no texts")
	}
	return root, data, nil
}

// Check returns why the folder can't be watched at present, as Run would.
func (o Options) Check() error {
	if err := o.Validate(); err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	if _, _, err := o.folder(); err != nil {
		return fmt.Errorf("watch files of %s: %w", o.Path, err)
	}
	return nil
}

func follow(ctx context.Context, o Options) (*follower, error) {
	root, data, err := o.folder()
	if err != nil {
		return nil, err
	}
	f := &follower{opts: o, root: root, rules: rules{ignore: o.Ignore, data: data}, warned: map[string]struct{}{}, unread: map[string]sentFile{},
		reader: reader{root: root, maxBytes: o.MaxBytes}}
	f.state, err = openState(ctx, o.Log, owner{Path: root, Collection: o.Collection, Namespace: o.Namespace})
	if err != nil {
		return nil, err
	}
	f.out = newSender(o.Intake, f.state, o.Logger)
	f.watch = newWatcher(root, f.rules.name)
	return f, nil
}

func (f *follower) close() {
	f.watch.close()
	f.out.close()
}

// run scans and then follows events. A change is sent once its path has settled; a scan comes
// when events were lost, and now and then.
func (f *follower) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var scanned, rescan time.Time // when the last scan ended, when the next one begins
	var took time.Duration
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.watch.wake:
		case <-timer.C:
		}
		now := time.Now()
		settled, next, lost := f.watch.take(now)
		if err := f.look(ctx, settled); err != nil {
			return err
		}
		if again := scanned.Add(max(lostAfter, scanShare*took)); lost && again.Before(rescan) {
			rescan = again
		}
		if !rescan.After(now) {
			wait, err := f.scan(ctx, scanned.IsZero())
			if err != nil {
				return err
			}
			scanned = time.Now()
			took = scanned.Sub(now)
			rescan = scanned.Add(max(wait, scanShare*took))
		}
		if next.IsZero() || rescan.Before(next) {
			next = rescan
		}
		timer.Reset(time.Until(next))
	}
}

// maxWarned is how many paths are warned of.
const maxWarned = 1000

// warn logs a problem once for each path.
func (f *follower) warn(path, message string, args ...any) {
	if _, ok := f.warned[path]; ok || len(f.warned) > maxWarned {
		return
	}
	f.warned[path] = struct{}{}
	if len(f.warned) > maxWarned {
		message, args = "files have more problems than are reported one by one; this is the last report", nil
	}
	f.opts.Logger.Warn(message, append([]any{"folder", f.root, "path", path}, args...)...)
}
