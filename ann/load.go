package ann

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
)

// ErrDamaged is wrapped by the errors of Load for a snapshot whose bytes are not what was written.
var ErrDamaged = errors.New("the snapshot is damaged")

// Load returns the index of a snapshot that is read from r. Dim zero means the snapshot's; otherwise dimension and
// metric must agree with it. The kind may differ. Links are taken over when the snapshot has some with the same M;
// points without links are searchable at once, from the buffer, and are linked in the background.
//
// A snapshot that is damaged, cut short or of another format is an error that says so; there is no partial result.
func Load(r io.Reader, opt Options) (*Index, error) {
	ix, err := load(r, opt)
	if err != nil {
		return nil, fmt.Errorf("ann: the snapshot can't be loaded: %w", err)
	}
	ix.kick()
	return ix, nil
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// header is what the first bytes of a snapshot say.
type header struct {
	metric            Metric
	m, dim, perBlock  int
	points            uint64
	entry, entryLevel uint32
}

func load(r io.Reader, opt Options) (*Index, error) {
	h, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	if opt.Dim == 0 {
		opt.Dim = h.dim
	}
	if opt.Dim != h.dim {
		return nil, fmt.Errorf("it has dimension %d, and option Dim is %d: use a snapshot of the same model", h.dim, opt.Dim)
	}
	if opt.Metric != h.metric {
		return nil, fmt.Errorf("it has metric %s, and option Metric is %s: use the same", h.metric, opt.Metric)
	}
	ix, err := New(opt)
	if err != nil {
		return nil, err
	}
	l := loader{ix: ix, header: h, links: ix.graph != nil && h.m == ix.opt.M}
	if err := l.readBlocks(r); err != nil {
		return nil, err
	}
	if err := l.finish(); err != nil {
		return nil, err
	}
	return ix, nil
}

func readHeader(r io.Reader) (header, error) {
	var b [snapshotHeader]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return header{}, readError("header", err)
	}
	le := binary.LittleEndian
	if string(b[:8]) != snapshotMagic {
		return header{}, damaged("it does not begin like one")
	}
	if crc32.Checksum(b[:60], castagnoli) != le.Uint32(b[60:]) {
		return header{}, damaged("the checksum of the header is wrong")
	}
	if format := le.Uint32(b[8:]); format != snapshotFormat {
		return header{}, fmt.Errorf("it has format %d, and this program reads format %d: use the program that wrote it, or fill a new index", format, snapshotFormat)
	}
	h := header{
		metric: Metric(b[12]), m: int(le.Uint16(b[14:])), dim: int(le.Uint32(b[16:])), perBlock: int(le.Uint32(b[20:])),
		points: le.Uint64(b[24:]), entry: le.Uint32(b[32:]), entryLevel: le.Uint32(b[36:]),
	}
	if h.dim < MinDim || h.dim > MaxDim || h.m > MaxM || h.points >= maxSlots || h.entryLevel > maxLevel ||
		h.perBlock < 1 || h.perBlock > pointsPerBlock || h.entry != noOrdinal && uint64(h.entry) >= h.points {
		return header{}, damaged("a number in the header is out of range")
	}
	return h, nil
}

func readError(what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("it ends in the %s", what)
	}
	return fmt.Errorf("reading the %s: %w", what, err)
}

// loader fills an index from the blocks of a snapshot. Point i goes to slot i+1.
type loader struct {
	ix     *Index
	header header
	links  bool // take over the links
	next   uint32
	vector []float32
	row    []uint32
	linked []uint32
}

const loadedSeq = 2 // the sequence at which all points of a snapshot are born

func (l *loader) readBlocks(r io.Reader) error {
	l.next = 1
	l.vector = make([]float32, l.header.dim)
	var head [8]byte
	var body bytes.Buffer
	sums := uint32(0)
	most := uint32(l.header.perBlock * l.recordMax())
	for left := l.header.points; left > 0; {
		n := min(left, uint64(l.header.perBlock))
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return readError("blocks", err)
		}
		size := binary.LittleEndian.Uint32(head[:])
		if size > most {
			return damaged("a block claims %d bytes: at most %d are possible", size, most)
		}
		body.Reset() // grows with what really comes, so that a lie about the size costs no memory
		if _, err := io.CopyN(&body, r, int64(size)); err != nil {
			return readError("blocks", err)
		}
		if crc32.Checksum(body.Bytes(), castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
			return damaged("the checksum of the block with point %d is wrong", l.next-1)
		}
		sums = crc32.Update(sums, castagnoli, head[4:])
		if err := l.readPoints(body.Bytes(), int(n)); err != nil {
			return err
		}
		left -= n
	}
	var end [snapshotTrailer]byte
	if _, err := io.ReadFull(r, end[:]); err != nil {
		return readError("trailer", err)
	}
	if string(end[:8]) != snapshotEnd || binary.LittleEndian.Uint32(end[8:]) != sums {
		return damaged("the trailer does not fit the blocks")
	}
	return nil
}

