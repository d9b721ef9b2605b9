package annbench

import (
	"cmp"
	"math"
	"slices"
)

// Curve is the fastest points of an engine: each has more recall, or more queries per second, than every other.
type Curve struct {
	Name string // engine and kind of index
	Rows []Row  // by falling QPS and rising recall
}

// Curves returns the curve of each engine and kind of index, over all M and efConstruction, in the order of their first
// rows.
func Curves(rows []Row) []Curve {
	var curves []Curve
	for _, r := range rows {
		i := slices.IndexFunc(curves, func(c Curve) bool { return c.Name == r.label })
		if i < 0 {
			curves = append(curves, Curve{Name: r.label})
			i = len(curves) - 1
		}
		curves[i].Rows = append(curves[i].Rows, r)
	}
	for i := range curves {
		curves[i].Rows = fastest(curves[i].Rows)
	}
	return curves
}

// fastest drops the rows that another one beats in recall and QPS.
func fastest(rows []Row) []Row {
	rows = slices.Clone(rows)
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(b.Recall, a.Recall), cmp.Compare(b.QPS, a.QPS))
	})
	kept, best := rows[:0], 0.0
	for _, r := range rows {
		if r.QPS > best {
			kept, best = append(kept, r), r.QPS
		}
	}
	slices.Reverse(kept)
	return kept
}

// At returns the queries per second at a recall, interpolated between the points around it (linear in recall, logarithmic
// in QPS), and the row at or above it. A curve that starts above the recall gives its fastest point; ok is false when it
// never gets there.
func (c Curve) At(recall float64) (qps float64, row Row, ok bool) {
	i := slices.IndexFunc(c.Rows, func(r Row) bool { return r.Recall >= recall })
	if i < 0 {
		return 0, Row{}, false
	}
	above := c.Rows[i]
	if i == 0 {
		return above.QPS, above, true
	}
	below := c.Rows[i-1]
	share := (recall - below.Recall) / (above.Recall - below.Recall)
	return math.Exp(math.Log(below.QPS)*(1-share) + math.Log(above.QPS)*share), above, true
}

// Summary is an engine at the recall at which engines are compared.
type Summary struct {
	Name  string
	QPS   float64 // 0: it never gets to the recall
	Row   Row     // the point at or above the recall on the best curve
	Build float64 // vectors per second of the fastest build that keeps buildKeeps of QPS
	Built Params  // that build
	Peak  float64 // the highest recall of all points
}

// buildKeeps is the share of an engine's best QPS at the target that a build must keep to count as of equal recall: so
// that neither a sloppy build nor one that took all day stands for an engine.
const buildKeeps = 0.9

// Summarise compares engines at a recall.
func Summarise(rows []Row, target float64) []Summary {
	var out []Summary
	for _, c := range Curves(rows) {
		s := Summary{Name: c.Name}
		s.QPS, s.Row, _ = c.At(target)
		for _, r := range rows {
			if r.label == c.Name {
				s.Peak = max(s.Peak, r.Recall)
			}
		}
		for _, one := range byBuild(rows, c.Name) {
			if qps, row, ok := one.At(target); ok && qps >= buildKeeps*s.QPS && row.Build > s.Build {
				s.Build, s.Built = row.Build, row.Params
			}
		}
		out = append(out, s)
	}
	return out
}

// byBuild returns the curve of each build of an engine.
func byBuild(rows []Row, name string) []Curve {
	var list []Curve
	var keys []Params
	for _, r := range rows {
		if r.label != name {
			continue
		}
		key := r.Params
		key.Ef = 0
		i := slices.Index(keys, key)
		if i < 0 {
			keys, list = append(keys, key), append(list, Curve{Name: name})
			i = len(keys) - 1
		}
		list[i].Rows = append(list[i].Rows, r)
	}
	for i := range list {
		list[i].Rows = fastest(list[i].Rows)
	}
	return list
}
