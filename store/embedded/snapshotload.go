package embedded

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/filter"
	"github.com/freshet-io/freshet/wire"
)

// ErrAhead means that a snapshot covers more of the log than there is: the log was restored from an older copy.
var ErrAhead = errors.New("it is ahead of the log, which was probably restored from an older copy")

// snapshotFile is an open snapshot: its three parts are read side by side.
type snapshotFile struct {
	file     vfs.File
	position int64
	count    int      // documents
	bounds   [4]int64 // where documents, filter index, vector index and footer begin
}

// readSnapshot reads a snapshot, which must hold the shard with this hash, and returns its shard and position.
func (s *Store) readSnapshot(h shardHash, number uint64, end int64) (*shard, int64, error) {
	dfs := s.log.FS()
	f := snapshotFile{}
	var err error
	if number == 0 {
		return nil, 0, errors.New("it has format 1, which this version does not read")
	}
	if f.file, err = dfs.Open(dfs.PathJoin(s.dir, fileName(h, number))); err != nil {
		return nil, 0, err
	}
	defer f.file.Close()
	log, err := f.readHead()
	if err != nil {
		return nil, 0, err
	}
	if end, err = s.historyEnd(log, end); err != nil {
		return nil, 0, err
	}
	if f.position > end {
		return nil, 0, fmt.Errorf("it covers vector.sync up to offset %d, the log has it up to %d: %w", f.position, end, ErrAhead)
	}
	sh, err := f.read(s, h)
	if err == nil {
		if err = errors.Join(s.droppedSince(sh.name, f.position), s.purged(sh, f.position)); err != nil {
			err = errors.Join(err, sh.close())
		}
	}
	return sh, f.position, err
}

// historyEnd is how far what bears the identity of a log may go in vector.sync, which ends at end: of an earlier epoch, up to
// where that was cut off. The catalog knows epochs of a log in the data folder; the identity of a copy, or of a part, it does not know.
func (s *Store) historyEnd(log freshet.LogID, end int64) (int64, error) {
	if log == s.id {
		return end, nil
	}
	changes, ok := s.catalog.Knows(log)
	if !ok || s.part != nil {
		return 0, errors.New("it is of another log, or of other partitions")
	}
	return min(end, changes), nil
}

// readHead reads header and footer, and returns the log that the snapshot is of.
func (f *snapshotFile) readHead() (log freshet.LogID, err error) {
	info, err := f.file.Stat()
	if err != nil {
		return log, err
	}
	size := info.Size()
	if size < snapshotHeader+snapshotFooter {
		return log, fmt.Errorf("it is cut off: it has %d bytes", size)
	}
	le := binary.LittleEndian
	var head [snapshotHeader]byte
	if _, err := f.file.ReadAt(head[:], 0); err != nil {
		return log, fmt.Errorf("read header: %w", err)
	}
	switch {
	case string(head[:4]) != snapshotMagic:
		return log, errors.New("it is no snapshot")
	case head[4] != snapshotFormat:
		return log, fmt.Errorf("it has format %d, this version reads %d", head[4], snapshotFormat)
	case crc32.Checksum(head[:60], castagnoli) != le.Uint32(head[60:]):
		return log, errors.New("the checksum of its header is wrong")
	case le.Uint32(head[24:]) != 0:
		return log, errors.New("it is encrypted, which this version can't read")
	}
	f.position = int64(le.Uint64(head[16:]))
	count := le.Uint64(head[28:])
	if f.position < 0 || count > math.MaxUint32 {
		return log, errors.New("its header is malformed")
	}
	f.count = int(count)
	return freshet.LogID(head[8:16]), f.readFoot(size - snapshotFooter)
}

func (f *snapshotFile) readFoot(at int64) error {
	le := binary.LittleEndian
	var foot [snapshotFooter]byte
	if _, err := f.file.ReadAt(foot[:], at); err != nil && err != io.EOF {
		return fmt.Errorf("read footer: %w", err)
	}
	if string(foot[28:]) != snapshotEnd || crc32.Checksum(foot[:24], castagnoli) != le.Uint32(foot[24:]) {
		return errors.New("it is cut off, or its end is damaged")
	}
	f.bounds[0] = snapshotHeader
	for i := range 3 {
		f.bounds[i+1] = int64(le.Uint64(foot[8*i:]))
	}
	if !slices.IsSorted(f.bounds[:]) || f.bounds[3] != at {
		return errors.New("its footer is malformed")
	}
	return nil
}

// part returns a reader of one part of the file.
func (f *snapshotFile) part(i int) *io.SectionReader {
	return io.NewSectionReader(f.file, f.bounds[i], f.bounds[i+1]-f.bounds[i])
}

// ended returns an error when a part has bytes left.
func ended(r *io.SectionReader, what string) error {
	if at, err := r.Seek(0, io.SeekCurrent); err != nil || at != r.Size() {
		return errors.Join(fmt.Errorf("bytes follow its %s", what), err)
	}
	return nil
}

