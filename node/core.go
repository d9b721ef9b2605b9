package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/embed"
	"github.com/freshet-io/freshet/feed"
	"github.com/freshet-io/freshet/freshness"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/query"
	"github.com/freshet-io/freshet/source"
	store "github.com/freshet-io/freshet/store/embedded"
	"github.com/freshet-io/freshet/telemetry"
	"github.com/freshet-io/freshet/vsync"
)

// core is what a node has wherever its log is: collections, store, searches, and the parts that keep them.
type core struct {
	opts      Options // for Config see config
	settings  atomic.Pointer[settings]
	catalog   *control.Catalog
	sequencer process.SequencerOptions
	model     freshet.Model               // the built-in one
	embedders map[string]freshet.Embedder // of this process, by model
	store     *store.Store
	tracker   *freshness.Tracker
	worker    *vsync.Worker
	planner   *query.Planner
	gateway   *gateway.Server
	metrics   *prometheus.Registry
	freshness *telemetry.Recent
	ages      prometheus.Histogram
	started   time.Time
	rebuilds  rebuilds
	letters   *letterbox

	ctx      context.Context // of the stages
	stop     context.CancelCauseFunc
	running  sync.WaitGroup
	failed   chan error // the error that ended a part
	snapping sync.Mutex // one snapshot at a time

	repairing sync.Mutex // one repair at a time
	reloading sync.Mutex // one reload at a time; guards a node's sources
}

func (n *core) init(o Options) {
	n.opts, n.started, n.failed, n.metrics = o, time.Now(), make(chan error, 8), prometheus.NewRegistry()
	n.freshness = telemetry.NewRecent(4096, 10*time.Second)
	n.ages = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "freshet_event_age_seconds",
		Help: "Age of sampled events when they became searchable.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 16)})
	n.settings.Store(newSettings(o.Config))
}

// logLoaded says how the indexes came up.
func (n *core) logLoaded(r store.LoadReport) {
	n.opts.Logger.Info("indexes are up", "entities", r.Entities, "snapshots", r.Snapshots, "older_snapshots", r.Older,
		"rejected_snapshots", len(r.Rejected), "built_from_log", r.Built, "applied_from_log", r.Applied,
		"snapshots_ms", r.SnapshotTime.Milliseconds(), "log_ms", r.LogTime.Milliseconds())
}

// settleCatalog declares the configured collections, for records from offset since on, and holds the configuration to what the
// data was made with.
func (n *core) settleCatalog(mapper process.Mapper, since int64) error {
	cfg := n.opts.Config
	if err := n.catalog.CheckEpoch(n.now()); err != nil {
		return err
	}
	builtin, err := embed.NewBuiltin()
	if err != nil {
		return err
	}
	n.model = builtin.Model()
	revision, err := n.catalog.CheckRevision(control.Revision{Mapping: mapper.Describe(), Splitter: cfg.Splitter.Describe()})
	if err != nil {
		return err
	}
	if err := n.catalog.Declare(declared(cfg, n.model, since)...); err != nil {
		return err
	}
	n.embedders = map[string]freshet.Embedder{n.model.Name: builtin}
	n.sequencer = process.SequencerOptions{Mapper: mapper, Collections: n.catalog,
		Embedders: n.embedders, Splitter: cfg.Splitter, Revision: revision.Number,
		Window:     process.Window{MaxAgeMs: time.Duration(cfg.Dedupe.Window).Milliseconds(), MaxIDs: cfg.Dedupe.MaxIDs},
		AutoCreate: cfg.AutoCreate && cfg.Mapping != nil}
	return n.checkModels()
}

// checkModels refuses collections whose model this binary does not have.
func (n *core) checkModels() error {
	for _, col := range n.catalog.All() {
		if _, ok := n.sequencer.Embedders[col.Model]; !ok && col.Model != "" {
			return fmt.Errorf("collection %q was made with model %q, which this version of freshet does not have; "+
				"use the version that made the data folder, or start on a new folder and send the events again", col.Name, col.Model)
		}
	}
	return nil
}

// now is the time of the clock that appends are told by.
func (n *core) now() time.Time {
	if n.opts.Now != nil {
		return n.opts.Now()
	}
	return time.Now()
}

