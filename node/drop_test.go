package node_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/wire"
)

// in sends an event of a namespace and waits until it counts.
func (s *server) in(namespace, entity, id string, x int) {
	s.t.Helper()
	var in struct{ Accepted int }
	s.must("POST", "/v1/events", fmt.Sprintf(`{"event_id":%q,"entity_id":%q,"collection":"vectors","namespace":%q,"payload":{"n":%d},"vector":[%d,1,0]}`,
		id, entity, namespace, x, x), &in)
	if in.Accepted != 1 {
		s.t.Fatal("the event was not accepted")
	}
	if err := s.CatchUpWithin(time.Minute); err != nil {
		s.t.Fatal(err)
	}
}

// found are the entities of a namespace that a search gives, sorted.
func (s *server) found(namespace string) (ids []string) {
	s.t.Helper()
	var out struct {
		Hits []struct {
			EntityID string `json:"entity_id"`
		}
	}
	s.must("POST", "/v1/search", fmt.Sprintf(`{"collection":"vectors","namespace":%q,"vector":[1,0,0],"k":1000}`, namespace), &out)
	for _, h := range out.Hits {
		ids = append(ids, h.EntityID)
	}
	slices.Sort(ids)
	return ids
}

func (s *server) drop(path, confirm string) {
	s.t.Helper()
	var out struct{ Token string }
	s.must("DELETE", "/v1/collections/"+path+"?confirm="+confirm, "", &out)
	if out.Token == "" {
		s.t.Error("the answer has no token")
	}
}

