package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/embed/chunk"
	"github.com/freshet-io/freshet/node"
)

// Options are the settings of a simulation. The zero value is the real thing.
type Options struct {
	// Skip takes syncs out, to show that the simulation notices; see disk.New.
	Skip func(disk.Site) bool
}

// Report says what happened in a simulation, so that a test can tell whether it still proves
// something.
type Report struct {
	Lives       int // how often a node was opened
	Cut         int // lives that a cut or a kill ended before some operation of the file system
	CutOpening  int // of these, before the node had come up
	Records     int // of events.raw at the end
	Kept        int // of these, never acknowledged
	Lost        int // events that were never acknowledged and are not there
	Torn        int // starts that found a frame cut off
	Repeated    int // events that were recognised as repeats
	Dead        int // dead letters
	Entities    int // at the end, tombstones included
	Snapshots   int // completed while the power was on
	Made        int // collections that events made
	Cuts        int // that took events away
	Forgotten   int // deletions that were forgotten, at the end
	Replayed    int // dead letters that had their effect later, or were superseded
	Dropped     int // dead letters that were dropped
	Expired     int // entities that were deleted because they were due
	Emptied     int // entities that went with their collection or namespace
	Unanswered  int // requests that nobody heard the answer of
	Late        int // requests that arrived when nobody waited for them any more
	Backups     int // written while the power was on
	Restores    int // of a backup
	RestoresCut int // restores that were interrupted
	Undone      int // events that were accepted, and that restores have taken away
}

// Add adds up two reports.
func (r *Report) Add(o Report) {
	r.Lives += o.Lives
	r.Cut += o.Cut
	r.CutOpening += o.CutOpening
	r.Records += o.Records
	r.Kept += o.Kept
	r.Lost += o.Lost
	r.Torn += o.Torn
	r.Repeated += o.Repeated
	r.Dead += o.Dead
	r.Entities += o.Entities
	r.Snapshots += o.Snapshots
	r.Made += o.Made
	r.Cuts += o.Cuts
	r.Forgotten += o.Forgotten
	r.Replayed += o.Replayed
	r.Dropped += o.Dropped
	r.Expired += o.Expired
	r.Emptied += o.Emptied
	r.Unanswered += o.Unanswered
	r.Late += o.Late
	r.Backups += o.Backups
	r.Restores += o.Restores
	r.RestoresCut += o.RestoresCut
	r.Undone += o.Undone
}

const (
	// waitMost bounds every wait: what takes longer hangs.
	waitMost = time.Minute
	dataDir  = "/srv/freshet/data"
	// cacheBytes and segmentBytes are small: segments end often, and nodes open fast.
	cacheBytes     = 1 << 20
	segmentBytes   = 20_000
	partitionsMost = 16
	// How many operations of the file system a new node needs to come up, and how many follow
	// while clients are busy; about.
	operationsOpening = 80
	operationsRunning = 240
)

// world is a data folder with those who use it.
type world struct {
	rng   *rand.Rand
	skip  func(disk.Site) bool
	cfg   config.Config
	bytes int64 // of a segment
	late  bool  // collectionLate is declared
	clock *clock
	net   network
	mem   *vfs.MemFS
	model *model
}

// Run runs a seed. The error says which promise was broken, in which life.
func Run(seed uint64, o Options) (Report, error) {
	w := &world{rng: rand.New(rand.NewPCG(seed, 1)), skip: o.Skip, mem: vfs.NewCrashableMem(), model: newModel(), clock: newClock()}
	if err := w.configure(); err != nil {
		return w.model.report, err
	}
	lives := 2 + w.rng.IntN(3)
	for n := range lives + 1 {
		if err := w.live(n, n == lives); err != nil {
			return w.model.report, fmt.Errorf("seed %d, life %d: %w", seed, n, err)
		}
	}
	return w.model.summary(), nil
}