func (n *core) run(ctx context.Context, what string, part func(context.Context) error) {
	n.running.Go(func() {
		if err := part(ctx); err != nil && ctx.Err() == nil {
			n.failed <- fmt.Errorf("%s: %w", what, err)
		}
	})
}

// intakeOptions are the settings of an intake but for its log.
func (n *core) intakeOptions() source.Options {
	cfg := n.config()
	return source.Options{Catalog: n.catalog, Mapped: cfg.Mapping != nil || cfg.Codec != nil, Nulls: cfg.Codec != nil,
		AutoCreate: cfg.AutoCreate, Limits: source.Limits(cfg.Limits)}
}

// openGateway makes what answers searches and requests.
func (n *core) openGateway(intake *source.Intake, changes *feed.Feed, deadLetters func(freshet.Span, int) ([]freshet.DeadLetter, error),
	admin gateway.Admin, ready func() (bool, int64)) {
	n.openPlanner(deadLetters)
	n.gateway = gateway.New(n.gatewayOptions(intake, changes, admin, ready))
}

// openPlanner makes what answers searches.
func (n *core) openPlanner(deadLetters func(freshet.Span, int) ([]freshet.DeadLetter, error)) {
	n.planner = &query.Planner{Store: n.store, Catalog: n.catalog, Embedders: n.embedders,
		Tracker: n.tracker, DeadLetters: deadLetters, Now: n.now}
}

// gatewayOptions are the parts that every gateway has.
func (n *core) gatewayOptions(intake *source.Intake, changes *feed.Feed, admin gateway.Admin, ready func() (bool, int64)) gateway.Options {
	return gateway.Options{Intake: intake, Planner: n.planner, Catalog: n.catalog, Changes: changes, Admin: admin,
		Ready: ready, Metrics: n.metrics, Page: n.opts.Page, Version: n.opts.Version, Logger: n.opts.Logger}
}

// halt ends the parts, waits for what else must have ended, saves the indexes if it is to, and closes the store.
func (n *core) halt(save bool, wait func()) error {
	var errs []error
	if n.stop != nil {
		n.stop(errors.New("freshet is stopping"))
		wait()
		n.running.Wait()
		if save {
			_, err := n.Snapshot(context.Background())
			errs = append(errs, err)
		}
	}
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	return errors.Join(errs...)
}

// Failed delivers the error of a part that can't go on; the node should be closed then.
func (n *core) Failed() <-chan error { return n.failed }

// Gateway answers HTTP requests.
func (n *core) Gateway() *gateway.Server { return n.gateway }

// Planner answers searches.
func (n *core) Planner() *query.Planner { return n.planner }

// Store is the embedded store.
func (n *core) Store() *store.Store { return n.store }

// Snapshot saves the indexes that have changed.
func (n *core) Snapshot(ctx context.Context) (int, error) {
	n.snapping.Lock()
	defer n.snapping.Unlock()
	return n.store.Snapshot(ctx)
}

// When snapshots are taken besides the configured interval: it is looked at every so often, and two of them have a pause
// between them, so that a flood of changes does not keep the disk busy with them.
const (
	snapshotPoll  = time.Second
	snapshotPause = 30 * time.Second
)

func (n *core) snapshots(ctx context.Context) error {
	last := time.Now()
	for {
		now := n.settings.Load()
		c := now.Snapshot
		select {
		case <-ctx.Done():
			return nil
		case <-now.replaced:
			continue
		case <-time.After(min(snapshotPoll, time.Duration(c.Interval))):
		}
		since := time.Since(last)
		if since < time.Duration(c.Interval) && (since < snapshotPause || n.store.Unsaved() < c.Changes) {
			continue
		}
		if _, err := n.Snapshot(ctx); err != nil && ctx.Err() == nil {
			n.opts.Logger.Error("indexes could not be saved; it is tried again", "error", err)
		}
		last = time.Now()
	}
}

// agesPerBatch is about how many changes of a batch are sampled for the figures of freshness.
const agesPerBatch = 4

// sampleAges notes how old some of the changes were when they became searchable.
func (n *core) sampleAges(changes []freshet.Change) {
	now := time.Now()
	for i := 0; i < len(changes); i += max(1, len(changes)/agesPerBatch) {
		age := now.Sub(time.UnixMilli(changes[i].AcceptedAt))
		n.freshness.Add(age)
		n.ages.Observe(age.Seconds())
	}
}
