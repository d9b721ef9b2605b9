package codec_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/freshet-io/freshet/codec"
)

// The examples of RFC 7396, appendix A, whose target and patch are objects, and what it leaves open.
func TestMergePatch(t *testing.T) {
	for _, c := range []struct{ target, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`{"a":"foo"}`, `{"b":null}`, `{"a":"foo"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`{"z":1.10, "a" : {"y":1, "x":2} ,"b":3}`, `{"a":{"w":0,"y":5},"c":1e2}`, `{"z":1.10,"a":{"y":5,"x":2,"w":0},"b":3,"c":1e2}`},
		{`{"a":1,"b":2,"a":3}`, `{"a":{"x":1},"a":{"y":null,"z":2}}`, `{"a":{"z":2},"b":2}`},
		{`{"a":1,"b":2,"a":3}`, `{"b":4}`, `{"a":1,"b":4,"a":3}`},
		{`{"a":1,"a":{"x":1}}`, `{"\u0061":{"y":2}}`, `{"\u0061":{"x":1,"y":2}}`},
		{`{"a":1}`, `{}`, `{"a":1}`},
		{`{"a":"{"}`, `{"a":{"b":1}}`, `{"a":{"b":1}}`},
	} {
		got, err := codec.MergePatch([]byte(c.target), []byte(c.patch))
		if err != nil || string(got) != c.want {
			t.Errorf("%s with %s gives %s, %v; want %s", c.target, c.patch, got, err, c.want)
		}
	}
	for _, c := range []struct{ target, patch string }{{`{}`, `[1]`}, {`{}`, `{"a":}`}, {`{"a"}`, `{}`}} {
		if got, err := codec.MergePatch([]byte(c.target), []byte(c.patch)); err == nil {
			t.Errorf("%s with %s gives %s", c.target, c.patch, got)
		}
	}
}

// mergePatch is the function of the RFC.
func mergePatch(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	out := map[string]any{}
	if t, ok := target.(map[string]any); ok {
		for name, v := range t {
			out[name] = v
		}
	}
	for name, v := range p {
		if v == nil {
			delete(out, name)
		} else {
			out[name] = mergePatch(out[name], v)
		}
	}
	return out
}

func FuzzMergePatch(f *testing.F) {
	f.Add([]byte(`{"a":{"b":1,"c":[{}]},"d":"e"}`), []byte(`{"a":{"b":null,"x":{"y":null}},"f":[null]}`))
	f.Add([]byte(`{"a":1,"a":{}}`), []byte(`{"a":{"b":1},"a":{"c":null}}`))
	f.Fuzz(func(t *testing.T, target, patch []byte) {
		if codec.CheckObject(target) != nil || codec.CheckObject(patch) != nil {
			if got, err := codec.MergePatch(target, patch); err == nil && codec.CheckObject(got) != nil {
				t.Fatalf("%s with %s gives %s", target, patch, got)
			}
			return
		}
		got, err := codec.MergePatch(target, patch)
		if err != nil {
			t.Fatalf("%s with %s: %v", target, patch, err)
		}
		var a, b, have any
		if json.Unmarshal(target, &a) != nil || json.Unmarshal(patch, &b) != nil {
			return // numbers that a float64 can't hold
		}
		if err := json.Unmarshal(got, &have); err != nil || !reflect.DeepEqual(have, mergePatch(a, b)) {
			t.Fatalf("%s with %s gives %s, %v", target, patch, got, err)
		}
	})
}
