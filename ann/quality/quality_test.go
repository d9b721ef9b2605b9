package quality_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/ann/quality"
)

// model is points, and what an index would find of them.
type model struct {
	metric ann.Metric
	points map[uint64][]float32
	blind  func(key uint64) bool // what searches miss
}

func (m *model) find(exact bool) quality.Search {
	return func(q []float32, k int) ([]ann.Result, error) {
		var all []ann.Result
		for key, v := range m.points {
			if exact || !m.blind(key) {
				all = append(all, ann.Result{Key: key, Score: quality.Score(m.metric, q, v)})
			}
		}
		slices.SortFunc(all, func(a, b ann.Result) int {
			if a.Score != b.Score {
				return map[bool]int{true: -1, false: 1}[a.Score > b.Score]
			}
			return int(a.Key) - int(b.Key)
		})
		return all[:min(k, len(all))], nil
	}
}

func vector(rng *rand.Rand, m ann.Metric) []float32 {
	v := make([]float32, 12)
	var sum float64
	for i := range v {
		v[i] = float32(rng.NormFloat64())
		sum += float64(v[i]) * float64(v[i])
	}
	if m == ann.Cosine {
		for i := range v {
			v[i] /= float32(math.Sqrt(sum))
		}
	}
	return v
}

// TestAnswersFollowChanges changes a model at random and measures in between: what is kept of the exact answers must give
// the recall that a scan gives, and scans must be few.
func TestAnswersFollowChanges(t *testing.T) {
	for _, metric := range []ann.Metric{ann.Cosine, ann.InnerProduct, ann.L2} {
		rng := rand.New(rand.NewPCG(uint64(metric), 9))
		m := &model{metric: metric, points: map[uint64][]float32{}, blind: func(key uint64) bool { return key%5 == 0 }}
		w := quality.NewWatch(metric, 16)
		change := func() {
			key := rng.Uint64N(600)
			if rng.IntN(3) == 0 {
				delete(m.points, key)
				w.Changed(key, nil)
				return
			}
			m.points[key] = vector(rng, metric)
			w.Changed(key, m.points[key])
		}
		for range 2000 {
			change()
		}
		var queries [][]float32
		for range 20 { // four more than it keeps
			queries = append(queries, vector(rng, metric))
			w.Offer(queries[len(queries)-1])
		}
		if w.Len() != 16 {
			t.Fatalf("%d queries are kept", w.Len())
		}
		place := func(i int) []float32 { // the first four were replaced
			if i < 4 {
				return queries[16+i]
			}
			return queries[i]
		}
		scans, measured := 0, 0
		for range 400 {
			for range 5 {
				change()
			}
			i := rng.IntN(16)
			s, scanned, ok, err := w.Measure(i, m.find(false), m.find(true))
			if err != nil || !ok {
				t.Fatalf("%v: %v, %v", metric, ok, err)
			}
			if scanned {
				scans++
			}
			measured++
			truth, _ := m.find(true)(place(i), quality.K)
			missed := 0
			for _, r := range truth {
				if m.blind(r.Key) {
					missed++
				}
			}
			if len(s.Missed) != missed || math.Abs(s.Recall-(1-float64(missed)/quality.K)) > 1e-9 {
				t.Fatalf("%v: recall %v, missed %v; a scan says that %d are missed", metric, s.Recall, s.Missed, missed)
			}
		}
		if scans > measured/2 {
			t.Errorf("%v: %d scans for %d measurements", metric, scans, measured)
		}
	}
}

