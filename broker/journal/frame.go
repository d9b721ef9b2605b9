package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

const (
	magic       = "FRJ1"
	formatNow   = 1
	headerBytes = 40
	// maxBodyBytes bounds what a reader allocates on the word of a header.
	maxBodyBytes = 256 << 20
	// minRecordBytes is the size of a record of partition 0 without key, value and headers.
	minRecordBytes = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errShort means that the bytes end before the frame does.
var errShort = errors.New("the frame is cut off")

// unreadableError is a frame whose checksum is right but which this version can't use. It was
// written whole, so it is never a torn write.
type unreadableError struct{ reason string }

func (e *unreadableError) Error() string { return e.reason }

// frameHeader is what stands in front of a frame's body.
type frameHeader struct {
	bodyLen int
	crc     uint32
	format  byte
	flags   byte
	zero    uint16
	keyID   uint32
	count   int
	first   int64
	time    int64
}

// end is the offset behind the frame's last record.
func (h frameHeader) end() int64 { return h.first + int64(h.count) }

// size is the number of bytes of the whole frame.
func (h frameHeader) size() int64 { return int64(headerBytes + h.bodyLen) }

// putHeader fills frame[:headerBytes] for the body behind it.
func putHeader(frame []byte, first int64, count int, timeMs int64) {
	copy(frame, magic)
	binary.LittleEndian.PutUint32(frame[4:], uint32(len(frame)-headerBytes))
	frame[12], frame[13], frame[14], frame[15] = formatNow, 0, 0, 0
	binary.LittleEndian.PutUint32(frame[16:], 0)
	binary.LittleEndian.PutUint32(frame[20:], uint32(count))
	binary.LittleEndian.PutUint64(frame[24:], uint64(first))
	binary.LittleEndian.PutUint64(frame[32:], uint64(timeMs))
	binary.LittleEndian.PutUint32(frame[8:], crc32.Checksum(frame[12:], castagnoli))
}

// parseHeader reads a header. Nothing in it has been verified but the magic and that the
// length is possible.
func parseHeader(b []byte) (frameHeader, error) {
	if len(b) < headerBytes {
		return frameHeader{}, errShort
	}
	if string(b[:4]) != magic {
		return frameHeader{}, fmt.Errorf("no frame here: magic is %q", b[:4])
	}
	bodyLen := binary.LittleEndian.Uint32(b[4:])
	if bodyLen > maxBodyBytes {
		return frameHeader{}, fmt.Errorf("impossible frame: a body of %d bytes, at most %d are written", bodyLen, maxBodyBytes)
	}
	return frameHeader{
		bodyLen: int(bodyLen),
		crc:     binary.LittleEndian.Uint32(b[8:]),
		format:  b[12],
		flags:   b[13],
		zero:    binary.LittleEndian.Uint16(b[14:]),
		keyID:   binary.LittleEndian.Uint32(b[16:]),
		count:   int(binary.LittleEndian.Uint32(b[20:])),
		first:   int64(binary.LittleEndian.Uint64(b[24:])),
		time:    int64(binary.LittleEndian.Uint64(b[32:])),
	}, nil
}

// parseFrame checks a whole frame at the start of b and returns its header and body. The
// error is an *unreadableError if and only if the frame is whole.
func parseFrame(b []byte) (frameHeader, []byte, error) {
	h, err := parseHeader(b)
	if err != nil {
		return h, nil, err
	}
	if len(b) < headerBytes+h.bodyLen {
		return h, nil, errShort
	}
	frame := b[:headerBytes+h.bodyLen]
	if got := crc32.Checksum(frame[12:], castagnoli); got != h.crc {
		return h, nil, fmt.Errorf("checksum of the frame is %08x, its header says %08x", got, h.crc)
	}
	return h, frame[headerBytes:], h.readable()
}

// readable tells whether this version can read the body of a whole frame.
func (h frameHeader) readable() error {
	switch {
	case h.format != formatNow || h.flags != 0 || h.zero != 0:
		return &unreadableError{fmt.Sprintf("frame format %d with flags %#x,%#x, this version reads format %d without flags; "+
			"use the version that wrote it", h.format, h.flags, h.zero, formatNow)}
	case h.keyID != 0:
		return &unreadableError{fmt.Sprintf("frame is encrypted with key %d, which this version can't read", h.keyID)}
	case h.count == 0 || h.count > h.bodyLen/minRecordBytes || h.first < 0 || h.first > math.MaxInt64-int64(h.count):
		return &unreadableError{fmt.Sprintf("impossible frame: %d records in %d bytes from offset %d", h.count, h.bodyLen, h.first)}
	}
	return nil
}

// Header is a name and a value that travel with a record.
type Header struct {
	Name  string
	Value []byte
}

// Record is one record as read. Key, Value and header values alias the reader's buffer; they
// are never nil, so an absent key or value reads as an empty one.
type Record struct {
	Partition int32
	Offset    int64
	Time      int64 // ms since 1970, when its group was appended
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Batch collects records for one Append, already in the bytes of the format. The zero value
// is empty and ready; Reset makes it so again and keeps the memory. It is for one goroutine,
// and not to be changed while an Append of it runs.
type Batch struct {
	body  []byte
	count int
}

// Add appends a record. The arguments are copied. The format does not tell nil from empty.
func (b *Batch) Add(partition int32, key, value []byte, headers ...Header) {
	p := binary.AppendUvarint(b.body, uint64(uint32(partition)))
	p = appendBytes(p, key)
	p = appendBytes(p, value)
	p = binary.AppendUvarint(p, uint64(len(headers)))
	for _, h := range headers {
		p = appendBytes(p, h.Name)
		p = appendBytes(p, h.Value)
	}
	b.body = p
	b.count++
}

// Records are those of the batch: without offsets and times, and valid until it is changed.
func (b *Batch) Records() ([]Record, error) {
	return decodeRecords(make([]Record, 0, b.count), frameHeader{count: b.count}, b.body)
}

// Len is the number of records.
func (b *Batch) Len() int { return b.count }

// Bytes is the size of the records in the format.
func (b *Batch) Bytes() int { return len(b.body) }

// Reset empties the batch.
func (b *Batch) Reset() { b.body, b.count = b.body[:0], 0 }

func appendBytes[T string | []byte](p []byte, v T) []byte {
	p = binary.AppendUvarint(p, uint64(len(v)))
	return append(p, v...)
}

// decodeRecords appends the records of a body to dst. The checksum has been verified, so an
// error here means that a writer was wrong; it is reported all the same, never a panic, and
// dst is returned as it was.
func decodeRecords(dst []Record, h frameHeader, body []byte) ([]Record, error) {
	d := decoder{rest: body}
	start := len(dst)
	for i := 0; i < h.count; i++ {
		r := Record{Offset: h.first + int64(i), Time: h.time, Partition: d.partition()}
		r.Key = d.bytes()
		r.Value = d.bytes()
		for n := d.uvarint(); n > 0 && !d.bad; n-- {
			name := string(d.bytes())
			r.Headers = append(r.Headers, Header{Name: name, Value: d.bytes()})
		}
		if d.bad {
			return dst[:start], fmt.Errorf("record %d of the frame at offset %d is malformed", i, h.first)
		}
		dst = append(dst, r)
	}
	if len(d.rest) != 0 {
		return dst[:start], fmt.Errorf("the frame at offset %d has %d bytes behind its last record", h.first, len(d.rest))
	}
	return dst, nil
}

type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) partition() int32 {
	v := d.uvarint()
	if v > math.MaxUint32 {
		d.bad = true
	}
	return int32(uint32(v))
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if d.bad || n > uint64(len(d.rest)) {
		d.bad = true
		return nil
	}
	v := d.rest[:n:n]
	d.rest = d.rest[n:]
	return v
}