// configure chooses a configuration, and makes the folder above the data folder.
func (w *world) configure() error {
	w.cfg = config.Defaults()
	w.cfg.Data = dataDir
	w.cfg.AutoCreate = true
	w.cfg.CacheBytes = cacheBytes
	w.cfg.Partitions = 1 + w.rng.IntN(partitionsMost)
	w.cfg.Index.Kind = []string{"hnsw", "flat"}[w.rng.IntN(2)]
	w.cfg.Splitter = chunk.Options{MaxBytes: chunk.MinMaxBytes}
	if w.rng.IntN(3) == 0 {
		w.cfg.Dedupe.MaxIDs = 1 + w.rng.Uint64N(40)
	}
	metric := []string{"cosine", "ip", "l2"}[w.rng.IntN(3)]
	for _, name := range []string{collectionVectors, collectionOrdered} {
		w.cfg.Collections[name] = config.Collection{Dim: dim, Metric: metric}
	}
	w.bytes = 1 + w.rng.Int64N(segmentBytes)
	if w.rng.IntN(2) == 0 {
		w.cfg.Retention.Bytes = 1 + w.rng.Int64N(w.bytes)
		if w.rng.IntN(4) > 0 {
			w.cfg.Retention.TombstoneTTL = 1
		}
	}
	return w.cfg.Validate()
}

// life is one node, from its start to its end.
type life struct {
	*world
	rng    *rand.Rand
	number int
	outlet *outlet
	node   *node.Node
	// promised is the offset up to which every record counts in completed snapshots of earlier lives.
	promised int64
	// held says that processing is paused while clients are busy: nobody can wait for it.
	held bool
	// drops says that collections or namespaces were emptied.
	drops atomic.Bool
}

// live opens a node, checks everything that was ever promised, lets the clients loose, and
// ends in one of several ways. The last life only checks.
func (w *world) live(number int, last bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), waitMost)
	defer cancel()
	l := &life{world: w, rng: w.rng, number: number, outlet: newOutlet(w.mem, w.fork()), promised: w.model.snapshot}
	w.clock.move(w.rng)
	if w.model.backup != nil && w.rng.IntN(4) == 0 {
		if err := w.restore(ctx); err != nil {
			return err
		}
		l.outlet, l.promised = newOutlet(w.mem, w.fork()), w.model.snapshot
	}
	if number > 0 && !w.late && w.rng.IntN(2) == 0 {
		w.late = true
		w.cfg.Collections = maps.Clone(w.cfg.Collections)
		w.cfg.Collections[collectionLate] = config.Collection{Model: config.BuiltinModel, Metric: "cosine"}
		if err := w.cfg.Validate(); err != nil {
			return err
		}
	}
	if number > 0 && w.rng.IntN(4) == 0 {
		if err := l.refuseChanges(ctx); err != nil {
			return err
		}
	}
	if first := number == 0; !last && (first && w.rng.IntN(2) == 0 || w.rng.IntN(6) == 0) {
		l.outlet.arm(operationsOpening >> (2 * w.rng.IntN(2))) // early, or at any time
	}
	var err error
	if l.node, err = w.open(ctx, w.cfg, memory{w.mem, l.outlet}, l.skipped); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer l.node.Kill()
	w.model.report.Lives++
	if !l.outlet.on() {
		w.model.report.CutOpening++
	} else if !last && w.rng.IntN(6) > 0 {
		l.outlet.arm(operationsRunning)
	}
	if err := l.check(ctx); err != nil {
		return fmt.Errorf("after the start: %w", err)
	}
	if last {
		return nil
	}
	if err := l.clients(ctx); err != nil {
		return err
	}
	return l.end(ctx)
}

// skipped reports whether a sync is taken out. Then the end often comes soon, as that is when
// the sync is missed most.
func (l *life) skipped(s disk.Site) bool {
	if l.skip == nil || !l.skip(s) {
		return false
	}
	l.outlet.hasten()
	return true
}

