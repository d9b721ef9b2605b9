package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/zeebo/xxh3"

	"github.com/freshet-io/freshet"
)

const changeFormat = 1

// Extensions of a change, by tag. A decoder skips the even ones that it does not know and
// refuses the odd ones. There is room for the state of an aggregate (3) and skipped offsets (5).
const (
	tagExpiry  = 2 // varint, ms: Change.ExpiresAt
	tagOwnText = 4 // empty: Change.OwnText
	tagBase    = 6 // Change.Base
)

// Flags of a base.
const (
	baseOwnText  = 1
	baseReady    = 2
	baseSameText = 4 // its text is that of the change, and not written again
)

// AppendChange appends the bytes of a change; its key is not among them.
func AppendChange(b []byte, c *freshet.Change) []byte {
	b = append(b, changeFormat, byte(c.Op), 0, 0)
	b = binary.LittleEndian.AppendUint32(b, c.Revision)
	b = binary.LittleEndian.AppendUint32(b, 0) // id of the encryption key
	b = AppendVersion(b, c.Version)
	b = append(b, c.Content[:]...)
	b = append(b, c.Digest[:]...)
	b = binary.AppendUvarint(b, c.Events)
	b = binary.AppendVarint(b, c.EventTime)
	b = binary.AppendVarint(b, c.AcceptedAt)
	b = appendString(b, c.Source)
	b = appendString(b, c.SourceEventID)
	b = appendString(b, c.Trace)
	b = appendBytes(b, c.Metadata)
	b = appendString(b, c.Text)
	b = appendExtensions(b, c)
	b = binary.AppendUvarint(b, uint64(len(c.Points)))
	for i := range c.Points {
		b = appendPoint(b, &c.Points[i])
	}
	return b
}

func appendExtensions(b []byte, c *freshet.Change) []byte {
	n := uint64(0)
	if c.ExpiresAt != 0 {
		n++
	}
	if c.OwnText {
		n++
	}
	if c.Base != nil {
		n++
	}
	b = binary.AppendUvarint(b, n)
	if c.ExpiresAt != 0 {
		var room [binary.MaxVarintLen64]byte
		b = binary.AppendUvarint(b, tagExpiry)
		b = appendBytes(b, binary.AppendVarint(room[:0], c.ExpiresAt))
	}
	if c.OwnText {
		b = binary.AppendUvarint(b, tagOwnText)
		b = appendBytes(b, nil)
	}
	if c.Base != nil {
		b = binary.AppendUvarint(b, tagBase)
		b = appendBytes(b, appendBase(nil, c))
	}
	return b
}

func appendBase(b []byte, c *freshet.Change) []byte {
	flags, text := byte(0), c.Base.Text
	if c.Base.OwnText {
		flags |= baseOwnText
	}
	if c.Base.Ready {
		flags |= baseReady
	}
	if text == c.Text {
		flags, text = flags|baseSameText, ""
	}
	b = AppendVersion(b, c.Base.Version)
	b = append(b, flags)
	b = appendBytes(b, c.Base.Metadata)
	return appendString(b, text)
}

func appendPoint(b []byte, p *freshet.Point) []byte {
	b = appendString(b, p.Model)
	b = appendString(b, p.Slot)
	b = binary.AppendUvarint(b, uint64(p.Start))
	b = binary.AppendUvarint(b, uint64(p.End))
	b = binary.AppendUvarint(b, uint64(len(p.Vector)))
	return appendFloats(b, p.Vector)
}

func appendFloats(b []byte, v []float32) []byte {
	at := len(b)
	b = append(b, make([]byte, 4*len(v))...)
	for i, x := range v {
		binary.LittleEndian.PutUint32(b[at+4*i:], math.Float32bits(x))
	}
	return b
}

// Parts says how much of a change DecodeChange reads.
type Parts uint8

// What DecodeChange reads.
const (
	Head   Parts = iota // everything but the points
	Points              // everything
)

