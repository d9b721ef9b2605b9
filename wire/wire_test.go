package wire_test

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/wire"
)

const rounds = 500

func TestRoundTrips(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range rounds {
		c := randomChange(r)
		b := wire.AppendChange([]byte("in front"), &c)[len("in front"):]
		got, err := wire.DecodeChange(c.Key, b, wire.Points)
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Fatalf("change %+v became %+v, %v", c, got, err)
		}
		head, err := wire.DecodeChange(c.Key, b, wire.Head)
		if c.Points = nil; err != nil || !reflect.DeepEqual(head, c) {
			t.Fatalf("the head of %+v is %+v, %v", c, head, err)
		}

		key, err := wire.ParseKey(wire.AppendKey(nil, c.Key))
		if err != nil || key != c.Key {
			t.Fatalf("key %+v became %+v, %v", c.Key, key, err)
		}

		token := randomToken(r)
		parsed, err := wire.ParseToken(wire.TokenString(token))
		if err != nil || !reflect.DeepEqual(parsed, token) {
			t.Fatalf("token %+v became %+v, %v", token, parsed, err)
		}

		l := randomLetter(r)
		letter, err := wire.DecodeDeadLetter(wire.AppendDeadLetter(nil, &l))
		if err != nil || !reflect.DeepEqual(letter, l) {
			t.Fatalf("dead letter %+v became %+v, %v", l, letter, err)
		}

		d := wire.NewDecoder(wire.AppendVersion(nil, c.Version))
		if v := d.Version(); v != c.Version || d.Bad() || !d.Done() {
			t.Fatalf("version %+v became %+v", c.Version, v)
		}
	}
	id := freshet.LogID{0, 1, 0xfe, 0xff}
	if got, err := wire.ParseLogID(wire.LogIDString(id)); err != nil || got != id {
		t.Errorf("log id %x became %x, %v", id, got, err)
	}
	for _, s := range []string{"", "00", "0001feff0000000", "0001feff000000000", "0001feff0000000g"} {
		if _, err := wire.ParseLogID(s); err == nil {
			t.Errorf("%q is taken for a log id", s)
		}
	}
}

func TestVersionsSortAsTheyCompare(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 10 * rounds {
		a, b := randomVersion(r), randomVersion(r)
		switch r.IntN(4) { // so that the later parts decide, too
		case 0:
			b.Order = a.Order
		case 1:
			b.Order, b.Epoch = a.Order, a.Epoch
		case 2:
			b = a
		}
		want := a.Compare(b)
		if got := cmp.Compare(wire.VersionString(a), wire.VersionString(b)); got != want {
			t.Fatalf("%+v and %+v compare as %d, as strings %d", a, b, want, got)
		}
		if got := bytes.Compare(wire.AppendVersion(nil, a), wire.AppendVersion(nil, b)); got != want {
			t.Fatalf("%+v and %+v compare as %d, as bytes %d", a, b, want, got)
		}
		if a.After(b) != (want > 0) || b.Compare(a) != -want {
			t.Fatalf("%+v and %+v: After and Compare disagree", a, b)
		}
	}
}

func TestKeys(t *testing.T) {
	for _, c := range []struct {
		key  freshet.Key
		want string
	}{
		{freshet.Key{Collection: "default", Namespace: "default", Entity: "a/b"}, "a/b"},
		{freshet.Key{Collection: "c", Namespace: "default", Entity: "a"}, "\x00\x01c\x07defaulta"},
		{freshet.Key{Collection: "default", Namespace: "n", Entity: "a"}, "\x00\x07default\x01na"},
	} {
		if got := string(wire.AppendKey(nil, c.key)); got != c.want {
			t.Errorf("the key of %+v is %q, want %q", c.key, got, c.want)
		}
	}
	for _, s := range []string{"", "\x00", "\x00\x01", "\x00\x01c", "\x00\x01c\x01n", "\x00\x00\x01na", "\x00\x01c\x00a",
		"\x00\x07default\x07defaulta", // the bare key stands for it
		"\x00\x81\x00c\x01na",         // a length in more bytes than it needs
		"\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01c"} {
		if k, err := wire.ParseKey([]byte(s)); err == nil {
			t.Errorf("%q is taken for the key %+v", s, k)
		}
	}
}

