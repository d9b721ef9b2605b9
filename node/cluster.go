package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshet-io/freshet"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/feed"
	"github.com/freshet-io/freshet/freshness"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/query/fanout"
	"github.com/freshet-io/freshet/source"
	"github.com/freshet-io/freshet/source/keyed"
	store "github.com/freshet-io/freshet/store/embedded"
	"github.com/freshet-io/freshet/vsync"
)

// Cluster is one process of a freshet whose log is in Kafka. By its roles it takes events in, decides the partitions that the group gives it,
// for which it has a copy of all of vector.sync or of theirs, and answers searches: for the partitions that it holds from its own indexes, for others by
// asking who holds them.
type Cluster struct {
	core
	client   *kafka.Client
	records  *kafka.Control // freshet.control
	state    *broker.State
	copy     *kafka.Copy
	commands *kafka.Appender // to events.keyed
	commits  *kafka.Committer
	replica  *kafka.Replica
	external *kafka.External
	// Where contents become vectors in processes of their own; nil where this process has none of it.
	asker       *kafka.Asker
	embedWorker *kafka.EmbedWorker
	membership  *kafka.Membership
	owners      *owners
	expiry      *expiry
	intake      *source.Intake
	routing     *routing
	changes     *freshness.Tracker // of the copy's order of vector.sync
	fanout      *fanout.Fanout     // nil: all partitions are held here

	held     []int32 // partitions of the indexes
	followed []int32 // of the copy, whoever owns them
	address  string  // where others reach this process; "" where that is not known

	goal    map[int32]int64 // of vector.sync, that the copy must have to be ready
	ready   atomic.Bool
	closing sync.Once
	closed  error
}

