package ann

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/freshet-io/freshet/ann/internal/kernel"
)

// ErrClosed is returned by methods of an index after Close.
var ErrClosed = errors.New("ann: the index is closed")

// Op is one change of a batch: an upsert, or with a nil Vector a delete.
type Op struct {
	Key    uint64
	Vector []float32 // copied by Apply
}

// Index maps keys to vectors and finds the vectors nearest to a query. See the package documentation.
type Index struct {
	opt       Options
	space     space
	slots     slots
	keys      keyTable
	readers   readers
	structure structure     // nil in an index of kind Flat
	graph     *graph        // the structure of kinds HNSW and HNSWDisk, else nil
	inverted  *inverted     // the structure of the kinds that divide points among lists, else nil
	committed atomic.Uint64 // sequence of the newest change; starts at 1
	live      atomic.Int64  // points at the newest sequence
	closed    atomic.Bool
	boundless atomic.Bool  // see SetBackPressure
	ef        atomic.Int64 // see SetEf
	resources *resources
	closing   sync.Mutex    // held while Close waits
	left      chan struct{} // of one place: a reader has left a closed index

	// write orders the batches. It is held while a batch is copied into its slots, never while links are made.
	write   sync.Mutex
	targets targets
	maintainer
	counters
}

// counters are the totals of Stats since New.
type counters struct {
	upserts, deletes, searches, exactScans, links, bulkLinks, repairs, relinks, sweeps, trainings atomic.Uint64
}

// New returns an empty index. Distances are computed in assembly where the processor has the instructions; the
// environment variable FRESHET_KERNEL forces an implementation: go, avx2, avx512, neon or neondot. Exact scores are the
// same bits with all of them.
func New(opt Options) (*Index, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	set, err := kernel.Choose()
	if err != nil {
		return nil, fmt.Errorf("ann: %w", err)
	}
	opt = opt.withDefaults()
	ix := &Index{opt: opt, resources: &resources{}, left: make(chan struct{}, 1), space: space{metric: opt.Metric, dim: opt.Dim, kernel: set}}
	// Exact scans need no codes, and lists have their own.
	coded := opt.Kind != Flat && !opt.Kind.inverted() || opt.Precision == Int8
	ix.slots.init(opt, set, coded, &ix.resources.arena)
	if opt.Kind == HNSWDisk {
		if ix.resources.file, err = createVectorFile(opt.Dir, opt.Dim); err != nil {
			return nil, err
		}
		ix.slots.vectors.file = ix.resources.file
	}
	ix.keys.slots = &ix.slots
	ix.readers.committed = &ix.committed
	ix.committed.Store(1)
	ix.ef.Store(int64(opt.Ef))
	ix.maintainer.ix = ix
	ix.maintainer.handoff = make(chan job, opt.mostWorkers)
	if opt.Kind == HNSW || opt.Kind == HNSWDisk {
		ix.graph = newGraph(&ix.slots, &ix.space, opt)
		ix.structure = hnsw{ix.graph, ix}
		ix.draining.Store(opt.FlatBelow < 0)
	}
	if opt.Kind.inverted() {
		ix.inverted = &inverted{ix: ix}
		ix.structure = ix.inverted
	}
	runtime.AddCleanup(ix, func(r *resources) { _ = r.release() }, ix.resources) // nobody is there to hear of an error
	return ix, nil
}

// Options returns the options in force, with defaults filled in.
func (ix *Index) Options() Options {
	o := ix.opt
	o.Ef = int(ix.ef.Load())
	return o
}

// SetEf gives searches that begin from now on another Options.Ef, 0 for the default. It may be called at any time.
func (ix *Index) SetEf(ef int) error {
	o := ix.opt
	o.Ef = ef
	if err := o.Validate(); err != nil {
		return err
	}
	ix.ef.Store(int64(o.withDefaults().Ef))
	return nil
}

// Len returns the number of points.
func (ix *Index) Len() int { return int(ix.live.Load()) }

