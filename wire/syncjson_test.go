package wire_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/wire"
)

// What a change says comes back from both forms, bit for bit, and a foreign consumer finds what the seed's form has.
func TestSyncJSONRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 1))
	metadata := []string{`{"n":1}`, `{"a": [1, "x"],"a":2}`, ` {"spaces" :1 } `, `{"source_event_id":"mine","b":0}`, `{"source_event_id":7}`, `{}`, `{"é<&>":"\u00e9\u2028"}`, `null`}
	for range rounds {
		c := randomChange(r)
		if r.IntN(2) == 0 && c.Op == freshet.OpUpsert {
			c.Metadata = []byte(metadata[r.IntN(len(metadata)-1)])
		}
		if r.IntN(9) == 0 && len(c.Points) > 0 {
			c.Points[0].Vector = []float32{math.SmallestNonzeroFloat32, math.MaxFloat32, float32(math.Copysign(0, -1)), 1.0 / 3}
		}
		raw := wire.AppendChangeJSON([]byte("in front"), &c)[len("in front"):]
		got, foreign, err := wire.DecodeSync(c.Key, raw, wire.Points)
		if err != nil || foreign || !reflect.DeepEqual(got, c) {
			t.Fatalf("change\n%+v became\n%+v, foreign %v, %v:\n%s", c, got, foreign, err, raw)
		}
		binary, foreign, err := wire.DecodeSync(c.Key, wire.AppendChange(nil, &c), wire.Points)
		if err != nil || foreign || !reflect.DeepEqual(binary, c) {
			t.Fatalf("change %+v became %+v, foreign %v, %v", c, binary, foreign, err)
		}
		var seed struct {
			Entity    string    `json:"entity_id"`
			Vector    []float32 `json:"vector"`
			Timestamp int64     `json:"timestamp"`
			Metadata  struct {
				ID any `json:"source_event_id"`
			} `json:"metadata"`
		}
		if err := json.Unmarshal(raw, &seed); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		if seed.Entity != c.Key.Entity || seed.Timestamp != c.EventTime || c.SourceEventID != "" && seed.Metadata.ID != c.SourceEventID ||
			len(c.Points) > 0 && !reflect.DeepEqual(seed.Vector, c.Points[0].Vector) || c.Deleted() && seed.Vector != nil {
			t.Fatalf("%+v is read as %+v from %s", c, seed, raw)
		}
		head, _, err := wire.DecodeSync(c.Key, raw, wire.Head)
		if c.Points = nil; err != nil || !reflect.DeepEqual(head, c) {
			t.Fatalf("the head of %+v is %+v, %v", c, head, err)
		}
	}
}

