package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/wire"
)

// Limits of intake, and their defaults.
type Limits struct {
	EventBytes    int   // of one event. Default DefaultEventBytes, at most MaxEventBytes.
	BacklogBytes  int64 // of events.raw that are not decided yet. Default 4 GiB.
	FreeDiskBytes int64 // that the data folder's file system must keep. Default 512 MiB.
}

// MaxEventBytes is the largest setting of Limits.EventBytes.
const MaxEventBytes = 32 << 20

// DefaultEventBytes is what Limits.EventBytes is where it is not set.
const DefaultEventBytes = 4 << 20

func (l Limits) withDefaults() Limits {
	if l.EventBytes == 0 {
		l.EventBytes = DefaultEventBytes
	}
	if l.BacklogBytes == 0 {
		l.BacklogBytes = 4 << 30
	}
	if l.FreeDiskBytes == 0 {
		l.FreeDiskBytes = 512 << 20
	}
	return l
}

// Validate names the first limit that is out of range.
func (l Limits) Validate() error {
	switch {
	case l.EventBytes < 0 || l.EventBytes > MaxEventBytes:
		return fmt.Errorf("limits.event_bytes: %d is out of range; give 1 to %d", l.EventBytes, MaxEventBytes)
	case l.BacklogBytes < 0:
		return fmt.Errorf("limits.backlog_bytes: %d is negative; leave it out for 4 GiB", l.BacklogBytes)
	case l.FreeDiskBytes < 0:
		return fmt.Errorf("limits.free_disk_bytes: %d is negative; leave it out for 512 MiB", l.FreeDiskBytes)
	}
	return nil
}

// Log is where events become durable: the embedded log is one. It is safe for concurrent use.
type Log interface {
	ID() freshet.LogID
	Partitions() int
	// Room is a *freshet.Error when nothing is taken at present.
	Room() error
	// DiskFree is how many bytes are free on the disk that the log fills; vfs.ErrUnsupported where that is not known.
	DiskFree() (uint64, error)
	// RawBytesFrom is about how many bytes of events stand from an offset on; 0 where others look after the backlog.
	RawBytesFrom(offset int64) int64
	// AppendEvents makes records durable, of which partitions has the partition of each, and returns their spans, in order of
	// partition. Of an error that is not a *freshet.Error the outcome may be unknown.
	AppendEvents(ctx context.Context, b *journal.Batch, partitions []int32) ([]freshet.Span, error)
}

// Split takes an event of a configured mapping apart where each change has to stand in the partition of its own entity. It calls add
// for each record that the event becomes, in the order of its changes, with the headers that the record has beside those of the event.
// An event that gives nothing, or can't be mapped, is one record. The error, upon which add was not called, is of what mapping needs.
type Split func(raw []byte, headers []journal.Header, add func(partition int32, headers ...journal.Header)) error

// Options are the settings of an Intake.
type Options struct {
	Log     Log
	Catalog *control.Catalog
	// Mapped says that events are any JSON objects, which a configured mapping reads; else
	// they are events of the default mapping.
	Mapped bool
	// Split is for a log whose partitions are decided by themselves; nil means that an event of a configured mapping is one
	// record, in any partition.
	Split Split
	// Nulls says that null is an event too: the tombstones of change data capture.
	Nulls bool
	// AutoCreate makes unknown collections as copies of the default one.
	AutoCreate bool
	Limits     Limits
	// Decided is the offset up to which every record is decided; always −1 where partitions have offsets of their own.
	Decided func() int64
}

// Intake takes events in. It is safe for concurrent use.
type Intake struct {
	opts    Options // but for its Limits
	limits  atomic.Pointer[Limits]
	batches sync.Pool

	mu      sync.Mutex // guards what follows
	checked time.Time
	refusal error
}

// NewIntake returns an intake.
func NewIntake(o Options) *Intake {
	in := &Intake{opts: o}
	in.SetLimits(o.Limits)
	in.batches.New = func() any { return &Batch{} }
	return in
}

