package runbook

import (
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/bench/dataset"
)

// Truth knows, for every query, the live ids that are nearest. It is kept up to date change by change: an insert costs one
// distance per query, a delete costs something only to queries that have the id in their list, and a query whose list has
// run short is compared with all live vectors again.
type Truth struct {
	set   *dataset.Set
	k     int
	room  int           // length of the lists
	rows  map[int]int32 // of each live id the row of its vector
	lists []nearList    // of each query
}

// nearList holds the nearest ids of a query, nearest first: all live ids that are nearer than bound, and none beyond it.
type nearList struct {
	list  []near
	bound float64 // +Inf while the list has all live ids
}

type near struct {
	distance float64
	id       int
}

// listSlack is how many neighbours more than k a list has room for: so many nearest ids can be deleted before a query is
// compared with everything again.
const listSlack = 90

// NewTruth returns the truth of k neighbours while nothing is live.
func NewTruth(set *dataset.Set, k int) *Truth {
	t := &Truth{set: set, k: k, room: k + listSlack, rows: map[int]int32{}, lists: make([]nearList, set.Queries.Rows())}
	for i := range t.lists {
		t.lists[i].bound = math.Inf(1)
	}
	return t
}

// Live returns the number of live ids.
func (t *Truth) Live() int { return len(t.rows) }

// Row returns the row of the vector that id has, and whether it is live.
func (t *Truth) Row(id int) (int, bool) {
	row, ok := t.rows[id]
	return int(row), ok
}

// Apply makes the change of a step.
func (t *Truth) Apply(s Step) {
	gone := map[int]bool{}
	type arrival struct{ id, row int }
	var come []arrival
	for id := s.Start; id < s.End; id++ {
		switch s.Op {
		case Delete:
			gone[id] = true
			delete(t.rows, id)
		case Replace:
			gone[id] = true
			t.rows[id] = int32(s.From + id - s.Start)
			come = append(come, arrival{id, s.From + id - s.Start})
		case Insert:
			t.rows[id] = int32(id)
			come = append(come, arrival{id, id})
		}
	}
	t.each(func(q int) {
		l := &t.lists[q]
		if len(gone) > 0 {
			l.list = slices.DeleteFunc(l.list, func(n near) bool { return gone[n.id] })
		}
		for _, c := range come {
			l.add(near{t.distance(q, c.row), c.id}, t.room)
		}
		if len(l.list) < t.k && !math.IsInf(l.bound, 1) {
			t.rescan(q)
		}
	})
}

// add puts n into the list when it is nearer than the bound.
func (l *nearList) add(n near, room int) {
	if n.distance >= l.bound {
		return
	}
	i, _ := slices.BinarySearchFunc(l.list, n, compareNear)
	l.list = slices.Insert(l.list, i, n)
	if len(l.list) > room {
		l.bound = l.list[room].distance
		l.list = l.list[:room]
		for len(l.list) > 0 && l.list[len(l.list)-1].distance >= l.bound { // of equal ones none may stay alone
			l.list = l.list[:len(l.list)-1]
		}
	}
}

func compareNear(a, b near) int {
	switch {
	case a.distance < b.distance:
		return -1
	case a.distance > b.distance:
		return 1
	}
	return a.id - b.id
}

// rescan compares query q with everything that is live. Where more ids than a list has room for lie at one distance, the
// list stays short of k; Limit is right all the same.
func (t *Truth) rescan(q int) {
	all := make([]near, 0, len(t.rows))
	for id, row := range t.rows {
		all = append(all, near{t.distance(q, int(row)), id})
	}
	slices.SortFunc(all, compareNear)
	l := &t.lists[q]
	l.bound = math.Inf(1)
	if len(all) > t.room {
		l.bound = all[t.room].distance
		all = all[:t.room]
		for len(all) > 0 && all[len(all)-1].distance >= l.bound {
			all = all[:len(all)-1]
		}
	}
	l.list = slices.Clone(all)
}

// Limit returns the distance of the k-th nearest live id of query q, or of the farthest when there are fewer. Without a
// live id it is -Inf.
func (t *Truth) Limit(q int) float64 {
	l := &t.lists[q]
	switch {
	case len(l.list) >= t.k:
		return l.list[t.k-1].distance
	case !math.IsInf(l.bound, 1):
		return l.bound // more ids than there is room for lie at this distance
	case len(l.list) > 0:
		return l.list[len(l.list)-1].distance
	}
	return math.Inf(-1)
}

// Nearest returns the nearest live ids of query q, at most k.
func (t *Truth) Nearest(q int) []int {
	var ids []int
	for _, n := range t.lists[q].list[:min(t.k, len(t.lists[q].list))] {
		ids = append(ids, n.id)
	}
	return ids
}

// Distance returns the distance of query q from the vector of a live id.
func (t *Truth) Distance(q, id int) float64 { return t.distance(q, int(t.rows[id])) }

// distance of a query from a row. Under cosine, vectors of length 1 are expected: Run normalises them.
func (t *Truth) distance(q, row int) float64 {
	metric := t.set.Metric
	if metric == ann.Cosine {
		return 1 + dataset.Distance(ann.InnerProduct, t.set.Queries.Row(q), t.set.Base.Row(row))
	}
	return dataset.Distance(metric, t.set.Queries.Row(q), t.set.Base.Row(row))
}

// each calls do for every query, on all processors.
func (t *Truth) each(do func(q int)) {
	workers := min(len(t.lists), runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for q := w; q < len(t.lists); q += workers {
				do(q)
			}
		})
	}
	wg.Wait()
}