// Apply makes the changes of a batch, in order, so that the last one of a key wins. A search sees all of the batch or
// nothing of it, and every search that begins after Apply has returned sees it. A delete of an absent key does nothing.
//
// When a vector can't be stored (wrong dimension, NaN, infinity, no direction under cosine, or too long under the other
// metrics) nothing is applied, and the error names the op. Vectors are copied. Apply waits while more than
// Options.BufferSize points have no links yet.
func (ix *Index) Apply(ops []Op) error {
	norms := make([]float64, len(ops))
	upserts := 0
	for i, op := range ops {
		if op.Vector == nil {
			continue
		}
		norm, err := ix.space.check(op.Vector)
		if err != nil {
			return fmt.Errorf("ann: op %d (key %d): the vector can't be stored: %w", i, op.Key, err)
		}
		norms[i] = norm
		upserts++
	}
	if err := ix.waitForRoom(); err != nil {
		return err
	}
	ix.write.Lock()
	defer ix.write.Unlock()
	if ix.closed.Load() {
		return ErrClosed
	}
	if !ix.slots.fits(upserts) {
		return fmt.Errorf("ann: the index holds %d points: a batch of %d exceeds the limit of %d slots", ix.Len(), upserts, maxSlots)
	}
	slots, err := ix.place(ops, norms, upserts)
	if err != nil {
		return err
	}
	ix.commit(ops, slots)
	return nil
}

// place stores the vectors of a checked batch in slots that nobody can see, and returns these in the order of the
// upserts. When it fails, which only a file of vectors can cause, no slot is taken.
func (ix *Index) place(ops []Op, norms []float64, upserts int) ([]uint32, error) {
	slots := make([]uint32, 0, upserts)
	scratch := ix.slots.vectors.scratch()
	for i, op := range ops {
		if op.Vector == nil {
			continue
		}
		slot := ix.slots.allocate()
		slots = append(slots, slot)
		if err := ix.store(slot, op.Vector, norms[i], scratch); err != nil {
			for _, slot := range slots {
				ix.slots.release(slot)
			}
			return nil, err
		}
	}
	return slots, nil
}

// commit applies a batch whose vectors are in place. Nothing that it does before the sequence is stored is visible to a
// reader.
func (ix *Index) commit(ops []Op, slots []uint32) {
	seq := ix.committed.Load() + 1
	var dead []uint32
	delta := 0
	for _, op := range ops {
		old := ix.keys.find(op.Key)
		if old != noSlot && ix.slots.header(old).alive() {
			ix.slots.kill(old, seq)
			dead = append(dead, old)
			delta--
		} else if op.Vector == nil {
			continue
		}
		if op.Vector == nil {
			ix.deletes.Add(1)
			continue
		}
		slot := slots[0]
		slots = slots[1:]
		ix.slots.publish(slot, op.Key, old, seq)
		ix.keys.put(op.Key, slot)
		ix.upserts.Add(1)
		delta++
	}
	ix.committed.Store(seq)
	if live := ix.live.Add(int64(delta)); ix.graph != nil && live > int64(ix.opt.FlatBelow) {
		ix.draining.Store(true)
	}
	ix.enqueueDead(dead)
	ix.kick()
}

// store writes a checked vector into a slot that nobody can see. Its codes are made from what is stored, so that they
// are the same after a restart. The scratch is memory as vectors.scratch returns it; it is left with what is stored.
func (ix *Index) store(slot uint32, v []float32, normSquared float64, scratch []float32) error {
	ix.space.prepare(scratch, v, normSquared)
	err := ix.slots.vectors.write(slot, scratch)
	ix.encode(slot, scratch)
	return err
}

// encode makes the codes of slot from v, its stored vector, in an index that has codes.
func (ix *Index) encode(slot uint32, v []float32) {
	if ix.slots.coded {
		ix.slots.record(slot).Encode(v[:ix.space.dim])
	}
}

// Stored appends v to dst in the form that Vector returns once v is applied: under cosine normalised to length 1 (a
// vector whose squared length is within 1e-6 of 1 is kept as it came), and rounded to Options.Precision. An audit that
// compares this with Vector need not know what an index does to vectors: the bits must be the same, also after Load.
// It fails like Apply for a vector that can't be stored.
func (ix *Index) Stored(v, dst []float32) ([]float32, error) {
	norm, err := ix.space.check(v)
	if err != nil {
		return dst, fmt.Errorf("ann: the vector can't be stored: %w", err)
	}
	at := len(dst)
	dst = slices.Grow(dst, ix.slots.vectors.padded)[:at+ix.slots.vectors.padded]
	ix.space.prepare(dst[at:], v, norm)
	ix.slots.vectors.round(dst[at:])
	return dst[:at+len(v)], nil
}

