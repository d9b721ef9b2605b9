package ann

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"unsafe"
)

// blockLoader decodes blocks of a snapshot, one after the other. Nobody else touches the slots of its block, and nobody
// reads them before all blocks are decoded: it stores links without atomics.
type blockLoader struct {
	*loader
	first  uint32 // slot of the first point
	points int
	body   []byte
	sum    uint32 // what the checksum of body should be
	vector []float32
	seen   [4]uint64 // of the links of a row, by their low bits
}

func (b *blockLoader) decode() error {
	if crc32.Checksum(b.body, castagnoli) != b.sum {
		return damaged("the checksum of the block with point %d is wrong", b.first-1)
	}
	if len(b.body) < b.points*b.pointBytes() {
		return damaged("the block with point %d is too short", b.first-1)
	}
	rest := b.body
	column := func(bytes int) []byte {
		c := rest[:bytes*b.points]
		rest = rest[len(c):]
		return c
	}
	keys, levels, codes, vectors := column(8), column(1), column(b.header.codes), column(4*b.header.dim)
	for i := range b.points {
		slot := b.first + uint32(i)
		vector := vectors[4*b.header.dim*i:][:4*b.header.dim]
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
	if err := b.store(slot, vector, code); err != nil {
		return damaged("the vector of key %d: %v", key, err)
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
func (b *blockLoader) store(slot uint32, raw, code []byte) error {
	s, sp := &b.ix.slots, &b.ix.space
	stored := s.vector(slot)
	for i := range b.header.dim {
		stored[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	norm := float64(sp.kernel.Dot(stored, stored))
	sound := norm <= maxNormSquared // so no component is infinite or NaN
	if sp.metric == Cosine {
		sound = math.Abs(norm-1) < unitNormTolerance/2
	}
	if sound && b.header.sameCodes {
		if n := s.records; n > 0 {
			copy(unsafe.Slice((*byte)(s.code(slot)), n), code)
		}
		return nil
	}
	b.vector = append(b.vector[:0], stored[:b.header.dim]...)
	exact, err := sp.check(b.vector)
	if err != nil {
		return err
	}
	b.ix.store(slot, b.vector, exact)
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
		b.ix.graph.addRows(slot, level)
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
		if uint64(ordinal) >= b.header.points || to == slot || *word&bit != 0 && contains(plain[:i], to) {
			return damaged("point %d has a link to point %d, which is none, itself, or linked twice", slot-1, ordinal)
		}
		*word |= bit
		plain[i] = to
	}
	return nil
}
