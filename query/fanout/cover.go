package fanout

import (
	"math/rand/v2"
	"slices"
)

// share is the partitions that one peer is asked for.
type share struct {
	peer *peer
	of   set
}

// cover divides partitions among the peers that hold them, and returns those that none does. Whoever holds the most of what is left comes next, this
// process first since asking it costs nothing; of equal ones the least busy. Peers that are down are asked for what no other holds, and those
// that were tried not at all.
func cover(peers []*peer, want set, tried []*peer) (plan []share, left set) {
	left = want
	for _, down := range []bool{false, true} {
		var usable []*peer
		for _, p := range peers {
			if p.isDown() == down && !slices.Contains(tried, p) && !slices.ContainsFunc(plan, func(s share) bool { return s.peer == p }) {
				usable = append(usable, p)
			}
		}
		rand.Shuffle(len(usable), func(i, j int) { usable[i], usable[j] = usable[j], usable[i] })
		for {
			best, most := (*peer)(nil), 0
			for _, p := range usable {
				n := p.held.overlap(left)
				if n > 0 && (best == nil || p.before(best, n, most)) {
					best, most = p, n
				}
			}
			if best == nil {
				break
			}
			of, _ := left.and(best.held)
			plan, left = append(plan, share{best, of}), left.minus(of)
		}
	}
	return plan, left
}

// before reports whether p, which would give so many partitions, is asked rather than q.
func (p *peer) before(q *peer, gives, most int) bool {
	switch {
	case p.local != q.local:
		return p.local
	case gives != most:
		return gives > most
	}
	return p.busy.Load() < q.busy.Load()
}
