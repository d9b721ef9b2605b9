package ann

import (
	"sync"
	"sync/atomic"
)

// keyTable maps every key to the newest slot that holds a version of it, dead or alive. It stores slots only and
// compares keys in the slots' headers: six to eight bytes per key. Readers take no lock.
//
// It is split into parts that grow one by one, so that no single upsert pays for a copy of everything.
type keyTable struct {
	slots *slots
	mu    sync.Mutex // held by put and remove
	parts [keyParts]keyPart
}

const (
	keyParts        = 64
	keyPartMin      = 4          // smallest table of a part
	removed         = ^uint32(0) // entry of a key that was removed: a probe goes on past it
	keyLoadQuarters = 3          // a table is at most so many quarters full, removed entries included
)

// keyPart is an open-addressing table with linear probing; its length is a power of two.
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
	hash := hashKey(key)
	table := t.parts[hash%keyParts].table.Load()
	if table == nil {
		return noSlot
	}
	_, slot := t.probe(*table, key, hash)
	return slot
}

// probe returns the entry of key and the slot that it held when it was compared, or nil and noSlot. A reader must not
// load the entry again: it may have been removed since.
func (t *keyTable) probe(table []atomic.Uint32, key, hash uint64) (*atomic.Uint32, uint32) {
	mask := uint64(len(table) - 1)
	for i := hash / keyParts; ; i++ {
		entry := &table[i&mask]
		slot := entry.Load()
		if slot == noSlot {
			return nil, noSlot
		}
		if slot != removed && t.slots.header(slot).key.Load() == key {
			return entry, slot
		}
	}
}

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
	hash := hashKey(key)
	part := &t.parts[hash%keyParts]
	table := part.table.Load()
	if table != nil {
		if entry, _ := t.probe(*table, key, hash); entry != nil {
			entry.Store(slot)
			return
		}
	}
	if table == nil || (part.used+1)*4 > len(*table)*keyLoadQuarters {
		table = t.rebuild(part)
	}
	part.used++
	part.live++
	insertEntry(*table, hash, slot)
}

func insertEntry(table []atomic.Uint32, hash uint64, slot uint32) {
	mask := uint64(len(table) - 1)
	i := hash / keyParts
	for table[i&mask].Load() != noSlot {
		i++
	}
	table[i&mask].Store(slot)
}

// rebuild replaces the table of part by one with room, without removed entries. Readers of the old table miss only what
// is put later, which no reader that is pinned already may see.
func (t *keyTable) rebuild(part *keyPart) *[]atomic.Uint32 {
	size := keyPartMin
	for (part.live+1)*4 > size*keyLoadQuarters*3/4 {
		size *= 2
	}
	table := make([]atomic.Uint32, size)
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
	hash := hashKey(key)
	part := &t.parts[hash%keyParts]
	if table := part.table.Load(); table != nil {
		if entry, newest := t.probe(*table, key, hash); newest == slot {
			entry.Store(removed)
			part.live--
		}
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
