package embedded

import (
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/wire"
)

// Part is the entities of some partitions of a log. A store of none has no indexes, and costs nothing.
type Part struct {
	Partitions int     // that the log has
	Held       []int32 // of those, in order
}

// identity is what the snapshots of a part bear: those of other partitions don't have its entities, or have more.
func (p Part) identity(log freshet.LogID) freshet.LogID {
	h := fnv.New64a()
	h.Write(log[:])
	fmt.Fprintf(h, "%s of %d", wire.PartitionsString(p.Held), p.Partitions)
	return freshet.LogID(h.Sum(nil))
}

// part is a Part that can be asked. Nil is all.
type part struct {
	held []bool // by partition
}

func newPart(p Part) *part {
	held := make([]bool, p.Partitions)
	for _, n := range p.Held {
		held[n] = true
	}
	return &part{held}
}

// none reports whether it is no partition at all.
func (p *part) none() bool { return p != nil && !slices.Contains(p.held, true) }

func (p *part) holds(k freshet.Key) bool { return p == nil || p.held[wire.Partition(k, len(p.held))] }
