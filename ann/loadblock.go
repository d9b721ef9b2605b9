package ann

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"
	"unsafe"
)

// blockLoader decodes blocks of a snapshot, one after the other. Nobody else touches the slots of its block, and nobody
// reads them before all blocks are decoded: it stores links without atomics.
type blockLoader struct {
	*loader
	first  uint32 // slot of the first point
	points int
	body   []byte
	sum    uint32    // what the checksum of body should be
	vector []float32 // scratch of vectors.read and write
	seen   [4]uint64 // of the links of a row, by their low bits
}

func (b *blockLoader) decode() error {
	if crc32.Checksum(b.body, castagnoli) != b.sum {
		return damaged("the checksum of the block with point %d is wrong", b.first-1)
	}
	if len(b.body) < b.points*b.header.pointBytes() {
		return damaged("the block with point %d is too short", b.first-1)
	}
	rest := b.body
	column := func(bytes int) []byte {
		c := rest[:bytes*b.points]
		rest = rest[len(c):]
		return c
	}
	keys, levels, codes, vectors := column(8), column(1), column(b.header.codes), column(b.header.stored())
	for i := range b.points {
		slot := b.first + uint32(i)
		vector := vectors[b.header.stored()*i:][:b.header.stored()]
		code := codes[b.header.codes*i:][:b.header.codes]
		if err := b.point(slot, binary.LittleEndian.Uint64(keys[8*i:]), vector, code); err != nil {
			return err
		}
	}
	for i, level := range levels {
		slot := b.first + uint32(i)
		if level == levelUnlinked {
			b.ix.slots.enterBuffer(slot)
			continue
		}
		var err error
		if rest, err = b.rows(rest, slot, int(level)); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		return damaged("%d bytes follow the last point of a block", len(rest))
	}
	return nil
}

// point fills a slot with a point that is in the graph; see enterBuffer for those that are not.
func (b *blockLoader) point(slot uint32, key uint64, vector, code []byte) error {
	if err := b.store(slot, key, vector, code); err != nil {
		return err
	}
	h := b.ix.slots.header(slot)
	h.key.Store(key)
	h.died.Store(forever)
	h.set(linked)
	h.born.Store(loadedSeq)
	return nil
}

// store fills in the vector and the codes of a slot. A vector that is what Apply would have stored, which one sum tells,
// is taken as it is.
func (b *blockLoader) store(slot uint32, key uint64, raw, code []byte) error {
	v, sp := &b.ix.slots.vectors, &b.ix.space
	if b.vector == nil {
		b.vector = v.scratch()
	}
	stored, inPlace := b.vector, false
	if b.header.precision != Float32 {
		if err := v.restoreStored(slot, raw, stored); err != nil {
			return damaged("the vector of key %d: %v", key, err)
		}
		inPlace = true
	} else {
		if inPlace = v.inMemory() && v.precision == Float32; inPlace {
			stored = v.floats(slot)
		}
		floatsOf(stored, raw)
	}
	norm := float64(sp.kernel.Dot(stored, stored))
	sound := norm <= maxNormSquared // so no component is infinite or NaN
	if sp.metric == Cosine && b.header.precision == Float32 {
		sound = math.Abs(norm-1) < unitNormTolerance/2
	} else if sp.metric == Cosine {
		sound = sound && norm > 0 // rounding has changed the length a little
	}
	if !sound {
		exact, err := sp.check(stored[:b.header.dim])
		if err != nil {
			return damaged("the vector of key %d: %v", key, err)
		}
		if b.header.precision == Float32 {
			return b.ix.store(slot, slices.Clone(stored[:b.header.dim]), exact, b.vector)
		}
	}
	if !inPlace {
		if err := v.write(slot, stored); err != nil {
			return err
		}
	}
	switch s := &b.ix.slots; {
	case !s.coded || b.header.precision == Int8:
	case b.header.sameCodes:
		if !s.record(slot).SetStored(code) {
			return damaged("the codes of key %d are none that can be written", key)
		}
	default:
		b.ix.encode(slot, stored)
	}
	return nil
}

// enterBuffer puts a slot that a loader has filled into the buffer.
func (s *slots) enterBuffer(slot uint32) {
	s.header(slot).set(pending)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buffer.set(slot)
	s.buffered.Add(1)
}

// rows takes over the links of a point, which begin body, and returns the bytes after them.
func (b *blockLoader) rows(body []byte, slot uint32, level int) ([]byte, error) {
	if level > maxLevel {
		return nil, damaged("point %d has level %d: at most %d is possible", slot-1, level, maxLevel)
	}
	if b.links {
		if b.ix.graph.addRows(slot, level) < level {
			return nil, damaged("point %d is on level %d, where there is no room for so many points", slot-1, level)
		}
	} else {
		b.ix.slots.enterBuffer(slot)
	}
	for at := range level + 1 {
		if len(body) < 1 || len(body) < 1+4*int(body[0]) {
			return nil, damaged("a block ends in the links of point %d", slot-1)
		}
		n, most := int(body[0]), b.header.m
		if at == 0 {
			most *= 2
		}
		if n > most {
			return nil, damaged("point %d has %d links on level %d: at most %d are possible", slot-1, n, at, most)
		}
		if b.links {
			if err := b.row(body[1:][:4*n], slot, b.ix.graph.row(slot, at)); err != nil {
				return nil, err
			}
		}
		body = body[1+4*n:]
	}
	return body, nil
}

// row writes the links of one row, which is empty.
func (b *blockLoader) row(raw []byte, slot uint32, row links) error {
	plain := unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(row))), len(row))
	clear(b.seen[:])
	for i := range len(raw) / 4 {
		ordinal := binary.LittleEndian.Uint32(raw[4*i:])
		to := ordinal + 1
		word, bit := &b.seen[to>>6&3], uint64(1)<<(to&63)
		if uint64(ordinal) >= b.header.points || to == slot || *word&bit != 0 && slices.Contains(plain[:i], to) {
			return damaged("point %d has a link to point %d, which is none, itself, or linked twice", slot-1, ordinal)
		}
		*word |= bit
		plain[i] = to
	}
	return nil
}
