package embedded

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/ann/quality"
)

// How recall is watched.
const (
	watchedQueries = 128  // of each index
	sampleOneIn    = 16   // searches, on average, that are kept as queries
	roundsPerQuery = 16   // after which a query makes room for a new one
	maxNewQueries  = 32   // that wait to be taken over
	maxChanges     = 8192 // of an index that wait to be taken over; beyond, its exact answers are found by scans again
	watchRound     = 8    // queries that are measured at a time
	watchEvery     = 250 * time.Millisecond
	// watchShare is the share of one processor that measuring may take: what took a millisecond is followed by a pause of
	// fifty. mendShare is that while an index is below its target.
	watchShare = 0.02
	mendShare  = 0.05
	// MaxWatched is how many indexes report their recall: the largest.
	MaxWatched = 100
)

// watcher measures the recall of a shard's index with queries that were asked, and keeps it at its target. Searches and
// changes leave what it needs, see ask and changed; all else happens in watch.
type watcher struct {
	ef     atomic.Int64 // width of searches; 0: as it is set
	hungry atomic.Bool  // every query is kept, since there are few

	mu      sync.Mutex // guards the fields below
	asked   [][]float32
	changes []ann.Op // nil Vector: deleted
	missed  bool     // there were more changes than wait
	now     Recall

	// For the goroutine of watch only.
	index  *ann.Index // that the measurements are of
	base   int        // its width, which the tuner widens
	watch  *quality.Watch
	tuner  *quality.Tuner
	next   int // query to measure
	rounds int // since the last new query
	// repair is set while recall is below the target: points that queries miss get more links.
	repair bool
}

// Recall is the measured recall of an index: the share of the true ten nearest that searches find.
type Recall struct {
	Shard             freshet.Shard
	Target            float64
	Recall, Low, High float64
	Queries           int
	Ef                int // in use
	Alert             bool
}

// ask keeps some of the queries that are asked without a width or a filter.
func (s *shard) ask(q *freshet.Query) {
	w := s.watcher.Load()
	if w == nil || q.Ef != 0 || q.Exact || q.Filter != nil || !w.hungry.Load() && rand.Uint32()%sampleOneIn != 0 || !w.mu.TryLock() {
		return
	}
	defer w.mu.Unlock()
	if len(w.asked) < maxNewQueries {
		w.asked = append(w.asked, slices.Clone(q.Vector))
	}
}

// ef is the width of searches, 0 for what the index has.
func (s *shard) ef() int {
	if w := s.watcher.Load(); w != nil {
		return int(w.ef.Load())
	}
	return 0
}

// changed leaves the changes of an index to its watcher.
func (s *shard) changed(ops []ann.Op) {
	w := s.watcher.Load()
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.changes)+len(ops) > maxChanges {
		w.changes, w.missed = w.changes[:0], true
		return
	}
	w.changes = append(w.changes, ops...)
}

// recall is what was measured last, nil when nothing was.
func (s *shard) recall() *Recall {
	w := s.watcher.Load()
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.now.Queries == 0 {
		return nil
	}
	r := w.now
	return &r
}

// Recalls returns the measured recall of the indexes that have been asked enough, the largest MaxWatched of them.
func (s *Store) Recalls() (all []Recall) {
	for _, sh := range s.all() {
		if r := sh.recall(); r != nil {
			all = append(all, *r)
		}
	}
	return all
}

