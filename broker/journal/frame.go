package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

const (
	magic       = "FRJ1"
	formatNow   = 1
	headerBytes = 40
	// maxBodyBytes bounds what a reader allocates on the word of a header.
	maxBodyBytes = 256 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errShort means that the bytes end before the frame does.
var errShort = errors.New("the frame is cut off")

// frameHeader is what stands in front of a frame's body.
type frameHeader struct {
	bodyLen int
	crc     uint32
	keyID   uint32
	count   int
	first   int64
	time    int64
}

func (h frameHeader) end() int64 { return h.first + int64(h.count) }

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

// parseHeader reads a header; the body and its checksum are not looked at.
func parseHeader(b []byte) (frameHeader, error) {
	if len(b) < headerBytes {
		return frameHeader{}, errShort
	}
	if string(b[:4]) != magic {
		return frameHeader{}, fmt.Errorf("no frame here: magic is %q", b[:4])
	}
	if b[12] != formatNow {
		return frameHeader{}, fmt.Errorf("frame format %d, this version reads %d", b[12], formatNow)
	}
	h := frameHeader{
		bodyLen: int(binary.LittleEndian.Uint32(b[4:])),
		crc:     binary.LittleEndian.Uint32(b[8:]),
		keyID:   binary.LittleEndian.Uint32(b[16:]),
		count:   int(binary.LittleEndian.Uint32(b[20:])),
		first:   int64(binary.LittleEndian.Uint64(b[24:])),
		time:    int64(binary.LittleEndian.Uint64(b[32:])),
	}
	if h.bodyLen > maxBodyBytes || h.first < 0 || h.count == 0 || h.count > h.bodyLen {
		return frameHeader{}, fmt.Errorf("impossible frame header: %d records in %d bytes at offset %d",
			h.count, h.bodyLen, h.first)
	}
	if h.keyID != 0 {
		return frameHeader{}, fmt.Errorf("frame is encrypted with key %d, which this version can't read", h.keyID)
	}
	return h, nil
}

// parseFrame checks a whole frame at the start of b and returns its header and body.
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
		return h, nil, fmt.Errorf("checksum of the frame at offset %d is %08x, not %08x", h.first, got, h.crc)
	}
	return h, frame[headerBytes:], nil
}

// Header is a name and a value that travel with a record.
type Header struct {
	Name  string
	Value []byte
}

// Record is one record as read. Key, Value and header values alias the reader's buffer.
type Record struct {
	Partition int32
	Offset    int64
	Time      int64 // ms since 1970, when its group was appended
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Batch collects records for one Append, already in the bytes of the format. The zero value
// is empty and ready; Reset makes it so again and keeps the memory.
type Batch struct {
	body  []byte
	count int
}

// Add appends a record. The arguments are copied.
func (b *Batch) Add(partition int32, key, value []byte, headers ...Header) {
	p := binary.AppendUvarint(b.body, uint64(uint32(partition)))
	p = appendBytes(p, key)
	p = appendBytes(p, value)
	p = binary.AppendUvarint(p, uint64(len(headers)))
	for _, h := range headers {
		p = appendBytes(p, []byte(h.Name))
		p = appendBytes(p, h.Value)
	}
	b.body = p
	b.count++
}

// Len is the number of records.
func (b *Batch) Len() int { return b.count }

// Bytes is the size of the records in the format.
func (b *Batch) Bytes() int { return len(b.body) }

// Reset empties the batch.
func (b *Batch) Reset() { b.body, b.count = b.body[:0], 0 }

func appendBytes(p, v []byte) []byte {
	p = binary.AppendUvarint(p, uint64(len(v)))
	return append(p, v...)
}

// decodeRecords appends the records of a body to dst. The checksum has been verified, so an
// error here means that a writer was wrong; it is reported all the same, never a panic.
func decodeRecords(dst []Record, h frameHeader, body []byte) ([]Record, error) {
	d := decoder{rest: body}
	for i := 0; i < h.count; i++ {
		r := Record{Offset: h.first + int64(i), Time: h.time, Partition: int32(d.uvarint())}
		r.Key = d.bytes()
		r.Value = d.bytes()
		for n := d.uvarint(); n > 0 && !d.bad; n-- {
			name := string(d.bytes())
			r.Headers = append(r.Headers, Header{Name: name, Value: d.bytes()})
		}
		if d.bad {
			return dst, fmt.Errorf("record %d of the frame at offset %d is malformed", i, h.first)
		}
		dst = append(dst, r)
	}
	if len(d.rest) != 0 {
		return dst, fmt.Errorf("the frame at offset %d has %d bytes behind its last record", h.first, len(d.rest))
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
