package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/vsync"
)

// owners decide the partitions that the group gives to this process, each by itself. They implement [kafka.Owners].
type owners struct {
	c *Cluster

	mu     sync.Mutex // guards what follows, and the fields of owners that say so
	owned  map[int32]*owner
	paused bool             // by hand
	gone   map[string]int64 // outcomes and times of processors that ended
}

// owner decides one partition until it is stopped.
type owner struct {
	stop context.CancelFunc
	done chan struct{}

	partition *kafka.Partition   // guarded by owners.mu
	processor *process.Processor // likewise; nil while the partition is being taken
}

// Assigned implements [kafka.Owners].
func (o *owners) Assigned(partitions []int32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range partitions {
		if o.owned[p] != nil || o.c.ctx.Err() != nil {
			continue
		}
		ctx, stop := context.WithCancel(o.c.ctx)
		w := &owner{stop: stop, done: make(chan struct{})}
		o.owned[p] = w
		go func() {
			defer close(w.done)
			o.own(ctx, w, p)
		}()
	}
	o.c.opts.Logger.Info("partitions are owned by this process", "partitions", partitions)
}

// Revoked implements [kafka.Owners].
func (o *owners) Revoked(partitions []int32) {
	o.mu.Lock()
	var stopped []*owner
	for _, p := range partitions {
		if w := o.owned[p]; w != nil {
			w.stop()
			stopped = append(stopped, w)
			delete(o.owned, p)
		}
	}
	o.mu.Unlock()
	for _, w := range stopped {
		<-w.done
	}
	o.c.opts.Logger.Info("partitions go to other processes", "partitions", partitions)
}

// Refused implements [kafka.Owners].
func (o *owners) Refused(err error) { o.c.fail(kafkaField(err)) }

// Pauses between two tries to take a partition.
const (
	minOwnPause = 50 * time.Millisecond
	maxOwnPause = 5 * time.Second
)

// own takes a partition and decides it, again after every error, until ctx ends. While nobody here has it the replica
// follows it, if the copy is of it whoever has it.
func (o *owners) own(ctx context.Context, w *owner, number int32) {
	o.c.replica.Leave(number)
	for pause := minOwnPause; ctx.Err() == nil; {
		began := time.Now()
		err := o.decide(ctx, w, number)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, kafka.ErrMixed) {
			o.c.fail(err)
			break
		}
		if time.Since(began) > maxOwnPause {
			pause = minOwnPause
		}
		o.c.opts.Logger.Warn("a partition is taken anew", "partition", number, "error", err, "wait", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, maxOwnPause)
	}
	if !o.c.follows(number) {
		return
	}
	if err := o.c.replica.Follow(number); err != nil {
		o.c.fail(err)
	}
}

// decide takes a partition and decides it until ctx ends or the ownership does.
func (o *owners) decide(ctx context.Context, w *owner, number int32) error {
	if !o.c.follows(number) {
		if err := o.c.sweepCopy(ctx, number); err != nil {
			return err
		}
	}
	partition, err := o.c.commits.Own(ctx, number)
	if err != nil {
		return err
	}
	defer partition.Close()
	if err := o.c.replica.Watch(partition); err != nil {
		return err
	}
	defer o.c.replica.Leave(number)
	p, err := process.New(process.Options{Log: partition, Sequencer: o.c.sequencerOf(partition), DropByDeleting: true, NoteCollections: true, Logger: o.c.opts.Logger,
		// What is committed goes to the store even if the partition goes: the copy has it.
		Deliver: func(_ context.Context, b process.Batch) error {
			return o.c.worker.Deliver(o.c.ctx, vsync.Batch{Drops: b.Drops, Changes: b.Changes,
				Marks: []vsync.Mark{{Partition: number, Through: b.Through, Next: b.Next}}})
		}})
	if err != nil {
		return err
	}
	keeper, err := o.c.expiry.keeper(partition, p)
	if err != nil {
		return err
	}
	o.begin(w, partition, p)
	defer o.end(w)

	expirer := &process.Expirer{Log: partition, Logger: o.c.opts.Logger, Now: func() int64 { return o.c.now().UnixMilli() },
		Decided: func(ctx context.Context, offset int64) error { return o.c.waitDecided(ctx, number, offset) }}
	return together(ctx, p.Run, expirer.Run, keeper.run, func(ctx context.Context) error { return o.c.routing.route(ctx, partition) })
}

// sequencerOf are the options of the sequencer of a partition.
func (c *Cluster) sequencerOf(p *kafka.Partition) process.SequencerOptions {
	o := c.sequencer
	o.Owns = p.Owns
	return o
}

// together runs parts until the first of them ends, and then waits for the others.
func together(ctx context.Context, parts ...func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	errs := make([]error, len(parts))
	var running sync.WaitGroup
	for i, part := range parts {
		running.Go(func() {
			defer stop()
			errs[i] = part(ctx)
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

func (o *owners) begin(w *owner, partition *kafka.Partition, p *process.Processor) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.paused {
		p.Pause()
	}
	w.partition, w.processor = partition, p
}

// end keeps what the processor has counted.
func (o *owners) end(w *owner) {
	o.mu.Lock()
	defer o.mu.Unlock()
	add(o.gone, outcomes(&w.processor.Stats))
	add(o.gone, stageNs(&w.processor.Stats))
	add(o.gone, purged(&w.processor.Stats))
	w.partition, w.processor = nil, nil
}

// each calls f for the processors that decide at present.
func (o *owners) each(f func(*kafka.Partition, *process.Processor)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, w := range o.owned {
		if w.processor != nil {
			f(w.partition, w.processor)
		}
	}
}

// pause holds all processing of this process, or goes on with it.
func (o *owners) pause(paused bool) {
	o.mu.Lock()
	o.paused = paused
	o.mu.Unlock()
	o.each(func(_ *kafka.Partition, p *process.Processor) {
		if paused {
			p.Pause()
		} else {
			p.Resume()
		}
	})
}

// stopAll ends all of them.
func (o *owners) stopAll() {
	o.mu.Lock()
	var all []int32
	for p := range o.owned {
		all = append(all, p)
	}
	o.mu.Unlock()
	if len(all) > 0 {
		o.Revoked(all)
	}
}

// totals are what all processors have counted since the start, those of partitions that are gone included.
func (o *owners) totals(of func(*process.Stats) map[string]int64) map[string]int64 {
	sum := of(&process.Stats{})
	o.mu.Lock()
	defer o.mu.Unlock()
	for k := range sum {
		sum[k] += o.gone[k]
	}
	for _, w := range o.owned {
		if w.processor != nil {
			add(sum, of(&w.processor.Stats))
		}
	}
	return sum
}

func add(to, from map[string]int64) {
	for k, v := range from {
		to[k] += v
	}
}