// The keys of a shard are exactly those within its range.
func TestShardRanges(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 3))
	keys := []freshet.Key{{Collection: "default", Namespace: "default", Entity: "\u0020"},
		{Collection: "default", Namespace: "default", Entity: "\U0010ffff"}, {Collection: "c", Namespace: "n", Entity: "\U0010ffff"},
		{Collection: "c", Namespace: "nn", Entity: " "}, {Collection: "cn", Namespace: "n", Entity: "n"}, {Collection: "c", Namespace: "n", Entity: "nn"}}
	for range 200 {
		keys = append(keys, randomKey(r))
	}
	encoded := make([][]byte, len(keys))
	for i, k := range keys {
		encoded[i] = wire.AppendKey(nil, k)
	}
	for _, shard := range keys {
		lower, upper := wire.ShardRange(shard.Shard())
		for i, k := range keys {
			b := encoded[i]
			within := bytes.Compare(lower, b) <= 0 && bytes.Compare(b, upper) < 0
			if within != (k.Shard() == shard.Shard()) {
				t.Fatalf("key %q is within the range %q to %q of %+v: %v", b, lower, upper, shard.Shard(), within)
			}
		}
	}
}

func TestPartitions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 4))
	var hits [16]int
	for range 4000 {
		k := randomKey(r)
		p := wire.Partition(k, len(hits))
		if p != wire.Partition(k, len(hits)) {
			t.Fatal("a key has two partitions")
		}
		hits[p]++
		if wire.Partition(k, 1) != 0 {
			t.Fatal("one of one partitions is not 0")
		}
	}
	for p, n := range hits {
		if n < 150 || n > 350 {
			t.Errorf("partition %d has %d of 4000 keys", p, n)
		}
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	spans := func(b ...byte) string {
		return base64.RawURLEncoding.EncodeToString(append(make([]byte, 9, 32), b...))
	}
	one := func(s string) string {
		b, _ := base64.RawURLEncoding.DecodeString(s)
		b[0] = 1
		return base64.RawURLEncoding.EncodeToString(b)
	}
	if _, err := wire.ParseToken(one(spans(0, 0, 9, 0, 0, 1, 9, 0))); err != nil {
		t.Fatal("a good token is refused:", err)
	}
	huge := binary.AppendUvarint(nil, math.MaxUint64)
	for name, c := range map[string]struct{ token, want string }{
		"empty":                 {"", "cut off"},
		"no base64":             {"!!!", "pass it on as it came"},
		"another format":        {spans(0, 0, 9, 0), "format 0"},
		"no log":                {one(base64.RawURLEncoding.EncodeToString([]byte{1, 2, 3})), "cut off"},
		"cut off":               {one(spans(0, 0, 9)), "cut off"},
		"a partition twice":     {one(spans(0, 0, 9, 0, 0, 0, 9, 0)), "cut off or altered"},
		"partitions unsorted":   {one(spans(0, 1, 9, 0, 0, 0, 9, 0)), "cut off or altered"},
		"topics unsorted":       {one(spans(1, 'b', 0, 9, 0, 1, 'a', 0, 9, 0)), "cut off or altered"},
		"first below 0":         {one(spans(0, 0, 9, 10)), "cut off or altered"},
		"a huge partition":      {one(spans(append(append([]byte{0}, huge...), 9, 0)...)), "cut off or altered"},
		"a huge offset":         {one(spans(append(append([]byte{0, 0}, huge...), 0)...)), "cut off or altered"},
		"longer than the limit": {strings.Repeat("A", wire.MaxTokenBytes+1), "at most 65536"},
	} {
		if token, err := wire.ParseToken(c.token); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, error %v does not say %q", name, token, err, c.want)
		}
	}
}

