package embedded

import (
	"unsafe"

	"github.com/zeebo/xxh3"

	"github.com/freshet-io/freshet"
)

// docs numbers the entities of a shard and keeps what is needed of each without reading its
// record. It holds no pointers per entity, so its size costs the garbage collector nothing.
// The caller does the locking.
type docs struct {
	slots []uint32 // open addressing by hash of the entity id: document+1, 0 = free
	arena []byte   // the ids, one after another
	ends  []uint64 // where the id of each document ends in arena
	info  []docInfo
	live  int
	extra int // points of all documents beyond the first of each
	most  int // points that one document has, or once had, at most
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

func (d *docs) len() int { return len(d.info) }

// id is the entity id of a document. It aliases the arena, which never changes in place.
func (d *docs) id(doc uint32) []byte {
	var start uint64
	if doc > 0 {
		start = d.ends[doc-1]
	}
	return d.arena[start:d.ends[doc]]
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

// add numbers a new entity.
func (d *docs) add(entity string) uint32 {
	if 4*(len(d.info)+1) > 3*len(d.slots) {
		d.grow()
	}
	doc := uint32(len(d.info))
	d.arena = append(d.arena, entity...)
	d.ends = append(d.ends, uint64(len(d.arena)))
	d.info = append(d.info, docInfo{})
	d.place(doc)
	return doc
}

func (d *docs) grow() {
	d.slots = make([]uint32, max(minDocSlots, 2*len(d.slots)))
	for doc := range d.info {
		d.place(uint32(doc))
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
	return int64(4*cap(d.slots)+cap(d.arena)+8*cap(d.ends)) + int64(cap(d.info))*int64(unsafe.Sizeof(docInfo{}))
}