// SetLimits replaces the limits, which are valid. They count for what comes from now on; the lines of a request that is
// being read keep the length that they may have.
func (in *Intake) SetLimits(l Limits) {
	l = l.withDefaults()
	in.limits.Store(&l)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.checked = time.Time{}
}

// Limits are those in force, with defaults filled in.
func (in *Intake) Limits() Limits { return *in.limits.Load() }

// EventBytes is the size of the largest event that is taken.
func (in *Intake) EventBytes() int { return in.Limits().EventBytes }

// Mapped reports whether events are read by a configured mapping.
func (in *Intake) Mapped() bool { return in.opts.Mapped }

// roomEvery is how often the limits of disk and backlog are looked at.
const roomEvery = 100 * time.Millisecond

// Room reports whether events are taken at present: a *freshet.Error with backlog_full or
// disk_full when they are not.
func (in *Intake) Room() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if time.Since(in.checked) >= roomEvery {
		in.refusal = in.room()
		in.checked = time.Now()
	}
	return in.refusal
}

func (in *Intake) room() error {
	if err := in.opts.Log.Room(); err != nil {
		return err
	}
	limits := in.Limits()
	free, err := in.opts.Log.DiskFree()
	if err != nil && !errors.Is(err, vfs.ErrUnsupported) {
		return err
	}
	if err == nil && free < uint64(limits.FreeDiskBytes) {
		return &freshet.Error{Code: freshet.CodeDiskFull, Message: fmt.Sprintf("%d bytes are free on the disk of the data folder, "+
			"the limit free_disk_bytes is %d; free some space, searches go on", free, limits.FreeDiskBytes)}
	}
	if waiting := in.opts.Log.RawBytesFrom(in.opts.Decided() + 1); waiting > limits.BacklogBytes {
		return &freshet.Error{Code: freshet.CodeBacklogFull, Message: fmt.Sprintf("%d bytes of events wait to be processed, "+
			"the limit backlog_bytes is %d; send more slowly", waiting, limits.BacklogBytes)}
	}
	return nil
}

// Batch collects checked events on their way into the log. It is for one goroutine.
type Batch struct {
	in    *Intake
	recs  journal.Batch
	parts []int32 // partition of each record
	count int     // of events
}

// NewBatch returns an empty batch; Release gives its memory back.
func (in *Intake) NewBatch() *Batch {
	b := in.batches.Get().(*Batch)
	b.in = in
	return b
}

// Release empties the batch, which must not be used any more.
func (b *Batch) Release() {
	b.recs.Reset()
	b.parts, b.count = b.parts[:0], 0
	b.in.batches.Put(b)
}

// Len is the number of events in the batch.
func (b *Batch) Len() int { return b.count }

// Bytes is the size of the batch in the log.
func (b *Batch) Bytes() int { return b.recs.Bytes() }

// Add checks an event and adds it to the batch, copied. A *freshet.Error says why the event
// is rejected; the batch is as it was then.
func (b *Batch) Add(raw []byte, headers ...journal.Header) error {
	if !b.in.opts.Mapped {
		return b.addEvent(raw, headers)
	}
	if err := b.checkSize(raw); err != nil {
		return err
	}
	if err := codec.CheckObject(raw); err != nil && !(b.in.opts.Nulls && string(bytes.TrimSpace(raw)) == "null") {
		return err
	}
	if b.in.opts.Split != nil {
		return b.split(raw, headers)
	}
	b.add(int32(xxh3.Hash(raw)%uint64(b.in.opts.Log.Partitions())), raw, headers)
	return nil
}

func (b *Batch) split(raw []byte, headers []journal.Header) error {
	err := b.in.opts.Split(raw, headers, func(part int32, more ...journal.Header) {
		b.record(part, raw, append(slices.Clip(headers), more...))
	})
	if err == nil {
		b.count++
	}
	return err
}

// AddEvent is Add for an event of the default mapping, whatever mapping is configured.
func (b *Batch) AddEvent(raw []byte, headers ...journal.Header) error {
	return b.addEvent(raw, marked(headers))
}