func TestMergedTokens(t *testing.T) {
	log, other := freshet.LogID{1}, freshet.LogID{2}
	span := func(topic string, p int32, first, last int64) freshet.Span {
		return freshet.Span{Topic: topic, Partition: p, First: first, Last: last}
	}
	token := func(spans ...freshet.Span) freshet.Token { return freshet.Token{Log: log, Spans: spans} }
	for name, c := range map[string]struct{ a, b, want freshet.Token }{
		"nothing and one":    {freshet.Token{}, token(span("t", 0, 1, 2)), token(span("t", 0, 1, 2))},
		"one and nothing":    {token(span("t", 0, 1, 2)), freshet.Token{Log: other}, token(span("t", 0, 1, 2))},
		"the wider":          {token(span("t", 0, 5, 9)), token(span("t", 0, 2, 7)), token(span("t", 0, 2, 9))},
		"by partition":       {token(span("t", 1, 5, 5)), token(span("t", 0, 2, 7)), token(span("t", 0, 2, 7), span("t", 1, 5, 5))},
		"by topic":           {token(span("u", 0, 5, 5)), token(span("t", 3, 2, 7)), token(span("t", 3, 2, 7), span("u", 0, 5, 5))},
		"some of each":       {token(span("t", 0, 1, 1), span("t", 2, 3, 3)), token(span("t", 1, 2, 2), span("t", 2, 4, 4)), token(span("t", 0, 1, 1), span("t", 1, 2, 2), span("t", 2, 3, 4))},
		"nothing and itself": {freshet.Token{}, freshet.Token{}, freshet.Token{}},
	} {
		before := reflect.ValueOf(c.a.Spans).Len()
		got, err := wire.MergeTokens(c.a, c.b)
		if err != nil || !reflect.DeepEqual(got, c.want) || len(c.a.Spans) != before {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
		}
	}
	_, err := wire.MergeTokens(token(span("t", 0, 1, 1)), freshet.Token{Log: other, Spans: []freshet.Span{span("t", 0, 1, 1)}})
	if err == nil || !strings.Contains(err.Error(), wire.LogIDString(log)) || !strings.Contains(err.Error(), wire.LogIDString(other)) {
		t.Errorf("tokens of two logs: %v", err)
	}
}

// What a decoder does not know it refuses, and names.
func TestUnknownChangesAreRefused(t *testing.T) {
	c := freshet.Change{Key: freshet.Key{Entity: "e"}, Op: freshet.OpUpsert, Text: "x",
		Points: []freshet.Point{{Slot: "0", Vector: []float32{1}, End: 1}}}
	good := wire.AppendChange(nil, &c)
	// Behind the head: events, times, three strings, metadata and text of one byte.
	const extensions = 64 + 7 + 2
	alter := func(at int, with ...byte) []byte {
		return append(append(bytes.Clone(good[:at]), with...), good[at+1:]...)
	}
	for name, c := range map[string]struct {
		bytes []byte
		want  string
	}{
		"format 0":              {alter(0, 0), "format 0, this version reads 1"},
		"format 2":              {alter(0, 2), "format 2, this version reads 1"},
		"op 0":                  {alter(1, 0), "malformed"},
		"op patch":              {alter(1, 3), "malformed"},
		"flags":                 {alter(3, 1), "flags 0001"},
		"an encryption key":     {alter(8, 7), "encrypted with key 7"},
		"an odd extension":      {alter(extensions, 1, 3, 1, 'x'), "extension 3"},
		"an odd one behind":     {alter(extensions, 2, 8, 0, 5, 0), "extension 5"},
		"an expiry of no bytes": {alter(extensions, 1, 2, 0), "malformed"},
		"extensions cut off":    {append(bytes.Clone(good[:extensions]), 9, 2, 0), "malformed"},
		"empty":                 {nil, "format 0"},
		"bytes behind":          {append(bytes.Clone(good), 0), "malformed"},
		"a point too many":      {alter(extensions+1, 2), "malformed"},
		"points without number": {alter(extensions+1, 0xff, 0xff, 0xff, 0xff, 0x0f), "malformed"},
		"an end before start":   {alter(extensions+5, 9), "malformed"},
	} {
		if got, err := wire.DecodeChange(freshet.Key{Entity: "e"}, c.bytes, wire.Points); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, error %v does not say %q", name, got, err, c.want)
		}
	}
	for n := range good {
		if _, err := wire.DecodeChange(freshet.Key{}, good[:n], wire.Points); err == nil {
			t.Errorf("the first %d of %d bytes are taken for a change", n, len(good))
		}
	}
	// An even extension is passed over, by the head too.
	for _, parts := range []wire.Parts{wire.Head, wire.Points} {
		got, err := wire.DecodeChange(c.Key, alter(extensions, 2, 8, 1, 'x', 0x80, 0x01, 0), parts)
		if err != nil || got.Text != "x" || parts == wire.Points && len(got.Points) != 1 {
			t.Errorf("with unknown even extensions: %+v, %v", got, err)
		}
	}
}

