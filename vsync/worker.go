package vsync

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/freshet-io/freshet"
)

// Limits of a worker.
const (
	// queueBatches is how many committed batches may wait for the store; then processing waits.
	queueBatches = 16
	// maxApply is how many changes may wait behind a batch to be joined with it; the last one
	// that is joined may exceed it.
	maxApply   = 8192
	minBackoff = 10 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// Batch is a committed run of changes, in order of the log.
type Batch struct {
	Drops   []freshet.Shard // emptied before Changes are applied; with an empty namespace all of a collection
	Changes []freshet.Change
	// Forgotten are deletions that vector.sync has no more, by key and version; whoever is told that the batch is applied may let go of them.
	Forgotten []freshet.Change
	Marks     []Mark // what is reached once the changes are applied
}

// Mark says how far one owner has come.
type Mark struct {
	Partition int32 // of the raw topic; 0 where all partitions are decided in one order
	Through   int64 // every record of it up to here is decided
	Next      int64 // the offset behind the last of the changes in vector.sync; 0 without changes
}

// Stats are a worker's running totals.
type Stats struct {
	Applied, Superseded, Batches, ApplyNs atomic.Int64
	Paused                                atomic.Bool
}

// Worker applies batches to a store, in order.
type Worker struct {
	store   freshet.Store
	decided func(Batch)
	queue   chan Batch
	log     *slog.Logger
	Stats   Stats
}

// NewWorker returns a worker. decided is called after each applied batch.
func NewWorker(store freshet.Store, decided func(Batch), log *slog.Logger) *Worker {
	return &Worker{store: store, decided: decided, queue: make(chan Batch, queueBatches), log: log}
}

// Deliver queues a batch; it blocks while the queue is full.
func (w *Worker) Deliver(ctx context.Context, b Batch) error {
	select {
	case w.queue <- b:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Run applies batches until ctx ends. What is still queued then is applied again after the
// next start: the store is brought up to the log before anything else.
func (w *Worker) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case b := <-w.queue:
			for more := true; more; {
				var joined Batch
				joined, b, more = w.gather(b)
				if err := w.apply(ctx, joined); err != nil {
					return nil // only ctx ends the retries
				}
			}
		}
	}
}

// gather joins what waits behind b to one batch, up to one that drops something: that is next then, and more is true.
// Changes and marks of b may have room behind them that belongs to who delivered them, so they are copied when something is joined.
func (w *Worker) gather(b Batch) (joined, next Batch, more bool) {
	b.Changes, b.Forgotten, b.Marks = slices.Clip(b.Changes), slices.Clip(b.Forgotten), slices.Clip(b.Marks)
	for len(b.Changes) < maxApply {
		select {
		case next := <-w.queue:
			if len(next.Drops) > 0 {
				return b, next, true
			}
			b.Changes = append(b.Changes, next.Changes...)
			b.Forgotten = append(b.Forgotten, next.Forgotten...)
			b.Marks = append(b.Marks, next.Marks...)
		default:
			return b, Batch{}, false
		}
	}
	return b, Batch{}, false
}

func (w *Worker) apply(ctx context.Context, b Batch) error {
	start := time.Now()
	backoff := minBackoff
	for {
		results, err := w.takeIn(ctx, b)
		w.Stats.Paused.Store(err != nil)
		if err == nil {
			w.note(results, time.Since(start))
			w.decided(b)
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		w.log.Error("store does not take changes; they are applied again", "changes", len(b.Changes), "error", err, "wait", backoff)
		select {
		case <-time.After(backoff/2 + rand.N(backoff/2)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// takeIn gives a batch to the store.
func (w *Worker) takeIn(ctx context.Context, b Batch) ([]freshet.Applied, error) {
	for _, name := range b.Drops {
		if err := w.store.Drop(ctx, name); err != nil {
			return nil, err
		}
	}
	return w.store.Apply(ctx, b.Changes)
}

func (w *Worker) note(results []freshet.Applied, took time.Duration) {
	var applied, superseded int64
	for _, r := range results {
		if r == freshet.AppliedNew {
			applied++
		} else {
			superseded++
		}
	}
	w.Stats.Applied.Add(applied)
	w.Stats.Superseded.Add(superseded)
	w.Stats.Batches.Add(1)
	w.Stats.ApplyNs.Add(int64(took))
}