// recordMax returns the bytes of the longest possible record.
func (l *loader) recordMax() int {
	return 9 + 4*l.header.dim + 1 + 8*l.header.m + maxLevel*(1+4*l.header.m)
}

func (l *loader) readPoints(body []byte, n int) error {
	for range n {
		if len(body) < 9+4*l.header.dim {
			return damaged("a block ends in the record of point %d", l.next-1)
		}
		rest, err := l.readPoint(body)
		if err != nil {
			return err
		}
		body = rest
	}
	if len(body) > 0 {
		return damaged("%d bytes follow the last point of a block", len(body))
	}
	return nil
}

// readPoint stores the first point of body, which holds its key, level and vector, and returns the bytes after it.
func (l *loader) readPoint(body []byte) ([]byte, error) {
	ix, le := l.ix, binary.LittleEndian
	key, level := le.Uint64(body), int(body[8])
	body = body[9:]
	for i := range l.vector {
		l.vector[i] = math.Float32frombits(le.Uint32(body[4*i:]))
	}
	body = body[4*l.header.dim:]
	norm, err := ix.space.check(l.vector)
	if err != nil {
		return nil, damaged("the vector of key %d: %v", key, err)
	}
	if ix.keys.find(key) != noSlot {
		return nil, damaged("key %d occurs twice", key)
	}
	slot := ix.slots.allocate()
	ix.store(slot, l.vector, norm)
	ix.slots.publish(slot, key, noSlot, loadedSeq)
	ix.keys.put(key, slot)
	l.next++
	if level == levelUnlinked {
		return body, nil
	}
	if level > maxLevel {
		return nil, damaged("key %d has level %d: at most %d is possible", key, level, maxLevel)
	}
	if l.links {
		ix.graph.addRows(slot, level)
		ix.slots.header(slot).set(linked)
		l.linked = append(l.linked, slot)
	}
	return l.readLinks(body, slot, level)
}

func (l *loader) readLinks(body []byte, slot uint32, level int) ([]byte, error) {
	for at := 0; at <= level; at++ {
		if len(body) < 1 || len(body) < 1+4*int(body[0]) {
			return nil, damaged("a block ends in the links of point %d", slot-1)
		}
		n := int(body[0])
		most := l.header.m
		if at == 0 {
			most *= 2
		}
		if n > most {
			return nil, damaged("point %d has %d links on level %d: at most %d are possible", slot-1, n, at, most)
		}
		l.row = l.row[:0]
		for i := range n {
			to := binary.LittleEndian.Uint32(body[1+4*i:])
			if uint64(to) >= l.header.points || to+1 == slot || contains(l.row, to+1) {
				return nil, damaged("point %d has a link to point %d, which is none, itself, or linked twice", slot-1, to)
			}
			l.row = append(l.row, to+1)
		}
		body = body[1+4*n:]
		if l.links {
			l.ix.graph.row(slot, at).set(l.row)
		}
	}
	return body, nil
}

// finish takes the linked points out of the buffer and mends the links: those to points without rows on the level are
// removed, and points that no walk finds are linked again.
func (l *loader) finish() error {
	ix := l.ix
	ix.committed.Store(loadedSeq)
	ix.live.Store(int64(l.header.points))
	ix.draining.Store(ix.graph != nil && int64(ix.opt.FlatBelow) < ix.live.Load())
	if len(l.linked) == 0 {
		return nil
	}
	g := ix.graph
	for _, slot := range l.linked {
		for level := int(ix.slots.header(slot).level.Load()); level >= 0; level-- {
			l.pruneRow(slot, level)
		}
		ix.slots.leaveBuffer(slot)
	}
	l.chooseEntry()
	r := ix.readers.acquire(true)
	defer ix.readers.release(r)
	for _, slot := range g.unreachable(r) {
		g.connect(r, slot, 0, ix.opt.EfConstruction)
		ix.relinks.Add(1)
	}
	return nil
}

// pruneRow removes links to points that have no row on the level.
func (l *loader) pruneRow(slot uint32, level int) {
	row := l.ix.graph.row(slot, level)
	l.row = row.appendTo(l.row[:0])
	keep := l.row[:0]
	for _, to := range l.row {
		if h := l.ix.slots.header(to); h.is(linked) && int(h.level.Load()) >= level {
			keep = append(keep, to)
		}
	}
	row.set(keep)
}

// chooseEntry takes the entry point of the snapshot, or the linked point with the highest level when that one is not
// in it or has no such level.
func (l *loader) chooseEntry() {
	g := l.ix.graph
	if slot := l.header.entry + 1; l.header.entry != noOrdinal {
		if h := l.ix.slots.header(slot); h.is(linked) && h.level.Load() == l.header.entryLevel {
			g.raiseEntry(slot, int(l.header.entryLevel), true)
			return
		}
	}
	for _, slot := range l.linked {
		g.raiseEntry(slot, int(l.ix.slots.header(slot).level.Load()), false)
	}
}