func (b *Batch) addEvent(raw []byte, headers []journal.Header) error {
	if err := b.checkSize(raw); err != nil {
		return err
	}
	part, err := b.partition(raw)
	if err != nil {
		return err
	}
	b.add(part, raw, headers)
	return nil
}

func (b *Batch) checkSize(raw []byte) error {
	if most := b.in.EventBytes(); len(raw) > most {
		return &freshet.Error{Code: freshet.CodeTooLarge, Message: fmt.Sprintf("the event has %d bytes, the limit event_bytes is %d", len(raw), most)}
	}
	return nil
}

func (b *Batch) add(part int32, raw []byte, headers []journal.Header) {
	b.record(part, raw, headers)
	b.count++
}

func (b *Batch) record(part int32, raw []byte, headers []journal.Header) {
	b.recs.Add(part, nil, raw, headers...)
	b.parts = append(b.parts, part)
}

// marked returns the headers of an event that no mapping is to read.
func marked(headers []journal.Header) []journal.Header {
	return append(slices.Clip(headers), journal.Header{Name: freshet.HeaderDefaultEvent, Value: []byte{1}})
}

// partition checks an event of the default mapping as far as it is checked before the answer.
func (b *Batch) partition(raw []byte) (int32, error) {
	ev, err := codec.ParseEvent(raw, codec.Shallow)
	if err != nil {
		return 0, err
	}
	col, ok := b.in.opts.Catalog.Get(ev.Key.Collection)
	if !ok {
		if err := b.in.unknown(string([]byte(ev.Key.Collection))); err != nil {
			return 0, err
		}
	}
	if err := col.Writable(); err != nil {
		return 0, err
	}
	if ev.Op == freshet.OpPatch && col.Order == control.OrderSource {
		return 0, &freshet.Error{Code: freshet.CodeOrderMismatch, Field: "op",
			Message: fmt.Sprintf("is \"patch\"; collection %q is ordered by its source, and a patch can't have an order: send the whole payload as \"upsert\"", col.Name)}
	}
	return wire.Partition(ev.Key, b.in.opts.Log.Partitions()), nil
}

func (in *Intake) unknown(collection string) error {
	if !in.opts.AutoCreate {
		return &freshet.Error{Code: freshet.CodeUnknownCollection, Field: "collection",
			Message: fmt.Sprintf("%q does not exist; declare it in the configuration, or set auto_create", collection)}
	}
	_, err := in.opts.Catalog.CreateLike(collection, freshet.DefaultCollection, in.opts.Decided()+1)
	return err
}

// Append makes the events durable and returns their token.
func (b *Batch) Append(ctx context.Context) (freshet.Token, error) {
	token := freshet.Token{Log: b.in.opts.Log.ID()}
	if b.Len() == 0 {
		return token, nil
	}
	var err error
	token.Spans, err = b.in.opts.Log.AppendEvents(ctx, &b.recs, b.parts)
	return token, err
}

// AddDelete adds the event that deletes an entity. eventID and order may be absent.
func (b *Batch) AddDelete(key freshet.Key, eventID string, order int64, headers ...journal.Header) error {
	col, ok := b.in.opts.Catalog.Get(key.Collection)
	if !ok {
		return &freshet.Error{Code: freshet.CodeUnknownCollection, Field: "collection", Message: fmt.Sprintf("%q does not exist", key.Collection)}
	}
	if err := col.Writable(); err != nil {
		return err
	}
	raw, err := json.Marshal(struct {
		EventID    string `json:"event_id,omitempty"`
		EntityID   string `json:"entity_id"`
		Op         string `json:"op"`
		Order      int64  `json:"order,omitempty"`
		Collection string `json:"collection"`
		Namespace  string `json:"namespace"`
	}{eventID, key.Entity, freshet.OpDelete.String(), order, key.Collection, key.Namespace})
	if err != nil {
		return err
	}
	if b.in.opts.Mapped {
		headers = marked(headers)
	}
	b.add(wire.Partition(key, b.in.opts.Log.Partitions()), raw, headers)
	return nil
}
