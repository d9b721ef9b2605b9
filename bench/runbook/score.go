package runbook

import (
	"fmt"
	"math"
	"slices"

	"github.com/freshet-io/freshet/bench/dataset"
)

// StepResult is what one engine answered at one search step.
type StepResult struct {
	Step      int      `json:"step"` // from 1
	Live      int      `json:"live"`
	Recall    float64  `json:"recall"`
	P1        float64  `json:"p1"`               // recall that 99 % of the queries reach
	Fresh     *float64 `json:"fresh,omitempty"`  // recall of a fresh index of what is live
	Newest    *float64 `json:"newest,omitempty"` // share of the true neighbours that came since the last search step
	Dead      int      `json:"dead"`             // ids returned that are not live
	Duplicate int      `json:"duplicate"`        // ids returned twice
	Short     int      `json:"short"`            // answers with fewer than k ids although there are so many
}

// Result is how one engine did. Quarters are of the search steps.
type Result struct {
	Engine       string       `json:"engine"`
	Ef           int          `json:"ef"`
	Mean         float64      `json:"mean"`
	Min          float64      `json:"min"`
	MinStep      int          `json:"min_step"`
	P1           float64      `json:"p1"` // lowest p1 of all steps
	FirstQuarter float64      `json:"first_quarter"`
	LastQuarter  float64      `json:"last_quarter"`
	Drift        float64      `json:"drift"`               // last minus first quarter
	FreshGap     *float64     `json:"fresh_gap,omitempty"` // most by which a fresh index was better
	FreshMin     *float64     `json:"fresh_min,omitempty"` // lowest recall of a fresh index: what the data allows at this ef
	FreshDrift   *float64     `json:"fresh_drift,omitempty"`
	Newest       *float64     `json:"newest,omitempty"` // lowest of all steps
	Dead         int          `json:"dead"`
	Duplicate    int          `json:"duplicate"`
	Short        int          `json:"short"`
	Changes      int          `json:"changes"`
	ChangesPerS  float64      `json:"changes_per_s"` // by the wall clock, until they are in the index
	Steps        []StepResult `json:"steps"`
}

// more is what is worth saying of a step only when it is there.
func (s StepResult) more() (text string) {
	if s.Fresh != nil {
		text += fmt.Sprintf("  fresh %.4f", *s.Fresh)
	}
	if s.Newest != nil {
		text += fmt.Sprintf("  newest %.4f", *s.Newest)
	}
	if s.Dead+s.Duplicate+s.Short > 0 {
		text += fmt.Sprintf("  dead %d, duplicate %d, short %d", s.Dead, s.Duplicate, s.Short)
	}
	return text
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// score compares answers with the truth of this moment.
func (r *runner) score(answers [][]int) StepResult {
	s := StepResult{Live: r.truth.Live()}
	want := min(r.K, s.Live)
	perQuery := make([]float64, len(answers))
	found, newest, newestFound := 0, 0, 0
	for q, ids := range answers {
		limit, hits, distinct := r.truth.Limit(q), 0, 0
		seen := make(map[int]bool, r.K)
		for _, id := range ids[:min(len(ids), r.K)] {
			if id < 0 {
				continue
			}
			if seen[id] {
				s.Duplicate++
				continue
			}
			seen[id] = true
			if _, live := r.truth.Row(id); !live {
				s.Dead++
				continue
			}
			distinct++
			if dataset.WithinTie(r.truth.Distance(q, id), limit) {
				hits++
			}
		}
		s.Short += b2i(distinct < want)
		for _, id := range r.truth.Nearest(q) {
			if r.newest[id] {
				newest++
				newestFound += b2i(seen[id])
			}
		}
		found += hits
		perQuery[q] = float64(hits) / float64(max(1, want))
	}
	s.Recall = float64(found) / float64(max(1, want*len(answers)))
	if want == 0 {
		s.Recall = 1
	}
	slices.Sort(perQuery)
	if len(perQuery) > 0 {
		s.P1 = perQuery[len(perQuery)/100]
	}
	if newest > 0 {
		share := float64(newestFound) / float64(newest)
		s.Newest = &share
	}
	return s
}

// finish computes the totals.
func (r *Result) finish(seconds float64) {
	r.Min, r.P1 = math.Inf(1), math.Inf(1)
	var recalls, gaps, fresh []float64
	for _, s := range r.Steps {
		recalls = append(recalls, s.Recall)
		if s.Recall < r.Min {
			r.Min, r.MinStep = s.Recall, s.Step
		}
		r.P1 = min(r.P1, s.P1)
		if s.Fresh != nil {
			gaps, fresh = append(gaps, *s.Fresh-s.Recall), append(fresh, *s.Fresh)
		}
		if s.Newest != nil && (r.Newest == nil || *s.Newest < *r.Newest) {
			r.Newest = s.Newest
		}
		r.Dead, r.Duplicate, r.Short = r.Dead+s.Dead, r.Duplicate+s.Duplicate, r.Short+s.Short
	}
	if len(recalls) == 0 {
		r.Min, r.P1 = 0, 0
		return
	}
	r.Mean = mean(recalls)
	r.FirstQuarter, r.LastQuarter = quarters(recalls)
	r.Drift = r.LastQuarter - r.FirstQuarter
	if len(gaps) > 0 {
		gap := slices.Max(gaps)
		first, last := quarters(fresh)
		drift := last - first
		lowest := slices.Min(fresh)
		r.FreshGap, r.FreshMin, r.FreshDrift = &gap, &lowest, &drift
	}
	if seconds > 0 {
		r.ChangesPerS = float64(r.Changes) / seconds
	}
}

// quarters returns the means of the first and the last quarter of values.
func quarters(values []float64) (first, last float64) {
	n := max(1, len(values)/4)
	return mean(values[:n]), mean(values[len(values)-n:])
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