// What another job writes into vector.sync.
func TestForeignSync(t *testing.T) {
	key := freshet.Key{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace, Entity: "p/é"}
	change := func(alter func(*freshet.Change)) freshet.Change {
		c := freshet.Change{Key: key, Op: freshet.OpUpsert, Points: []freshet.Point{{Slot: "0", Vector: []float32{0.5, -1e-7}}}}
		alter(&c)
		return c
	}
	for raw, want := range map[string]freshet.Change{
		`{"entity_id":"p/é","vector":[0.5,-1e-7],"timestamp":1700000000000,"metadata":{"source_event_id":"e-1"}}`: change(func(c *freshet.Change) {
			c.EventTime, c.SourceEventID = 1_700_000_000_000, "e-1"
		}),
		"\n { \"vector\" : [ 0.5, -0.0000001 ] } ": change(func(*freshet.Change) {}),
		`{"vector":[0.5,-1e-7],"text":"red","metadata":{"price": 7, "source_event_id":"e","b":{}},"timestamp":null}`: change(func(c *freshet.Change) {
			c.Text, c.SourceEventID, c.Metadata = "red", "e", []byte(`{"price": 7,"b":{}}`)
		}),
		`{"entity_id":"p/é","vector":null,"timestamp":5,"metadata":{"a":1},"text":"x"}`: {Key: key, Op: freshet.OpDelete, EventTime: 5},
		"null": {Key: key, Op: freshet.OpDelete},
		"":     {Key: key, Op: freshet.OpDelete},
	} {
		got, foreign, err := wire.DecodeSync(key, []byte(raw), wire.Points)
		if err != nil || !foreign || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, foreign %v, %v; want %+v", raw, got, foreign, err, want)
		}
	}
	own := string(wire.AppendChangeJSON(nil, &freshet.Change{Key: key, Op: freshet.OpUpsert, Points: []freshet.Point{{Slot: "0", Vector: []float32{1}}, {Slot: "1", Vector: []float32{2}}}}))
	for raw, field := range map[string]string{
		`{"vector":[1],"entity_id":"other"}`:                     "entity_id",
		`{"vector":[1],"entity_id":7}`:                           "entity_id",
		`{"entity_id":"p/é"}`:                                    "vector",
		`{"vector":"[1]"}`:                                       "vector",
		`{"vector":[1,"2"]}`:                                     "vector",
		`{"vector":[1e40]}`:                                      "vector",
		`{"vector":[1],"vector":[1]}`:                            "vector",
		`{"vector":[1],"timestamp":1.5}`:                         "timestamp",
		`{"vector":[1],"timestamp":"2026-01-01"}`:                "timestamp",
		`{"vector":[1],"text":1}`:                                "text",
		`{"vector":[1],"metadata":[]}`:                           "metadata",
		`{"vector":[1],"metadata":{"source_event_id":7}}`:        "metadata.source_event_id",
		`{"vector":[1],"price":7}`:                               "price",
		`{"vector":[1],"freshet":7}`:                             "freshet",
		`[1]`:                                                    "",
		`{"vector":[1]`:                                          "",
		"1":                                                      "",
		strings.Replace(own, `"format":1`, `"format":2`, 1):      "freshet.format",
		strings.Replace(own, `"upsert"`, `"patch"`, 1):           "freshet.op",
		strings.Replace(own, `"version":"`, `"version":"0`, 1):   "freshet.version",
		strings.Replace(own, `"digest":"0`, `"digest":"`, 1):     "freshet.digest",
		strings.Replace(own, `"content":"0`, `"content":"x`, 1):  "freshet.content",
		strings.Replace(own, `"vector":[1]`, `"vector":null`, 1): "freshet.points",
		strings.Replace(own, `,"vector":[2]`, ``, 1):             "freshet.points[1]",
		strings.Replace(own, `"slot":"1"`, `"slot":"1","start":2,"end":1`, 1): "freshet.points[1]",
	} {
		_, foreign, err := wire.DecodeSync(key, []byte(raw), wire.Points)
		var e *freshet.Error
		if !errors.As(err, &e) || e.Field != field || foreign {
			t.Errorf("%s: foreign %v, %v; want an error of %q", raw, foreign, err, field)
		}
	}
	if _, _, err := wire.DecodeSync(key, []byte{2, 1}, wire.Points); err == nil {
		t.Error("a value of another format is read")
	}
}

// FuzzDecodeSync: whatever is read can be written in JSON and read again as the same.
func FuzzDecodeSync(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 2))
	for range 5 {
		c := randomChange(r)
		c.Key.Entity = "e"
		f.Add(wire.AppendChangeJSON(nil, &c))
	}
	f.Add([]byte(`{"entity_id":"e","vector":[0.5,-1e-7],"timestamp":1700000000000,"metadata":{"source_event_id":"e-1","a":{}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		key := freshet.Key{Entity: "e"}
		c, _, err := wire.DecodeSync(key, b, wire.Points)
		if err != nil {
			return
		}
		for _, p := range c.Points {
			for _, x := range p.Vector {
				if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
					return // a binary value may hold them
				}
			}
		}
		again := wire.AppendChangeJSON(nil, &c)
		if codec.Check(again) != nil {
			t.Fatalf("%q became %q, which is no JSON", b, again)
		}
		back, foreign, err := wire.DecodeSync(key, again, wire.Points)
		if err != nil || foreign {
			if len(b) > 0 && b[0] == 1 {
				return // likewise
			}
			t.Fatalf("%q became %s: foreign %v, %v", b, again, foreign, err)
		}
		if len(b) > 0 && b[0] != 1 && string(wire.AppendChangeJSON(nil, &back)) != string(again) {
			t.Fatalf("%s became\n%s", again, wire.AppendChangeJSON(nil, &back))
		}
	})
}
