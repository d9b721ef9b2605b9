package files

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watcher collects the events of watched folders. Watching is not recursive: the follower adds
// each folder, before it lists it.
//
// A folder that is renamed keeps its watches, and those of the folders in it, under the old
// names: in the kernel they hang on the inode. So the collecting goroutine takes all of them
// out when it reads the event of the old name, which comes before the one of the new name; the
// latter then makes the follower add the folders under their new names. If a scan has found
// the folder first, its watches go with the old name, and the event of the new name, still to
// be handled, adds them again.
//
// fsnotify delivers some errors while it holds the lock that Add and Remove need. Errors are
// therefore received by a goroutine that calls neither, and mu is never held in such a call.
type watcher struct {
	root string
	skip func(base string) bool
	fs   *fsnotify.Watcher // nil when the system gives no watcher
	wake chan struct{}     // has a token when dirty stops being empty
	done sync.WaitGroup

	mu      sync.Mutex // guards what follows
	dirty   dirty
	watched map[string]struct{} // relative paths of folders
	partial error               // why some folders are not watched, or nil
}

// newWatcher returns a watcher that watches nothing yet. If the system gives none, partial
// says so from the start, and stays.
func newWatcher(root string, skip func(base string) bool) *watcher {
	w := &watcher{root: root, skip: skip, wake: make(chan struct{}, 1), watched: map[string]struct{}{}}
	if w.fs, w.partial = fsnotify.NewWatcher(); w.partial != nil {
		w.fs = nil
		return w
	}
	w.done.Go(w.collect)
	w.done.Go(w.collectErrors)
	return w
}

func (w *watcher) close() {
	if w.fs != nil {
		_ = w.fs.Close()
		w.done.Wait()
	}
}

// begin is called before a scan of everything adds all folders anew.
func (w *watcher) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fs != nil {
		w.partial = nil
	}
}

// incomplete says why some folders are not watched, or nil.
func (w *watcher) incomplete() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.partial
}

// add watches a folder. Adding one again is how a folder that took another's path is watched.
func (w *watcher) add(folder string) {
	if w.fs == nil {
		return
	}
	w.mu.Lock()
	w.watched[folder] = struct{}{}
	w.mu.Unlock()
	err := w.fs.Add(filepath.Join(w.root, filepath.FromSlash(folder)))
	if err == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.watched, folder)
	if !missing(err) {
		w.partial = err
	}
}

// touch has a path looked at once it has settled, as if there had been an event.
func (w *watcher) touch(path string) {
	w.note(func(d *dirty) { d.touch(path, false, time.Now()) })
}

// take returns the paths that have settled and when the next one will have, and whether
// events were lost since the last call.
func (w *watcher) take(now time.Time) (settled []touched, next time.Time, lost bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lost, w.dirty.lost = w.dirty.lost, false
	settled, next = w.dirty.take(now)
	return settled, next, lost
}

func (w *watcher) collect() {
	for ev := range w.fs.Events {
		if ev.Name == "" || ev.Op == fsnotify.Chmod {
			continue
		}
		rel, err := filepath.Rel(w.root, ev.Name)
		if err != nil {
			continue // not below the root: nothing of ours
		}
		rel = filepath.ToSlash(rel)
		if rel == "." {
			w.note(func(d *dirty) { d.lose() }) // the folder itself was removed or renamed
			continue
		}
		folder := false
		if ev.Has(fsnotify.Remove) || ev.Has(fsnotify.Rename) {
			folder = w.drop(rel, ev.Has(fsnotify.Rename))
		}
		if !w.skip(filepath.Base(ev.Name)) {
			w.note(func(d *dirty) { d.touch(rel, folder, time.Now()) })
		}
	}
}

func (w *watcher) collectErrors() {
	for err := range w.fs.Errors {
		if err != nil && !errors.Is(err, fsnotify.ErrNonExistentWatch) {
			w.note(func(d *dirty) { d.lose() })
		}
	}
}

// note changes dirty and wakes the follower if nothing waited before: else the follower has
// a timer that ends before a new path is due.
func (w *watcher) note(change func(*dirty)) {
	w.mu.Lock()
	look := len(w.dirty.marks) == 0
	change(&w.dirty)
	look = look || w.dirty.lost
	w.mu.Unlock()
	if look {
		select {
		case w.wake <- struct{}{}:
		default: // it has been woken and will look
		}
	}
}

// drop ends the watch of a folder that left its path, and reports whether there was one. A
// removed folder was empty, a renamed one takes the folders in it along.
func (w *watcher) drop(folder string, below bool) bool {
	w.mu.Lock()
	_, ok := w.watched[folder]
	var gone []string
	if ok {
		gone = append(gone, folder)
		delete(w.watched, folder)
	}
	if ok && below {
		for path := range w.watched {
			if strings.HasPrefix(path, folder+"/") {
				gone = append(gone, path)
				delete(w.watched, path)
			}
		}
	}
	w.mu.Unlock()
	for _, path := range gone {
		_ = w.fs.Remove(filepath.Join(w.root, filepath.FromSlash(path))) // often gone by itself
	}
	return ok
}
