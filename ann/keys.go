package ann

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// keyTable maps every key to the newest slot that holds a version of it, dead or alive. It stores slots only and
// compares keys in the slots' headers: five to six bytes per key. Readers take no lock.
//
// It is split into parts that grow one by one, so that no single upsert pays for a copy of everything.
type keyTable struct {
	slots *slots
	mu    sync.Mutex // held by put and remove
	parts [keyParts]keyPart
}

const (
	keyParts   = 64
	keyPartMin = 4          // smallest table of a part
	removed    = ^uint32(0) // entry of a key that was removed: a probe goes on past it
)

// tableFull reports whether a table of so many entries, removed ones included, is too full for one more: above four
// fifths, looks at other keys' headers would begin to cost more than they save.
func tableFull(used, size int) bool { return (used+1)*5 > size*4 }

// tableSize returns the size of a new table for so many keys: a quarter more than what would be full.
func tableSize(live int) int { return max(keyPartMin, (live+1)*25/16+1) }

// keyPart is an open-addressing table with linear probing, of any length.
type keyPart struct {
	table atomic.Pointer[[]atomic.Uint32]
	used  int // entries that are not empty; under mu
	live  int // entries that are neither empty nor removed; under mu
}

// hashKey spreads the bits of a key (the finaliser of SplitMix64).
func hashKey(key uint64) uint64 {
	key ^= key >> 30
	key *= 0xbf58476d1ce4e5b9
	key ^= key >> 27
	key *= 0x94d049bb133111eb
	return key ^ key>>31
}

// find returns the newest slot of key, or noSlot.
func (t *keyTable) find(key uint64) uint32 {
	var l lookUp
	t.begin(&l, key)
	t.probe(&l)
	return l.slot
}

// begin makes l a search for key that is still to be done, and reports false when there is nothing to search.
func (t *keyTable) begin(l *lookUp, key uint64) bool {
	*l = lookUp{key: key}
	hash := hashKey(key)
	table := t.parts[hash%keyParts].table.Load()
	if table == nil {
		return false
	}
	l.table, l.place = *table, placeOf(hash, *table)
	return true
}

// probe does a search: it reports whether the key is there, and leaves l at its entry.
func (t *keyTable) probe(l *lookUp) bool {
	for t.next(l) {
		if l.holds() {
			return true
		}
	}
	return false
}

// lookUp is a search for a key that goes on entry by entry, so that many can wait for memory side by side.
type lookUp struct {
	table []atomic.Uint32
	place int // of the entry that comes next
	key   uint64
	// slot is what entry held when it was read, noSlot before the first and after the last, and header is its header. A
	// reader must not load the entry again: it may have been removed since.
	slot   uint32
	entry  *atomic.Uint32
	header *slotHeader
}

// next goes to the next entry with a slot, and reports false when there is none.
func (t *keyTable) next(l *lookUp) bool {
	for l.table != nil {
		l.entry = &l.table[l.place]
		l.place = placeAfter(l.place, l.table)
		switch l.slot = l.entry.Load(); l.slot {
		case removed:
		case noSlot:
			return false
		default:
			l.header = t.slots.header(l.slot)
			return true
		}
	}
	return false
}

// holds reports whether the slot that l is at holds the key.
func (l *lookUp) holds() bool { return l.slot != noSlot && l.header.key.Load() == l.key }

// findAt returns the slot of key that is visible at sequence seq, or noSlot. It walks from the newest version to older
// ones; born must fall at every step, which ends the walk when it has strayed into a slot that was used again.
func (t *keyTable) findAt(key, seq uint64) uint32 {
	youngest := uint64(forever)
	for slot := t.find(key); slot != noSlot; {
		h := t.slots.header(slot)
		died, born := h.died.Load(), h.born.Load() // in this order: see visibleAt
		if born >= youngest || h.key.Load() != key {
			return noSlot
		}
		if born <= seq {
			if seq < died {
				return slot
			}
			return noSlot
		}
		youngest, slot = born, h.prev.Load()
	}
	return noSlot
}

// put makes slot, whose header holds key, the newest of key.
func (t *keyTable) put(key uint64, slot uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var l lookUp
	if t.begin(&l, key); t.probe(&l) {
		l.entry.Store(slot)
		return
	}
	hash := hashKey(key)
	part := &t.parts[hash%keyParts]
	table := part.table.Load()
	if table == nil || tableFull(part.used, len(*table)) {
		table = t.rebuild(part)
	}
	part.used++
	part.live++
	insertEntry(*table, hash, slot)
}

func insertEntry(table []atomic.Uint32, hash uint64, slot uint32) {
	i := placeOf(hash, table)
	for table[i].Load() != noSlot {
		i = placeAfter(i, table)
	}
	table[i].Store(slot)
}

// placeOf returns where the search for a key begins: by the upper bits of its hash, since the lower choose the part.
func placeOf(hash uint64, table []atomic.Uint32) int {
	place, _ := bits.Mul64(hash, uint64(len(table)))
	return int(place)
}

// placeAfter returns where it goes on.
func placeAfter(i int, table []atomic.Uint32) int {
	if i++; i == len(table) {
		return 0
	}
	return i
}

// rebuild replaces the table of part by one with room, without removed entries. Readers of the old table miss only what
// is put later, which no reader that is pinned already may see.
func (t *keyTable) rebuild(part *keyPart) *[]atomic.Uint32 {
	table := make([]atomic.Uint32, tableSize(part.live))
	if old := part.table.Load(); old != nil {
		for i := range *old {
			if slot := (*old)[i].Load(); slot != noSlot && slot != removed {
				insertEntry(table, hashKey(t.slots.header(slot).key.Load()), slot)
			}
		}
	}
	part.used = part.live
	part.table.Store(&table)
	return &table
}

// remove forgets key when slot is still its newest.
func (t *keyTable) remove(key uint64, slot uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var l lookUp
	if t.begin(&l, key); t.probe(&l) && l.slot == slot {
		l.entry.Store(removed)
		t.parts[hashKey(key)%keyParts].live--
	}
}

// bytes returns the memory of the table.
func (t *keyTable) bytes() (n int64) {
	for i := range t.parts {
		if table := t.parts[i].table.Load(); table != nil {
			n += int64(len(*table)) * 4
		}
	}
	return n
}

// EachKey calls yield for the key of every point of one instant, each once, in no order, until it returns false. It returns
// ErrClosed when the index is closed.
func (ix *Index) EachKey(yield func(key uint64) bool) error {
	r, err := ix.enter(false)
	if err != nil {
		return err
	}
	defer ix.leave(r)
	for slot, end := uint32(1), ix.slots.end.Load(); slot < end; slot++ {
		if h := ix.slots.header(slot); h.visibleAt(r.seq) && !yield(h.key.Load()) {
			return nil
		}
	}
	return nil
}
