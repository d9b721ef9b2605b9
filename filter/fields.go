package filter

import "github.com/zeebo/xxh3"

// fields interns the paths that occur in metadata: a field is a key below a
// parent field, and has a small number. Field 0 is the document itself. Arrays
// add no step.
type fields struct {
	ids   map[fieldKey]uint32
	all   []field
	spare []uint32 // freed numbers
	fresh []uint32 // fields made since the last call of sweep
	last  uint32   // the field interned last
}

type fieldKey struct {
	parent uint32
	name   string
}

type field struct {
	parent uint32
	refs   uint32 // terms and child fields that need this one
	live   bool   // false for a spare number
	name   string
	hash   uint64 // of the whole path; the same in every table

	next uint32 // the field that was interned after this one the last time

	// The walker's note of the last object that held this field, to find
	// duplicate keys: the object's serial number, and the entries it made.
	object     uint64
	start, end int

	// For an index: the terms that have no key, by kind (0 for none), and the
	// others in order.
	consts  [kindNumber]uint32
	numbers ordered
	strings ordered
	times   ordered // of those strings that are times, by instant
}

// keyed returns the terms of a kind that has keys, in order.
func (f *field) keyed(k kind) *ordered {
	if k == kindNumber {
		return &f.numbers
	}
	return &f.strings
}

const rootHash = 0x9E3779B97F4A7C15 // any constant but 0

func newFields() fields {
	return fields{ids: map[fieldKey]uint32{}, all: []field{{hash: rootHash, refs: 1, live: true}}}
}

// find returns the field at a path, or false.
func (fs *fields) find(path []string) (uint32, bool) {
	id := uint32(0)
	for _, name := range path {
		var ok bool
		if id, ok = fs.ids[fieldKey{id, name}]; !ok {
			return 0, false
		}
	}
	return id, true
}

// intern returns the field of a key below parent, making it where it is new.
func (fs *fields) intern(parent uint32, name []byte) uint32 {
	// Documents are alike: try what followed the last field the last time.
	guess := fs.all[fs.last].next
	if f := &fs.all[guess]; f.parent != parent || f.name != string(name) || !f.live || guess == 0 {
		guess = fs.resolve(parent, name)
		fs.all[fs.last].next = guess
	}
	fs.last = guess
	return guess
}

// resolve looks a field up, and makes it where it is new.
func (fs *fields) resolve(parent uint32, name []byte) uint32 {
	if id, ok := fs.ids[fieldKey{parent, string(name)}]; ok {
		return id
	}
	f := field{parent: parent, live: true, name: string(name), hash: xxh3.HashSeed(name, fs.all[parent].hash)}
	var id uint32
	if k := len(fs.spare); k > 0 {
		id = fs.spare[k-1]
		fs.spare = fs.spare[:k-1]
		fs.all[id] = f
	} else {
		id = uint32(len(fs.all))
		fs.all = append(fs.all, f)
	}
	fs.ids[fieldKey{parent, f.name}] = id
	fs.all[parent].refs++
	fs.fresh = append(fs.fresh, id)
	return id
}

// release drops one reference, and the field with the last one.
func (fs *fields) release(id uint32) {
	f := &fs.all[id]
	if f.refs--; f.refs > 0 {
		return
	}
	fs.remove(id)
}

func (fs *fields) remove(id uint32) {
	f := &fs.all[id]
	parent := f.parent
	delete(fs.ids, fieldKey{parent, f.name})
	*f = field{}
	fs.spare = append(fs.spare, id)
	fs.release(parent)
}

// sweep removes the fresh fields that got no reference: those of a document that
// turned out to be invalid, or of a value that a duplicate key replaced.
func (fs *fields) sweep() {
	// A child is made after its parent, so backwards the children go first; a parent
	// that went with its last child is no longer live.
	for i := len(fs.fresh) - 1; i >= 0; i-- {
		if f := &fs.all[fs.fresh[i]]; f.live && f.refs == 0 {
			fs.remove(fs.fresh[i])
		}
	}
	fs.fresh = fs.fresh[:0]
}

// count returns the number of fields, without the document itself.
func (fs *fields) count() int { return len(fs.ids) }
