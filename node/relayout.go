package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/freshet-io/freshet"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/source/keyed"
	"github.com/freshet-io/freshet/wire"
)

// raiseCommand is how the log says who lays it out anew.
const raiseCommand = "`freshet epoch raise`"

// RelayoutOptions are the settings of what gives a log in Kafka another layout.
type RelayoutOptions struct {
	Options
	// WithoutCopy goes on with nothing where a compacted topic was made again and the data folder has no copy of it.
	WithoutCopy bool
	// Batch is how many records are written at once. Default 8192, or 4 MiB.
	Batch int
	// Tell gets a line now and then: what differs, what is done, what is lost.
	Tell func(line string)
}

// RaiseKafkaEpoch makes a log in Kafka go on after topics were deleted and made again, or given more partitions, while no process uses
// it. What it has written counts from one moment on; until then a start is refused. When it is interrupted it is to be repeated. changed
// is false when the topics are as the log was begun with.
func RaiseKafkaEpoch(ctx context.Context, o RelayoutOptions) (epoch control.Epoch, changed bool, err error) {
	err = goOn(func() error {
		var more bool
		e, more, err := raiseKafkaEpoch(ctx, o)
		if more {
			epoch, changed = e, true
		}
		return err
	})
	return epoch, changed, err
}

// goOn repeats a change of layout that brokers have broken off: it goes on where it was.
func goOn(attempt func() error) (err error) {
	for range 3 {
		if err = attempt(); !kafka.Unwritten(err) {
			break
		}
	}
	return err
}

func raiseKafkaEpoch(ctx context.Context, o RelayoutOptions) (epoch control.Epoch, changed bool, err error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	r, err := openRelayout(ctx, o)
	if err != nil {
		return epoch, false, err
	}
	defer r.close()
	if !r.to.There() {
		return epoch, false, errors.New("there is no log in the topics: nothing to raise")
	}
	if remade := r.to.Remade(); len(remade) > 0 {
		if epoch, err = r.remade(remade); err != nil {
			return epoch, false, fmt.Errorf("raise epoch: %w", err)
		}
		changed = true
	}
	if want := r.client.Options().Partitions; want != r.to.Partitions() {
		if epoch, err = r.split(want); err != nil {
			return epoch, changed, fmt.Errorf("raise epoch: %w", err)
		}
		changed = true
	}
	return epoch, changed, nil
}

// KafkaEpochs are the epochs of a log in Kafka, oldest first. Processes may be at work.
func KafkaEpochs(ctx context.Context, o Options) ([]control.Epoch, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	options, err := kafkaOptions(o.Config, o.Logger)
	if err != nil {
		return nil, err
	}
	client, err := kafka.Open(ctx, options)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	log, err := client.ReadLayout(ctx)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	if !log.There() {
		return nil, errors.New("there is no log in the topics")
	}
	catalog, err := control.Open(log)
	if err != nil {
		return nil, err
	}
	return catalog.Epochs(), nil
}

// relayout is a change of layout under way.
type relayout struct {
	core
	ctx    context.Context
	opts   RelayoutOptions
	client *kafka.Client
	to     *kafka.Relayout
	state  *broker.State // the copy of the log as it was
	copy   *kafka.Copy
}

func openRelayout(ctx context.Context, o RelayoutOptions) (r *relayout, err error) {
	r = &relayout{ctx: ctx, opts: o}
	r.core.init(o.Options)
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	options, err := kafkaOptions(o.Config, o.Logger)
	if err != nil {
		return r, err
	}
	if r.client, err = kafka.Open(ctx, options); err != nil {
		return r, err
	}
	if r.to, err = r.client.OpenRelayout(ctx); err != nil {
		return r, err
	}
	if r.catalog, err = control.Open(r.to); err != nil {
		return r, err
	}
	r.to.Progress(o.Batch, func(done int64) { r.tell("%d records are written", done) })
	return r, r.to.Idle()
}

