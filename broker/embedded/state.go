package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/disk"
)

// State is what a log keeps by key: compacted topics, positions and state tables in one Pebble. A [Log] has one beside its
// journal; where the log is elsewhere it is the copy of it that a node reads from. All methods are safe for concurrent use.
type State struct {
	id    freshet.LogID
	opts  Options
	dir   string
	lock  io.Closer
	db    *pebble.DB
	cache *pebble.Cache

	patience *disk.Patience // of the state

	next [256]atomic.Int64 // next offset of each compacted topic, by its number

	mu      sync.Mutex // guards members, and is held during a commit
	members map[string]uint64

	ending sync.Mutex     // guards closed; what it guards does not wait for a commit on a full disk
	closed bool           // nothing new begins
	syncs  sync.WaitGroup // under way; commits go on meanwhile
}

func newState(dir string, opts Options) *State {
	return &State{opts: opts.withDefaults(), dir: dir, members: map[string]uint64{}}
}

func (l *State) openState(dir string) error {
	l.patience = disk.NewPatience(dir)
	l.patience.Limit(cmp.Or(l.opts.Patience, defaultPatience))
	l.cache = pebble.NewCache(l.opts.CacheBytes)
	o := &pebble.Options{
		FS:                          l.patience.FS(l.opts.FS.FS),
		Cache:                       l.cache,
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                64 << 20,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		MaxOpenFiles:                4096,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		Logger:                      quiet{},
		// Without it a damaged block would end the process; so whoever reads it gets the error.
		EventListener: &pebble.EventListener{DataCorruption: func(pebble.DataCorruptionInfo) {}},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].BlockSize = 16 << 10
	}
	var db *pebble.DB
	err := l.patiently(func() (err error) { db, err = pebble.Open(dir, o); return err })
	if err != nil {
		return fmt.Errorf("open state in %s: %w", dir, err)
	}
	l.patience.Limit(0)
	l.db = db
	for topic, number := range topicNumbers() {
		last, err := lastOffset(l.db, number)
		if err != nil {
			return fmt.Errorf("read end of %s: %w", topic, err)
		}
		l.next[number].Store(last + 1)
	}
	return nil
}

// quiet keeps Pebble's own notes out of the log; what matters comes back as errors.
type quiet struct{}

func (quiet) Infof(string, ...interface{})  {}
func (quiet) Errorf(string, ...interface{}) {}
func (quiet) Fatalf(format string, args ...interface{}) {
	panic(fmt.Sprintf("state: "+format, args...))
}

// ID is the identity of the log.
func (l *State) ID() freshet.LogID { return l.id }

// Partitions is the number of partitions of events.raw.
func (l *State) Partitions() int { return l.opts.Partitions }

// Dir is the data folder.
func (l *State) Dir() string { return l.dir }

// FS is the file system that the log is on.
func (l *State) FS() disk.FS { return l.opts.FS }

// Position is the next offset that a group has to read, 0 when it never moved.
func (l *State) Position(group, topic string, partition int32) (int64, error) {
	return l.getOffset(positionKey(group, topic, partition))
}

// isClosed reports whether nothing may begin any more.
func (l *State) isClosed() bool {
	l.ending.Lock()
	defer l.ending.Unlock()
	return l.closed
}

// Sync makes every committed transaction durable. It fails with disk_full as soon as the disk is.
func (l *State) Sync(site disk.Site) error {
	if l.opts.FS.Skipped(site) {
		return nil
	}
	l.ending.Lock()
	if l.closed {
		l.ending.Unlock()
		return errors.New("sync state: the log is closed")
	}
	l.syncs.Add(1)
	l.ending.Unlock()
	done := make(chan error, 1)
	go func() {
		defer l.syncs.Done()
		done <- l.db.LogData(nil, pebble.Sync)
	}()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("sync state: %w", err)
		}
		return nil
	case <-l.patience.Filled():
		return fmt.Errorf("sync state: %w", l.full())
	}
}

// DiskFree is the number of bytes that the file system of the data folder has left.
func (l *State) DiskFree() (uint64, error) {
	u, err := l.opts.FS.GetDiskUsage(l.dir)
	if err != nil {
		return 0, fmt.Errorf("disk usage of %s: %w", l.dir, err)
	}
	return u.AvailBytes, nil
}

// Metrics are Pebble's own figures.
func (l *State) Metrics() *pebble.Metrics { return l.db.Metrics() }

// end lets nothing new begin; it reports whether it was called before.
func (l *State) end() (already bool) {
	l.ending.Lock()
	defer l.ending.Unlock()
	already, l.closed = l.closed, true
	return already
}

// settle calls f when nothing is under way any more.
func (l *State) settle(f func() error) error {
	return l.patiently(func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.syncs.Wait()
		return f()
	})
}

// releaseState sets free what the state holds. What was given up may go on as soon as it gets what it waits for, a lock for one,
// and Pebble panics when it is used after its end: so it is left as it is then. The process ends, and its files do not change any more.
func (l *State) releaseState() error {
	var errs []error
	if l.db != nil {
		l.Stopping()
		errs = append(errs, l.closePebble())
	}
	if l.cache != nil && !l.patience.Over() { // who waits for ever holds it
		l.cache.Unref()
	}
	if l.lock != nil {
		errs = append(errs, l.lock.Close())
	}
	return errors.Join(errs...)
}

func (l *State) closePebble() error {
	if l.patience.Over() {
		return l.gaveUp()
	}
	return l.patiently(l.db.Close)
}
