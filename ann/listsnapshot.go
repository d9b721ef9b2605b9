package ann

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"

	"github.com/freshet-io/freshet/ann/internal/cluster"
	"github.com/freshet-io/freshet/ann/internal/pq"
)

// A snapshot of an inverted-file kind goes on after its trailer with what was trained. All numbers are little-endian; a
// checksum is CRC-32C.
//
//	head, 64 bytes
//	   0  8  "FRESHLST"
//	   8  4  version, 1
//	  12  1  codes: 0 the lists are not trained, 1 a byte per component, 2 products    13  1  1 when those are rotated
//	  14  2  zero
//	  16  4  number of lists
//	  20  4  number of points when they were trained
//	  24  8  bytes of the body
//	  32  8  mean squared distance of the points to their centroids, float64
//	  40  4  checksum of the body
//	  44 16  zero
//	  60  4  checksum of bytes 0 to 59
//	body
//	   centroids: lists × dimension × float32
//	   of codes 2: the quantiser, as package pq writes it
//	   for every point, in the order of the snapshot: the number of its list in 4 bytes, or 2^32-1
//
// Codes are not kept: Load makes them again from the vectors.
const (
	listsMagic    = "FRESHLST"
	listsVersion  = 1
	listsHead     = 64
	codesNone     = 0
	codesBytes    = 1
	codesProducts = 2
	maxLists      = 1 << 24
)

// listSection returns the section of lists.
func (s *snapshotWriter) listSection() []byte {
	le := binary.LittleEndian
	p := s.ix.inverted.current.Load()
	head := le.AppendUint32([]byte(listsMagic), listsVersion)
	if p == nil {
		head = append(head, make([]byte, listsHead-4-len(head))...)
		return le.AppendUint32(head, crc32.Checksum(head, castagnoli))
	}
	var body []byte
	for i := range p.lists {
		body = appendFloats(body, p.centroid(i)[:s.ix.opt.Dim])
	}
	codes, rotated := byte(codesBytes), byte(0)
	if c, ok := p.codes.(productCodes); ok {
		codes = codesProducts
		if c.quantiser.Rotated() {
			rotated = 1
		}
		body = c.quantiser.Append(body)
	}
	_ = s.ordinals.each(func(slot uint32) error {
		list, ok := p.places.get(slot)
		if !ok {
			list = noOrdinal
		}
		body = le.AppendUint32(body, uint32(list))
		return nil
	})
	head = append(head, codes, rotated, 0, 0)
	head = le.AppendUint32(head, uint32(len(p.lists)))
	head = le.AppendUint32(head, uint32(p.trained))
	head = le.AppendUint64(head, uint64(len(body)))
	head = le.AppendUint64(head, math.Float64bits(p.drift.usualError()))
	head = le.AppendUint32(head, crc32.Checksum(body, castagnoli))
	head = append(head, make([]byte, listsHead-4-len(head))...)
	return append(le.AppendUint32(head, crc32.Checksum(head, castagnoli)), body...)
}

func appendFloats(dst []byte, v []float32) []byte {
	for _, x := range v {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
	}
	return dst
}

// listSection is what a snapshot says about lists.
type listSection struct {
	codes   byte
	rotated bool
	lists   int
	trained int
	usual   float64
	body    []byte
}

