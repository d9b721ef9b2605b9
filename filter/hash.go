package filter

import (
	"bytes"
	"hash/maphash"
)

// The hash table finds a term by (field, kind, key). It is split in shards so that
// growing it never stops a writer for long: a shard doubles by itself.
//
// A slot holds the upper half of the hash above the term's number (0 is free), so
// that probing and growing read nothing else. Probing is linear; a removal moves
// later slots of its run back, and leaves no tombstone.
type shard struct {
	slots []uint64 // a power of two, or none yet
	used  int
}

const (
	hashShards = 16
	hashFirst  = 4 // slots that a shard begins with
)

// hash mixes a keyed hash of the key, which documents can't aim at, with the
// field and kind.
func (t *terms) hash(field uint32, k kind, key []byte) uint64 {
	h := maphash.Bytes(t.seed, key) ^ (uint64(field)<<3|uint64(k))*0x9E3779B97F4A7C15
	h ^= h >> 32
	h *= 0xD6E8FEB86659FD93
	return h ^ h>>32
}

// shard picks by the low bits; the place within comes from the high half, which
// the slot keeps.
func (t *terms) shard(h uint64) *shard { return &t.table[h%hashShards] }

func (s *shard) home(slot uint64) int { return int(slot>>32) & (len(s.slots) - 1) }

const slotHash uint64 = 0xFFFFFFFF_00000000

// prefetch computes the hashes of the entries that are looked up, and reads
// their slots: one after the other the lookups would each wait for memory, here
// the processor waits for all at once.
func (t *terms) prefetch(entries []entry) (touched uint64) {
	for i := range entries {
		e := &entries[i]
		if e.kind != kindNumber && e.kind != kindString {
			continue
		}
		e.hash = t.hash(e.field, e.kind, e.key)
		if s := t.shard(e.hash); len(s.slots) > 0 {
			touched ^= s.slots[s.home(e.hash)]
		}
	}
	return touched // so that the reads are not optimised away
}

// lookup returns the term, or 0.
func (t *terms) lookup(h uint64, field uint32, k kind, key []byte) uint32 {
	s := t.shard(h)
	if len(s.slots) == 0 {
		return 0
	}
	for i := s.home(h); ; i = (i + 1) & (len(s.slots) - 1) {
		slot := s.slots[i]
		if slot == 0 {
			return 0
		}
		if (slot^h)&slotHash != 0 {
			continue
		}
		id := uint32(slot)
		if r := t.at(id); r.field == field && r.kind == k && bytes.Equal(t.key(id), key) {
			return id
		}
	}
}

// enter puts a term that is not in the table into it.
func (t *terms) enter(h uint64, id uint32) {
	s := t.shard(h)
	if s.used*4 >= len(s.slots)*3 {
		s.grow()
	}
	s.put(h&slotHash | uint64(id))
	s.used++
}

func (s *shard) put(slot uint64) {
	i := s.home(slot)
	for s.slots[i] != 0 {
		i = (i + 1) & (len(s.slots) - 1)
	}
	s.slots[i] = slot
}

func (s *shard) grow() {
	old := s.slots
	s.slots = make([]uint64, max(hashFirst, 2*len(old)))
	for _, slot := range old {
		if slot != 0 {
			s.put(slot)
		}
	}
}

// leave takes a term out of the table.
func (t *terms) leave(h uint64, id uint32) {
	s := t.shard(h)
	if len(s.slots) == 0 {
		return
	}
	mask := len(s.slots) - 1
	i := s.home(h)
	for ; uint32(s.slots[i]) != id; i = (i + 1) & mask {
		if s.slots[i] == 0 {
			return
		}
	}
	// Close the gap: a later slot of the run moves into it unless its home lies
	// between the gap and itself.
	for j := (i + 1) & mask; s.slots[j] != 0; j = (j + 1) & mask {
		if home := s.home(s.slots[j]); (j-home)&mask >= (j-i)&mask {
			s.slots[i] = s.slots[j]
			i = j
		}
	}
	s.slots[i] = 0
	s.used--
}
