package ann

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// mendAtOnce is up to how many points lost ones are linked again before Load returns. In a larger index that is done by
// the first sweep, in the background: exact searches find them until then.
const mendAtOnce = 20_000

// finish enters the keys and makes the graph whole: links to points without rows on the level are removed, and points
// that no walk finds are linked again.
func (l *loader) finish() error {
	ix := l.ix
	points := uint32(l.header.points)
	if err := l.enterKeys(points); err != nil {
		return err
	}
	ix.committed.Store(loadedSeq)
	ix.live.Store(int64(points))
	ix.draining.Store(ix.graph != nil && int64(ix.opt.FlatBelow) < ix.live.Load())
	if ix.inverted != nil {
		return l.finishLists()
	}
	if ix.graph == nil || ix.graph.nodes.Load() == 0 {
		return nil
	}
	l.prune(points)
	l.chooseEntry(points)
	if points > mendAtOnce {
		ix.unswept = int(points) // a sweep is due
		return nil
	}
	r := ix.readers.acquire(true)
	defer ix.readers.release(r)
	for _, slot := range ix.graph.unreachable(r) {
		ix.graph.connect(r, slot, 0, 0, ix.opt.EfConstruction)
		ix.relinks.Add(1)
	}
	return nil
}

// inParallel calls do for runs of the slots from 1 to points, on all processors.
func inParallel(points uint32, do func(from, to uint32)) {
	const run = 1 << 14
	var next atomic.Uint32
	next.Store(1)
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), int(points/run)+1) {
		workers.Go(func() {
			for {
				to := next.Add(run)
				from := to - run
				if from > points {
					return
				}
				do(from, min(to, points+1))
			}
		})
	}
	workers.Wait()
}

// enterKeys fills the table of keys.
func (l *loader) enterKeys(points uint32) error {
	t := &l.ix.keys
	var counts [keyParts]atomic.Int64
	inParallel(points, func(from, to uint32) {
		var mine [keyParts]int64
		for slot := from; slot < to; slot++ {
			mine[hashKey(t.slots.header(slot).key.Load())%keyParts]++
		}
		for i, n := range mine {
			counts[i].Add(n)
		}
	})
	for i := range counts {
		t.prepare(i, int(counts[i].Load()))
	}
	var twice atomic.Uint64 // a slot
	inParallel(points, func(from, to uint32) {
		for slot := from; slot < to; slot++ {
			if !t.claim(slot) {
				twice.Store(uint64(slot))
			}
		}
	})
	if slot := uint32(twice.Load()); slot != noSlot {
		return damaged("key %d occurs twice", t.slots.header(slot).key.Load())
	}
	return nil
}

// prepare makes an empty part ready for n keys.
func (t *keyTable) prepare(part, n int) {
	if n == 0 {
		return
	}
	table := make([]atomic.Uint32, tableSize(n))
	p := &t.parts[part]
	p.used, p.live = n, n
	p.table.Store(&table)
}

// claim enters the key of a slot into a table that was prepared for it, beside others that do the same. It returns false
// when the key is there.
func (t *keyTable) claim(slot uint32) bool {
	key := t.slots.header(slot).key.Load()
	hash := hashKey(key)
	table := *t.parts[hash%keyParts].table.Load()
	for i := placeOf(hash, table); ; i = placeAfter(i, table) {
		entry := &table[i]
		if entry.Load() == noSlot && entry.CompareAndSwap(noSlot, slot) {
			return true
		}
		if t.slots.header(entry.Load()).key.Load() == key {
			return false
		}
	}
}

// prune removes links to points that have no row on their level. On the lowest level these are the points of the
// buffer; when there are none, most rows need no look.
func (l *loader) prune(points uint32) {
	s, g := &l.ix.slots, l.ix.graph
	lowest := 0
	if s.buffered.Load() == 0 {
		lowest = 1
	}
	inParallel(points, func(from, to uint32) {
		var scratch []uint32
		for slot := from; slot < to; slot++ {
			h := s.header(slot)
			if !h.is(linked) {
				continue
			}
			for level := h.level(); level >= lowest; level-- {
				scratch = l.pruneRow(g.row(slot, level), level, scratch)
			}
		}
	})
}

func (l *loader) pruneRow(row links, level int, scratch []uint32) []uint32 {
	s := &l.ix.slots
	scratch = row.appendTo(scratch[:0])
	keep := scratch[:0]
	for _, to := range scratch {
		if !s.buffer.has(to) && (level == 0 || s.header(to).level() >= level) {
			keep = append(keep, to)
		}
	}
	if len(keep) < len(scratch) {
		row.set(keep)
	}
	return scratch
}

// chooseEntry takes the entry point of the snapshot, or the linked point with the highest level when that one is not
// in it or has no such level.
func (l *loader) chooseEntry(points uint32) {
	s, g := &l.ix.slots, l.ix.graph
	g.spread.set(l.header.spread)
	if slot := l.header.entry + 1; l.header.entry != noOrdinal {
		if h := s.header(slot); h.is(linked) && uint32(h.level()) == l.header.entryLevel {
			g.raiseEntry(slot, int(l.header.entryLevel), true)
			return
		}
	}
	for slot := uint32(1); slot <= points; slot++ {
		if h := s.header(slot); h.is(linked) {
			g.raiseEntry(slot, h.level(), false)
		}
	}
}