// A change that the watch was not told of is noticed, and no false recall is measured.
func TestUntoldChangesAreNoticed(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	m := &model{metric: ann.L2, points: map[uint64][]float32{}, blind: func(uint64) bool { return false }}
	for key := range uint64(100) {
		m.points[key] = vector(rng, ann.L2)
	}
	w := quality.NewWatch(ann.L2, 4)
	q := vector(rng, ann.L2)
	w.Offer(q)
	measure := func() (quality.Sample, bool) {
		s, _, ok, err := w.Measure(0, m.find(false), m.find(true))
		if err != nil {
			t.Fatal(err)
		}
		return s, ok
	}
	if s, ok := measure(); !ok || s.Recall != 1 {
		t.Fatalf("%+v, %v", s, ok)
	}
	m.points[1000] = q // nearer than all
	if s, ok := measure(); ok {
		t.Errorf("measured %+v although there is a point that it does not know", s)
	}
	if s, ok := measure(); !ok || s.Recall != 1 {
		t.Errorf("then: %+v, %v", s, ok)
	}
	delete(m.points, 1000)
	s, ok := measure()
	if !ok || len(s.Missed) != 1 || s.Missed[0].Key != 1000 {
		t.Fatalf("%+v, %v", s, ok)
	}
	if w.Holds(0, s.Missed[0], nil, false) {
		t.Error("a point that is gone holds")
	}
	if s, ok := measure(); !ok || s.Recall != 1 {
		t.Errorf("in the end: %+v, %v", s, ok)
	}
}

// feed gives a tuner samples of an index whose recall depends on the width.
func feed(t *quality.Tuner, rng *rand.Rand, rounds int, recall func(factor float64) float64) (actions map[quality.Action]int) {
	actions = map[quality.Action]int{}
	for range rounds {
		right := 0
		for range quality.K {
			if rng.Float64() < recall(t.Factor()) {
				right++
			}
		}
		t.Add(float64(right) / quality.K)
		actions[t.Decide()]++
	}
	return actions
}

func TestTuner(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	constant := func(r float64) func(float64) float64 { return func(float64) float64 { return r } }

	good := quality.NewTuner(0.95, 256)
	if a := feed(good, rng, 3000, constant(0.99)); good.Factor() != 1 || good.Alert() || a[quality.Raised] > 0 {
		t.Errorf("above the target: factor %v, actions %v", good.Factor(), a)
	}
	bad := quality.NewTuner(0.95, 256)
	if a := feed(bad, rng, 3000, constant(0.7)); bad.Factor() != 4 || !bad.Alert() || a[quality.Repair] == 0 {
		t.Errorf("out of reach: factor %v, alert %v, actions %v", bad.Factor(), bad.Alert(), a)
	}
	if feed(bad, rng, 4000, constant(0.999)); bad.Factor() != 1 || bad.Alert() {
		t.Errorf("when it is good again: factor %v, alert %v", bad.Factor(), bad.Alert())
	}
	reach := quality.NewTuner(0.95, 256)
	grows := func(f float64) float64 { return 1 - 0.1/f } // 0.95 at factor 2
	a := feed(reach, rng, 20000, grows)
	if reach.Factor() < 1.6 || reach.Factor() > 3 || reach.Alert() || a[quality.Lowered] > 12 {
		t.Errorf("within reach: factor %v, actions %v", reach.Factor(), a)
	}
}

// The interval has the true value about as often as it says.
func TestEstimateCovers(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for _, recall := range []float64{0.5, 0.9, 0.99} {
		covered := 0
		const trials = 400
		for range trials {
			tuner := quality.NewTuner(0.01, 256)
			feed(tuner, rng, 60, func(float64) float64 { return recall })
			if e := tuner.Estimate(); e.Low <= recall && recall <= e.High && e.Low <= e.Recall && e.Recall <= e.High {
				covered++
			}
		}
		if covered < trials*88/100 {
			t.Errorf("recall %v: in %d of %d intervals", recall, covered, trials)
		}
	}
}

// Queries that are measured again and again don't make the interval narrower: some are easy, and some are hard.
func TestEstimateOfFewQueries(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	covered := 0
	const trials, queries = 400, 64
	for range trials {
		tuner := quality.NewTuner(0.01, queries)
		found := make([]float64, queries)
		for i := range found {
			found[i] = math.Round(quality.K*math.Sqrt(rng.Float64())) / quality.K // 2/3 on average
		}
		for i := range 4 * queries {
			tuner.Add(found[i%queries])
		}
		if e := tuner.Estimate(); e.Low <= 2./3 && 2./3 <= e.High && e.Samples == 4*queries {
			covered++
		}
	}
	if covered < trials*92/100 {
		t.Errorf("in %d of %d intervals", covered, trials)
	}
}
