package fanout

import "math/bits"

// set is some partitions of a log, a bit each.
type set []uint64

func newSet(n int, list []int32) set {
	s := make(set, (n+63)/64)
	for _, p := range list {
		s[p/64] |= 1 << (p % 64)
	}
	return s
}

// and returns those that both have, and how many.
func (s set) and(o set) (both set, n int) {
	both = make(set, len(s))
	for i := range s {
		both[i] = s[i] & o[i]
		n += bits.OnesCount64(both[i])
	}
	return both, n
}

// overlap is how many both have.
func (s set) overlap(o set) (n int) {
	for i := range s {
		n += bits.OnesCount64(s[i] & o[i])
	}
	return n
}

// minus returns those that o does not have.
func (s set) minus(o set) set {
	rest := make(set, len(s))
	for i := range s {
		rest[i] = s[i] &^ o[i]
	}
	return rest
}

// or returns those that one of both has.
func (s set) or(o set) set {
	all := make(set, len(s))
	for i := range s {
		all[i] = s[i] | o[i]
	}
	return all
}

func (s set) empty() bool {
	for _, w := range s {
		if w != 0 {
			return false
		}
	}
	return true
}

// list returns them in order.
func (s set) list() (list []int32) {
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			list = append(list, int32(i*64+bits.TrailingZeros64(w)))
		}
	}
	return list
}