// read loads the parts at the same time.
func (f *snapshotFile) read(s *Store, h shardHash) (*shard, error) {
	documents := f.part(0)
	first := bufio.NewReaderSize(documents, 1<<20)
	name, err := readName(first)
	if err != nil {
		return nil, err
	}
	if hashOf(name) != h {
		return nil, errors.New("it holds another shard than its name says")
	}
	opt, err := s.annOptions(name, control.Index{})
	if err != nil {
		return nil, err
	}
	sh := &shard{name: name, metric: opt.Metric, dim: opt.Dim}
	var parts tasks
	parts.start(func() error {
		if err := sh.docs.read(first, f.count); err != nil {
			return err
		}
		if _, err := first.ReadByte(); err != io.EOF {
			return errors.New("bytes follow its documents")
		}
		return nil
	})
	parts.start(func() (err error) {
		part := f.part(1)
		r := bufio.NewReaderSize(part, 1<<20)
		if sh.filter, err = filter.Load(r, uint32(f.count)); err != nil {
			return err
		}
		if _, err := r.ReadByte(); err != io.EOF {
			return errors.New("bytes follow its filter index")
		}
		return nil
	})
	parts.start(func() error {
		part := f.part(2)
		ix, err := ann.Load(part, opt)
		if err != nil {
			return err
		}
		sh.use(ix)
		return ended(part, "vector index")
	})
	if err := parts.wait(); err != nil {
		return nil, errors.Join(err, sh.close())
	}
	if err := sh.dropOrphans(); err != nil {
		return nil, errors.Join(err, sh.close())
	}
	return sh, nil
}

func readName(r io.Reader) (freshet.Shard, error) {
	body, err := readBlock(r, nil)
	if err != nil {
		return freshet.Shard{}, err
	}
	d := wire.NewDecoder(body)
	name := freshet.Shard{Collection: d.String(), Namespace: d.String()}
	if d.Bad() || !d.Done() {
		return name, errDocs
	}
	return name, nil
}

var errDocs = errors.New("its documents' section is malformed")

// readBlock reads a block; body is memory to use again.
func readBlock(r io.Reader, body []byte) ([]byte, error) {
	var head [blockHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("its documents' section is cut off: %w", err)
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > maxBlockBytes {
		return nil, fmt.Errorf("a block of its documents' section claims %d bytes", n)
	}
	body = slices.Grow(body[:0], int(n))[:n]
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, fmt.Errorf("its documents' section is cut off: %w", err)
	}
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, errors.New("the checksum of a block of its documents' section is wrong")
	}
	return body, nil
}

// read fills an empty table with count documents.
func (d *docs) read(r io.Reader, count int) error {
	var body []byte
	var err error
	for d.len() < count {
		if body, err = readBlock(r, body); err != nil {
			return err
		}
		if err := d.decode(body, count); err != nil {
			return err
		}
	}
	return d.index()
}

// decode appends the documents of a block.
func (d *docs) decode(body []byte, count int) error {
	n, width := binary.Uvarint(body)
	if width <= 0 || n == 0 || n > uint64(count-d.len()) || n > uint64(len(body)) {
		return errDocs
	}
	if d.len() == 0 && uint64(count) <= n*uint64(len(body)) { // a lie about the count costs no memory
		d.reserve(count, len(body)/int(n)*count)
	}
	body = body[width:]
	lengths := make([]int, n)
	ids := 0
	for i := range lengths {
		length, width := binary.Uvarint(body)
		if width <= 0 || length > freshet.MaxIDBytes {
			return errDocs
		}
		body = body[width:]
		lengths[i] = int(length)
		ids += int(length)
	}
	if len(body) != ids+int(n)*docRow {
		return errDocs
	}
	rows := body[ids:]
	for _, length := range lengths {
		info := decodeDoc(rows)
		doc := uint32(len(d.info))
		d.info, d.starts = append(d.info, docInfo{}), append(d.starts, noID)
		if length == 0 {
			if info != (docInfo{}) {
				return errDocs
			}
			d.free = append(d.free, doc)
		} else {
			d.putID(doc, string(body[:length]))
		}
		if info.points >= MaxPoints {
			return errDocs
		}
		d.set(doc, info)
		body, rows = body[length:], rows[docRow:]
	}
	return nil
}

func decodeDoc(b []byte) (info docInfo) {
	le := binary.LittleEndian
	info.version = freshet.Version{Order: int64(le.Uint64(b)), Epoch: le.Uint32(b[8:]), Offset: int64(le.Uint64(b[12:]))}
	info.revision, info.points = le.Uint32(b[20:]), le.Uint16(b[24:])
	copy(info.content[:], b[26:])
	copy(info.digest[:], b[42:])
	return info
}

// reserve makes room for count documents whose ids have about so many bytes.
func (d *docs) reserve(count, ids int) {
	room := count + count/16
	d.arena, d.starts, d.info = make([]byte, 0, ids), make([]uint64, 0, room), make([]docInfo, 0, room)
}

// index fills the hash table of a table whose documents are there.
func (d *docs) index() error {
	size := minDocSlots
	for 4*(len(d.info)-len(d.free)+1) > 3*size {
		size *= 2
	}
	d.slots = make([]uint32, size)
	for doc := range d.info {
		if d.starts[doc] == noID {
			continue
		}
		id := d.id(uint32(doc))
		i := d.home(id)
		for d.slots[i] != 0 {
			if bytes.Equal(d.id(d.slots[i]-1), id) {
				return fmt.Errorf("its documents name entity %q twice", id)
			}
			i = (i + 1) & uint64(len(d.slots)-1)
		}
		d.slots[i] = uint32(doc) + 1
	}
	return nil
}

// dropOrphans removes points that the documents don't have: the index was written a moment
// later than they were.
func (s *shard) dropOrphans() error {
	var ops []ann.Op
	ix := s.vectors()
	err := ix.EachKey(func(key uint64) bool {
		if doc := docOf(key); int(doc) >= s.docs.len() || slotOf(key) >= int(s.docs.info[doc].points) {
			ops = append(ops, ann.Op{Key: key})
		}
		return true
	})
	if len(ops) == 0 || err != nil {
		return err
	}
	return ix.Apply(ops)
}
