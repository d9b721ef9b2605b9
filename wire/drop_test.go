package wire_test

import (
	"bytes"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/wire"
)

// The key of a drop is no key of an entity, and its ranges hold exactly the keys of its shards.
func TestDropKeys(t *testing.T) {
	names := []string{"default", "a", "aa", "b", "products", string(bytes.Repeat([]byte("n"), 127)), string(bytes.Repeat([]byte("n"), 255)), "ÿ"}
	var keys []freshet.Key
	for _, c := range names {
		for _, n := range names {
			keys = append(keys, freshet.Key{Collection: c, Namespace: n, Entity: "e"}, freshet.Key{Collection: c, Namespace: n, Entity: "\U0010ffff"})
		}
	}
	for _, c := range names {
		for _, n := range append([]string{""}, names...) {
			s := freshet.Shard{Collection: c, Namespace: n}
			raw := wire.AppendDrop(nil, s)
			if got, ok := wire.ParseDrop(raw); !ok || got != s {
				t.Errorf("%+v is read as %+v, %v", s, got, ok)
			}
			if k, err := wire.ParseKey(raw); err == nil {
				t.Errorf("the drop of %+v is also the key %+v", s, k)
			}
			for _, k := range keys {
				raw := wire.AppendKey(nil, k)
				if _, ok := wire.ParseDrop(raw); ok {
					t.Errorf("the key %+v is also a drop", k)
				}
				inside := false
				for _, r := range wire.DropRanges(s) {
					inside = inside || bytes.Compare(raw, r[0]) >= 0 && bytes.Compare(raw, r[1]) < 0
				}
				if want := k.Collection == c && (n == "" || k.Namespace == n); inside != want {
					t.Errorf("%+v is in the range of %+v: %v", k, s, inside)
				}
			}
		}
	}
}