// OpenCluster starts a process of a freshet whose log is in Kafka. It returns when searches can be answered from what its copy
// had; Ready says when the copy has all that was there at the start.
func OpenCluster(ctx context.Context, o Options) (*Cluster, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	c := &Cluster{}
	c.core.init(o)
	c.expiry = newExpiry(c)
	c.owners = &owners{c: c, owned: map[int32]*owner{}, gone: map[string]int64{}}
	if err := c.open(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cluster) open(ctx context.Context) error {
	cfg := c.opts.Config
	if err := c.setRoles(); err != nil {
		return err
	}
	mapper, err := newMapper(cfg)
	if err != nil {
		return err
	}
	index, collections, err := indexOptions(cfg)
	if err != nil {
		return err
	}
	options, err := kafkaOptions(cfg, c.opts.Logger)
	if err != nil {
		return err
	}
	if c.client, err = kafka.Open(ctx, options); err != nil {
		return err
	}
	id, err := c.client.Identity(ctx)
	if err != nil {
		return err
	}
	c.state, err = broker.OpenCopy(cfg.Data, "kafka", id, broker.Options{FS: c.opts.FS, CacheBytes: cfg.CacheBytes, Former: c.client.Former(),
		Partitions: c.client.Options().Partitions, Patience: c.opts.Patience})
	if err != nil {
		return err
	}
	c.copy = kafka.NewCopy(c.state, c.client.Options().Topics, c.deliver)
	if c.records, err = c.client.OpenControl(ctx, c.copy); err != nil {
		return err
	}
	if c.catalog, err = control.Open(c.records); err != nil {
		return err
	}
	c.copy.Externals(writers{c.catalog}, c.client.Options())
	if err := c.copy.NotePartial(c.followed); err != nil {
		return err
	}
	if err := c.settleCatalog(mapper, 0); err != nil {
		return err
	}
	if err := c.sweepCopy(ctx, c.followed...); err != nil {
		return err
	}
	c.store, err = store.Open(ctx, store.Options{Log: c.state, Catalog: c.catalog, Logger: c.opts.Logger,
		Index: index, Collections: collections, Part: c.part(), Now: c.opts.Now})
	if err != nil {
		return err
	}
	c.logLoaded(c.store.Loaded())
	if err := c.openEmbedding(ctx); err != nil {
		return err
	}
	if err := c.openStages(id); err != nil {
		return err
	}
	c.openWays()
	return c.start(ctx)
}

// sweepCopy takes out of the copy of partitions what their topics have no more, if it was away for long.
func (c *Cluster) sweepCopy(ctx context.Context, partitions ...int32) error {
	swept, err := c.client.Sweep(ctx, c.copy, c.now(), partitions...)
	if swept > 0 {
		c.opts.Logger.Info("the copy was away for long, and has lost what the topics have no more", "keys", swept)
	}
	return err
}

// openStages makes what reads and writes the log.
func (c *Cluster) openStages(id freshet.LogID) (err error) {
	partitions := c.client.Options().Partitions
	decided := make([]int64, partitions)
	for p := range decided {
		next, err := c.copy.Decided(int32(p))
		if err != nil {
			return err
		}
		decided[p] = next - 1
	}
	c.tracker = freshness.NewPartitioned(id, freshet.TopicKeyed, decided)
	end, err := c.state.End(freshet.TopicSync)
	if err != nil {
		return err
	}
	c.changes = freshness.NewTracker(c.state.ID(), freshet.TopicSync, 1, end-1, func() int64 { return 0 })
	c.worker = vsync.NewWorker(c.store, c.decided, c.opts.Logger)
	if c.commands, err = c.client.NewAppender(c.client.Options().Topics.Keyed); err != nil {
		return err
	}
	c.external = c.client.NewExternal(c.copy)
	c.commits = c.client.NewCommitter(c.copy, c.commands)
	c.replica, err = c.client.NewReplica(c.copy, c.followed)
	return err
}

// openWays makes the ways in: of events, over HTTP and from events.raw, and of searches.
func (c *Cluster) openWays() {
	cfg := c.config()
	c.routing = &routing{routers: map[*keyed.Router]struct{}{}, options: keyed.RouterOptions{Client: c.client, Reader: c.commits.Reader(), Mapper: c.sequencer.Mapper,
		Form: formOf(*cfg), Registry: cfg.SchemaRegistry != nil, EventBytes: cfg.Limits.EventBytes, Logger: c.opts.Logger}}
	c.intake = c.newIntake()
	c.letters = c.letterbox()
	c.openPlanner(c.deadLettersOf)
	o := c.gatewayOptions(c.intake, feed.New(c.state, c.changes, c.now), c.admin(), c.Ready)
	o.Part, o.Refuse = c.openPart(), c.refusals()
	c.gateway = gateway.New(o)
	c.register()
}

// start runs the parts, each until its context ends.
func (c *Cluster) start(ctx context.Context) error {
	run, stop := context.WithCancelCause(context.Background())
	c.ctx, c.stop = run, stop
	ends, err := c.client.Ends(ctx, c.client.Options().Topics.Sync)
	if err != nil {
		return err
	}
	if len(c.followed) > 0 {
		c.goal = ends
	}
	c.run(run, "vsync", c.worker.Run)
	c.run(run, "control", func(ctx context.Context) error { return c.records.Run(ctx, c.catalog.Take) })
	if len(c.followed) > 0 || c.opts.Config.Has(config.RoleProcess) { // owners watch who else writes to their partitions
		c.run(run, "replica", c.replica.Run)
	}
	if len(c.followed) > 0 {
		c.run(run, "external", c.external.Run)
	}
	if len(c.held) > 0 {
		c.run(run, "snapshots", c.snapshots)
		c.run(run, "recall", c.store.Watch)
	}
	if c.asker != nil {
		c.run(run, "embedding", c.asker.Run)
	}
	if c.embedWorker != nil {
		c.run(run, "embed worker", c.embedWorker.Run)
	}
	c.run(run, "caught up", c.noteCaughtUp)
	c.run(run, "ready", c.untilReady)
	if c.opts.Config.Has(config.RoleProcess) {
		if c.membership, err = c.client.Join(c.owners); err != nil {
			return fmt.Errorf("join the group: %w", err)
		}
	}
	return c.announce()
}

// deliver hands what others have committed to the store.
func (c *Cluster) deliver(_ context.Context, partition int32, t kafka.Taken) error {
	return c.worker.Deliver(c.ctx, vsync.Batch{Changes: t.Changes, Forgotten: t.Forgotten, Marks: []vsync.Mark{{Partition: partition, Through: t.Decided - 1, Next: t.Next}}})
}

// decided is called by the worker when a batch can be searched.
func (c *Cluster) decided(b vsync.Batch) {
	for i := range b.Forgotten {
		c.store.Forget(b.Forgotten[i].Key, b.Forgotten[i].Version)
	}
	for _, m := range b.Marks {
		if m.Next > 0 {
			if all := c.copy.Applied(m.Next); all > 0 {
				c.store.Advance(all)
				c.changes.Advance(all - 1)
			}
		}
	}
	for _, m := range b.Marks {
		c.tracker.AdvanceIn(m.Partition, m.Through)
	}
	if len(c.held) > 0 {
		c.sampleAges(b.Changes)
	}
}

// How often the copy notes what it has.
const (
	caughtUpEvery = time.Minute // or an eighth of what deletions are kept for
	caughtUpLeast = 100 * time.Millisecond
)

// noteCaughtUp has the copy note what it has, as long as that matters to the next start.
func (c *Cluster) noteCaughtUp(ctx context.Context) error {
	every := max(min(caughtUpEvery, c.client.Options().SyncDeleteRetention/8), caughtUpLeast)
	for {
		if err := c.client.NoteCaughtUp(ctx, c.copy, c.now()); err != nil && ctx.Err() == nil {
			c.opts.Logger.Warn("the copy could not note what it has; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
	}
}

// untilReady waits until the copy has what the topics had at the start.
func (c *Cluster) untilReady(ctx context.Context) error {
	for p, goal := range c.goal {
		for {
			at, err := c.copy.Position(c.client.Options().Topics.Sync, p)
			if err != nil {
				return err
			}
			others, err := c.external.Has(p, goal)
			if err != nil {
				return err
			}
			if (at >= goal || !c.follows(p)) && others { // records of others may stand in any partition
				break
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	if err := c.copy.NoteWhole(c.followed); err != nil {
		return err
	}
	c.ready.Store(true)
	return nil
}

// waitDecided blocks until a record of a partition of events.keyed, and all before it, are decided.
func (c *Cluster) waitDecided(ctx context.Context, partition int32, offset int64) error {
	return c.tracker.Wait(ctx, freshet.Token{Log: c.tracker.Log(),
		Spans: []freshet.Span{{Topic: freshet.TopicKeyed, Partition: partition, First: offset, Last: offset}}})
}

// Ready reports whether the copy has what was there at the start, and how many records of the partitions owned here are not
// decided at present.
func (c *Cluster) Ready() (bool, int64) { return c.ready.Load(), c.lag() }

// Intake takes events in.
func (c *Cluster) Intake() *source.Intake { return c.intake }

// fail ends the process for an error that does not go away.
func (c *Cluster) fail(err error) {
	select {
	case c.failed <- err:
	default: // one is enough
	}
}

// Kill stops the process without saving anything, as a crash would, but for the group, which it leaves; for tests.
func (c *Cluster) Kill() { c.closing.Do(func() { c.closed = c.shut(false) }) }

// Close gives the partitions back, saves the indexes and closes the copy. It is idempotent.
func (c *Cluster) Close() error {
	c.closing.Do(func() { c.closed = c.shut(true) })
	return c.closed
}

func (c *Cluster) shut(save bool) error {
	var errs []error
	if save && c.stop != nil {
		c.leave()
	}
	if c.fanout != nil {
		c.fanout.Close()
	}
	if c.membership != nil {
		c.membership.Leave()
	}
	c.owners.stopAll()
	errs = append(errs, c.halt(save, c.waitReloaded))
	if c.state != nil {
		errs = append(errs, c.state.CloseCopy())
	}
	if c.commands != nil {
		c.commits.Close()
		c.commands.Close()
	}
	if c.asker != nil {
		c.asker.Close()
	}
	if c.embedWorker != nil {
		c.embedWorker.Close()
	}
	if c.records != nil {
		c.records.Close()
	}
	if c.client != nil {
		c.client.Close()
	}
	return errors.Join(errs...)
}
