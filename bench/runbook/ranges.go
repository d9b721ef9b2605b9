package runbook

import "slices"

// ranges is a set of numbers as sorted, disjoint, half-open ranges that do not touch: steps name few ranges of many
// numbers, so a dry run of a long runbook costs no memory to speak of.
type ranges struct {
	list  []span
	count int
}

type span struct{ from, to int }

// at returns the place of the first range that ends beyond n.
func (r *ranges) at(n int) int {
	i, _ := slices.BinarySearchFunc(r.list, n, func(s span, n int) int {
		if s.to > n {
			return 1
		}
		return -1
	})
	return i
}

// add adds from to to, or returns the first number of them that is there already; else -1.
func (r *ranges) add(from, to int) int {
	if from == to {
		return -1
	}
	i := r.at(from)
	if i < len(r.list) && r.list[i].from < to {
		return max(from, r.list[i].from)
	}
	r.count += to - from
	if i > 0 && r.list[i-1].to == from {
		i--
		r.list[i].to = to
	} else {
		r.list = slices.Insert(r.list, i, span{from, to})
	}
	if i+1 < len(r.list) && r.list[i+1].from == to {
		r.list[i].to = r.list[i+1].to
		r.list = slices.Delete(r.list, i+1, i+2)
	}
	return -1
}

// missing returns the first number from from to to that is not there, else -1.
func (r *ranges) missing(from, to int) int {
	if from == to {
		return -1
	}
	i := r.at(from)
	switch {
	case i == len(r.list) || r.list[i].from > from:
		return from
	case r.list[i].to < to:
		return r.list[i].to
	}
	return -1
}

// remove removes from to to, or returns the first number of them that is not there; else -1.
func (r *ranges) remove(from, to int) int {
	if from == to {
		return -1
	}
	if bad := r.missing(from, to); bad >= 0 {
		return bad
	}
	r.count -= to - from
	i := r.at(from)
	old := r.list[i]
	var left []span
	for _, s := range []span{{old.from, from}, {to, old.to}} {
		if s.from < s.to {
			left = append(left, s)
		}
	}
	r.list = slices.Replace(r.list, i, i+1, left...)
	return -1
}