// readLists reads the section that follows the trailer.
func (l *loader) readLists() error {
	var head [listsHead]byte
	if _, err := io.ReadFull(l.r, head[:]); err != nil {
		return readError("lists", err)
	}
	le := binary.LittleEndian
	if string(head[:8]) != listsMagic || crc32.Checksum(head[:60], castagnoli) != le.Uint32(head[60:]) {
		return damaged("the head of the lists is wrong")
	}
	s := &l.lists
	s.codes, s.rotated = head[12], head[13] == 1
	s.lists, s.trained = int(le.Uint32(head[16:])), int(le.Uint32(head[20:]))
	s.usual = math.Float64frombits(le.Uint64(head[32:]))
	size := le.Uint64(head[24:])
	if v := le.Uint32(head[8:]); v != listsVersion {
		s.codes = codesNone // lists of another version are trained anew
	} else if want, ok := s.size(l.header.dim, int(l.header.points)); !ok || size != uint64(want) {
		return damaged("the lists claim %d bytes, and %d are needed", size, want)
	}
	var body bytes.Buffer // grows with what really comes, so that a lie about the size costs no memory
	if _, err := io.CopyN(&body, l.r, int64(size)); err != nil {
		return readError("lists", err)
	}
	if s.body = body.Bytes(); crc32.Checksum(s.body, castagnoli) != le.Uint32(head[40:]) {
		return damaged("the checksum of the lists is wrong")
	}
	return nil
}

// size returns the bytes that the body must have, or false when a number is out of range.
func (s *listSection) size(dim, points int) (bytes int, ok bool) {
	switch {
	case s.codes == codesNone:
		return 0, true
	case s.lists < 1 || s.lists > maxLists || s.codes > codesProducts || s.trained < 0 || !(s.usual >= 0):
		return 0, false
	}
	bytes = 4*dim*s.lists + 4*points
	if s.codes == codesProducts {
		bytes += pq.Size(dim, s.rotated)
	}
	return bytes, true
}

// finishLists puts points into the lists that the snapshot says, when they are of the kind wanted. Others stay in the
// buffer, and lists are trained in the background.
func (l *loader) finishLists() error {
	ix, s := l.ix, &l.lists
	want := byte(codesBytes)
	if ix.opt.Kind == IVFPQ {
		want = codesProducts
	}
	if s.codes != want || l.header.kind != ix.opt.Kind {
		return nil
	}
	p, numbers, err := s.partition(ix)
	if err != nil {
		return err
	}
	for i := range int(l.header.points) {
		if n := binary.LittleEndian.Uint32(numbers[4*i:]); n != noOrdinal && int(n) >= s.lists {
			return damaged("point %d is in list %d: there are %d", i, n, s.lists)
		}
	}
	inParallel(uint32(l.header.points), func(from, to uint32) {
		var scratch listScratch
		var e entry
		full := ix.slots.vectors.scratch()
		for slot := from; slot < to; slot++ {
			n := binary.LittleEndian.Uint32(numbers[4*(slot-1):])
			if n == noOrdinal {
				continue
			}
			v, err := ix.slots.vectors.read(slot, full)
			if err != nil {
				continue // it stays in the buffer
			}
			e.slot, e.list = slot, int(n)
			p.encode(&scratch, &e, v)
			p.add(&e)
			ix.slots.header(slot).set(linked)
			ix.slots.leaveBuffer(slot)
			ix.inverted.size.Add(1)
		}
	})
	p.drift.begin(p, s.usual)
	ix.inverted.current.Store(p)
	ix.draining.Store(true)
	return nil
}

// partition returns the empty partition of the section, and the bytes with the points' lists.
func (s *listSection) partition(ix *Index) (p *partition, numbers []byte, err error) {
	body, dim := s.body, ix.opt.Dim
	centroids := cluster.NewMatrix(s.lists, dim)
	for i := range s.lists {
		floatsOf(centroids.Row(i), body[:4*dim])
		body = body[4*dim:]
		if _, err := ix.space.check(centroids.Row(i)[:dim]); err != nil && err != errZeroNorm {
			return nil, nil, damaged("the centroid of list %d: %v", i, err)
		}
	}
	var codes listCodes = newByteCodes(&ix.space)
	if s.codes == codesProducts {
		n := pq.Size(dim, s.rotated)
		q := pq.Restore(dim, s.rotated, body[:n], ix.space.kernel)
		if q == nil {
			return nil, nil, damaged("the codewords are none")
		}
		codes, body = newProductCodes(&ix.space, q, centroids), body[n:]
	}
	p, err = newPartition(ix, cluster.NewCentroids(centroids, ix.space.kernel), codes, s.trained)
	return p, body, err
}
