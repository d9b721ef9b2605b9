package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/wire"
)

// Group is the name under which processing keeps its positions.
const Group = "process"

// Limits of a batch.
const (
	// MaxBatchRecords bounds how many records are decided and committed at once.
	MaxBatchRecords = 8192
	// readBytes is how much is read at once where that much waits.
	readBytes  = 1 << 20
	maxBackoff = 5 * time.Second
)

// Batch is a committed batch on its way to the store. Changes are in order of the log.
type Batch struct {
	Drops   []freshet.Shard // emptied before Changes; with an empty namespace all of a collection
	Changes []freshet.Change
	Through int64 // every record of events.raw up to this offset is decided by it
	Next    int64 // the offset behind the last of Changes in vector.sync; 0 without changes
}

// Options are the settings of a Processor.
type Options struct {
	Log       broker.Log
	Sequencer SequencerOptions // State is the processor's own
	// Deliver hands a committed batch on. It blocks while too much waits.
	Deliver func(ctx context.Context, b Batch) error
	// DropByDeleting has a drop delete entity by entity before it is decided, in a log that can't empty a shard at once because
	// others read it too.
	DropByDeleting bool
	// NoteCollections has it remember from which record on each collection exists, in a log whose catalog does not say that.
	NoteCollections bool
	Logger          *slog.Logger
}

// Stats are the processor's running totals. All fields may be read at any time.
type Stats struct {
	Records, Applied, Deleted, Unchanged, Superseded, Repeated, Dropped, Dead, Expired, Replayed atomic.Int64
	MapNs, SequenceNs, EmbedNs, CommitNs                                                         atomic.Int64
	Batches                                                                                      atomic.Int64
	Position                                                                                     atomic.Int64 // next offset to decide
	Purged                                                                                       atomic.Int64 // tombstones that were taken out of vector.sync
	Paused                                                                                       atomic.Bool  // by hand, or while an error is retried
}

// Processor decides the records of events.raw and commits what follows from them.
type Processor struct {
	opts   Options
	log    broker.Log
	seq    *Sequencer
	state  *logState
	member broker.Member
	next   int64
	turn   chan struct{} // holds the one who may write to vector.sync
	Stats  Stats

	key, value []byte // room, for who holds turn

	mu      sync.Mutex    // guards gate and failing, and orders writes of Stats.Paused
	gate    chan struct{} // not nil while paused by hand; closed to go on
	failing bool          // an error is retried
}

// New prepares a processor at the position that its group has reached.
func New(o Options) (*Processor, error) {
	state, err := openLogState(o.Log, o.Sequencer.Window)
	if err != nil {
		return nil, err
	}
	p := &Processor{opts: o, log: o.Log, state: state, turn: make(chan struct{}, 1)}
	o.Sequencer.State = p.state
	p.seq = NewSequencer(o.Sequencer)
	if p.next, err = o.Log.Position(Group, freshet.TopicRaw, 0); err != nil {
		return nil, err
	}
	p.next = max(p.next, o.Log.RawFirst())
	p.Stats.Position.Store(p.next)
	if o.NoteCollections {
		if p.seq.known, err = openKnown(o.Log, p.next); err != nil {
			return nil, fmt.Errorf("read where collections begin: %w", err)
		}
	}
	p.member = o.Log.Join(Group)
	return p, nil
}

// Next is the first offset that is not yet decided. It is for before Run.
func (p *Processor) Next() int64 { return p.next }

// Run decides records until ctx ends or the log is closed. Errors of the log, the embedder
// or the store pause it: the batch is tried again, with backoff, until it goes through.
func (p *Processor) Run(ctx context.Context) error {
	reader := p.log.ReadRawAs(p.member, p.next)
	defer reader.Close()
	var raw []journal.Record
	for {
		var err error
		raw, err = reader.Next(ctx, raw[:0], readBytes)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, journal.ErrClosed) {
				return nil
			}
			return fmt.Errorf("read %s: %w", freshet.TopicRaw, err)
		}
		for len(raw) > 0 {
			if err := p.passGate(ctx); err != nil {
				return nil
			}
			n := min(len(raw), MaxBatchRecords)
			if p.opts.DropByDeleting {
				n = cutAtDrop(raw[:n])
			}
			err := p.Between(ctx, func() error { return p.batch(ctx, records(p.log.RawTopic(), raw[:n])) })
			if err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
			raw = raw[n:]
		}
	}
}

