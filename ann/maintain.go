package ann

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// maintainer runs the background work of an index: it links points of the fresh buffer into the graph, repairs the
// graph around dead points, sweeps, and frees slots. Its goroutines end soon after the last job, so an idle index costs none.
type maintainer struct {
	ix       *Index
	draining atomic.Bool // points of the buffer are to be linked
	parked   atomic.Bool // work is left that had to wait for a pinned reader

	// quiet is held for reading during every job, and for writing by Check, which needs the graph to stand still.
	quiet sync.RWMutex

	handoff chan job // jobs for idle workers; there is room for one each

	mu        sync.Mutex // guards the fields below
	running   int        // workers that do a job
	idle      int        // workers that wait for one
	stopped   bool
	cursor    uint32     // where the search for a pending slot goes on
	dead      slotQueue  // dead slots, in the order of their deaths
	retired   []uint32   // dead slots whose neighbours are repaired
	limbo     []released // slots that are freed when all readers have passed a sequence
	sweeping  bool
	training  bool          // a goroutine trains lists
	measuring bool          // a goroutine measures efforts
	unswept   int           // points linked since the last sweep
	begun     uint64        // jobs taken so far: the number of the newest
	active    []uint64      // numbers of the jobs at hand
	progress  chan struct{} // closed, and forgotten, after every job when someone waits
}

// released is a slot that no reader at or after a sequence can reach.
type released struct {
	slot  uint32
	after uint64
}

// slotQueue is a first-in first-out queue.
type slotQueue struct {
	list []uint32
	head int
}

func (q *slotQueue) len() int      { return len(q.list) - q.head }
func (q *slotQueue) first() uint32 { return q.list[q.head] }
func (q *slotQueue) push(slots ...uint32) {
	if q.head > len(q.list)/2 {
		q.list = q.list[:copy(q.list, q.list[q.head:])]
		q.head = 0
	}
	q.list = append(q.list, slots...)
}
func (q *slotQueue) pop() { q.head++ }

// job is what a worker does next.
type job struct {
	kind   jobKind
	slot   uint32
	list   []uint32
	number uint64
}

type jobKind int

const (
	jobNone jobKind = iota
	jobLink
	jobLinkMany
	jobRepair
	jobSweep
	jobRelease
)

// enqueueDead takes over slots that died with the newest sequence.
func (m *maintainer) enqueueDead(dead []uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead.push(dead...)
}

// kick starts a worker when there is work for one more.
func (m *maintainer) kick() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.startLocked()
}

func (m *maintainer) startLocked() {
	m.startTrainingLocked()
	m.startMeasuringLocked()
	if m.running >= m.ix.workers() || m.stopped {
		return
	}
	j := m.nextLocked()
	if j.kind == jobNone {
		return
	}
	m.running++
	if m.idle > 0 {
		m.idle--
		m.handoff <- j
		return
	}
	go m.work(j)
}

// crowd is how many points are many, whatever BufferSize is.
const crowd = 256

// workers is how many goroutines may link at present. A processor that is left for others is of little use to them while many points wait: searches
// scan those, and changes will soon have to wait too.
func (ix *Index) workers() int {
	if ix.slots.buffered.Load() < int64(max(crowd, ix.opt.BufferSize/16)) {
		return ix.opt.Workers
	}
	return ix.opt.mostWorkers
}

// loweredThreads counts the workers of all indexes that asked for a thread of their own: threads are a resource of the
// process, and a program with thousands of busy indexes must not run out of them.
var loweredThreads atomic.Int32

const maxLowered = 16

// linger is how long a worker waits for more work before it ends.
const linger = 100 * time.Millisecond

// work does jobs until none has come for a while.
func (m *maintainer) work(j job) {
	if m.ix.opt.LowPriority && m.draining.Load() {
		if loweredThreads.Add(1) <= maxLowered {
			lowerPriority()
		}
		defer loweredThreads.Add(-1)
	}
	timer := time.NewTimer(linger)
	defer timer.Stop()
	for more := true; more; {
		m.drain(j)
		timer.Reset(linger)
		j, more = m.await(timer.C)
	}
}

// await returns a job that is handed over before the time is up.
func (m *maintainer) await(up <-chan time.Time) (j job, ok bool) {
	select {
	case j = <-m.handoff:
		return j, true
	case <-up:
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case j = <-m.handoff: // just now
		return j, true
	default:
		m.idle--
		if m.idle+m.running == 0 && m.ix.graph != nil {
			m.ix.graph.bulk.rest()
		}
		return job{}, false
	}
}

