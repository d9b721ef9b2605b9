package ann

import (
	"encoding/binary"
	"fmt"
	"github.com/freshet-io/freshet/ann/internal/kernel"
	"hash/crc32"
	"io"
	"math"
	"math/bits"
)

// The bytes of a snapshot. All numbers are little-endian; a checksum is CRC-32C.
//
//	header, 64 bytes
//	   0  8  "FRESHANN"
//	   8  4  format, 2
//	  12  1  metric          13  1  kind
//	  14  2  m, or 0 when there are no links
//	  16  4  dimension       20  4  points per block
//	  24  8  number of points
//	  32  4  ordinal of the entry point, or 2^32-1      36  4  level of the entry point
//	  40  1  precision of the vectors: 0 float32, 1 float16, 2 int8     41  1  version of the codes, see codesVersion
//	  42  2  bytes of the codes of a point, 0 = none    44  4  spread of distances, float32, 0 = unknown
//	  48 12  zero
//	  60  4  checksum of bytes 0 to 59
//	block, repeated until all points have come; every block but the last holds as many as the header says
//	   0  4  bytes of its body    4  4  checksum of its body
//	   body, in columns, each for all points of the block:
//	      keys, 8 bytes
//	      levels, 1 byte (255: not linked)
//	      codes
//	      vectors: dimension × float32; or a float32 scale, unless the metric is cosine, and dimension × float16; or of
//	         int8 a float32 scale and bias, and a byte per component, c for (c - 128) × scale
//	      links: of every linked point, for each level from 0 to its own: their number, 1 byte, and ordinals of 4 bytes
//	trailer, 16 bytes
//	   0  8  "FRESHEND"   8  4  checksum of the blocks' checksums, in order   12  4  zero
//	and what listsnapshot.go says when the kind divides points among lists
//
// The ordinal of a point is its place in the file, counted from 0. So a block says nothing that depends on another one,
// and Load decodes as many at once as there are processors.
const (
	snapshotMagic   = "FRESHANN"
	snapshotEnd     = "FRESHEND"
	snapshotFormat  = 2
	snapshotHeader  = 64
	snapshotTrailer = 16
	blockBytes      = 1 << 20 // about the size of a block
	maxBlockPoints  = 4096
	noOrdinal       = math.MaxUint32
	levelUnlinked   = 255
	// codesVersion names the layout and meaning of a record of codes. A snapshot with another one loads as well: its
	// codes are made anew from the vectors. It rises with every change of package kernel that alters a record.
	codesVersion = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// perBlock returns how many points, of so many bytes each besides their links, go into a block.
func perBlock(pointBytes, m int) int {
	return min(maxBlockPoints, max(1, blockBytes/(pointBytes+8*m)))
}

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
// used again only after the call. Write gets about a megabyte at a time.
func (ix *Index) Snapshot(w io.Writer) error {
	r, err := ix.enter(false)
	if err != nil {
		return err
	}
	defer ix.leave(r)
	s := snapshotWriter{ix: ix, w: w, ordinals: ix.ordinalsAt(r.seq), scratch: r.full}
	if err := s.write(); err != nil {
		return fmt.Errorf("ann: the snapshot could not be written: %w", err)
	}
	return nil
}

// snapshotWriter is a snapshot under way.
type snapshotWriter struct {
	ix       *Index
	w        io.Writer
	ordinals ordinals
	block    []uint32 // the slots of the next block
	out      []byte
	scratch  []float32
	sums     uint32 // checksum of the blocks' checksums
}

func (s *snapshotWriter) write() error {
	if _, err := s.w.Write(s.header()); err != nil {
		return err
	}
	most := s.ix.perBlock()
	err := s.ordinals.each(func(slot uint32) error {
		if s.block = append(s.block, slot); len(s.block) < most {
			return nil
		}
		return s.flush()
	})
	if err == nil && len(s.block) > 0 {
		err = s.flush()
	}
	if err == nil {
		end := binary.LittleEndian.AppendUint32([]byte(snapshotEnd), s.sums)
		_, err = s.w.Write(append(end, 0, 0, 0, 0))
	}
	if err == nil && s.ix.inverted != nil {
		_, err = s.w.Write(s.listSection())
	}
	return err
}

func (ix *Index) perBlock() int {
	return perBlock(9+ix.snapshotCodes()+storedSize(ix.opt.Precision, ix.opt.Metric, ix.opt.Dim), ix.snapshotM())
}

// snapshotCodes is the bytes of a point's codes in a snapshot: none when they are the vector itself.
func (ix *Index) snapshotCodes() int {
	if ix.opt.Precision == Int8 || !ix.slots.coded {
		return 0
	}
	return kernel.StoredSize(ix.opt.Dim)
}

// snapshotM is m as snapshots have it.
func (ix *Index) snapshotM() int {
	if ix.graph == nil {
		return 0
	}
	return ix.opt.M
}

func (s *snapshotWriter) header() []byte {
	ix := s.ix
	entry, level, spread := uint32(noOrdinal), 0, float32(0)
	if ix.graph != nil {
		var slot uint32
		slot, level = ix.graph.entryPoint()
		entry, spread = s.ordinals.of(slot), ix.graph.spread.mean()
	}
	le := binary.LittleEndian
	b := le.AppendUint32([]byte(snapshotMagic), snapshotFormat)
	b = append(b, byte(ix.opt.Metric), byte(ix.opt.Kind))
	b = le.AppendUint16(b, uint16(ix.snapshotM()))
	b = le.AppendUint32(b, uint32(ix.opt.Dim))
	b = le.AppendUint32(b, uint32(ix.perBlock()))
	b = le.AppendUint64(b, uint64(s.ordinals.count))
	b = le.AppendUint32(b, entry)
	b = le.AppendUint32(b, uint32(level))
	b = append(b, byte(ix.opt.Precision), codesVersion)
	b = le.AppendUint16(b, uint16(ix.snapshotCodes()))
	b = le.AppendUint32(b, math.Float32bits(spread))
	b = append(b, make([]byte, snapshotHeader-4-len(b))...)
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// flush writes the points of block.
func (s *snapshotWriter) flush() error {
	le := binary.LittleEndian
	s.out = append(s.out[:0], 0, 0, 0, 0, 0, 0, 0, 0)
	for _, slot := range s.block {
		s.out = le.AppendUint64(s.out, s.ix.slots.header(slot).key.Load())
	}
	// A slot may be linked while the block is written: its level is read once, and decides.
	levels := len(s.out)
	for _, slot := range s.block {
		s.out = append(s.out, s.ix.snapshotLevel(slot))
	}
	if s.ix.snapshotCodes() > 0 {
		for _, slot := range s.block {
			s.out = s.ix.slots.record(slot).AppendStored(s.out, s.ix.opt.Dim)
		}
	}
	for _, slot := range s.block {
		var err error
		if s.out, err = s.ix.slots.vectors.appendStored(s.out, slot, s.scratch); err != nil {
			return err
		}
	}
	for i, slot := range s.block {
		if level := s.out[levels+i]; level != levelUnlinked {
			s.appendLinks(slot, int(level))
		}
	}
	s.block = s.block[:0]
	body := s.out[8:]
	le.PutUint32(s.out, uint32(len(body)))
	le.PutUint32(s.out[4:], crc32.Checksum(body, castagnoli))
	s.sums = crc32.Update(s.sums, castagnoli, s.out[4:8])
	_, err := s.w.Write(s.out)
	return err
}

// snapshotLevel is the level of a slot, or levelUnlinked.
func (ix *Index) snapshotLevel(slot uint32) byte {
	if h := ix.slots.header(slot); ix.graph != nil && (h.is(linked) || h.is(retired)) {
		return byte(h.level())
	}
	return levelUnlinked
}

// appendLinks appends the rows of slot, without the links to points that the snapshot does not have.
func (s *snapshotWriter) appendLinks(slot uint32, level int) {
	mu := s.ix.graph.lock(slot) // a row that changes meanwhile could show a link twice
	mu.Lock()
	defer mu.Unlock()
	for l := range level + 1 {
		at := len(s.out)
		s.out = append(s.out, 0)
		row := s.ix.graph.row(slot, l)
		for i := range row {
			link := row[i].Load()
			if link == noSlot {
				break
			}
			if to := s.ordinals.of(link); to != noOrdinal {
				s.out = binary.LittleEndian.AppendUint32(s.out, to)
				s.out[at]++
			}
		}
	}
}