// Pause holds processing after the batch at hand, until Resume.
func (p *Processor) Pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gate == nil {
		p.gate = make(chan struct{})
		p.showPaused()
	}
}

// Resume ends a Pause.
func (p *Processor) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gate != nil {
		close(p.gate)
		p.gate = nil
		p.showPaused()
	}
}

// Between calls f while no batch is being decided: vector.sync has one writer at a time. f
// must be short, events wait for it. The error is f's, or says that ctx has ended.
func (p *Processor) Between(ctx context.Context, f func() error) error {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-p.turn }()
	return f()
}

// fail notes whether an error is being retried.
func (p *Processor) fail(failing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failing != failing {
		p.failing = failing
		p.showPaused()
	}
}

func (p *Processor) showPaused() { p.Stats.Paused.Store(p.failing || p.gate != nil) }

func (p *Processor) passGate(ctx context.Context) error {
	p.mu.Lock()
	gate := p.gate
	p.mu.Unlock()
	if gate == nil {
		return nil
	}
	select {
	case <-gate:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// records gives raw records the shape that mapping takes.
func records(topic string, raw []journal.Record) []Record {
	out := make([]Record, len(raw))
	for i, r := range raw {
		out[i] = Record{Position: freshet.Position{Topic: topic, Partition: r.Partition, Offset: r.Offset},
			AcceptedAt: r.Time, Value: r.Value}
		for _, h := range r.Headers {
			switch h.Name {
			case freshet.HeaderSource:
				out[i].Source = string(h.Value)
			case freshet.HeaderTrace:
				out[i].Trace = string(h.Value)
			case freshet.HeaderDefaultEvent:
				out[i].Default = true
			case freshet.HeaderCommand:
				out[i].Command = string(h.Value)
			case freshet.HeaderChange:
				out[i].Change, _ = strconv.Atoi(string(h.Value)) // of another form it is not freshet's
			case freshet.HeaderMappedAt:
				out[i].MappedAt, _ = strconv.ParseInt(string(h.Value), 10, 64)
			case freshet.HeaderRefused:
				out[i].Refused = parseRefused(h.Value)
			}
		}
	}
	return out
}

// batch decides, commits and delivers, until it succeeds, ctx ends or the owner is deposed.
func (p *Processor) batch(ctx context.Context, batch []Record) error {
	through := batch[len(batch)-1].Position.Offset
	var timing Timing
	var decided *Decided
	var next int64
	err := p.retry(ctx, "process", func() (err error) {
		if err = p.empty(ctx, &batch[0]); err != nil {
			return err
		}
		if decided, err = p.decide(ctx, batch, &timing); err != nil {
			return err
		}
		next, err = p.commit(decided, through+1)
		timing.lap(&timing.Commit)
		return err
	})
	if err != nil {
		return err
	}
	p.next = through + 1
	p.note(len(batch), decided, &timing)
	changes := make([]freshet.Change, 0, len(decided.Changes))
	for i := range decided.Changes {
		if fence := decided.Changes[i].Fence; fence != nil {
			changes = append(changes, *fence)
		}
		changes = append(changes, decided.Changes[i].Change)
	}
	out := Batch{Changes: changes, Through: through, Next: next}
	if !p.opts.DropByDeleting {
		out.Drops = decided.Drops
	}
	return p.opts.Deliver(ctx, out)
}

// decide is Decide, with a panic as an error: processing pauses and says where, instead of ending at the same records
// after every start.
func (p *Processor) decide(ctx context.Context, batch []Record, t *Timing) (d *Decided, err error) {
	defer func() {
		if r := recover(); r != nil {
			first, last := batch[0].Position, batch[len(batch)-1].Position
			err = fmt.Errorf("deciding %s@%d to %d panicked, which is a bug of freshet: %v\n%s", first.Topic, first.Offset, last.Offset, r, debug.Stack())
		}
	}()
	return p.seq.Decide(ctx, batch, t)
}

// commit writes what was decided, with the position behind it, as one transaction. It returns
// the offset behind the last change in vector.sync.
func (p *Processor) commit(d *Decided, position int64) (next int64, err error) {
	tx := p.log.Begin()
	before := *p.state.seenTable
	if err = p.stage(tx, d, position); err == nil {
		err = tx.Commit()
	} else {
		tx.Abort()
	}
	if err != nil {
		*p.state.seenTable = before
		return 0, err
	}
	p.state.take(d.Facts)
	if p.seq.known != nil {
		p.seq.known.settle()
	}
	return tx.Next(), nil
}

func (p *Processor) stage(tx broker.Txn, d *Decided, position int64) error {
	for _, name := range d.Drops {
		if p.opts.DropByDeleting {
			break
		}
		if err := tx.Drop(freshet.TopicSync, wire.AppendDrop(nil, name), wire.DropRanges(name)); err != nil {
			return err
		}
	}
	for i := range d.Changes {
		if err := p.stageState(tx, &d.Changes[i]); err != nil {
			return err
		}
	}
	for i := range d.done {
		if err := tx.DeleteTable(broker.TableExpiry, d.done[i].tableKey()); err != nil {
			return err
		}
	}
	if err := stageOthers(tx, d.others); err != nil {
		return err
	}
	for i := range d.fates {
		if err := stageFate(tx, &d.fates[i]); err != nil {
			return err
		}
	}
	for i := range d.Dead {
		l := &d.Dead[i]
		if err := tx.Put(freshet.TopicDead, wire.DeadLetterKey(l.Position.Offset, l.Ordinal), wire.AppendDeadLetter(nil, l)); err != nil {
			return err
		}
	}
	if err := p.state.stage(tx, d.Seen); err != nil {
		return err
	}
	if err := errors.Join(p.state.stageFacts(tx, d.Facts), p.state.stageDrops(tx, d)); err != nil {
		return err
	}
	if p.seq.known != nil {
		if err := p.seq.known.stage(tx); err != nil {
			return err
		}
	}
	return tx.Move(p.member, freshet.TopicRaw, 0, position)
}

// stageState adds the new state of an entity to a transaction.
func (p *Processor) stageState(tx broker.Txn, d *Decision) error {
	latest := broker.NoRecord
	if d.Replaces != nil {
		latest = d.Replaces.Offset
	}
	p.key = wire.AppendKey(p.key[:0], d.Change.Key)
	p.value = wire.AppendChange(p.value[:0], &d.Change)
	if err := tx.Replace(freshet.TopicSync, p.key, p.value, latest); err != nil {
		return err
	}
	if err := p.state.note(tx, &d.Change, p.key); err != nil {
		return err
	}
	return stageExpiry(tx, d)
}

// retry calls step until it succeeds. Being deposed is final.
func (p *Processor) retry(ctx context.Context, what string, step func() error) error {
	backoff, told := 10*time.Millisecond, false
	for {
		err := step()
		p.fail(err != nil)
		if err == nil || errors.Is(err, broker.ErrFenced) || ctx.Err() != nil {
			return err
		}
		if !told || !isDiskFull(err) { // that one lasts, and the node says when it is over
			p.opts.Logger.Error("paused; it is tried again", "step", what, "error", err, "wait", backoff)
			told = true
		}
		<-p.turn // who repairs what a step fails by must get its turn
		select {
		case <-time.After(backoff/2 + rand.N(backoff/2)):
			p.turn <- struct{}{}
		case <-ctx.Done():
			p.turn <- struct{}{}
			return context.Cause(ctx)
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

func isDiskFull(err error) bool {
	e, ok := errors.AsType[*freshet.Error](err)
	return ok && e.Code == freshet.CodeDiskFull
}

func (p *Processor) note(records int, d *Decided, t *Timing) {
	s := &p.Stats
	s.Records.Add(int64(records))
	s.Applied.Add(d.Outcomes.Applied)
	s.Deleted.Add(d.Outcomes.Deleted)
	s.Unchanged.Add(d.Outcomes.Unchanged)
	s.Superseded.Add(d.Outcomes.Superseded)
	s.Repeated.Add(d.Outcomes.Repeated)
	s.Dropped.Add(d.Outcomes.Dropped)
	s.Dead.Add(d.Outcomes.Dead)
	s.Expired.Add(d.Outcomes.Expired)
	s.Replayed.Add(d.Outcomes.Replayed)
	s.MapNs.Add(int64(t.Map))
	s.SequenceNs.Add(int64(t.Sequence))
	s.EmbedNs.Add(int64(t.Embed))
	s.CommitNs.Add(int64(t.Commit))
	s.Batches.Add(1)
	s.Position.Store(p.next)
}
