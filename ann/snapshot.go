package ann

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/bits"
)

// The bytes of a snapshot. All numbers are little-endian; a checksum is CRC-32C.
//
//	header, 64 bytes
//	   0  8  "FRESHANN"
//	   8  4  format, 1
//	  12  1  metric          13  1  kind
//	  14  2  m, or 0 when there are no links
//	  16  4  dimension       20  4  points per block
//	  24  8  number of points
//	  32  4  ordinal of the entry point, or 2^32-1      36  4  level of the entry point
//	  40 20  zero
//	  60  4  checksum of bytes 0 to 59
//	block, repeated until all points have come; every block but the last holds as many as the header says
//	   0  4  bytes of its body    4  4  checksum of its body
//	   body: for every point
//	      key 8 · level 1 (255: not linked) · dimension × float32
//	      and for each level from 0 to its own: number of links 1 · ordinals of 4 bytes
//	trailer, 16 bytes
//	   0  8  "FRESHEND"   8  4  checksum of the blocks' checksums, in order   12  4  zero
//
// The ordinal of a point is its place in the file, counted from 0.
const (
	snapshotMagic   = "FRESHANN"
	snapshotEnd     = "FRESHEND"
	snapshotFormat  = 1
	snapshotHeader  = 64
	snapshotTrailer = 16
	pointsPerBlock  = 1024
	noOrdinal       = math.MaxUint32
	levelUnlinked   = 255
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ordinals numbers the slots that are visible at one sequence.
type ordinals struct {
	words []uint64
	ranks []uint32 // number of slots before each word
	count int
}

func (ix *Index) ordinalsAt(seq uint64) ordinals {
	end := ix.slots.end.Load()
	o := ordinals{words: make([]uint64, (end+63)/64), ranks: make([]uint32, (end+63)/64)}
	for slot := uint32(1); slot < end; slot++ {
		if ix.slots.header(slot).visibleAt(seq) {
			o.words[slot>>6] |= 1 << (slot & 63)
		}
	}
	for i, w := range o.words {
		o.ranks[i] = uint32(o.count)
		o.count += bits.OnesCount64(w)
	}
	return o
}

// of returns the ordinal of slot, or noOrdinal.
func (o *ordinals) of(slot uint32) uint32 {
	i, bit := slot>>6, uint64(1)<<(slot&63)
	if int(i) >= len(o.words) || o.words[i]&bit == 0 {
		return noOrdinal
	}
	return o.ranks[i] + uint32(bits.OnesCount64(o.words[i]&(bit-1)))
}

// each calls yield for every slot in order, until it fails.
func (o *ordinals) each(yield func(slot uint32) error) error {
	for i, w := range o.words {
		for ; w != 0; w &= w - 1 {
			if err := yield(uint32(i)<<6 + uint32(bits.TrailingZeros64(w))); err != nil {
				return err
			}
		}
	}
	return nil
}

// Snapshot writes the index to w while it serves searches and changes. The snapshot holds exactly the points of one
// instant inside the call: every batch that was applied before it, none that came after. Links are written as they
// are met, those to other points are left out, and Load mends what that tears. Slots of points that die meanwhile are
// used again only after the call.
func (ix *Index) Snapshot(w io.Writer) error {
	if ix.closed.Load() {
		return ErrClosed
	}
	r := ix.readers.acquire(false)
	defer ix.unpin(r)
	out := bufio.NewWriterSize(w, 1<<16)
	o := ix.ordinalsAt(r.seq)
	out.Write(ix.snapshotHeader(&o))
	var body []byte
	sums := uint32(0)
	n := 0
	flush := func() error {
		head := binary.LittleEndian.AppendUint32(nil, uint32(len(body)))
		sum := binary.LittleEndian.AppendUint32(nil, crc32.Checksum(body, castagnoli))
		sums = crc32.Update(sums, castagnoli, sum)
		out.Write(append(head, sum...))
		_, err := out.Write(body)
		body, n = body[:0], 0
		return err
	}
	err := o.each(func(slot uint32) error {
		body = ix.appendPoint(body, slot, &o)
		if n++; n == pointsPerBlock {
			return flush()
		}
		return nil
	})
	if err == nil && n > 0 {
		err = flush()
	}
	if err == nil {
		end := binary.LittleEndian.AppendUint32([]byte(snapshotEnd), sums)
		out.Write(append(end, 0, 0, 0, 0))
		err = out.Flush()
	}
	if err != nil {
		return fmt.Errorf("ann: the snapshot could not be written: %w", err)
	}
	return nil
}

func (ix *Index) snapshotHeader(o *ordinals) []byte {
	m, entry, level := 0, uint32(noOrdinal), 0
	if ix.graph != nil {
		m = ix.opt.M
		var slot uint32
		slot, level = ix.graph.entryPoint()
		entry = o.of(slot)
	}
	le := binary.LittleEndian
	b := le.AppendUint32([]byte(snapshotMagic), snapshotFormat)
	b = append(b, byte(ix.opt.Metric), byte(ix.opt.Kind))
	b = le.AppendUint16(b, uint16(m))
	b = le.AppendUint32(b, uint32(ix.opt.Dim))
	b = le.AppendUint32(b, pointsPerBlock)
	b = le.AppendUint64(b, uint64(o.count))
	b = le.AppendUint32(b, entry)
	b = le.AppendUint32(b, uint32(level))
	b = append(b, make([]byte, snapshotHeader-4-len(b))...)
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// appendPoint appends the record of slot, which is visible at the sequence of o.
func (ix *Index) appendPoint(body []byte, slot uint32, o *ordinals) []byte {
	le := binary.LittleEndian
	h := ix.slots.header(slot)
	body = le.AppendUint64(body, h.key.Load())
	inGraph := h.is(linked) || h.is(retired)
	level := int(h.level.Load())
	if inGraph {
		body = append(body, byte(level))
	} else {
		body = append(body, levelUnlinked)
	}
	for _, x := range ix.slots.vector(slot)[:ix.opt.Dim] {
		body = le.AppendUint32(body, math.Float32bits(x))
	}
	if !inGraph {
		return body
	}
	mu := ix.graph.lock(slot) // a row that changes meanwhile could show a link twice
	mu.Lock()
	defer mu.Unlock()
	for l := range level + 1 {
		at := len(body)
		body = append(body, 0)
		row := ix.graph.row(slot, l)
		for i := range row {
			link := row[i].Load()
			if link == noSlot {
				break
			}
			if to := o.of(link); to != noOrdinal {
				body = le.AppendUint32(body, to)
				body[at]++
			}
		}
	}
	return body
}
