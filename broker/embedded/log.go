package embedded

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/disk"
)

// Options are the settings of a log. The zero value means the defaults.
type Options struct {
	// FS is the file system. Default disk.OS().
	FS disk.FS
	// Partitions of events.raw, fixed when the folder is made. 0 means those of the folder, 16 for a new one.
	Partitions int
	// CacheBytes is the size of Pebble's block cache. Default 256 MiB.
	CacheBytes int64
	// SegmentBytes is the size of a journal segment. Default 128 MiB.
	SegmentBytes int64
	// Now gives the time of appends. Default time.Now.
	Now func() time.Time
	// Journal is the folder of events.raw below the data folder. Default "journal"; see [NewJournal].
	Journal string
	// Patience is how long a start or a stop waits for room on a full disk. Default 10 s.
	Patience time.Duration
}

// stateFolder is the folder of Pebble below the data folder.
const stateFolder = "state"

// DefaultPartitions of events.raw.
const DefaultPartitions = 16

func (o Options) withDefaults() Options {
	if o.FS.FS == nil {
		o.FS = disk.OS()
	}
	if o.Journal == "" {
		o.Journal = journalFolder
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 256 << 20
	}
	return o
}

// Validate names the first field that has an impossible value.
func (o Options) Validate() error {
	if o.Partitions < 0 || o.Partitions > 1<<15 {
		return fmt.Errorf("partitions: %d is out of range; give 1 to %d", o.Partitions, 1<<15)
	}
	if o.CacheBytes < 0 {
		return fmt.Errorf("cache_bytes: %d is negative", o.CacheBytes)
	}
	return nil
}

// Log is an open log. All methods are safe for concurrent use.
type Log struct {
	id      freshet.LogID
	opts    Options
	dir     string
	lock    io.Closer
	journal *journal.Journal
	db      *pebble.DB
	cache   *pebble.Cache
	torn    int64

	patience *disk.Patience // of the state

	next [256]atomic.Int64 // next offset of each compacted topic, by its number

	mu      sync.Mutex // guards members, and is held during a commit
	members map[string]uint64

	ending sync.Mutex     // guards closed; what it guards does not wait for a commit on a full disk
	closed bool           // nothing new begins
	syncs  sync.WaitGroup // under way; commits go on meanwhile

	clean  bool        // the process before this one has closed the log
	pinned atomic.Bool // a Pin is held

	retention retention
}

// Open opens the log in dir and makes it if the folder is empty. It fails if another process
// owns the folder ([ErrLocked]), if the format is not this version's, or if acknowledged
// records are missing.
func Open(dir string, opts Options) (*Log, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l := &Log{opts: opts.withDefaults(), dir: dir, members: map[string]uint64{}}
	if err := l.open(); err != nil {
		return nil, errors.Join(err, l.release())
	}
	return l, nil
}

func (l *Log) open() (err error) {
	fs := l.opts.FS
	if l.lock, err = lockFolder(fs, l.dir); err != nil {
		return err
	}
	if l.id, l.opts.Partitions, err = identify(fs, l.dir, l.opts.Partitions); err != nil {
		return err
	}
	if err := errors.Join(l.sweep(pinFolder), l.sweep(Restoring)); err != nil {
		return err
	}
	l.journal, l.torn, err = journal.Open(fs, fs.PathJoin(l.dir, l.opts.Journal), 0,
		journal.Options{SegmentBytes: l.opts.SegmentBytes, Now: l.opts.Now})
	if err != nil {
		return err
	}
	if err := l.openState(fs.PathJoin(l.dir, stateFolder)); err != nil {
		return err
	}
	for topic, number := range topicNumbers() {
		last, err := lastOffset(l.db, number)
		if err != nil {
			return fmt.Errorf("read end of %s: %w", topic, err)
		}
		l.next[number].Store(last + 1)
	}
	return l.checkJournalEnd()
}

func (l *Log) openState(dir string) error {
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
	return nil
}

// quiet keeps Pebble's own notes out of the log; what matters comes back as errors.
type quiet struct{}

func (quiet) Infof(string, ...interface{})  {}
func (quiet) Errorf(string, ...interface{}) {}
func (quiet) Fatalf(format string, args ...interface{}) {
	panic(fmt.Sprintf("state: "+format, args...))
}

// checkJournalEnd refuses a journal that ends before what is known to have been in it.
func (l *Log) checkJournalEnd() error {
	end := l.journal.End()
	known, stopped, err := l.knownEnd()
	if err != nil {
		return err
	}
	l.clean = stopped == end
	if known > end {
		return fmt.Errorf("%s: the journal ends at offset %d, but records up to %d were acknowledged and processed: "+
			"its last segment is damaged or missing; restore it from a backup, or see `freshet epoch raise --help`", l.dir, end, known)
	}
	return nil
}