// open opens a node on a disk.
func (w *world) open(ctx context.Context, cfg config.Config, fs vfs.FS, skip func(disk.Site) bool) (*node.Node, error) {
	return node.Open(ctx, node.Options{Config: cfg, FS: disk.New(fs, skip), SegmentBytes: w.bytes,
		Now: w.clock.time, NoSources: true, Logger: slog.New(slog.DiscardHandler)})
}

// refuseChanges tries, on a copy of the disk, a configuration by which the same events would
// mean something else: once a node has come up, it must be refused.
func (l *life) refuseChanges(ctx context.Context) error {
	if l.model.log == (freshet.LogID{}) {
		return nil
	}
	cfg := l.cfg
	splitter := l.rng.IntN(2) == 0
	if splitter {
		cfg.Splitter.MaxBytes = 2 * chunk.MinMaxBytes
	} else {
		cfg.Collections = maps.Clone(cfg.Collections)
		cfg.Collections[collectionVectors] = config.Collection{Dim: dim + 1, Metric: cfg.Collections[collectionVectors].Metric}
	}
	n, err := l.open(ctx, cfg, l.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: l.rng}), l.skip)
	if err == nil {
		n.Kill()
		return errors.New("a configuration with another splitter or dimension was not refused")
	}
	if splitter != errors.Is(err, control.ErrRevision) || !splitter && !isCode(err, freshet.CodeInvalidField) {
		return fmt.Errorf("open with another splitter or dimension: %w", err)
	}
	return nil
}

// fork returns a random source of its own for a goroutine.
func (w *world) fork() *rand.Rand { return rand.New(rand.NewPCG(w.rng.Uint64(), w.rng.Uint64())) }

// clients writes, searches and operates until all is said or the power is off. In some lives after the first nobody
// writes: what the start has found is all that there is.
func (l *life) clients(ctx context.Context) error {
	if l.number > 0 && l.rng.IntN(6) == 0 {
		return (&operator{life: l, rng: l.fork()}).run(ctx, nil)
	}
	writers := make([]*writer, 1+l.rng.IntN(3))
	for i := range writers {
		rng := l.fork()
		writers[i] = &writer{life: l, rng: rng, author: &author{rng: rng, name: fmt.Sprintf("%d.%d", l.number, i),
			metric: l.cfg.Collections[collectionVectors].Metric, texts: texts{}, late: l.late, clock: l.clock}}
	}
	if l.rng.IntN(4) > 0 { // clients that retry what they never got an answer to
		writers[0].retry = l.model.unanswered()
	}
	if l.held = l.rng.IntN(8) == 0; l.held { // a backlog grows
		l.node.Processor().Pause()
	}
	op := &operator{life: l, rng: l.fork()}
	errs := make([]error, len(writers)+1)
	done := make(chan struct{})
	var writing, all sync.WaitGroup
	for i, w := range writers {
		writing.Go(func() { errs[i] = w.run(ctx) })
	}
	all.Go(func() { errs[len(writers)] = op.run(ctx, done) })
	writing.Wait()
	close(done)
	all.Wait()
	return errors.Join(errs...)
}

// end ends the life of the node: by a cut that has happened or happens now, or by a clean
// stop, which a cut may follow.
func (l *life) end(ctx context.Context) error {
	if l.outlet.on() && l.rng.IntN(3) == 0 {
		l.node.Processor().Resume()
		if err := l.check(ctx); err != nil {
			return fmt.Errorf("before the end: %w", err)
		}
	}
	if l.outlet.on() && l.rng.IntN(2) == 0 {
		s := l.aboutToSave()
		if err := l.node.Close(); err != nil {
			return fmt.Errorf("clean stop: %w", err)
		}
		l.outlet.witness(func() { l.model.save(s) })
		if l.rng.IntN(2) == 0 && l.outlet.on() {
			return nil // the same disk goes on
		}
	}
	if !l.outlet.on() {
		l.model.report.Cut++
	}
	l.outlet.end()
	l.node.Kill()
	l.mem = l.outlet.disk()
	return nil
}
