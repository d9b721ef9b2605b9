package filter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/RoaringBitmap/roaring/v2"
)

// ErrDamaged is wrapped by the errors of Load for bytes that are not what Snapshot wrote.
var ErrDamaged = errors.New("the saved filter index is damaged")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// Load returns the index that Snapshot wrote to r. Documents from limit on are left out: the caller does not know them.
// It costs some ten nanoseconds per document and term, and reads no more than Snapshot wrote.
func Load(r io.Reader, limit uint32) (*Index, error) {
	l := loader{x: NewIndex(), fields: []uint32{0}, counts: make([]uint32, 0)}
	if err := l.load(r, limit); err != nil {
		return nil, fmt.Errorf("filter: the saved index can't be loaded: %w", err)
	}
	return l.x, nil
}

// loader fills an index from the blocks of a saved one.
type loader struct {
	x      *Index
	fields []uint32 // of the index, by number in the file
	counts []uint32 // by document: its terms
	docs   []uint32 // scratch: the documents of a term
	rest   []byte   // of the block at hand
	bad    bool     // a read went beyond it
}

func (l *loader) load(r io.Reader, limit uint32) error {
	var body []byte
	for first := true; ; first = false {
		var err error
		if body, err = readBlock(r, body); err != nil {
			return err
		}
		switch {
		case first:
			err = l.live(body, limit)
		case len(body) == 0:
			l.x.fields.sweep()
			return l.lists()
		default:
			err = l.records(body)
		}
		if err != nil {
			return err
		}
	}
}

// readBlock reads the next block. body is memory to use again.
func readBlock(r io.Reader, body []byte) ([]byte, error) {
	var head [blockHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, readError(err)
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size > maxBlock {
		return nil, damaged("a block claims %d bytes", size)
	}
	// A large block is read as it comes, so that a damaged length costs no more memory than there are bytes.
	if int(size) <= max(cap(body), 2*snapshotStep) {
		if cap(body) < int(size) {
			body = make([]byte, 2*snapshotStep)
		}
		body = body[:size]
		if _, err := io.ReadFull(r, body); err != nil {
			return nil, readError(err)
		}
	} else {
		var b bytes.Buffer
		if _, err := io.CopyN(&b, r, int64(size)); err != nil {
			return nil, readError(err)
		}
		body = b.Bytes()
	}
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, damaged("the checksum of a block is wrong")
	}
	return body, nil
}

func readError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("it is cut off")
	}
	return err
}

// live reads the first block.
func (l *loader) live(body []byte, limit uint32) error {
	raw, ok := bytes.CutPrefix(body, []byte(snapshotMagic))
	if !ok || len(raw) == 0 {
		return damaged("it does not begin like one")
	}
	if raw[0] != snapshotFormat {
		return fmt.Errorf("it has format %d, this version reads %d", raw[0], snapshotFormat)
	}
	docs, err := bitmapOf(raw[1:])
	if err != nil {
		return err
	}
	docs.RemoveRange(uint64(limit), 1<<32)
	if !docs.IsEmpty() {
		l.counts = make([]uint32, docs.Maximum()+1)
	}
	l.x.live = *docs
	return nil
}

func bitmapOf(raw []byte) (*roaring.Bitmap, error) {
	b := roaring.New()
	n, err := b.ReadFrom(bytes.NewReader(raw))
	if err != nil || n != int64(len(raw)) {
		return nil, damaged("a bitmap of %d bytes is malformed", len(raw))
	}
	if err := b.Validate(); err != nil && !b.IsEmpty() {
		return nil, damaged("a bitmap of %d bytes is malformed: %v", len(raw), err)
	}
	return b, nil
}

// records reads the records of a block.
func (l *loader) records(body []byte) (err error) {
	l.rest = body
	for len(l.rest) > 0 && err == nil {
		what := l.rest[0]
		l.rest = l.rest[1:]
		switch what {
		case recordField:
			err = l.field()
		case recordTerm:
			err = l.term()
		default:
			err = damaged("there is no record of type %d", what)
		}
	}
	return err
}

func (l *loader) uvarint() uint64 {
	v, n := binary.Uvarint(l.rest)
	if n <= 0 {
		l.bad, l.rest = true, nil
		return 0
	}
	l.rest = l.rest[n:]
	return v
}