// knownEnd is the offset behind the records of events.raw that the state knows of, and where they ended at the last clean stop.
func (l *Log) knownEnd() (known, stopped int64, err error) {
	if stopped, err = l.getOffset(cleanKey()); err != nil {
		return 0, 0, err
	}
	known = stopped
	err = l.eachPosition(func(topic string, next int64) {
		if topic == freshet.TopicRaw {
			known = max(known, next)
		}
	})
	return known, stopped, err
}

// ID is the identity of the log.
func (l *Log) ID() freshet.LogID { return l.id }

// Partitions is the number of partitions of events.raw.
func (l *Log) Partitions() int { return l.opts.Partitions }

// Dir is the data folder.
func (l *Log) Dir() string { return l.dir }

// FS is the file system that the log is on.
func (l *Log) FS() disk.FS { return l.opts.FS }

// StoppedCleanly reports whether the process that had the folder open before has closed the log, or has not written to it.
func (l *Log) StoppedCleanly() bool { return l.clean }

// TornBytes is how much of a never acknowledged frame was found at the end of the journal.
func (l *Log) TornBytes() int64 { return l.torn }

// AppendRaw makes records of events.raw durable; see [journal.Journal.Append]. The error is a *freshet.Error with
// disk_full if that is the reason.
func (l *Log) AppendRaw(ctx context.Context, b *journal.Batch) (first int64, err error) {
	first, err = l.journal.Append(ctx, b)
	return first, l.named(err)
}

// ReadRaw reads events.raw from an offset; see [journal.Reader].
func (l *Log) ReadRaw(from int64) *journal.Reader { return l.journal.ReadFrom(from) }

// RawEnd is the offset behind the last durable record of events.raw.
func (l *Log) RawEnd() int64 { return l.journal.End() }

// RawFirst is the offset of the oldest record of events.raw.
func (l *Log) RawFirst() int64 { return l.journal.First() }

// RawWritten is the number of bytes written to events.raw since Open.
func (l *Log) RawWritten() int64 { return l.journal.Written() }

// Position is the next offset that a group has to read, 0 when it never moved.
func (l *Log) Position(group, topic string, partition int32) (int64, error) {
	return l.getOffset(positionKey(group, topic, partition))
}

// isClosed reports whether nothing may begin any more.
func (l *Log) isClosed() bool {
	l.ending.Lock()
	defer l.ending.Unlock()
	return l.closed
}

// Sync makes every committed transaction durable. It fails with disk_full as soon as the disk is.
func (l *Log) Sync(site disk.Site) error {
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
func (l *Log) DiskFree() (uint64, error) {
	u, err := l.opts.FS.GetDiskUsage(l.dir)
	if err != nil {
		return 0, fmt.Errorf("disk usage of %s: %w", l.dir, err)
	}
	return u.AvailBytes, nil
}

// Metrics are Pebble's own figures.
func (l *Log) Metrics() *pebble.Metrics { return l.db.Metrics() }

// Close stops the log: appends in flight are acknowledged first. It is idempotent. When the disk is full it waits for room,
// up to Options.Patience; the error says so then, and the folder is as a crash would leave it.
func (l *Log) Close() error {
	l.Stopping()
	l.ending.Lock()
	closed := l.closed
	l.closed = true
	l.ending.Unlock()
	if closed {
		return nil
	}
	err := l.journal.Close()
	value := binary.BigEndian.AppendUint64(nil, uint64(l.journal.End()))
	serr := l.patiently(func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.syncs.Wait()
		return l.db.Set(cleanKey(), value, pebble.NoSync)
	})
	if serr != nil {
		err = errors.Join(err, fmt.Errorf("note the clean stop: %w", serr))
	}
	return errors.Join(err, l.release())
}

func (l *Log) release() error {
	var errs []error
	if l.journal != nil {
		errs = append(errs, l.journal.Close())
	}
	if l.db != nil {
		l.Stopping()
		errs = append(errs, l.patiently(l.db.Close))
	}
	if l.cache != nil && !l.patience.Over() { // who waits for ever holds it
		l.cache.Unref()
	}
	if l.lock != nil {
		errs = append(errs, l.lock.Close())
	}
	return errors.Join(errs...)
}

// RawBytesFrom is about how many bytes of events.raw stand from an offset on.
func (l *Log) RawBytesFrom(offset int64) int64 { return l.journal.BytesFrom(offset) }
