package embedded

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/wire"
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
	// Former are identities that the log of a copy had before: a copy of one of those is begun anew.
	Former []freshet.LogID
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
	*State
	journal *journal.Journal
	torn    int64
	clean   bool        // the process before this one has closed the log
	pinned  atomic.Bool // a Pin is held

	retention retention
}

// Open opens the log in dir and makes it if the folder is empty. It fails if another process
// owns the folder ([ErrLocked]), if the format is not this version's, or if acknowledged
// records are missing.
func Open(dir string, opts Options) (*Log, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l := &Log{State: newState(dir, opts)}
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
	return l.checkJournalEnd()
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

// StoppedCleanly reports whether the process that had the folder open before has closed the log, or has not written to it.
func (l *Log) StoppedCleanly() bool { return l.clean }

// TornBytes is how much of a never acknowledged frame was found at the end of the journal.
func (l *Log) TornBytes() int64 { return l.torn }

// RawTopic implements [broker.Log].
func (l *Log) RawTopic() string { return freshet.TopicRaw }

// AppendRaw makes records of events.raw durable; see [journal.Journal.Append]. The error is a *freshet.Error with
// disk_full if that is the reason.
func (l *Log) AppendRaw(ctx context.Context, b *journal.Batch) (first int64, err error) {
	first, err = l.journal.Append(ctx, b)
	return first, l.named(err)
}

// AppendEvents is AppendRaw with what a token names: the spans of events.raw that hold the records, of which partitions has
// the partition of each, in order of partition.
func (l *Log) AppendEvents(ctx context.Context, b *journal.Batch, partitions []int32) ([]freshet.Span, error) {
	first, err := l.AppendRaw(ctx, b)
	if err != nil {
		return nil, err
	}
	return wire.Spans(freshet.TopicRaw, len(partitions), func(i int) (int32, int64) { return partitions[i], first + int64(i) }), nil
}

// Append implements [broker.Log].
func (l *Log) Append(ctx context.Context, records ...journal.Record) (last int64, err error) {
	var b journal.Batch
	for _, r := range records {
		b.Add(0, nil, r.Value, r.Headers...)
	}
	first, err := l.AppendRaw(ctx, &b)
	return first + int64(len(records)) - 1, err
}

// ReadRaw reads events.raw from an offset; see [journal.Reader].
func (l *Log) ReadRaw(from int64) broker.Reader { return l.journal.ReadFrom(from) }

// ReadRawAs implements [broker.Log].
func (l *Log) ReadRawAs(_ broker.Member, from int64) broker.Reader { return l.ReadRaw(from) }

// Begin implements [broker.Log].
func (l *Log) Begin() broker.Txn { return l.State.Begin() }

// View implements [broker.Log].
func (l *Log) View() broker.View { return logView{l.State.View(), l} }

// logView is the state of a log at one instant.
type logView struct {
	*View
	log *Log
}

// ReadRaw implements [broker.View].
func (v logView) ReadRaw(from int64) broker.Reader { return v.log.ReadRaw(from) }

// RawEnd is the offset behind the last durable record of events.raw.
func (l *Log) RawEnd() int64 { return l.journal.End() }

// RawFirst is the offset of the oldest record of events.raw.
func (l *Log) RawFirst() int64 { return l.journal.First() }

// RawWritten is the number of bytes written to events.raw since Open.
func (l *Log) RawWritten() int64 { return l.journal.Written() }

// Close stops the log: appends in flight are acknowledged first. It is idempotent. When the disk is full it waits for room,
// up to Options.Patience; the error says so then, and the folder is as a crash would leave it.
func (l *Log) Close() error {
	l.Stopping()
	if l.end() {
		return nil
	}
	err := l.journal.Close()
	value := binary.BigEndian.AppendUint64(nil, uint64(l.journal.End()))
	serr := l.settle(func() error { return l.db.Set(cleanKey(), value, pebble.NoSync) })
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
	return errors.Join(append(errs, l.releaseState())...)
}

// RawBytesFrom is about how many bytes of events.raw stand from an offset on.
func (l *Log) RawBytesFrom(offset int64) int64 { return l.journal.BytesFrom(offset) }
