package ann

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/freshet-io/freshet/ann/internal/kernel"
)

// ErrDamaged is wrapped by the errors of Load for a snapshot whose bytes are not what was written.
var ErrDamaged = errors.New("the snapshot is damaged")

// Load returns the index of a snapshot that is read from r. Dim zero means the snapshot's; otherwise dimension and
// metric must agree with it. The kind may differ, and the precision when the snapshot's is Float32: what was rounded away
// does not come back. Links are taken over when the snapshot has some with the same M;
// points without links are searchable at once, from the buffer, and are linked in the background.
//
// Blocks of about a megabyte are read one after the other and decoded on all processors. Reads are as large as blocks, so
// r needs no buffer of its own.
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
	kind              Kind
	precision         Precision
	m, dim, perBlock  int
	points            uint64
	entry, entryLevel uint32
	codes             int  // bytes of the codes of a point
	sameCodes         bool // they are what this program makes
	spread            float32
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
	if opt.Precision != h.precision && h.precision != Float32 {
		return nil, fmt.Errorf("it has precision %s, and option Precision is %s: use the same, or fill a new index", h.precision, opt.Precision)
	}
	ix, err := New(opt)
	if err != nil {
		return nil, err
	}
	l := &loader{ix: ix, header: h, r: r, links: ix.graph != nil && h.m == ix.opt.M}
	l.header.sameCodes = h.sameCodes && h.codes == ix.snapshotCodes() && h.precision == ix.opt.Precision
	err = l.readBlocks()
	if err == nil && h.kind.inverted() {
		err = l.readLists()
	}
	if err == nil {
		err = l.finish()
	}
	if err != nil {
		return nil, errors.Join(err, ix.Close())
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
	if int(b[40]) >= len(precisionNames) {
		return header{}, fmt.Errorf("its vectors have precision %d, which this program does not read: use the program that wrote it, or fill a new index", b[40])
	}
	h := header{
		metric: Metric(b[12]), kind: Kind(b[13]), precision: Precision(b[40]), m: int(le.Uint16(b[14:])), dim: int(le.Uint32(b[16:])), perBlock: int(le.Uint32(b[20:])),
		points: le.Uint64(b[24:]), entry: le.Uint32(b[32:]), entryLevel: le.Uint32(b[36:]),
		sameCodes: b[41] == codesVersion, codes: int(le.Uint16(b[42:])),
		spread: math.Float32frombits(le.Uint32(b[44:])),
	}
	if h.dim < MinDim || h.dim > MaxDim || h.m > MaxM || h.points >= maxSlots || h.entryLevel > maxLevel ||
		h.perBlock < 1 || h.perBlock > perBlock(h.pointBytes(), h.m) || h.entry != noOrdinal && uint64(h.entry) >= h.points {
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
	lists  listSection

	mu   sync.Mutex // guards the fields below, and growth of the slabs
	r    io.Reader
	next uint32 // slot of the first point of the next block
	sums uint32
	err  error
	ends bool // the trailer has been read
}

const loadedSeq = 2 // the sequence at which all points of a snapshot are born

// readBlocks reads and decodes all blocks, and checks the trailer.
func (l *loader) readBlocks() error {
	l.next = 1
	var workers sync.WaitGroup
	blocks := (l.header.points + uint64(l.header.perBlock) - 1) / uint64(l.header.perBlock)
	for range min(uint64(runtime.GOMAXPROCS(0)), max(1, blocks)) {
		workers.Go(func() {
			b := blockLoader{loader: l}
			for l.take(&b) {
				if err := b.decode(); err != nil {
					l.fail(err)
				}
			}
		})
	}
	workers.Wait()
	return l.err
}

func (l *loader) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

// take reads the next block into b. It returns false when there is none, or something is wrong.
func (l *loader) take(b *blockLoader) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || l.ends {
		return false
	}
	left := l.header.points - uint64(l.next-1)
	if left == 0 {
		l.ends = true
		l.err = l.readTrailer()
		return false
	}
	b.first, b.points = l.next, int(min(left, uint64(l.header.perBlock)))
	if l.err = l.readBlock(b); l.err != nil {
		return false
	}
	l.next += uint32(b.points)
	l.ix.slots.growTo(l.next - 1)
	if l.links {
		growTo(&l.ix.graph.rows, b.first, l.next-1)
	}
	return true
}

func (l *loader) readBlock(b *blockLoader) error {
	var head [8]byte
	if _, err := io.ReadFull(l.r, head[:]); err != nil {
		return readError("blocks", err)
	}
	size, most := binary.LittleEndian.Uint32(head[:]), b.points*l.recordMax()
	if int64(size) > int64(most) {
		return damaged("a block claims %d bytes: at most %d are possible", size, most)
	}
	b.body = slices.Grow(b.body[:0], int(size))[:size] // a block is small: a lie about the size costs little memory
	if _, err := io.ReadFull(l.r, b.body); err != nil {
		return readError("blocks", err)
	}
	b.sum = binary.LittleEndian.Uint32(head[4:])
	l.sums = crc32.Update(l.sums, castagnoli, head[4:])
	return nil
}

func (l *loader) readTrailer() error {
	var end [snapshotTrailer]byte
	if _, err := io.ReadFull(l.r, end[:]); err != nil {
		return readError("trailer", err)
	}
	if le := binary.LittleEndian; string(end[:8]) != snapshotEnd || le.Uint32(end[8:]) != l.sums || le.Uint32(end[12:]) != 0 {
		return damaged("the trailer does not fit the blocks")
	}
	return nil
}

// stored returns the bytes of a vector.
func (h *header) stored() int { return storedSize(h.precision, h.metric, h.dim) }

// pointBytes returns the bytes of a point without its links.
func (h *header) pointBytes() int { return 9 + h.codes + h.stored() }

// recordMax returns the bytes of the longest possible record.
func (l *loader) recordMax() int {
	return l.header.pointBytes() + 1 + 8*l.header.m + maxLevel*(1+4*l.header.m)
}

// growTo makes slots up to last usable; they hold nothing yet.
func (s *slots) growTo(last uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.end.Load()
	growTo(&s.headers, first, last)
	if s.vectors.inMemory() {
		growTo(&s.vectors.memory, first, last)
	}
	growTo(&s.dead, first>>6, last>>6)
	if s.coded {
		growTo(&s.codes, first, last)
		growTo(&s.heads, first, last)
	}
	growTo(&s.buffer.words, first>>6, last>>6)
	growTo(&s.buffer.summary, first>>12, last>>12)
	s.end.Store(last + 1)
}

// growTo makes the records from first to last of a slab usable.
func growTo(s *slab, first, last uint32) {
	for from := kernel.ChunkOf(first); from < kernel.MaxChunks; from++ {
		start := kernel.ChunkStart(from)
		if start > last {
			return
		}
		s.grow(start)
	}
}
