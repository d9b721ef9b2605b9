// Package node puts the parts of freshet together in one process. It is the only place where
// the stages meet: the command, the benchmarks and the simulation all run what is wired here.
//
// Parts start in the order of the data and stop in reverse: see Open and Close.
package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshet-io/freshet"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/codec/cdc"
	"github.com/freshet-io/freshet/codec/registry"
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/feed"
	"github.com/freshet-io/freshet/freshness"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/process/mapping"
	"github.com/freshet-io/freshet/source"
	store "github.com/freshet-io/freshet/store/embedded"
	"github.com/freshet-io/freshet/vsync"
)

// Options are what a node needs beside its configuration.
type Options struct {
	Config config.Config // in force at the start; see Reload
	// Read reads the configuration anew for Reload; nil where there is no file.
	Read    func() (config.Config, error)
	FS      disk.FS // default: the operating system's
	Logger  *slog.Logger
	Page    []byte
	Version string
	Now     func() time.Time // of appends; default time.Now
	// SegmentBytes is the size of a journal segment; for tests.
	SegmentBytes int64
	// Address is where HTTP is served, as HOST:PORT; of a log in Kafka, where other processes ask.
	Address string
	// Patience is how long a start or a stop waits for room on a full disk. Default 10 s.
	Patience time.Duration
	// NoSources leaves out all that writes events by itself: the configured sources, retention, expiry. For
	// commands that only look.
	NoSources bool
}

// Node is a running freshet: every role in one process, the log included.
type Node struct {
	core
	log       *broker.Log
	processor *process.Processor
	intake    *source.Intake
	goal      int64 // offset that must be decided to be ready
	ready     atomic.Bool

	retention retention
	retaining sync.Mutex // one Retain at a time
	expirer   *process.Expirer
	dropping  sync.Mutex    // held while the settings of what was dropped are reset
	dropped   chan struct{} // told of drops that were decided

	sources []watching
	closing sync.Once
	closed  error
}

