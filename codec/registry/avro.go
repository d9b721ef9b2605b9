package registry

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

// appendAvro appends the JSON of a value of a schema; all of data is to be that value. Typed leaves values whose type Kafka
// Connect knows by a name as Connect's own JSON has them, for whoever reads its schema.
func appendAvro(dst []byte, s *avroSchema, data []byte, typed bool) ([]byte, error) {
	r := avroReader{data: data, out: dst, limit: len(dst) + maxJSON, typed: typed}
	if err := r.value(s, 0); err != nil {
		return dst, err
	}
	if len(r.data) > 0 {
		return dst, refuse(freshet.CodeInvalidRecord, "", "the record has %d bytes behind its value; it was written with another schema than it names", len(r.data))
	}
	return r.out, nil
}

// avroReader reads a value in Avro's binary encoding. Each value gives a byte of JSON at least, and their number is bounded: so is
// the work, also on arrays of billions of nulls.
type avroReader struct {
	data  []byte // what is not yet read
	out   []byte
	limit int
	typed bool
}

func (r *avroReader) value(s *avroSchema, depth int) error {
	if depth > codec.MaxDepth {
		return refuse(freshet.CodeInvalidRecord, "", "is nested deeper than %d levels", codec.MaxDepth)
	}
	if len(r.out) > r.limit {
		return tooLarge()
	}
	switch s.kind {
	case avroNull:
		r.out = append(r.out, "null"...)
	case avroBoolean:
		b, err := r.take(1)
		if err != nil {
			return err
		}
		if b[0] > 1 {
			return refuse(freshet.CodeInvalidRecord, "", "must be a boolean, 0 or 1, is the byte %d", b[0])
		}
		r.out = strconv.AppendBool(r.out, b[0] == 1)
	case avroInt, avroLong:
		return r.integer(s)
	case avroFloat:
		b, err := r.take(4)
		if err != nil {
			return err
		}
		r.out = appendFinite(r.out, float64(math.Float32frombits(binary.LittleEndian.Uint32(b))), 32)
	case avroDouble:
		b, err := r.take(8)
		if err != nil {
			return err
		}
		r.out = appendFinite(r.out, math.Float64frombits(binary.LittleEndian.Uint64(b)), 64)
	case avroBytes, avroString:
		b, err := r.bytes()
		if err != nil {
			return err
		}
		if s.kind == avroBytes {
			return r.binary(s, b)
		}
		if !utf8.Valid(b) {
			return refuse(freshet.CodeInvalidUTF8, "", "is not valid UTF-8; send UTF-8")
		}
		r.out = codec.AppendString(r.out, string(b))
	case avroFixed:
		b, err := r.take(s.size)
		if err != nil {
			return err
		}
		return r.binary(s, b)
	case avroEnum:
		n, err := r.index(len(s.symbols), "symbol of an enum")
		if err != nil {
			return err
		}
		r.out = append(r.out, s.symbols[n]...)
	case avroUnion:
		n, err := r.index(len(s.of), "branch of a union")
		if err != nil {
			return err
		}
		return r.value(s.of[n], depth+1)
	case avroRecord:
		return r.record(s, depth)
	case avroArray, avroMap:
		return r.blocks(s, depth)
	}
	return nil
}

func (r *avroReader) record(s *avroSchema, depth int) error {
	r.out = append(r.out, '{')
	for i := range s.fields {
		f := &s.fields[i]
		if i > 0 {
			r.out = append(r.out, ',')
		}
		r.out = append(r.out, f.member...)
		if err := r.value(f.schema, depth+1); err != nil {
			return within(err, f.name)
		}
	}
	r.out = append(r.out, '}')
	return nil
}

// blocks reads the items of an array, or of a map with their keys.
func (r *avroReader) blocks(s *avroSchema, depth int) error {
	open, end := byte('['), byte(']')
	if s.kind == avroMap {
		open, end = '{', '}'
	}
	r.out = append(r.out, open)
	for number := 0; ; {
		count, err := r.long()
		if err != nil {
			return err
		}
		if count == 0 {
			break
		}
		if count < 0 { // the size of the block follows, for who wants to skip it
			if size, err := r.long(); err != nil || size < 0 || count == math.MinInt64 {
				return refuse(freshet.CodeInvalidRecord, "", "begins a block of %d items and %d bytes", count, size)
			}
			count = -count
		}
		for ; count > 0; count-- {
			if number > 0 {
				r.out = append(r.out, ',')
			}
			name := strconv.Itoa(number)
			if s.kind == avroMap {
				key, err := r.bytes()
				if err != nil {
					return err
				}
				if !utf8.Valid(key) {
					return refuse(freshet.CodeInvalidUTF8, "", "has a key that is not valid UTF-8; send UTF-8")
				}
				name = string(key)
				r.out = append(codec.AppendString(r.out, name), ':')
			}
			if err := r.value(s.of[0], depth+1); err != nil {
				return within(err, name)
			}
			number++
		}
	}
	r.out = append(r.out, end)
	return nil
}

