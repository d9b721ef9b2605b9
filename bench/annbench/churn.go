package annbench

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"text/tabwriter"

	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/bench/dataset"
	"github.com/freshet-io/freshet/bench/peers"
)

// ChurnOptions says what Churn measures.
type ChurnOptions struct {
	Set       *dataset.Set // half of its base is live at a time
	Index     ann.Options  // M and EfConstruction go for hnswlib too
	Peer      bool         // measure hnswlib's replace_deleted too
	Venv      string
	CPU, K    int
	Turns     int     // how often everything is replaced
	PeerTurns float64 // the same for hnswlib, which is slow; may be a fraction
	Target    float64 // recall of the fresh index, which fixes ef
	Log       io.Writer
}

// ChurnResult is what replacing everything in place took, and what it did to recall.
type ChurnResult struct {
	Engine     string    `json:"engine"`
	Live       int       `json:"live"`
	Ef         int       `json:"ef"`
	Recall     []float64 `json:"recall"`       // fresh, then after every turn
	FreshBuild float64   `json:"fresh_recall"` // of a fresh index of the last turn's vectors, at the same ef
	UpsertsPer float64   `json:"upserts_per_s"`
	BuildPer   float64   `json:"build_per_s"`
}

// churnBatch is how many vectors are replaced by one call.
const churnBatch = 100

// Churn replaces every vector of an index in place, several times over, in random order, and measures upserts per second
// of processor time, repair of the graph included, beside hnswlib's replace_deleted.
//
// The live vectors are one half of the base; a turn gives every key one of the other half, so each turn has the same
// vectors as the one before the last.
func Churn(ctx context.Context, o ChurnOptions) ([]ChurnResult, error) {
	halves, err := newHalves(o.Set, o.K)
	if err != nil {
		return nil, err
	}
	undo, err := oneThread(o.CPU)
	if err != nil {
		return nil, err
	}
	defer undo()
	engines := []churner{newOwn(halves.sets[0], o.Index)}
	if o.Peer {
		files, err := writeFiles(Options{Set: o.Set, Peers: []string{"hnswlib"}})
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(files.dir)
		p, err := openPeer(ctx, peers.Options{Venv: o.Venv, CPU: o.CPU, Metric: metricName(o.Set.Metric), Base: files.base, Queries: files.queries},
			peers.Index{Engine: "hnswlib", Index: "f32", M: o.Index.M, Efc: o.Index.EfConstruction, Capacity: halves.live, Replace: true}, o.Set.Queries.Rows())
		if err != nil {
			return nil, err
		}
		engines = append(engines, p)
	}
	var out []ChurnResult
	for _, e := range engines {
		defer e.close()
		turns := float64(o.Turns)
		if e.name() != "freshet" {
			turns = o.PeerTurns
		}
		r, err := churn(ctx, o, halves, e, turns)
		if err != nil {
			return nil, fmt.Errorf("annbench: %s: %w", e.name(), err)
		}
		out = append(out, r)
	}
	return out, nil
}

// halves are the two halves of a base, with the truth of each.
type halves struct {
	live    int
	whole   dataset.Matrix
	sets    [2]*dataset.Set
	scorers [2]*scorer
}