// fs is the file system of data folders.
func (r *relayout) fs() disk.FS {
	if r.opts.FS.FS == nil {
		return disk.OS()
	}
	return r.opts.FS
}

func (r *relayout) tell(format string, args ...any) {
	if r.opts.Tell != nil {
		r.opts.Tell(fmt.Sprintf(format, args...))
	}
}

func (r *relayout) close() {
	if r.to != nil {
		r.to.Close()
	}
	if r.client != nil {
		r.client.Close()
	}
}

// openCopy opens the data folder as the copy of the log as it was; it is closed by the returned function.
func (r *relayout) openCopy() (done func() error, err error) {
	c := r.opts.Config
	r.state, err = broker.OpenCopy(c.Data, "kafka", r.to.ID(), broker.Options{FS: r.opts.FS, CacheBytes: c.CacheBytes,
		Former: r.client.Former(), Partitions: r.to.Partitions(), Patience: r.opts.Patience})
	if err != nil {
		return nil, err
	}
	r.copy = kafka.NewCopy(r.state, r.client.Options().Topics, func(context.Context, int32, kafka.Taken) error { return nil })
	r.copy.Externals(writers{r.catalog}, r.client.Options())
	return r.state.CloseCopy, nil
}

// remade goes on with topics that were deleted and made again, by their default names.
func (r *relayout) remade(names []string) (epoch control.Epoch, err error) {
	n := r.to.Partitions()
	lost := slices.ContainsFunc(names, func(name string) bool { return name != freshet.TopicRaw && name != freshet.TopicKeyed })
	r.tell("made again: %s", strings.Join(names, ", "))
	done, err := r.openCopy()
	if err != nil {
		return epoch, err
	}
	defer func() { err = errors.Join(err, done()) }()
	if lost {
		for _, col := range r.catalog.All() {
			if col.External {
				r.tell("collection %s is written by others: what is missing of it they have to write again", col.Name)
			}
		}
		if err := r.checkCopy(); err != nil {
			return epoch, err
		}
	}
	if err := errors.Join(r.to.Begin(raiseCommand, n), r.to.Grow()); err != nil {
		return epoch, err
	}
	old, err := r.to.Old(r.ctx)
	if err != nil {
		return epoch, err
	}
	defer old.Close()
	commits := old.NewCommitter(r.copy, nil)
	defer commits.Close()
	b := &branch{to: r.to, catalog: r.catalog, state: r.state, old: n, now: n, ends: make([]int64, n), whole: lost}
	keyedRemade := slices.Contains(names, freshet.TopicKeyed)
	starts, err := old.Starts(r.ctx, old.Options().Topics.Keyed)
	if err != nil {
		return epoch, err
	}
	for p := range int32(n) {
		if lost {
			err = old.Fence(r.ctx, r.copy, p)
		} else {
			err = r.restore(old, commits, p)
		}
		if err != nil {
			return epoch, err
		}
		if b.ends[p], err = r.copy.Decided(p); err != nil {
			return epoch, err
		}
		if first := starts[p]; !keyedRemade && b.ends[p] > 0 && b.ends[p] < first {
			r.tell("%d records of partition %d are lost: the copy ends before the first that is kept", first-b.ends[p], p)
			b.ends[p] = first
		}
	}
	shifts := r.to.Shifts()
	if keyedRemade {
		r.tell("what stood in %s and was not decided is lost; producers may send it again", freshet.TopicKeyed)
		copy(shifts, b.ends)
	}
	if lost {
		if err := r.strays(n); err != nil {
			return epoch, err
		}
	}
	if lost || keyedRemade { // audits begin with what stands there
		if err := b.run(); err != nil {
			return epoch, err
		}
	}
	return r.finish(shifts, b.ends)
}