// yieldEvery is how many points must wait for links, for each further job that a worker does before it lets others go
// first. Where searches never pause, a worker that always yields gets nothing done, and they scan more and more.
const yieldEvery = 16

// drain does jobs until there are none; the worker is idle then.
func (m *maintainer) drain(j job) {
	for done := 0; j.kind != jobNone; {
		m.do(j)
		if done++; done > int(m.ix.slots.buffered.Load()/yieldEvery) {
			runtime.Gosched() // searches and changes go first: nobody waits for a link
			done = 0
		}
		m.mu.Lock()
		m.active = slices.DeleteFunc(m.active, func(n uint64) bool { return n == j.number })
		if m.progress != nil {
			close(m.progress)
			m.progress = nil
		}
		j = job{}
		if !m.stopped && m.running <= m.ix.workers() {
			j = m.nextLocked()
		}
		if j.kind == jobNone {
			m.running--
			m.idle++
		} else {
			m.startLocked()
		}
		m.mu.Unlock()
	}
}

// nextLocked takes the next job. When the only work left waits for a pinned reader it sets parked first and looks again:
// then either it sees the reader gone, or the reader, which clears its pin before it reads parked, kicks.
func (m *maintainer) nextLocked() job {
	j := m.takeLocked()
	if j.kind == jobNone {
		m.parked.Store(m.dead.len() > 0 || len(m.limbo) > 0)
		if m.parked.Load() {
			j = m.takeLocked()
		}
	}
	if j.kind != jobNone {
		m.begun++
		j.number = m.begun
		m.active = append(m.active, j.number)
	}
	return j
}

// takeLocked removes a job from the queues, or returns one of kind jobNone.
func (m *maintainer) takeLocked() job {
	repair := m.takeDeadLocked()
	if list := m.takeLimboLocked(); len(list) > 0 {
		if repair != noSlot {
			m.dead.head-- // it stays the first
		}
		return job{kind: jobRelease, list: list}
	}
	if repair != noSlot {
		return job{kind: jobRepair, slot: repair}
	}
	if m.ix.structure == nil {
		return job{}
	}
	if m.sweepDueLocked() {
		return job{kind: jobSweep, list: m.takeRetiredLocked()}
	}
	if slots := m.takeManyLocked(); slots != nil {
		m.unswept += len(slots)
		return job{kind: jobLinkMany, list: slots}
	}
	if slot := m.takePendingLocked(); slot != noSlot {
		m.unswept++
		return job{kind: jobLink, slot: slot}
	}
	return job{}
}

// takeDeadLocked returns a dead node to repair, or noSlot. Only slots that died before all walking readers began are
// looked at. One that was never linked needs no repair and goes to limbo; one that is being linked holds up the queue.
func (m *maintainer) takeDeadLocked() uint32 {
	for oldest := m.ix.readers.oldest(true); m.dead.len() > 0; {
		slot := m.dead.first()
		h := m.ix.slots.header(slot)
		died := h.died.Load()
		if died > oldest {
			return noSlot
		}
		switch {
		case h.move(pending, dropped):
			m.dead.pop()
			m.limbo = append(m.limbo, released{slot, died})
		case h.is(linked):
			m.dead.pop()
			return slot
		default:
			return noSlot
		}
	}
	return noSlot
}

// takeLimboLocked returns the slots that no reader can reach any more.
func (m *maintainer) takeLimboLocked() (list []uint32) {
	if len(m.limbo) == 0 {
		return nil
	}
	oldest, n := m.ix.readers.oldest(false), 0
	for n < len(m.limbo) && m.limbo[n].after <= oldest {
		list = append(list, m.limbo[n].slot)
		n++
	}
	m.limbo = m.limbo[n:]
	return list
}

// sweepDueLocked reports whether it is time to sweep: enough slots are retired, or enough points were linked, each of
// which may have pushed another one's last link out of a row.
func (m *maintainer) sweepDueLocked() bool {
	if m.ix.graph == nil {
		return false // nothing leads to a retired slot
	}
	nodes := m.ix.graph.nodes.Load()
	n := len(m.retired)
	return !m.sweeping && (n >= sweepMinimum && float64(n) >= sweepFraction*float64(nodes) ||
		m.unswept >= sweepLinks && float64(m.unswept) >= sweepLinkFraction*float64(nodes))
}

