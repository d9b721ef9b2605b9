package wire_test

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/wire"
)

// FuzzDecodeChange: whatever is read can be written and read again as the same. The bytes may
// differ: extensions are not kept, and lengths may have been written in more bytes.
func FuzzDecodeChange(f *testing.F) {
	r := rand.New(rand.NewPCG(2, 1))
	for range 5 {
		c := randomChange(r)
		f.Add(wire.AppendChange(nil, &c))
	}
	f.Add([]byte{1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		key := freshet.Key{Entity: "e"}
		head, headErr := wire.DecodeChange(key, b, wire.Head)
		c, err := wire.DecodeChange(key, b, wire.Points)
		if err != nil {
			return
		}
		if headErr != nil || head.Digest != c.Digest || head.Text != c.Text {
			t.Fatalf("the whole can be read, the head is %+v, %v", head, headErr)
		}
		again := wire.AppendChange(nil, &c)
		if len(again) > len(b) {
			t.Fatalf("%d bytes became %d", len(b), len(again))
		}
		back, err := wire.DecodeChange(key, again, wire.Points)
		if err != nil || !bytes.Equal(wire.AppendChange(nil, &back), again) {
			t.Fatalf("%+v became %+v, %v", c, back, err)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	for _, s := range []string{"", "a", "\x00\x01c\x01na", "\x00\x07default\x07defaulta", "\x00\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := wire.ParseKey(b)
		if err == nil && !bytes.Equal(wire.AppendKey(nil, k), b) {
			t.Fatalf("%q became %+v, whose key is %q", b, k, wire.AppendKey(nil, k))
		}
	})
}

func FuzzParseToken(f *testing.F) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 5 {
		f.Add(wire.TokenString(randomToken(r)))
	}
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, s string) {
		token, err := wire.ParseToken(s)
		if err != nil {
			return
		}
		back, err := wire.ParseToken(wire.TokenString(token))
		if err != nil || !reflect.DeepEqual(back, token) {
			t.Fatalf("%+v became %+v, %v", token, back, err)
		}
		merged, err := wire.MergeTokens(token, back)
		if err != nil || !reflect.DeepEqual(merged.Spans, token.Spans) {
			t.Fatalf("%+v merged with itself is %+v, %v", token, merged, err)
		}
	})
}

func FuzzDecodeDeadLetter(f *testing.F) {
	r := rand.New(rand.NewPCG(2, 3))
	for range 5 {
		l := randomLetter(r)
		f.Add(wire.AppendDeadLetter(nil, &l))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := wire.DecodeDeadLetter(b)
		if err != nil {
			return
		}
		back, err := wire.DecodeDeadLetter(wire.AppendDeadLetter(nil, &l))
		if err != nil || !reflect.DeepEqual(back, l) {
			t.Fatalf("%+v became %+v, %v", l, back, err)
		}
	})
}

// FuzzDecoder: after the first part that does not fit everything reads as zero.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte{1, 2, 3}, []byte{0, 1, 2, 3, 4, 5, 6})
	f.Fuzz(func(t *testing.T, b, steps []byte) {
		d := wire.NewDecoder(b)
		for _, step := range steps {
			bad := d.Bad()
			zero := true
			switch step % 7 {
			case 0:
				zero = d.Byte() == 0
			case 1:
				zero = d.Uint32() == 0
			case 2:
				zero = d.Uvarint() == 0
			case 3:
				zero = d.Varint() == 0
			case 4:
				zero = d.String() == ""
			case 5:
				zero = d.Version() == freshet.Version{}
			case 6:
				zero = len(d.Take(uint64(step))) == 0
			}
			if bad && (!zero || !d.Bad()) {
				t.Fatal("something was read behind a part that does not fit")
			}
		}
	})
}