// TestDrop: a dropped namespace is empty, at once, after a crash, after a restart from old snapshots, and for the audit; its
// events start anew, with the same ids too; its neighbours stay; followers are told.
func TestDrop(t *testing.T) {
	mem := vfs.NewCrashableMem()
	fs := disk.New(mem, nil)
	s := start(t, fs, "a")
	fill := func(namespaces ...string) {
		for _, ns := range namespaces {
			for i := range 20 {
				s.in(ns, fmt.Sprint("e", i), fmt.Sprint(i), i)
			}
		}
	}
	fill("one", "two", "default")
	if _, err := s.Snapshot(context.Background()); err != nil {
		t.Fatal(err)
	}
	_, told, place := s.changes("")
	if len(told) != 60 {
		t.Fatalf("the feed tells of %d entities", len(told))
	}
	s.in("one", "late", "late", 1)
	for _, x := range []struct{ path, confirm, field string }{
		{"vectors", "", "confirm"}, {"vectors", "other", "confirm"}, {"vectors/namespaces/one", "one", "confirm"}, {"none", "none", "collection"},
	} {
		status, answer := s.call("DELETE", "/v1/collections/"+x.path+"?confirm="+x.confirm, "")
		if status == http.StatusOK || !strings.Contains(string(answer), `"field":"`+x.field+`"`) {
			t.Errorf("%s confirmed by %q: %d %s", x.path, x.confirm, status, answer)
		}
	}
	s.drop("vectors/namespaces/one", "vectors/one")
	check := func(what string, one, two int) {
		t.Helper()
		if a, b := len(s.found("one")), len(s.found("two")); a != one || b != two {
			t.Errorf("%s: there are %d and %d entities, want %d and %d", what, a, b, one, two)
		}
		s.mustBeClean()
	}
	check("dropped", 0, 20)
	if status, answer := s.call("GET", "/v1/entities/e1?collection=vectors&namespace=one", ""); status != 404 {
		t.Errorf("an entity of it: %d %s", status, answer)
	}
	_, answer := s.call("GET", "/v1/changes?collection=vectors&follow=false&after="+place, "")
	if lines := string(answer); strings.Count(lines, `"op":"drop"`) != 1 || !strings.Contains(lines, `"namespace":"one"`) || strings.Contains(lines, "late") {
		t.Errorf("a follower is told %s", lines)
	}
	if _, told, _ := s.changes(""); len(told) != 40 {
		t.Errorf("who begins is told of %d entities", len(told))
	}
	fill("one") // the same ids
	s.in("one", "e1", "again", 77)
	check("filled again", 20, 20)
	var e struct {
		Events   int
		Metadata struct{ N int }
	}
	s.must("GET", "/v1/entities/e1?collection=vectors&namespace=one", "", &e)
	if e.Events != 2 || e.Metadata.N != 77 {
		t.Errorf("e1 is %+v", e)
	}
	s.in("one", "e1", "1", 1) // a repeat of what came after the drop
	s.must("GET", "/v1/entities/e1?collection=vectors&namespace=one", "", &e)
	if e.Events != 2 {
		t.Error("a repeat counts")
	}
	s.Kill() // the snapshots on disk are those from before the drop, or none
	s = start(t, fs, "a")
	check("killed", 20, 20)
	if _, err := s.Snapshot(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.drop("vectors", "vectors")
	check("all dropped", 0, 0)
	s.in("two", "new", "1", 1)
	check("begun anew", 0, 1)
	s.Kill()
	s = start(t, disk.New(mem.CrashClone(vfs.CrashCloneCfg{}), nil), "a") // a power cut: what was not synced is derived again
	if err := s.CatchUpWithin(time.Minute); err != nil {
		t.Fatal(err)
	}
	check("power cut", 0, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A snapshot from before a drop that is still there is not used, though the namespace has entities again.
func TestDropWithOldSnapshots(t *testing.T) {
	fs := disk.New(vfs.NewMem(), nil)
	s := start(t, fs, "a")
	for i := range 30 {
		s.in("one", fmt.Sprint("e", i), fmt.Sprint(i), i)
	}
	if _, err := s.Snapshot(context.Background()); err != nil {
		t.Fatal(err)
	}
	if ok, err := vfs.Clone(fs.FS, fs.FS, "a/index", "kept"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	s.drop("vectors/namespaces/one", "vectors/one")
	for i := range 3 {
		s.in("one", fmt.Sprint("e", i), fmt.Sprint(i), i)
	}
	s.Kill()
	if err := fs.RemoveAll("a/index"); err != nil {
		t.Fatal(err)
	}
	if ok, err := vfs.Clone(fs.FS, fs.FS, "kept", "a/index"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	s = start(t, fs, "a")
	if got := s.found("one"); len(got) != 3 {
		t.Errorf("there are %v", got)
	}
	if len(s.Store().Loaded().Rejected) == 0 {
		t.Error("the snapshot is not rejected")
	}
	s.mustBeClean()
}

// TestDropUnderTraffic drops namespaces while events come for them and their neighbour, in and between batches.
func TestDropUnderTraffic(t *testing.T) {
	fs := disk.New(vfs.NewMem(), nil)
	s := start(t, fs, "a")
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		for i := 0; err == nil; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			time.Sleep(time.Millisecond) // or the backlog grows
			in := s.Intake().NewBatch()
			for k := range 5 {
				raw := fmt.Appendf(nil, `{"event_id":"%d","entity_id":"t%d","collection":"vectors","namespace":"n%d","op":%q,"payload":{},"vector":[%d,%d,1]}`,
					i%7, (i+k)%50, k%3, []string{"upsert", "upsert", "delete"}[i%3], i%90, k)
				if err = in.Add(raw); err != nil {
					break
				}
			}
			if err == nil {
				_, err = in.Append(context.Background())
			}
			in.Release()
		}
		done <- err
	}()
	for i := range 25 {
		path := []string{"vectors/namespaces/n0", "vectors/namespaces/n1", "vectors"}[i%3]
		s.drop(path, strings.Replace(path, "/namespaces", "", 1))
		if i%8 == 3 {
			if _, err := s.Snapshot(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if i%12 == 6 {
			s.mustBeClean()
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := s.CatchUpWithin(time.Minute); err != nil {
		t.Fatal(err)
	}
	s.mustBeClean()
	s.drop("vectors", "vectors")
	s.Kill()
	s = start(t, fs, "a")
	s.mustBeClean()
	if n := len(s.found("n0")) + len(s.found("n1")) + len(s.found("n2")); n > 0 {
		t.Errorf("%d entities are left", n)
	}
	end, err := s.Log().End(freshet.TopicSync)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := s.Log().Tidy(context.Background(), freshet.TopicSync, end, [][2][]byte{{{0}, {0xff}}}); err != nil || left > 3000 {
		t.Errorf("%d entries were left behind: %v", left, err)
	}
}

// What a drop has left to do is done though its client has gone, and after a crash; settings that came after it stay.
func TestDropIsSettled(t *testing.T) {
	fs := disk.New(vfs.NewMem(), nil)
	s := start(t, fs, "a")
	settled := func(want bool) {
		t.Helper()
		for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			list, err := s.Log().PendingDrops(freshet.TopicSync)
			if err != nil {
				t.Fatal(err)
			}
			if (len(list) == 0) == want {
				return
			}
			if time.Since(began) > 20*time.Second {
				t.Fatalf("pending are %v", list)
			}
		}
	}
	settings := control.Index{M: 24}
	reset := func(want control.Index) {
		t.Helper()
		catalog, err := control.Open(s.Log())
		if err != nil {
			t.Fatal(err)
		}
		if got := catalog.Index("vectors", "one"); got != want {
			t.Errorf("settings are %+v, want %+v", got, want)
		}
	}
	set := func() {
		t.Helper()
		if err := s.Store().RebuildIndexes(t.Context(), "vectors", "one", settings, func(int, int, freshet.Shard) {}); err != nil {
			t.Fatal(err)
		}
	}
	s.in("one", "e", "1", 1)
	set()
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	if _, err := s.Drop(gone, "vectors", "one"); err != nil { // whether or not it was written
		s.drop("vectors/namespaces/one", "vectors/one")
	}
	settled(true)
	reset(control.Index{})
	set()
	marker := wire.AppendDrop(nil, freshet.Shard{Collection: "vectors", Namespace: "one"})
	offset, _, err := s.Log().Dropped(freshet.TopicSync, marker)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		step byte
		want control.Index
	}{{1, settings}, {0, control.Index{}}} { // killed after the settings were reset, and before
		if err := s.Log().Settle(freshet.TopicSync, marker, offset, c.step); err != nil {
			t.Fatal(err)
		}
		s.Kill()
		s = start(t, fs, "a")
		settled(true)
		reset(c.want)
	}
}
