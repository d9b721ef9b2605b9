package embedded_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/embedded"
)

// What has changed since an offset is found by it: puts, replacements and removals, over a restart too.
func TestChangedSinceAnOffset(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, embedded.Options{})
	do := func(f func(*embedded.Txn) error) {
		t.Helper()
		tx := l.State.Begin()
		if err := f(tx); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	put := func(key string) {
		t.Helper()
		do(func(tx *embedded.Txn) error {
			err := tx.Put(freshet.TopicSync, []byte(key), []byte("v"))
			return err
		})
	}
	check := func(from int64, want ...string) {
		t.Helper()
		var got []string
		err := l.Changed(freshet.TopicSync, from, func(offset int64, key []byte) error {
			_, ok, err := l.Latest(freshet.TopicSync, key, nil)
			got = append(got, fmt.Sprint(offset, " ", string(key), " ", ok))
			return err
		})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("changed from %d: %q, %v, want %q", from, got, err, want)
		}
	}
	end := func(want int64) {
		t.Helper()
		if got, err := l.End(freshet.TopicSync); got != want || err != nil {
			t.Errorf("the end is %d, %v, want %d", got, err, want)
		}
	}
	end(0)
	for _, key := range []string{"a", "b", "c", "a"} {
		put(key)
	}
	end(4)
	check(0, "1 b true", "2 c true", "3 a true")
	do(func(tx *embedded.Txn) error { return tx.Remove(freshet.TopicSync, []byte("c")) })
	end(5)
	check(3, "3 a true", "4 c false")
	l.Close()
	l = open(t, dir, embedded.Options{})
	end(5)
	put("d")
	check(4, "4 c false", "5 d true")
}

func TestSkimPassesOver(t *testing.T) {
	l := open(t, t.TempDir(), embedded.Options{})
	tx := l.State.Begin()
	for _, key := range []string{"a1", "a2", "a3", "b1", "d1", "d2"} {
		if err := tx.Put(freshet.TopicSync, []byte(key), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	var seen []string
	err := l.Skim(freshet.TopicSync, func(key []byte) ([]byte, error) {
		seen = append(seen, string(key))
		return []byte{key[0] + 1}, nil
	})
	if err != nil || !slices.Equal(seen, []string{"a1", "b1", "d1"}) {
		t.Errorf("seen %q, %v", seen, err)
	}
	if err := l.Skim(freshet.TopicDead, func([]byte) ([]byte, error) { t.Error("an empty topic has a key"); return nil, nil }); err != nil {
		t.Error(err)
	}
}