// Open starts a node: log, catalog, store, then the stages. It returns when searches can be
// answered from what was decided before; Ready says when the backlog is decided too.
func Open(ctx context.Context, o Options) (*Node, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	n := &Node{dropped: make(chan struct{}, 1)}
	n.core.init(o)
	if err := n.open(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Node) open(ctx context.Context) (err error) {
	cfg := n.opts.Config
	// What is wrong with the configuration is said before a folder is made.
	if err := checkBroker(cfg); err != nil {
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
	n.log, err = broker.Open(cfg.Data, broker.Options{FS: n.opts.FS, Partitions: cfg.Partitions,
		CacheBytes: cfg.CacheBytes, SegmentBytes: cmp.Or(n.opts.SegmentBytes, segmentBytes(cfg.Retention.Bytes)), Now: n.opts.Now,
		Patience: n.opts.Patience})
	if err != nil {
		return err
	}
	if torn := n.log.TornBytes(); torn > 0 {
		n.opts.Logger.Info("a write that was never acknowledged was cut off by a crash", "bytes", torn)
	}
	if err := n.openCatalog(mapper); err != nil {
		return err
	}
	n.store, err = store.Open(ctx, store.Options{Log: n.log.State, Catalog: n.catalog, Logger: n.opts.Logger,
		Index: index, Collections: collections, Now: n.opts.Now})
	if err != nil {
		return err
	}
	n.logLoaded(n.store.Loaded())
	if err := n.openStages(); err != nil {
		return err
	}
	n.register()
	n.start()
	return nil
}

// openCatalog opens the catalog of the log.
func (n *Node) openCatalog(mapper process.Mapper) (err error) {
	if n.catalog, err = control.Open(n.log); err != nil {
		return err
	}
	since, err := n.log.Position(process.Group, freshet.TopicRaw, 0)
	if err != nil {
		return err
	}
	if !n.log.StoppedCleanly() {
		// Decisions that a crash has taken back may have been seen, and are to be made again as they were: without the
		// collections that are new with this start.
		since = max(since, n.log.RawEnd())
	}
	return n.settleCatalog(mapper, since)
}

func newMapper(cfg config.Config) (process.Mapper, error) {
	var rows *cdc.Decoder
	if cfg.Codec != nil {
		var err error
		if rows, err = cdc.New(*cfg.Codec); err != nil {
			return nil, err
		}
	}
	var mapper process.Mapper = process.Default{}
	var err error
	switch {
	case cfg.Mapping != nil:
		mapper, err = mapping.New(*cfg.Mapping, rows)
	case rows != nil:
		mapper = process.Rows{Decoder: rows}
	}
	if err != nil || cfg.SchemaRegistry == nil {
		return mapper, err
	}
	decoder, err := registry.New(*cfg.SchemaRegistry, registry.Shape{Form: formOf(cfg), Typed: cfg.Codec != nil && cfg.Codec.Format == cdc.Debezium})
	return process.Decoded{Decoder: decoder, Mapper: mapper}, err
}

// formOf says what the values of events.raw are, and so what the keys of Kafka's records mean.
func formOf(cfg config.Config) codec.Form {
	switch {
	case cfg.Codec != nil:
		return codec.FormRows
	case cfg.Mapping != nil:
		return codec.FormObjects
	}
	return codec.FormEvents
}

// indexOptions checks the settings of indexes, which each shard would only do when it is made. It
// returns those of all, and what differs in some collections.
func indexOptions(c config.Config) (all store.IndexOptions, collections map[string]control.Index, err error) {
	base := store.IndexOptions{Dir: filepath.Join(c.Data, "index")}
	if all, err = base.With(indexSettings(c.Index)); err != nil {
		return all, nil, fmt.Errorf("index: %w", err)
	}
	collections = map[string]control.Index{}
	for name, col := range c.Collections {
		collections[name] = indexSettings(col.Index)
		if _, err := all.With(collections[name]); err != nil {
			return all, nil, fmt.Errorf("collections.%s.index: %w", name, err)
		}
	}
	return all, collections, nil
}

func indexSettings(c config.Index) control.Index {
	return control.Index{Kind: c.Kind, Precision: c.Precision, M: c.M, EfConstruction: c.EfConstruction, Ef: c.Ef, TargetRecall: c.TargetRecall}
}

func (n *Node) openStages() (err error) {
	n.worker = vsync.NewWorker(n.store, n.decided, n.opts.Logger)
	n.processor, err = process.New(process.Options{Log: n.log, Sequencer: n.sequencer, Logger: n.opts.Logger,
		Deliver: func(ctx context.Context, b process.Batch) error {
			return n.worker.Deliver(ctx, vsync.Batch{Drops: b.Drops, Changes: b.Changes, Marks: []vsync.Mark{{Through: b.Through, Next: b.Next}}})
		}})
	if err != nil {
		return err
	}
	if err := n.openRetention(); err != nil {
		return err
	}
	n.goal = n.log.RawEnd()
	n.tracker = freshness.NewTracker(n.log.ID(), freshet.TopicRaw, n.log.Partitions(), n.processor.Next()-1, n.log.RawEnd)
	o := n.intakeOptions()
	o.Log, o.Decided = n.log, n.tracker.Decided
	n.intake = source.NewIntake(o)
	n.letters = n.letterbox()
	n.openGateway(n.intake, feed.New(n.log.State, n.tracker, n.now), n.deadLettersOf, n.admin(), n.Ready)
	return nil
}

// start runs the stages, each until its context ends.
func (n *Node) start() {
	ctx, stop := context.WithCancelCause(context.Background())
	n.ctx, n.stop = ctx, stop
	n.run(ctx, "vsync", n.worker.Run)
	n.run(ctx, "process", n.processor.Run)
	n.run(ctx, "snapshots", n.snapshots)
	n.run(ctx, "drops", n.settleDrops)
	n.run(ctx, "recall", n.store.Watch)
	n.run(ctx, "disk", n.watchDisk)
	n.expirer = &process.Expirer{Log: n.log, Logger: n.opts.Logger, Now: func() int64 { return n.now().UnixMilli() }, Decided: n.waitDecided}
	if n.opts.NoSources {
		return
	}
	n.run(ctx, "expiry", n.expirer.Run)
	n.run(ctx, "retention", n.retention.run)
	n.watchFolders(n.config().Sources.Files)
}

// decided is called by the worker when everything up to an offset has its effect.
func (n *Node) decided(b vsync.Batch) {
	last := b.Marks[len(b.Marks)-1]
	for _, m := range b.Marks {
		n.store.Advance(m.Next)
	}
	n.tracker.Advance(last.Through)
	if len(b.Drops) > 0 {
		select {
		case n.dropped <- struct{}{}:
		default: // it is told already
		}
	}
	n.sampleAges(b.Changes)
	if !n.ready.Load() && last.Through >= n.goal-1 {
		n.ready.Store(true)
	}
}

// Ready reports whether what was in the log at the start is decided, and how many records
// are not decided at present.
func (n *Node) Ready() (bool, int64) {
	lag := n.log.RawEnd() - 1 - n.tracker.Decided()
	if lag == 0 || n.tracker.Decided() >= n.goal-1 {
		n.ready.Store(true)
	}
	return n.ready.Load(), max(0, lag)
}

// CatchUp blocks until every record that is in the log now is decided.
func (n *Node) CatchUp(ctx context.Context) error {
	end := n.log.RawEnd() - 1
	if end < 0 {
		return nil
	}
	return n.waitDecided(ctx, end)
}

// Intake takes events in.
func (n *Node) Intake() *source.Intake { return n.intake }

// Log is the embedded log.
func (n *Node) Log() *broker.Log { return n.log }

// Processor decides records.
func (n *Node) Processor() *process.Processor { return n.processor }

// Expire deletes entities that are due, some at once, and returns how many it looked at: 0 when none is due.
func (n *Node) Expire(ctx context.Context) (int, error) { return n.expirer.Step(ctx) }

// Audit folds events.raw anew and compares it with vector.sync, and vector.sync with the
// indexes, while traffic goes on.
func (n *Node) Audit(ctx context.Context) (*freshet.AuditReport, error) {
	return n.audit(ctx, n.logs(), n.settled)
}

// Repair is Audit, and mends what differs; see [core.repair].
func (n *Node) Repair(ctx context.Context) (*freshet.AuditReport, error) {
	return n.repair(ctx, n.logs(), n.settled)
}

// logs are what is decided here: all.
func (n *Node) logs() []decided {
	return []decided{{log: n.log, sequencer: n.sequencer, processor: n.processor}}
}

// settled blocks until the store has everything that is committed now.
func (n *Node) settled(ctx context.Context) error {
	next, err := n.log.Position(process.Group, freshet.TopicRaw, 0)
	if err != nil || next == 0 {
		return err
	}
	return n.waitDecided(ctx, next-1)
}

// waitDecided blocks until a record of events.raw, and all before it, are decided.
func (n *Node) waitDecided(ctx context.Context, offset int64) error {
	return n.tracker.Wait(ctx, freshet.Token{Log: n.log.ID(), Spans: []freshet.Span{{Topic: freshet.TopicRaw, First: offset, Last: offset}}})
}

// Kill stops the node without saving anything, as a crash would; for tests.
func (n *Node) Kill() {
	n.closing.Do(func() { n.closed = n.shut(false) })
}

// Close stops the stages, saves the indexes and closes the log. It is idempotent. On a full disk it does what it can, and the error
// says that it is full; nothing is lost by it.
func (n *Node) Close() error {
	n.closing.Do(func() { n.closed = n.shut(true) })
	return n.closed
}

func (n *Node) shut(save bool) error {
	var errs []error
	if n.log != nil {
		n.log.Stopping()
	}
	errs = append(errs, n.halt(save, n.waitReloaded))
	if n.log != nil {
		errs = append(errs, n.log.Close())
	}
	return errors.Join(errs...)
}

func ms(d time.Duration) *float64 {
	v := math.Round(float64(d.Microseconds())) / 1000
	return &v
}
