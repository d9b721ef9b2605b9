package filter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// The bytes of a saved index are blocks: length of the body (4, little-endian), CRC-32C of the body (4), body. The first
// body is
//
//	"FRESHFLT", format number 1 (1 byte), the documents as a roaring bitmap in its portable form
//
// An empty body ends the index. The others are runs of records, no record in two blocks; numbers are uvarints, and a
// string is its length and its bytes:
//
//	'F' parent, string name                a field: numbered from 1 in order; 0 is the document itself
//	'T' field, kind (1 byte), string key   a term, and its documents: their number n, then
//	    n ≤ 64: the first, and the differences to the one before; else bytes of a roaring bitmap, and it
const (
	snapshotMagic  = "FRESHFLT"
	snapshotFormat = 1
	recordField    = 'F'
	recordTerm     = 'T'
	blockHead      = 8
	// snapshotStep is about how many bytes are encoded under one lock, and the size of a block.
	snapshotStep = 256 << 10
	// maxBlock bounds a block: one term of as many documents as there are numbers.
	maxBlock = 1 << 30
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Snapshot writes the index to w, for Load. Readers and writers go on: the lock is held for one block at a time. A
// document that changes meanwhile may be written with some of its old and some of its new entries, or be missing: the
// caller knows which may have changed, and sets them again after Load.
func (x *Index) Snapshot(w io.Writer) error {
	s := &snapshot{x: x, w: w, numbers: map[fieldName]uint64{{0, rootHash}: 0}}
	x.mu.RLock()
	live, err := x.live.ToBytes()
	x.mu.RUnlock()
	s.out = append(s.out, snapshotMagic...)
	s.out = append(append(s.out, snapshotFormat), live...)
	if err == nil {
		err = s.flush()
	}
	for field := uint32(1); err == nil; field++ {
		var more bool
		if more, err = s.field(field); !more {
			break
		}
	}
	if err == nil {
		err = s.flush()
	}
	if err == nil {
		err = s.block(nil)
	}
	if err != nil {
		return fmt.Errorf("filter: the index could not be saved: %w", err)
	}
	return nil
}

// snapshot is a saving under way.
type snapshot struct {
	x       *Index
	w       io.Writer
	out     []byte // records of the next block
	numbers map[fieldName]uint64
}

// fieldName tells a field from another one that has had its number before.
type fieldName struct {
	id   uint32
	hash uint64
}

// flush writes the records at hand.
func (s *snapshot) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	err := s.block(s.out)
	s.out = s.out[:0]
	return err
}

func (s *snapshot) block(body []byte) error {
	var head [blockHead]byte
	binary.LittleEndian.PutUint32(head[:], uint32(len(body)))
	binary.LittleEndian.PutUint32(head[4:], crc32.Checksum(body, castagnoli))
	if _, err := s.w.Write(head[:]); err != nil {
		return err
	}
	_, err := s.w.Write(body)
	return err
}

// field writes the terms of one field. It returns false after the last field.
func (s *snapshot) field(field uint32) (more bool, err error) {
	s.x.mu.RLock()
	if int(field) >= len(s.x.fields.all) {
		s.x.mu.RUnlock()
		return false, nil
	}
	f := &s.x.fields.all[field]
	name := fieldName{field, f.hash}
	for _, id := range f.consts {
		if f.live && id != 0 && err == nil {
			err = s.term(name, id)
		}
	}
	s.x.mu.RUnlock()
	for _, k := range []kind{kindNumber, kindString} {
		var from []byte
		for again := true; again && err == nil; {
			s.x.mu.RLock()
			from, again, err = s.step(name, k, from)
			s.x.mu.RUnlock()
			if err == nil && len(s.out) >= snapshotStep {
				err = s.flush()
			}
		}
	}
	return true, err
}

// step encodes terms of a field from a key on, up to the end of their block in the field's order or until there is
// enough. It returns the key to go on from, or false at the end. A field that is not the one that it was by now has none.
func (s *snapshot) step(name fieldName, k kind, from []byte) (next []byte, more bool, err error) {
	f := &s.x.fields.all[name.id]
	if !f.live || f.hash != name.hash {
		return nil, false, nil
	}
	o := f.keyed(k)
	t := &s.x.terms
	g := keyTarget(from)
	p, _ := o.search(t, &g)
	if p.b >= len(o.blocks) {
		return nil, false, nil
	}
	last := uint32(0)
	for _, id := range o.blocks[p.b].terms[p.i:] {
		if last != 0 && bytes.Compare(t.key(id), t.key(last)) <= 0 || bytes.Compare(t.key(id), from) < 0 {
			continue // damage, which the audit names
		}
		if err := s.term(name, id); err != nil {
			return nil, false, err
		}
		if last = id; len(s.out) >= snapshotStep {
			break
		}
	}
	if last == 0 {
		return nil, false, nil
	}
	return append(bytes.Clone(t.key(last)), 0), true, nil // the least key after the last
}

// term encodes a term, after its field if that is new.
func (s *snapshot) term(name fieldName, id uint32) error {
	t := &s.x.terms
	r := t.at(id)
	field := s.define(name)
	s.out = binary.AppendUvarint(append(s.out, recordTerm), field)
	s.out = appendBytes(append(s.out, byte(r.kind)), t.key(id))
	var one [1]uint32
	list, bitmap := t.list(id, &one)
	if bitmap == nil {
		s.out = binary.AppendUvarint(s.out, uint64(len(list)))
		before := uint32(0)
		for _, doc := range list {
			s.out = binary.AppendUvarint(s.out, uint64(doc-before))
			before = doc
		}
		return nil
	}
	s.out = binary.AppendUvarint(s.out, uint64(r.n))
	if r.n <= listMax { // a bitmap that has shrunk, and is none for readers
		before := uint32(0)
		bitmap.Iterate(func(doc uint32) bool {
			s.out = binary.AppendUvarint(s.out, uint64(doc-before))
			before = doc
			return true
		})
		return nil
	}
	raw, err := bitmap.ToBytes()
	s.out = appendBytes(s.out, raw)
	return err
}

// define returns the number of a field in the file, and encodes it and those above it where they are new.
func (s *snapshot) define(name fieldName) uint64 {
	var path []fieldName // from the field up to the first that is known
	for at := name; ; {
		if _, ok := s.numbers[at]; ok {
			break
		}
		path = append(path, at)
		parent := s.x.fields.all[at.id].parent
		at = fieldName{parent, s.x.fields.all[parent].hash}
	}
	for i := len(path) - 1; i >= 0; i-- {
		f := &s.x.fields.all[path[i].id]
		s.out = binary.AppendUvarint(append(s.out, recordField), s.numbers[fieldName{f.parent, s.x.fields.all[f.parent].hash}])
		s.out = appendBytes(s.out, f.name)
		s.numbers[path[i]] = uint64(len(s.numbers))
	}
	return s.numbers[name]
}

func appendBytes[T ~string | ~[]byte](b []byte, v T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}