// checkCopy refuses to go on without some of what was lost where that is not wanted.
func (r *relayout) checkCopy() error {
	partial, err := r.copy.Partial()
	if err != nil || len(partial) == 0 {
		return err
	}
	missing := "partitions " + wire.PartitionsString(partial)
	if len(partial) == r.to.Partitions() {
		missing = "the log"
	}
	if r.opts.WithoutCopy {
		r.tell("no copy of %s: the entities are lost but for those that events of %s give again, and what the folder has of them", missing, freshet.TopicKeyed)
		return nil
	}
	return fmt.Errorf("the data folder %s has no copy of %s, from which what was lost could be written again: name that of a process with all partitions with --data; "+
		"or give --without-copy to go on with nothing but what it has, and the events that are kept in %s", r.opts.Config.Data, missing, freshet.TopicKeyed)
}

// own takes a partition, of which the copy may have been away for long.
func (r *relayout) own(ctx context.Context, client *kafka.Client, commits *kafka.Committer, p int32) (*kafka.Partition, error) {
	if _, err := client.Sweep(ctx, r.copy, r.now(), p); err != nil {
		return nil, err
	}
	return commits.Own(ctx, p)
}

// restore brings the copy up to what the owner of a partition has committed.
func (r *relayout) restore(client *kafka.Client, commits *kafka.Committer, p int32) error {
	owned, err := r.own(r.ctx, client, commits, p)
	if err == nil {
		owned.Close()
	}
	return err
}

