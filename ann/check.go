package ann

import "fmt"

// Problem is a broken invariant that Check has found.
type Problem struct {
	Code   string // what is wrong: one of the Problem constants
	Key    uint64 // of the point, or 0
	Detail string
}

// The codes of problems.
const (
	ProblemNotFound    = "not_found"   // a live point is not what its key leads to
	ProblemNowhere     = "nowhere"     // a live point is neither in the graph nor in the buffer
	ProblemTwice       = "twice"       // a live point is in the graph and in the buffer, or a key has two live points
	ProblemBadLink     = "bad_link"    // a link leads out of range, to its own node, or to a slot that is in no graph
	ProblemBadEntry    = "bad_entry"   // the entry point is no live node although there is one
	ProblemUnreachable = "unreachable" // no walk from the entry point finds a live node
	ProblemBadList     = "bad_list"    // a slot is in two lists, or in another one than its place says, or in none
	ProblemBadVector   = "bad_vector"  // a stored vector is not one that Apply accepts
	ProblemCount       = "wrong_count" // Len is not the number of live points
)

// String returns the problem as a line of text.
func (p Problem) String() string { return fmt.Sprintf("%s: key %d: %s", p.Code, p.Key, p.Detail) }

// Check tests the invariants of the index and returns what is broken: nothing, in a sound one. Searches go on meanwhile;
// changes and background work wait, for some hundred milliseconds per million points. Unreachable points are found by
// exact searches only until the next sweep links them again.
func (ix *Index) Check() []Problem {
	ix.quiet.Lock() // before write: a job that holds quiet may wait for write
	defer ix.quiet.Unlock()
	ix.write.Lock()
	defer ix.write.Unlock()
	if ix.closed.Load() {
		return nil // there is nothing left
	}
	c := &checker{ix: ix, keys: make(map[uint64]struct{}, ix.Len()), scratch: ix.slots.vectors.scratch()}
	c.points()
	if ix.structure != nil {
		ix.structure.check(c)
	}
	return c.problems
}

type checker struct {
	ix       *Index
	keys     map[uint64]struct{}
	scratch  []float32
	problems []Problem
}

func (c *checker) report(code string, slot uint32, format string, args ...any) {
	p := Problem{Code: code, Detail: fmt.Sprintf(format, args...)}
	if slot != noSlot {
		p.Key = c.ix.slots.header(slot).key.Load()
	}
	c.problems = append(c.problems, p)
}

// live reports whether slot holds a point.
func (c *checker) live(slot uint32) bool {
	return c.ix.slots.header(slot).visibleAt(c.ix.committed.Load())
}

func (c *checker) points() {
	s := &c.ix.slots
	for slot, end := uint32(1), s.end.Load(); slot < end; slot++ {
		if !c.live(slot) {
			continue
		}
		h := s.header(slot)
		key := h.key.Load()
		if _, twice := c.keys[key]; twice {
			c.report(ProblemTwice, slot, "it has two live points")
		}
		c.keys[key] = struct{}{}
		if found := c.ix.keys.find(key); found != slot {
			c.report(ProblemNotFound, slot, "it leads to slot %d instead of %d", found, slot)
		}
		if v, err := s.vectors.read(slot, c.scratch); err != nil {
			c.report(ProblemBadVector, slot, "%v", err)
		} else if _, err := c.ix.space.check(v[:c.ix.opt.Dim]); err != nil {
			c.report(ProblemBadVector, slot, "%v", err)
		}
		switch buffered, inGraph := s.buffer.has(slot), h.is(linked); {
		case buffered && inGraph:
			c.report(ProblemTwice, slot, "it is in the graph and in the buffer")
		case !buffered && !inGraph:
			c.report(ProblemNowhere, slot, "it is neither in the graph nor in the buffer")
		}
	}
	if n := len(c.keys); n != c.ix.Len() {
		c.report(ProblemCount, 0, "Len is %d, and %d points are live", c.ix.Len(), n)
	}
}

func (c *checker) graph() {
	ix, g := c.ix, c.ix.graph
	nodes := 0
	for slot, end := uint32(1), ix.slots.end.Load(); slot < end; slot++ {
		h := ix.slots.header(slot)
		if !h.is(linked) && !h.is(retired) {
			continue
		}
		if c.live(slot) {
			nodes++
		}
		for level := h.level(); level >= 0; level-- {
			c.row(slot, level)
		}
	}
	entry, _ := g.entryPoint()
	if nodes > 0 && (entry == noSlot || ix.slots.header(entry).is(free)) {
		c.report(ProblemBadEntry, entry, "%d live nodes, and the entry point is slot %d", nodes, entry)
		return
	}
	r := ix.readers.acquire(true)
	defer ix.readers.release(r)
	for _, slot := range g.unreachable(r) {
		c.report(ProblemUnreachable, slot, "no links lead to slot %d", slot)
	}
}

func (c *checker) row(slot uint32, level int) {
	for _, to := range c.ix.graph.row(slot, level).appendTo(nil) {
		if to == slot {
			c.report(ProblemBadLink, slot, "it links to itself on level %d", level)
			continue
		}
		if to >= c.ix.slots.end.Load() {
			c.report(ProblemBadLink, slot, "a link on level %d leads to slot %d, which does not exist", level, to)
			continue
		}
		h := c.ix.slots.header(to)
		if !h.is(linked) && !h.is(retired) || h.level() < level {
			c.report(ProblemBadLink, slot, "a link on level %d leads to slot %d, which is not there", level, to)
		}
	}
}
