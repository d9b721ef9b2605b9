package files

import (
	"fmt"
	"testing"
	"time"
)

func TestSettling(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	var d dirty
	expect := func(ms int, want string, next int) {
		t.Helper()
		settled, due := d.take(at(ms))
		if got := fmt.Sprint(settled); got != want {
			t.Errorf("at %d ms: settled %s, want %s", ms, got, want)
		}
		if next < 0 && !due.IsZero() || next >= 0 && !due.Equal(at(next)) {
			t.Errorf("at %d ms: next is due at %v, want %v", ms, due, at(next))
		}
	}
	expect(0, "[]", -1)
	d.touch("b", false, at(0))
	d.touch("a", false, at(0))
	d.touch("c", true, at(20))
	expect(10, "[]", 50)
	d.touch("c", false, at(40))
	expect(50, "[{a false} {b false}]", 90)
	expect(90, "[{c true}]", -1)
	for ms := 100; ms < 640; ms += 20 { // without rest
		d.touch("a", false, at(ms))
	}
	expect(599, "[]", 600)
	expect(600, "[{a false}]", -1)
}

func TestTooManyDirty(t *testing.T) {
	var d dirty
	for i := range maxDirty {
		d.touch(fmt.Sprint(i), false, time.Unix(0, 0))
	}
	d.touch("1", false, time.Unix(0, 0))
	if d.lost || len(d.marks) != maxDirty {
		t.Errorf("lost %v, %d wait before the limit is exceeded", d.lost, len(d.marks))
	}
	d.touch("one more", false, time.Unix(0, 0))
	if !d.lost || len(d.marks) != 0 {
		t.Errorf("lost %v, %d wait behind the limit", d.lost, len(d.marks))
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"hash":"000102030405060708090a0b0c0d0e0f","size":1,"mtime":2}`), "0123456789abcdef.7.deleted")
	f.Add([]byte(`{"hash":"00"}`), "0123456789abcdef.18446744073709551615.000102030405060708090a0b0c0d0e0f")
	f.Add([]byte(`[`), "0123456789abcdef..")
	f.Fuzz(func(t *testing.T, value []byte, id string) {
		if file, err := decodeFile(value); err == nil {
			again, err := encodeFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := decodeFile(again); err != nil || back != file {
				t.Errorf("%q reads as %v, written and read again as %v, %v", value, file, back, err)
			}
		}
		st := &state{id: "0123456789abcdef"}
		n, content, ours := st.parseEventID(id)
		if !ours {
			return
		}
		tail := fmt.Sprintf("%x", content)
		if content == (digest{}) && len(id) < 40 {
			tail = deletedContent
		}
		if m, c, ok := st.parseEventID(st.eventID(n, tail)); !ok || m != n || c != content {
			t.Errorf("%q reads as %d %x, written and read again as %d %x, %v", id, n, content, m, c, ok)
		}
	})
}