// Vector appends the vector of key to dst, as it is stored: see Stored. Found is false when there is no such key. An
// error means that the file of an index of kind HNSWDisk could not be read, or ErrClosed.
func (ix *Index) Vector(key uint64, dst []float32) (vector []float32, found bool, err error) {
	r, err := ix.enter(false)
	if err != nil {
		return dst, false, err
	}
	defer ix.leave(r)
	slot := ix.keys.findAt(key, r.seq)
	if slot == noSlot {
		return dst, false, nil
	}
	v, err := ix.slots.vectors.read(slot, r.full)
	if err != nil {
		return dst, false, err
	}
	return append(dst, v[:ix.opt.Dim]...), true, nil
}

// Each calls yield for every point of one instant, each key once, in no order, until it returns false. The vector, as
// Vector returns it, is valid during the call only. Points are read from the slots that searches read, so an audit that
// compares them with another source tests what searches see. Errors are those of Vector. The function must not call
// Close, which waits for it.
func (ix *Index) Each(yield func(key uint64, vector []float32) bool) error {
	r, err := ix.enter(false)
	if err != nil {
		return err
	}
	defer ix.leave(r)
	for slot, end := uint32(1), ix.slots.end.Load(); slot < end; slot++ {
		if h := ix.slots.header(slot); h.visibleAt(r.seq) {
			v, err := ix.slots.vectors.read(slot, r.full)
			if err != nil {
				return err
			}
			r.query = append(r.query[:0], v[:ix.opt.Dim]...)
			if !yield(h.key.Load(), r.query) {
				return nil
			}
		}
	}
	return nil
}

// Stats is a picture of an index. Its numbers are read one by one, so they may differ by what happens meanwhile.
type Stats struct {
	Points   int   // live points
	InGraph  int   // points with links, or in lists
	Lists    int   // of an inverted-file kind, once it is trained
	InBuffer int   // points that searches find by a scan: the fresh buffer, or everything in a flat index
	Deleted  int   // slots of dead points that are not ready for use again
	Free     int   // slots ready for use again
	Bytes    int64 // of memory; a file of vectors is not counted

	Upserts, Deletes uint64 // applied since New or Load
	Searches         uint64
	ExactScans       uint64 // searches that were answered, or filled up, by comparing with every point that may be returned
	Links            uint64 // points linked into the graph
	BulkLinks        uint64 // of these, points that were linked many at once, as happens while many wait
	Repairs          uint64 // dead points taken out of the graph
	Relinks          uint64 // points that had become unreachable and were linked again
	Sweeps           uint64
	Trainings        uint64 // of the lists
}

// Stats returns the present numbers.
func (ix *Index) Stats() Stats {
	st := Stats{
		Points:     ix.Len(),
		InBuffer:   int(ix.slots.buffered.Load()),
		Free:       ix.slots.freeCount(),
		Bytes:      ix.slots.bytes() + ix.keys.bytes(),
		Upserts:    ix.upserts.Load(),
		Deletes:    ix.deletes.Load(),
		Searches:   ix.searches.Load(),
		ExactScans: ix.exactScans.Load(),
		Links:      ix.links.Load(),
		BulkLinks:  ix.bulkLinks.Load(),
		Repairs:    ix.repairs.Load(),
		Relinks:    ix.relinks.Load(),
		Sweeps:     ix.sweeps.Load(),
		Trainings:  ix.trainings.Load(),
	}
	st.InGraph = max(0, st.Points-st.InBuffer)
	st.Deleted = max(0, int(ix.slots.end.Load())-1-st.Points-st.Free)
	if ix.structure != nil {
		st.Bytes += ix.structure.bytes()
	}
	if ix.inverted != nil {
		st.Lists = ix.inverted.lists()
	}
	return st
}