// DecodeChange reads a change. Metadata aliases b; strings and vectors are copies.
func DecodeChange(key freshet.Key, b []byte, parts Parts) (freshet.Change, error) {
	d := Decoder{rest: b}
	c := freshet.Change{Key: key}
	if f := d.Byte(); f != changeFormat {
		return c, fmt.Errorf("change of %q has format %d, this version reads %d", key.Entity, f, changeFormat)
	}
	c.Op = freshet.Op(d.Byte())
	if flags := d.Take(2); !d.bad && (flags[0] != 0 || flags[1] != 0) {
		return c, fmt.Errorf("change of %q has flags %x, which this version does not know", key.Entity, flags)
	}
	c.Revision = d.Uint32()
	if id := d.Uint32(); id != 0 {
		return c, fmt.Errorf("change of %q is encrypted with key %d, which this version can't read", key.Entity, id)
	}
	c.Version = d.Version()
	copy(c.Content[:], d.Take(16))
	copy(c.Digest[:], d.Take(16))
	c.Events = d.Uvarint()
	c.EventTime = d.Varint()
	c.AcceptedAt = d.Varint()
	c.Source = d.String()
	c.SourceEventID = d.String()
	c.Trace = d.String()
	if c.Metadata = d.Bytes(); len(c.Metadata) == 0 {
		c.Metadata = nil
	}
	c.Text = d.String()
	if err := d.extensions(&c); err != nil {
		return c, fmt.Errorf("change of %q: %w", key.Entity, err)
	}
	if parts == Points {
		c.Points = d.points()
		d.bad = d.bad || len(d.rest) != 0
	}
	if d.bad || (c.Op != freshet.OpUpsert && c.Op != freshet.OpDelete) {
		return c, fmt.Errorf("change of %q: %w", key.Entity, errMalformed)
	}
	return c, nil
}

var errMalformed = errors.New("the bytes are malformed")

func (d *Decoder) extensions(c *freshet.Change) error {
	for n := d.Uvarint(); n > 0 && !d.bad; n-- {
		tag, value := d.Uvarint(), Decoder{rest: d.Bytes()}
		switch {
		case d.bad:
		case tag == tagExpiry:
			c.ExpiresAt = value.Varint()
		case tag == tagOwnText:
			c.OwnText = true
		case tag == tagBase:
			c.Base = value.base(c.Text)
		case tag%2 == 1:
			return fmt.Errorf("extension %d is not known to this version, and can't be left out", tag)
		default:
			continue
		}
		d.bad = d.bad || value.bad || !value.Done()
	}
	return nil
}

// base reads what a change was before its patches; text is what the change says now.
func (d *Decoder) base(text string) *freshet.Base {
	v := &freshet.Base{Version: d.Version()}
	flags := d.Byte()
	v.OwnText, v.Ready = flags&baseOwnText != 0, flags&baseReady != 0
	v.Metadata, v.Text = bytes.Clone(d.Bytes()), d.String()
	if len(v.Metadata) == 0 {
		v.Metadata = nil
	}
	if flags&baseSameText != 0 {
		d.bad = d.bad || v.Text != ""
		v.Text = text
	}
	d.bad = d.bad || flags >= 2*baseSameText
	return v
}

// minPointBytes is the size of a point whose fields are all empty.
const minPointBytes = 5

func (d *Decoder) points() []freshet.Point {
	n := d.Uvarint()
	if d.bad || n > uint64(len(d.rest))/minPointBytes {
		d.bad = true
		return nil
	}
	if n == 0 {
		return nil
	}
	points := make([]freshet.Point, 0, n)
	for ; n > 0 && !d.bad; n-- {
		p := freshet.Point{Model: d.String(), Slot: d.String()}
		start, end := d.Uvarint(), d.Uvarint()
		p.Start, p.End = int(start), int(end)
		dim := d.Uvarint()
		if start > end || end > math.MaxInt32 || dim > uint64(len(d.rest))/4 {
			d.bad = true
			return nil
		}
		p.Vector = floats(d.Take(4 * dim))
		points = append(points, p)
	}
	return points
}

// PointsDigest is the digest of the points of a change.
func PointsDigest(points []freshet.Point) [16]byte {
	size := 0
	for i := range points {
		size += 64 + 4*len(points[i].Vector)
	}
	buf := make([]byte, 0, size)
	for i := range points {
		buf = appendPoint(buf, &points[i])
	}
	return xxh3.Hash128(buf).Bytes()
}

// BaseDigest is the digest of what patches were applied to.
func BaseDigest(v *freshet.Base) [16]byte {
	return xxh3.Hash128(appendBase(nil, &freshet.Change{Base: v})).Bytes()
}

// StateDigest is the digest of what a change says of its entity: operation, text, metadata
// and points, the latter by their own digest, and what it says beyond that, where it does.
// Equal digests mean the same state.
func StateDigest(c *freshet.Change, points [16]byte) [16]byte {
	buf := make([]byte, 0, 64+len(c.Text)+len(c.Metadata))
	buf = append(buf, byte(c.Op))
	buf = append(buf, points[:]...)
	buf = appendString(buf, c.Text)
	buf = appendBytes(buf, c.Metadata)
	if c.OwnText {
		buf = append(buf, tagOwnText)
	}
	if c.ExpiresAt != 0 {
		buf = binary.AppendVarint(append(buf, tagExpiry), c.ExpiresAt)
	}
	return xxh3.Hash128(buf).Bytes()
}