// Watch measures the recall of the indexes that have a graph or lists, and keeps it at their targets, until ctx ends. It
// takes a fiftieth of a processor, and a twentieth while an index is below its target.
func (s *Store) Watch(ctx context.Context) error {
	for {
		began, share := time.Now(), watchShare
		for _, sh := range s.largest() {
			if err := s.watchOnce(sh); err != nil && !errors.Is(err, ann.ErrClosed) {
				s.logger.Warn("recall could not be measured", "collection", sh.name.Collection, "namespace", sh.name.Namespace, "error", err)
			}
			if w := sh.watcher.Load(); w != nil && w.repair {
				share = mendShare
			}
			if ctx.Err() != nil {
				return nil
			}
		}
		pause := max(watchEvery, time.Duration(float64(time.Since(began))/share))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// largest are the shards that are watched.
func (s *Store) largest() []*shard {
	var list []*shard
	for _, sh := range s.all() {
		if ix := sh.vectors(); ix.Options().Kind != ann.Flat && ix.Len() > max(quality.K, ix.Options().FlatBelow) {
			list = append(list, sh)
		}
	}
	slices.SortStableFunc(list, func(a, b *shard) int { return b.vectors().Len() - a.vectors().Len() })
	return list[:min(len(list), MaxWatched)]
}

// watchOnce takes over what has come for a shard's watcher, measures some queries, and does what follows.
func (s *Store) watchOnce(sh *shard) error {
	o, err := s.settings(sh.name)
	if err != nil {
		return err
	}
	if o.TargetRecall <= 0 || o.TargetRecall >= 1 {
		sh.watcher.Store(nil)
		return nil
	}
	w := sh.watcher.Load()
	if w == nil {
		w = &watcher{}
		sh.watcher.Store(w)
	}
	if ix := sh.vectors(); w.index != ix || w.tuner.Target() != o.TargetRecall || w.base != ix.Options().Ef {
		fresh := w.watch == nil
		w.index, w.base, w.tuner = ix, ix.Options().Ef, quality.NewTuner(o.TargetRecall, watchedQueries)
		w.ef.Store(0)
		if fresh {
			w.watch = quality.NewWatch(sh.metric, watchedQueries)
		}
	}
	if err := w.takeOver(sh); err != nil {
		return err
	}
	missed, err := w.measure()
	if err != nil {
		return err
	}
	return s.decide(sh, w, missed)
}

// takeOver takes the queries that were asked and the changes that were made.
func (w *watcher) takeOver(sh *shard) error {
	w.mu.Lock()
	asked, changes, lost := w.asked, w.changes, w.missed
	w.asked, w.changes, w.missed = nil, nil, false
	w.mu.Unlock()
	if lost {
		w.watch.Forget()
		changes = nil
	}
	var stored []float32
	for _, op := range changes {
		vector := []float32(nil)
		if op.Vector != nil {
			var err error
			if stored, err = w.index.Stored(op.Vector, stored[:0]); err != nil {
				return err
			}
			vector = stored
		}
		w.watch.Changed(op.Key, vector)
	}
	for _, q := range asked {
		// Each new query costs a scan: once there are enough they are replaced one by one.
		if full := w.watch.Len() == watchedQueries; full && w.rounds < roundsPerQuery {
			break
		}
		w.watch.Offer(q)
		w.rounds = 0
	}
	w.rounds++
	w.hungry.Store(w.watch.Len() < watchedQueries)
	return nil
}

// measure measures the next queries, one scan at most among them. It returns the points that every other query missed.
// The estimate is of the others: a query whose missed points get more links tells no longer what searches find.
func (w *watcher) measure() (missed []uint64, err error) {
	search := func(exact bool) quality.Search {
		return func(vector []float32, k int) ([]ann.Result, error) {
			return w.index.Search(vector, k, ann.SearchOptions{Ef: w.width(), Exact: exact}, nil)
		}
	}
	for range min(watchRound, w.watch.Len()) {
		w.next = (w.next + 1) % w.watch.Len()
		s, scanned, ok, err := w.watch.Measure(w.next, search(false), search(true))
		if err != nil {
			return nil, err
		}
		switch ok = ok && w.holds(w.next, s.Missed); {
		case ok && w.next%2 == 0:
			w.tuner.Add(s.Recall)
		case ok:
			for _, m := range s.Missed {
				missed = append(missed, m.Key)
			}
		}
		if scanned {
			break
		}
	}
	return missed, nil
}

// holds reports whether what query i missed is there indeed.
func (w *watcher) holds(i int, missed []ann.Result) bool {
	for _, m := range missed {
		vector, found, err := w.index.Vector(m.Key, nil)
		if !w.watch.Holds(i, m, vector, found && err == nil) {
			return false
		}
	}
	return true
}

// width is the width that searches have.
func (w *watcher) width() int {
	if ef := int(w.ef.Load()); ef > 0 {
		return ef
	}
	return w.index.Options().Ef
}

// decide does what follows from the measurements.
func (s *Store) decide(sh *shard, w *watcher, missed []uint64) error {
	before := w.tuner.Alert()
	e := w.tuner.Estimate()
	action := w.tuner.Decide()
	ef := min(ann.MaxEf, int(w.tuner.Factor()*float64(w.base)+0.5))
	w.ef.Store(int64(ef))
	log := s.logger.With("collection", sh.name.Collection, "namespace", sh.name.Namespace, "recall", e.Recall, "low", e.Low, "high", e.High,
		"target", w.tuner.Target(), "ef", ef)
	switch action {
	case quality.Raised:
		log.Info("recall is below its target: searches are wider now")
	case quality.Lowered:
		log.Info("recall is well above its target: searches are less wide again")
	}
	if action == quality.Raised || action == quality.Repair {
		w.repair = true
	}
	if e.Samples > 0 && e.Recall >= w.tuner.Target() {
		w.repair = false
	}
	w.mu.Lock()
	if e.Samples >= minReported || w.now.Queries > 0 {
		w.now = Recall{Shard: sh.name, Target: w.tuner.Target(), Recall: e.Recall, Low: e.Low, High: e.High, Queries: e.Samples, Ef: ef, Alert: w.tuner.Alert()}
	}
	w.mu.Unlock()
	if w.tuner.Alert() && !before {
		log.Warn("the target recall can't be reached: rebuild the index with more links (freshet index rebuild --m, --ef-construction), or lower the target")
	}
	if w.repair {
		_, err := w.index.Relink(missed)
		return err
	}
	return nil
}

// minReported is how many measurements are reported at least.
const minReported = 16