func TestUnknownDeadLettersAreRefused(t *testing.T) {
	for _, c := range []struct{ bytes, want string }{
		{``, "dead letter"},
		{`{}`, "format 0, this version reads 1"},
		{`{"format":2}`, "format 2, this version reads 1"},
		{`{"format":1,"key_id":4,"value":"AA=="}`, "encrypted with key 4"},
		{`{"format":1,"value":"!"}`, "dead letter"},
		{`{"format":1} x`, "dead letter"},
	} {
		if l, err := wire.DecodeDeadLetter([]byte(c.bytes)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, error %v does not say %q", c.bytes, l, err, c.want)
		}
	}
	if a, b := wire.DeadLetterKey(255, 9), wire.DeadLetterKey(256, 0); bytes.Compare(a, b) >= 0 {
		t.Errorf("dead letters of 255 and 256 sort as %x and %x", a, b)
	}
	if a, b := wire.DeadLetterKey(7, 9), wire.DeadLetterKey(7, 10); bytes.Compare(a, b) >= 0 {
		t.Errorf("dead letters 9 and 10 of an event sort as %x and %x", a, b)
	}
}

// The digests see everything that they speak of, and nothing else.
func TestDigests(t *testing.T) {
	base := func() freshet.Change {
		return freshet.Change{Op: freshet.OpUpsert, Text: "ab", Metadata: []byte("c"),
			Points: []freshet.Point{{Model: "m", Slot: "0", Vector: []float32{1, 2}, Start: 0, End: 2}}}
	}
	digest := func(alter func(*freshet.Change)) [16]byte {
		c := base()
		alter(&c)
		return wire.StateDigest(&c, wire.PointsDigest(c.Points))
	}
	seen := map[[16]byte]string{}
	for name, alter := range map[string]func(*freshet.Change){
		"nothing":    func(*freshet.Change) {},
		"op":         func(c *freshet.Change) { c.Op = freshet.OpDelete },
		"text":       func(c *freshet.Change) { c.Text = "aB" },
		"boundaries": func(c *freshet.Change) { c.Text, c.Metadata = "a", []byte("bc") },
		"metadata":   func(c *freshet.Change) { c.Metadata = nil },
		"model":      func(c *freshet.Change) { c.Points[0].Model = "n" },
		"slot":       func(c *freshet.Change) { c.Points[0].Slot = "1" },
		"vector":     func(c *freshet.Change) { c.Points[0].Vector[1] = 3 },
		"start":      func(c *freshet.Change) { c.Points[0].Start = 1 },
		"end":        func(c *freshet.Change) { c.Points[0].End = 1 },
		"dimension":  func(c *freshet.Change) { c.Points[0].Vector = []float32{1} },
		"points":     func(c *freshet.Change) { c.Points = append(c.Points, c.Points[0]) },
	} {
		d := digest(alter)
		if other, ok := seen[d]; ok {
			t.Errorf("%s and %s have one digest", name, other)
		}
		seen[d] = name
	}
	same := digest(func(c *freshet.Change) { c.Version.Offset, c.Events, c.SourceEventID = 7, 9, "e" })
	if seen[same] != "nothing" {
		t.Error("version, events or source alter the digest of the state")
	}
}
