package wire

import (
	"encoding/binary"

	"github.com/freshet-io/freshet"
)

// Decoder reads the parts of a format one after another. After the first part that doesn't
// fit, Bad is true and everything reads as zero. It is for one goroutine.
type Decoder struct {
	rest []byte
	bad  bool
}

// NewDecoder returns a decoder of b.
func NewDecoder(b []byte) *Decoder { return &Decoder{rest: b} }

// Bad reports whether a part did not fit.
func (d *Decoder) Bad() bool { return d.bad }

// Done reports whether all bytes have been read.
func (d *Decoder) Done() bool { return len(d.rest) == 0 }

// Take returns the next n bytes, which alias the input.
func (d *Decoder) Take(n uint64) []byte {
	if d.bad || n > uint64(len(d.rest)) {
		d.bad = true
		return nil
	}
	v := d.rest[:n:n]
	d.rest = d.rest[n:]
	return v
}

// Byte reads one byte.
func (d *Decoder) Byte() byte {
	if b := d.Take(1); b != nil {
		return b[0]
	}
	return 0
}

// Uint32 reads four bytes, little-endian.
func (d *Decoder) Uint32() uint32 {
	if b := d.Take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// Uvarint reads an unsigned varint.
func (d *Decoder) Uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if d.bad || n <= 0 {
		d.bad = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// Varint reads a signed varint.
func (d *Decoder) Varint() int64 {
	v, n := binary.Varint(d.rest)
	if d.bad || n <= 0 {
		d.bad = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// Bytes reads bytes with their length in front; they alias the input.
func (d *Decoder) Bytes() []byte { return d.Take(d.Uvarint()) }

// String reads a string with its length in front.
func (d *Decoder) String() string { return string(d.Bytes()) }

// Version reads the bytes of a version.
func (d *Decoder) Version() freshet.Version {
	if v := d.Take(versionBytes); v != nil {
		return parseVersion(v)
	}
	return freshet.Version{}
}

func appendBytes(b, v []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

func appendString(b []byte, v string) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}
