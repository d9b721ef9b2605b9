package codec_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

func TestParseState(t *testing.T) {
	s, err := codec.ParseState([]byte(`{"text":"a\u00e9b","own_text":true,"metadata":{"a": 1.0},"points":[{"vector":[1,-0,1e-45]},{"slot":"day","model":"m","start":1,"end":3,"vector":[2]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := `{aéb true [123 34 97 34 58 32 49 46 48 125] [{ 0 [1 -0 1e-45] 0 0} {m day [2] 1 3}]}`
	if got := fmt.Sprint(s); got != want {
		t.Errorf("state is\n%s\nwant\n%s", got, want)
	}
	if !math.Signbit(float64(s.Points[0].Vector[1])) {
		t.Error("the sign of zero is lost")
	}
	for _, raw := range []string{`{}`, `{"text":null,"points":[],"metadata":{}}`} {
		if s, err := codec.ParseState([]byte(raw)); err != nil || s.Text != "" || s.Metadata != nil || s.Points != nil {
			t.Errorf("%s: %+v, %v", raw, s, err)
		}
	}
}

func TestParseStateRefuses(t *testing.T) {
	for _, c := range []struct{ raw, code, field string }{
		{`[]`, "invalid_field", "state"},
		{`{"text":1}`, "invalid_field", "state.text"},
		{`{"own_text":1}`, "invalid_field", "state.own_text"},
		{`{"metadata":[]}`, "invalid_field", "state.metadata"},
		{`{"points":{}}`, "invalid_field", "state.points"},
		{`{"text":"a","text":"b"}`, "invalid_field", "state.text"},
		{`{"payload":{}}`, "unknown_field", "state.payload"},
		{`{"points":[1]}`, "invalid_field", "state.points[0]"},
		{`{"points":[{}]}`, "missing_field", "state.points[0].vector"},
		{`{"points":[{"vector":[1]},{"vector":1}]}`, "invalid_field", "state.points[1].vector"},
		{`{"points":[{"vector":[1,"x"]}]}`, "bad_vector", "state.points[0].vector"},
		{`{"points":[{"vector":[1e99]}]}`, "bad_vector", "state.points[0].vector"},
		{`{"points":[{"vector":[1],"dim":1}]}`, "unknown_field", "state.points[0].dim"},
		{`{"points":[{"vector":[1],"slot":"1"},{"vector":[1]}]}`, "invalid_field", "state.points[1].slot"},
		{`{"points":[{"vector":[1],"slot":"a\n"}]}`, "invalid_field", "state.points[0].slot"},
		{`{"points":[{"vector":[1],"model":"` + strings.Repeat("x", 1025) + `"}]}`, "invalid_field", "state.points[0].model"},
		{`{"points":[{"vector":[1],"start":-1}]}`, "invalid_field", "state.points[0].start"},
		{`{"points":[{"vector":[1],"start":2,"end":1}]}`, "invalid_field", "state.points[0].start"},
		{`{"points":[{"vector":[1],"end":4294967296}]}`, "invalid_field", "state.points[0].end"},
	} {
		_, err := codec.ParseState([]byte(c.raw))
		var e *freshet.Error
		if !errors.As(err, &e) || string(e.Code) != c.code || e.Field != c.field {
			t.Errorf("%s: %v, want %s of %s", c.raw, err, c.code, c.field)
		}
	}
	for _, raw := range []string{`{"entity_id":"a","state":{},"payload":{}}`, `{"entity_id":"a","state":{},"vector":[1]}`, `{"entity_id":"a","op":"patch","state":{}}`, `{"entity_id":"a","state":{},"state":{}}`} {
		if _, err := codec.ParseEvent([]byte(raw), codec.Shallow); err == nil {
			t.Errorf("%s is accepted", raw)
		}
	}
}

func FuzzParseState(f *testing.F) {
	f.Add([]byte(`{"text":"x","own_text":true,"metadata":{"a":1},"points":[{"slot":"s","model":"m","start":0,"end":1,"vector":[1,2.5e-3]}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := codec.ParseState(raw)
		if err != nil {
			if e := (*freshet.Error)(nil); !errors.As(err, &e) {
				t.Fatalf("%q: %v has no code", raw, err)
			}
			return
		}
		slots := map[string]bool{}
		for _, p := range s.Points {
			if p.Vector == nil || p.Start > p.End || slots[p.Slot] {
				t.Fatalf("%q: point %+v", raw, p)
			}
			slots[p.Slot] = true
		}
	})
}