func (l *loader) bytes() []byte {
	n := l.uvarint()
	if n > uint64(len(l.rest)) {
		l.bad, l.rest = true, nil
		return nil
	}
	v := l.rest[:n]
	l.rest = l.rest[n:]
	return v
}

func (l *loader) field() error {
	parent, name := l.uvarint(), l.bytes()
	if l.bad || parent >= uint64(len(l.fields)) {
		return damaged("a field is malformed")
	}
	l.fields = append(l.fields, l.x.fields.resolve(l.fields[parent], name))
	return nil
}

func (l *loader) term() error {
	number := l.uvarint()
	if l.bad || number == 0 || number >= uint64(len(l.fields)) || len(l.rest) == 0 || kind(l.rest[0]) >= kinds {
		return damaged("a term is malformed")
	}
	e := entry{field: l.fields[number], kind: kind(l.rest[0])}
	l.rest = l.rest[1:]
	e.key = l.bytes()
	n := l.uvarint()
	if l.bad || len(e.key) > maxKey || e.kind < kindNumber && len(e.key) > 0 {
		return damaged("a term is malformed")
	}
	var bitmap *roaring.Bitmap
	var err error
	if n > listMax {
		raw := l.bytes()
		if l.bad {
			return damaged("the documents of a term are malformed")
		}
		if bitmap, err = bitmapOf(raw); err != nil {
			return err
		}
		bitmap.And(&l.x.live)
	} else if err = l.list(int(n)); err != nil {
		return err
	}
	return l.post(&e, bitmap)
}

// maxKey bounds the keys: of a string that was cut, or of a number with all its digits.
const maxKey = MaxStringBytes + 64

// list reads n documents, and keeps those that are live.
func (l *loader) list(n int) error {
	l.docs = l.docs[:0]
	doc := uint64(0)
	for i := range n {
		step := l.uvarint()
		doc += step
		if l.bad || doc >= 1<<32 || step == 0 && i > 0 {
			return damaged("the documents of a term are malformed")
		}
		if l.x.live.Contains(uint32(doc)) {
			l.docs = append(l.docs, uint32(doc))
		}
	}
	return nil
}

// post gives a term its documents: those of bitmap, or of the list at hand where that is nil. A term is met twice when
// its field was removed and made again meanwhile.
func (l *loader) post(e *entry, bitmap *roaring.Bitmap) error {
	if bitmap != nil && bitmap.GetCardinality() <= listMax {
		l.docs = append(l.docs[:0], bitmap.ToArray()...)
		bitmap = nil
	}
	if bitmap == nil && len(l.docs) == 0 {
		return nil
	}
	t := &l.x.terms
	if t.keys.full() || t.lists.full() {
		return ErrFull
	}
	if e.kind >= kindNumber {
		e.hash = t.hash(e.field, e.kind, e.key)
	}
	id := l.x.term(e)
	if r := t.at(id); r.n > 0 || bitmap == nil {
		if bitmap != nil {
			l.docs = append(l.docs[:0], bitmap.ToArray()...)
		}
		for _, doc := range l.docs {
			before := t.at(id).n
			if t.post(id, doc); t.at(id).n > before {
				l.counts[doc]++
			}
		}
		return nil
	}
	r := t.at(id)
	r.n, r.form, r.post = uint32(bitmap.GetCardinality()), formBitmap, t.addBitmap(bitmap)
	bitmap.Iterate(func(doc uint32) bool {
		l.counts[doc]++
		return true
	})
	return nil
}

// lists gives every document the list of its terms, which its postings say.
func (l *loader) lists() error {
	t := &l.x.terms
	refs := make([]uint32, len(l.counts))
	for doc, n := range l.counts {
		if n == 0 {
			continue
		}
		if t.lists.full() {
			return ErrFull
		}
		refs[doc] = t.lists.alloc(int(n) + 1)
		t.lists.at(refs[doc], 1)[0] = n
		l.x.docs.set(uint32(doc), refs[doc])
		l.counts[doc] = 0
	}
	add := func(id, doc uint32) {
		l.counts[doc]++
		n := int(l.counts[doc])
		t.lists.at(refs[doc], n+1)[n] = id
	}
	var one [1]uint32
	for id := uint32(1); id < t.count; id++ { // ascending, as lists are
		list, bitmap := t.list(id, &one)
		for _, doc := range list {
			add(id, doc)
		}
		if bitmap != nil {
			bitmap.Iterate(func(doc uint32) bool {
				add(id, doc)
				return true
			})
		}
	}
	return nil
}