func (r *avroReader) integer(s *avroSchema) error {
	n, err := r.long()
	if err != nil {
		return err
	}
	if s.kind == avroInt && int64(int32(n)) != n {
		return refuse(freshet.CodeInvalidRecord, "", "must be an int of 32 bits, is %d", n)
	}
	if r.plain(s) {
		switch strings.TrimPrefix(s.logical, localTimestamp) {
		case dateType:
			r.out = codec.AppendSince(r.out, n, codec.Day)
			return nil
		case timeMillis:
			r.out = codec.AppendTimeOfDay(r.out, n, time.Millisecond)
			return nil
		case timeMicros:
			r.out = codec.AppendTimeOfDay(r.out, n, time.Microsecond)
			return nil
		case timestampMs:
			r.out = codec.AppendSince(r.out, n, time.Millisecond)
			return nil
		case timestampUs:
			r.out = codec.AppendSince(r.out, n, time.Microsecond)
			return nil
		case timestampNs:
			r.out = codec.AppendSince(r.out, n, time.Nanosecond)
			return nil
		}
	}
	r.out = strconv.AppendInt(r.out, n, 10)
	return nil
}

// plain reports whether a value is to be given as its logical type has it.
func (r *avroReader) plain(s *avroSchema) bool { return !r.typed || s.connect == "" }

// binary gives bytes: as what they stand for, or in base64.
func (r *avroReader) binary(s *avroSchema, b []byte) error {
	if r.plain(s) {
		switch s.logical {
		case decimalType:
			out, ok := codec.AppendDecimal(r.out, b, s.scale)
			if !ok {
				return refuse(freshet.CodeInvalidRecord, "", "must be a decimal of 1 to %d bytes with a scale up to %d, has %d and %d", codec.MaxDecimalBytes, codec.MaxDecimalScale, len(b), s.scale)
			}
			r.out = out
			return nil
		case uuidType:
			r.out = append(r.out, '"')
			for i, part := range [][]byte{b[:4], b[4:6], b[6:8], b[8:10], b[10:]} {
				if i > 0 {
					r.out = append(r.out, '-')
				}
				r.out = hex.AppendEncode(r.out, part)
			}
			r.out = append(r.out, '"')
			return nil
		case durationType:
			r.out = appendDuration(r.out, binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:]))
			return nil
		}
	}
	r.out = appendBase64(r.out, b)
	return nil
}

// appendDuration appends a duration as ISO 8601 has it, as a JSON string.
func appendDuration(dst []byte, months, days, millis uint32) []byte {
	dst = fmt.Appendf(dst, `"P%dM%dDT%d`, months, days, millis/1000)
	if rest := millis % 1000; rest > 0 {
		dst = append(dst, strings.TrimRight(fmt.Sprintf(".%03d", rest), "0")...)
	}
	return append(dst, `S"`...)
}

func (r *avroReader) take(n uint64) ([]byte, error) {
	if n > uint64(len(r.data)) {
		return nil, refuse(freshet.CodeInvalidRecord, "", "needs %d bytes, but the record has %d left; it is cut, or was written with another schema than it names", n, len(r.data))
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b, nil
}

func (r *avroReader) bytes() ([]byte, error) {
	n, err := r.long()
	if err != nil {
		return nil, err
	}
	if n < 0 {
		return nil, refuse(freshet.CodeInvalidRecord, "", "has a length of %d bytes", n)
	}
	return r.take(uint64(n))
}

// long reads a number in zig-zag coding.
func (r *avroReader) long() (int64, error) {
	n, size := binary.Varint(r.data)
	if size <= 0 {
		return 0, refuse(freshet.CodeInvalidRecord, "", "is cut, or a number longer than 64 bits, %d bytes before the end of the record", len(r.data))
	}
	r.data = r.data[size:]
	return n, nil
}

// index reads the number of one of n things.
func (r *avroReader) index(n int, what string) (int, error) {
	i, err := r.long()
	if err == nil && (i < 0 || i >= int64(n)) {
		err = refuse(freshet.CodeInvalidRecord, "", "names the %s number %d, of %d", what, i, n)
	}
	return int(i), err
}

// appendFinite appends a number; what JSON lacks is null.
func appendFinite(dst []byte, f float64, bits int) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	return codec.AppendFloat(dst, f, bits)
}