// strays takes out of the topics what the copy does not have.
func (r *relayout) strays(n int) error {
	for p := range int32(n) {
		write, err := r.to.At([]byte{0, byte(p >> 8), byte(p)})
		if err != nil || !write {
			return err
		}
		err = r.to.Stray(r.copy, p, func(topic string, key []byte) error {
			if k, err := wire.ParseKey(key); topic != freshet.TopicSync || err == nil && !r.isExternal(k) {
				r.to.Remove(topic, p, key)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// isExternal reports whether others write an entity, to whatever partition they choose.
func (r *relayout) isExternal(key freshet.Key) bool {
	col, ok := r.catalog.Get(key.Collection)
	return ok && col.External
}

// finish makes the layout apply, in an epoch that begins at an offset of each partition.
func (r *relayout) finish(shifts, starts []int64) (epoch control.Epoch, err error) {
	if err := r.to.Finish(shifts); err != nil {
		return epoch, err
	}
	return r.catalog.RaiseEpochAt(r.to.ID(), starts, r.now(), control.EpochRaised)
}

// split gives the log a multiple of its partitions: each is split into several, which go on with its history.
func (r *relayout) split(now int) (epoch control.Epoch, err error) {
	old := r.to.Partitions()
	if now%old != 0 {
		return epoch, fmt.Errorf("partitions: the log has %d, which become a multiple of that, not %d: set partitions to %d", old, now, (now/old+1)*old)
	}
	r.tell("%d partitions become %d", old, now)
	if err := r.to.Begin(raiseCommand, now); err != nil {
		return epoch, err
	}
	done, err := r.openCopy()
	if err != nil {
		return epoch, err
	}
	defer func() { err = errors.Join(err, done()) }()
	client, err := r.to.Old(r.ctx)
	if err != nil {
		return epoch, err
	}
	defer client.Close()
	if r.to.Ends() == nil {
		ends, err := r.drain(client, old)
		if err != nil {
			return epoch, err
		}
		if err := r.to.Drained(ends); err != nil {
			return epoch, err
		}
	} else {
		commits := client.NewCommitter(r.copy, nil)
		defer commits.Close()
		for p := range int32(old) {
			if err := r.restore(client, commits, p); err != nil {
				return epoch, err
			}
		}
	}
	if err := r.to.Grow(); err != nil {
		return epoch, err
	}
	ends := r.to.Ends()
	b := &branch{to: r.to, catalog: r.catalog, state: r.state, old: old, now: now, ends: ends}
	if err := b.run(); err != nil {
		return epoch, err
	}
	shifts, starts := make([]int64, now), make([]int64, now)
	copy(shifts, r.to.Shifts())
	for p := range shifts {
		if starts[p] = ends[p%old]; p >= old {
			shifts[p] = starts[p]
		}
	}
	return r.finish(shifts, starts)
}

// drain decides what the old layout holds: what foreign producers have written to events.raw up to now, and all of events.keyed. It returns
// where the partitions of events.keyed end.
func (r *relayout) drain(client *kafka.Client, n int) (ends []int64, err error) {
	mapper, err := newMapper(r.opts.Config)
	if err != nil {
		return nil, err
	}
	if err := r.settleCatalog(mapper, 0); err != nil {
		return nil, err
	}
	commands, err := client.NewAppender(client.Options().Topics.Keyed)
	if err != nil {
		return nil, err
	}
	defer commands.Close()
	commits := client.NewCommitter(r.copy, commands)
	defer commits.Close()
	ctx, stop := context.WithCancel(r.ctx)
	running := make(chan error, 2*n)
	count := 0
	run := func(f func(context.Context) error) {
		count++
		go func() { running <- f(ctx) }()
	}
	defer func() {
		stop()
		for range count {
			err = errors.Join(err, <-running)
		}
	}()
	if err := r.forward(ctx, client, commits, n, mapper); err != nil {
		return nil, err
	}
	ends = make([]int64, n)
	for p := range int32(n) {
		owned, err := r.own(ctx, client, commits, p)
		if err != nil {
			return nil, err
		}
		defer owned.Close()
		sequencer := r.sequencer
		sequencer.Owns = owned.Owns
		w, err := process.New(process.Options{Log: owned, Sequencer: sequencer, DropByDeleting: true, NoteCollections: true, Logger: r.opts.Logger,
			Deliver: func(context.Context, process.Batch) error { return nil }})
		if err != nil {
			return nil, err
		}
		run(w.Run)
		// A command that says nothing is the last record: forwards before it that are repetitions are passed over without a trace.
		last, err := process.AppendCommand(ctx, owned, &process.Purge{})
		if err != nil {
			return nil, err
		}
		for told := time.Now(); w.Stats.Position.Load() <= last; {
			select {
			case err := <-running:
				count--
				return nil, errors.Join(err, errors.New("a partition could not be drained"))
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			case <-time.After(drainPoll):
			}
			if time.Since(told) > drainTell {
				r.tell("partition %d: %d records are not decided yet", p, last+1-w.Stats.Position.Load())
				told = time.Now()
			}
		}
		ends[p] = last + 1
	}
	return ends, nil
}

// How a drain looks whether it is done, and tells how far it is.
const (
	drainPoll = 10 * time.Millisecond
	drainTell = 5 * time.Second
)

// forward forwards what stands in the old partitions of events.raw now, as the owners of partitions do.
func (r *relayout) forward(ctx context.Context, client *kafka.Client, commits *kafka.Committer, n int, mapper process.Mapper) error {
	raw := client.Options().Topics.Raw
	ends, err := client.Ends(ctx, raw)
	if err != nil {
		return err
	}
	id, err := client.TopicID(ctx, raw)
	if err != nil {
		return err
	}
	cfg := r.opts.Config
	reader := client.NewSharedReader()
	defer reader.Close()
	options := keyed.RouterOptions{Client: client, Reader: reader, Mapper: mapper, Form: formOf(cfg), Registry: cfg.SchemaRegistry != nil,
		EventBytes: cfg.Limits.EventBytes, Logger: r.opts.Logger}
	for p := range int32(n) {
		if ends[p] == 0 {
			continue
		}
		owned, err := r.own(ctx, client, commits, p)
		if err != nil {
			return err
		}
		router := routerOf(options, owned)
		reached := func(ctx context.Context) error {
			for {
				at, ok, err := client.Checkpoint(ctx, router.Group(), raw, id, p)
				if err != nil || ok && at >= ends[p] {
					return err
				}
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(drainPoll):
				}
			}
		}
		err = together(ctx, router.Run, reached)
		owned.Close()
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
	}
	return nil
}