// takeRetiredLocked returns the slots to sweep. The entry point, which is among them only when nothing alive could take
// over, stays.
func (m *maintainer) takeRetiredLocked() []uint32 {
	g := m.ix.graph
	entry, _ := g.entryPoint()
	list := m.retired
	m.retired = nil
	for i, slot := range list {
		if slot == entry && !g.replaceEntry(slot) {
			m.retired = append(m.retired, slot)
			list = append(list[:i], list[i+1:]...)
			break
		}
	}
	m.sweeping = true
	m.unswept = 0
	return list
}

// takePendingLocked claims a live point of the buffer, round robin, so that none waits for ever.
func (m *maintainer) takePendingLocked() uint32 {
	s := &m.ix.slots
	if !m.draining.Load() || s.buffered.Load() == 0 {
		return noSlot
	}
	end := s.end.Load()
	for range 2 {
		for m.cursor < end {
			slot, ok := s.buffer.next(m.cursor, end)
			if !ok {
				break
			}
			m.cursor = slot + 1
			if h := s.header(slot); h.alive() && h.move(pending, linking) {
				return slot
			}
		}
		m.cursor = 0
	}
	return noSlot
}

// takeManyLocked claims live points of the buffer to link at once; none when few wait.
func (m *maintainer) takeManyLocked() (list []uint32) {
	g, waiting := m.ix.graph, int(m.ix.slots.buffered.Load())
	if g == nil || !m.draining.Load() || waiting < crowd {
		return nil
	}
	for range g.bulk.size(g, waiting, m.ix.opt.BufferSize) {
		slot := m.takePendingLocked()
		if slot == noSlot {
			break
		}
		list = append(list, slot)
	}
	g.bulk.waiting.Add(int64(max(1, len(list))))
	return list
}

// do runs one job.
func (m *maintainer) do(j job) {
	m.quiet.RLock()
	defer m.quiet.RUnlock()
	ix := m.ix
	if j.kind == jobRelease {
		ix.free(j.list)
		return
	}
	r := ix.readers.acquire(true)
	defer ix.readers.release(r)
	switch j.kind {
	case jobLink:
		ix.structure.insert(r, j.slot)
		ix.slots.header(j.slot).set(linked)
		ix.slots.leaveBuffer(j.slot)
		ix.links.Add(1)
	case jobLinkMany:
		ix.graph.insertMany(r, j.list, ix.opt.EfConstruction)
		for _, slot := range j.list {
			ix.slots.header(slot).set(linked)
			ix.slots.leaveBuffer(slot)
		}
		ix.links.Add(uint64(len(j.list)))
		ix.bulkLinks.Add(uint64(len(j.list)))
	case jobRepair:
		ix.structure.retire(r, j.slot)
		ix.slots.header(j.slot).set(retired)
		ix.repairs.Add(1)
		m.mu.Lock()
		if ix.graph != nil {
			m.retired = append(m.retired, j.slot)
		} else {
			m.limbo = append(m.limbo, released{j.slot, r.seq})
		}
		m.mu.Unlock()
	case jobSweep:
		m.sweep(r, j.list)
	}
}

// sweep cleans the graph of links to the retired slots in list, and links again what has become unreachable.
func (m *maintainer) sweep(r *reader, list []uint32) {
	ix, g := m.ix, m.ix.graph
	if len(list) > 0 {
		g.sweep(newSlotSet(list, ix.slots.end.Load()))
	}
	for _, slot := range g.unreachable(r) {
		g.connect(r, slot, 0, 0, ix.opt.EfConstruction)
		ix.relinks.Add(1)
	}
	ix.sweeps.Add(1)

	ix.write.Lock() // a new sequence, which readers that begin from now on are pinned at
	after := ix.committed.Load() + 1
	ix.committed.Store(after)
	ix.write.Unlock()

	m.mu.Lock()
	for _, slot := range list {
		m.limbo = append(m.limbo, released{slot, after})
	}
	m.sweeping = false
	m.mu.Unlock()
}

// free makes slots usable again. A key whose newest version is such a slot is forgotten.
func (ix *Index) free(list []uint32) {
	for _, slot := range list {
		ix.keys.remove(ix.slots.header(slot).key.Load(), slot)
		if ix.slots.header(slot).is(retired) {
			ix.structure.forget(slot)
		}
		ix.slots.release(slot)
	}
}