func newHalves(set *dataset.Set, k int) (*halves, error) {
	h := &halves{live: set.Base.Rows() / 2, whole: set.Base}
	for i := range h.sets {
		half := *set
		half.Base = set.Base.Slice(i*h.live, (i+1)*h.live)
		var err error
		if half.Truth, err = dataset.Truth(half.Base, half.Queries, half.Metric, k); err != nil {
			return nil, err
		}
		h.sets[i] = &half
		if h.scorers[i], err = newScorer(&half, k); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// churner is an engine that can replace.
type churner interface {
	engine
	// put gives keys the vectors of rows of the whole base, in one batch, and returns processor seconds.
	put(keys, rows []int, base dataset.Matrix) (seconds float64, err error)
	// settle waits until the graph has everything.
	settle(ctx context.Context) (seconds float64, err error)
}

func (o *own) put(keys, rows []int, base dataset.Matrix) (float64, error) {
	if o.ix == nil {
		var err error
		if o.ix, err = ann.New(o.opt); err != nil {
			return 0, err
		}
	}
	ops := make([]ann.Op, len(keys))
	for i, key := range keys {
		ops[i] = ann.Op{Key: uint64(key), Vector: base.Row(rows[i])}
	}
	start := cpuSeconds()
	err := o.ix.Apply(ops)
	return cpuSeconds() - start, err
}

func (o *own) settle(ctx context.Context) (float64, error) {
	start := cpuSeconds()
	err := o.ix.Flush(ctx)
	return cpuSeconds() - start, err
}

func (p *peer) put(keys, rows []int, _ dataset.Matrix) (float64, error) {
	r, err := p.proc.Apply(nil, keys, rows)
	return r.CPUSeconds, err
}

func (p *peer) settle(context.Context) (float64, error) { return 0, nil }

// churn runs one engine.
func churn(ctx context.Context, o ChurnOptions, h *halves, e churner, turns float64) (ChurnResult, error) {
	r := ChurnResult{Engine: e.name(), Live: h.live}
	row := make([]int, h.live) // of each key, in the half of this turn
	order := make([]int, h.live)
	for i := range row {
		row[i], order[i] = i, i
	}
	seconds, err := replaceAll(ctx, h, e, order, row, 0)
	if err != nil {
		return r, err
	}
	r.BuildPer = float64(h.live) / seconds
	if r.Ef, err = smallestEf(e, h, row, o.K, o.Target); err != nil {
		return r, err
	}
	recall, err := h.recall(e, 0, row, r.Ef, o.K)
	if err != nil {
		return r, err
	}
	r.Recall = append(r.Recall, recall)
	fmt.Fprintf(o.Log, "%-8s %d vectors built at %.0f/s, recall %.4f at ef %d\n", r.Engine, h.live, r.BuildPer, recall, r.Ef)
	rng := rand.New(rand.NewPCG(1, 2))
	replaced, used := 0, 0.0
	for turn := 1; float64(turn-1) < turns; turn++ {
		rng.Shuffle(len(row), func(i, j int) { row[i], row[j] = row[j], row[i] })
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		part := order[:int(float64(h.live)*min(1, turns-float64(turn-1)))]
		seconds, err := replaceAll(ctx, h, e, part, row, turn%2)
		if err != nil {
			return r, err
		}
		replaced, used = replaced+len(part), used+seconds
		if len(part) < h.live {
			break // a mixture of both halves: its truth is not known
		}
		if recall, err = h.recall(e, turn%2, row, r.Ef, o.K); err != nil {
			return r, err
		}
		r.Recall = append(r.Recall, recall)
		fmt.Fprintf(o.Log, "%-8s turn %d: %.0f upserts/s, recall %.4f\n", r.Engine, turn, float64(len(part))/seconds, recall)
	}
	r.UpsertsPer = float64(replaced) / used
	if ours, ok := e.(*own); ok {
		if r.FreshBuild, err = freshRecall(ctx, ours, h, int(turns)%2, r.Ef, o.K); err != nil {
			return r, err
		}
	}
	return r, nil
}

// replaceAll gives the keys their rows of one half, in batches.
func replaceAll(ctx context.Context, h *halves, e churner, keys, row []int, half int) (seconds float64, err error) {
	rows := make([]int, 0, churnBatch)
	for from := 0; from < len(keys); from += churnBatch {
		batch := keys[from:min(len(keys), from+churnBatch)]
		rows = rows[:0]
		for _, key := range batch {
			rows = append(rows, half*h.live+row[key])
		}
		s, err := e.put(batch, rows, h.whole)
		if err != nil {
			return 0, err
		}
		if seconds += s; ctx.Err() != nil {
			return 0, ctx.Err()
		}
	}
	s, err := e.settle(ctx)
	return seconds + s, err
}

// recall scores what the engine finds while the keys have their rows of a half.
func (h *halves) recall(e churner, half int, row []int, ef, k int) (float64, error) {
	answers, err := e.answers(ef, k)
	if err != nil {
		return 0, err
	}
	for _, a := range answers {
		for i, key := range a {
			if key >= 0 && key < int64(h.live) {
				a[i] = int64(row[key])
			}
		}
	}
	return h.scorers[half].recall(answers), nil
}

// smallestEf returns the first ef of the sweep that gives the target.
func smallestEf(e churner, h *halves, row []int, k int, target float64) (int, error) {
	for _, ef := range DefaultEf() {
		recall, err := h.recall(e, 0, row, ef, k)
		if err != nil || recall >= target {
			return ef, err
		}
	}
	return 0, fmt.Errorf("recall stays below %v", target)
}

func freshRecall(ctx context.Context, ours *own, h *halves, half, ef, k int) (float64, error) {
	fresh := newOwn(h.sets[half], ours.opt)
	defer fresh.close()
	if _, _, err := fresh.build(ctx); err != nil {
		return 0, err
	}
	answers, err := fresh.answers(ef, k)
	if err != nil {
		return 0, err
	}
	return h.scorers[half].recall(answers), nil
}

// WriteChurn writes results as a table.
func WriteChurn(w io.Writer, results []ChurnResult) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "engine\tlive\tef\trecall after each turn\tfresh index\tupserts/s\tours ÷ it\tbuild/s")
	for _, r := range results {
		fresh := "–"
		if r.FreshBuild > 0 {
			fresh = fmt.Sprintf("%.4f", r.FreshBuild)
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%.4f\t%s\t%.0f\t%.2f\t%.0f\n", r.Engine, r.Live, r.Ef, r.Recall, fresh, r.UpsertsPer,
			results[0].UpsertsPer/r.UpsertsPer, r.BuildPer)
	}
	return t.Flush()
}
