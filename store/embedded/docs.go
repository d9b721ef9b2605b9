package embedded

import (
	"encoding/binary"
	"math"
	"math/bits"
	"unsafe"

	"github.com/zeebo/xxh3"

	"github.com/freshet-io/freshet"
)

// docs numbers the entities of a shard and keeps what is needed of each without reading its
// record. It holds no pointers per entity, so its size costs the garbage collector nothing.
// The caller does the locking.
type docs struct {
	slots  []uint32 // open addressing by hash of the entity id: document+1, 0 = free
	arena  []byte   // the ids, each a uvarint length and that many bytes
	starts []uint64 // where the id of each document begins in arena
	info   []docInfo
	free   []uint32 // documents without an entity: their id is empty
	wasted int      // bytes of arena that no document uses
	live   int
	extra  int // points of all documents beyond the first of each
	most   int // points that one document has, or once had, at most
}

// docInfo is the state of an entity that the indexes stand for.
type docInfo struct {
	version  freshet.Version
	revision uint32
	points   uint16 // 0: deleted
	content  [16]byte
	digest   [16]byte
	batch    uint64 // the batch of changes that made it so; 0 when it came from a snapshot
}

// known reports whether the entity has a state: one that is numbered and not applied has none.
func (i *docInfo) known() bool { return i.version != (freshet.Version{}) }

// len is the number of documents, those without an entity included.
func (d *docs) len() int { return len(d.info) }

// tombstones is the number of entities that are deleted.
func (d *docs) tombstones() int { return len(d.info) - len(d.free) - d.live }

// id is the entity id of a document, empty when it has no entity. It aliases the arena, which never changes in place.
func (d *docs) id(doc uint32) []byte {
	at := d.starts[doc]
	if at == noID {
		return nil
	}
	n, width := binary.Uvarint(d.arena[at:])
	at += uint64(width)
	return d.arena[at : at+n]
}

// noID is the start of a document without an entity.
const noID = math.MaxUint64

// putID gives a document its id.
func (d *docs) putID(doc uint32, id string) {
	d.starts[doc] = uint64(len(d.arena))
	d.arena = append(binary.AppendUvarint(d.arena, uint64(len(id))), id...)
}

// find returns the document of an entity.
func (d *docs) find(entity string) (doc uint32, ok bool) {
	if len(d.slots) == 0 {
		return 0, false
	}
	mask := uint64(len(d.slots) - 1)
	for i := xxh3.HashString(entity) & mask; d.slots[i] != 0; i = (i + 1) & mask {
		if doc := d.slots[i] - 1; string(d.id(doc)) == entity {
			return doc, true
		}
	}
	return 0, false
}

// add numbers a new entity. reuse says that it may get the number of one that was removed.
func (d *docs) add(entity string, reuse bool) uint32 {
	if 4*(len(d.info)-len(d.free)+1) > 3*len(d.slots) {
		d.grow()
	}
	doc := uint32(len(d.info))
	if n := len(d.free) - 1; reuse && n >= 0 {
		doc, d.free = d.free[n], d.free[:n]
		d.info[doc] = docInfo{}
	} else {
		d.info, d.starts = append(d.info, docInfo{}), append(d.starts, noID)
	}
	d.putID(doc, entity)
	d.place(doc)
	return doc
}

// remove takes an entity without points out of the table; its document is free.
func (d *docs) remove(doc uint32) {
	id := d.id(doc)
	mask := uint64(len(d.slots) - 1)
	hole := d.home(id)
	for d.slots[hole] != doc+1 {
		hole = (hole + 1) & mask
	}
	// What was placed behind the hole only because it was taken moves up: no look-up meets a gap.
	for i := (hole + 1) & mask; d.slots[i] != 0; i = (i + 1) & mask {
		if home := d.home(d.id(d.slots[i] - 1)); (i-home)&mask >= (i-hole)&mask {
			d.slots[hole], hole = d.slots[i], i
		}
	}
	d.slots[hole] = 0
	d.wasted += len(id) + uvarintBytes(len(id))
	d.starts[doc] = noID
	d.set(doc, docInfo{})
	d.free = append(d.free, doc)
	if d.wasted > len(d.arena)/2 {
		d.compact()
	}
}

// compact writes the ids anew, without those of removed entities.
func (d *docs) compact() {
	old := *d
	d.arena, d.wasted = make([]byte, 0, len(d.arena)-d.wasted+d.wasted/4), 0
	d.starts = make([]uint64, len(old.starts))
	for doc := range old.starts {
		if d.starts[doc] = noID; old.starts[doc] != noID {
			d.putID(uint32(doc), string(old.id(uint32(doc))))
		}
	}
}

func uvarintBytes(n int) int { return (bits.Len(uint(n)|1) + 6) / 7 }

func (d *docs) grow() {
	d.slots = make([]uint32, max(minDocSlots, 2*len(d.slots)))
	for doc := range d.info {
		if d.starts[doc] != noID {
			d.place(uint32(doc))
		}
	}
}

func (d *docs) place(doc uint32) {
	i := d.home(d.id(doc))
	for d.slots[i] != 0 {
		i = (i + 1) & uint64(len(d.slots)-1)
	}
	d.slots[i] = doc + 1
}

// home is where the look-up of an id begins.
func (d *docs) home(id []byte) uint64 { return xxh3.Hash(id) & uint64(len(d.slots)-1) }

// minDocSlots is the size of the smallest hash table.
const minDocSlots = 16

// set replaces what is known of a document.
func (d *docs) set(doc uint32, info docInfo) {
	old := d.info[doc]
	if old.points > 0 {
		d.live--
		d.extra -= int(old.points) - 1
	}
	if info.points > 0 {
		d.live++
		d.extra += int(info.points) - 1
	}
	d.most = max(d.most, int(info.points))
	d.info[doc] = info
}

// bytes is the memory that the table holds.
func (d *docs) bytes() int64 {
	return int64(4*cap(d.slots)+cap(d.arena)+8*cap(d.starts)+4*cap(d.free)) + int64(cap(d.info))*int64(unsafe.Sizeof(docInfo{}))
}
