package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/node"
)

// reloadable is a server whose configuration is a text.
type reloadable struct {
	*server
	yaml atomic.Pointer[string]
	said *said
}

// said is what a log holds.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.b.String(), text)
}

func startReloadable(t testing.TB, yaml string, alter ...func(*node.Options)) *reloadable {
	t.Helper()
	r := &reloadable{said: &said{}}
	r.yaml.Store(&yaml)
	read := func() (config.Config, error) {
		c, err := config.Parse([]byte(*r.yaml.Load()), os.LookupEnv)
		c.Data, c.CacheBytes = "data", 1<<20
		return c, err
	}
	c, err := read()
	if err != nil {
		t.Fatal(err)
	}
	o := node.Options{Config: c, Read: read, FS: disk.New(vfs.NewMem(), nil), SegmentBytes: 2000, NoSources: true, Logger: slog.New(slog.NewTextHandler(r.said, nil))}
	for _, f := range alter {
		f(&o)
	}
	n, err := node.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Kill)
	r.server = &server{n, t}
	return r
}

// reload reloads by the API and returns the keys that have changed.
func (r *reloadable) reload(yaml string) (keys []string) {
	r.t.Helper()
	r.yaml.Store(&yaml)
	var report gateway.ReloadReport
	r.must("POST", "/v1/admin/reload", "", &report)
	for _, k := range report.Changed {
		keys = append(keys, k.Key)
		if !r.said.has("key=" + k.Key) {
			r.t.Errorf("the log does not tell of %s", k.Key)
		}
	}
	return keys
}

func (r *reloadable) changes(yaml string, keys ...string) {
	r.t.Helper()
	if got := r.reload(yaml); fmt.Sprint(got) != fmt.Sprint(keys) {
		r.t.Errorf("changed are %q, want %q", got, keys)
	}
}

func TestReloadTakesLimitsOver(t *testing.T) {
	const event = `{"entity_id":"a","payload":{"text":"a text that is long enough"}}`
	r := startReloadable(t, "")
	send := func(want int) {
		t.Helper()
		if status, answer := r.call("POST", "/v1/events", event); status != want {
			t.Errorf("%d, want %d: %s", status, want, answer)
		}
	}
	send(http.StatusOK)
	r.changes("limits: {event_bytes: 20}", "limits.event_bytes")
	send(http.StatusRequestEntityTooLarge)
	r.changes("limits: {free_disk_bytes: 9000000000000000000}", "limits.event_bytes", "limits.free_disk_bytes")
	if r.Intake().Limits().FreeDiskBytes != 9000000000000000000 {
		t.Errorf("the limits are %+v", r.Intake().Limits())
	}
	r.changes("", "limits.free_disk_bytes")
	r.Processor().Pause()
	defer r.Processor().Resume()
	send(http.StatusOK)
	r.changes("limits: {backlog_bytes: 1}", "limits.backlog_bytes")
	send(http.StatusTooManyRequests) // at once, though the last look at the room was a moment ago
	r.changes("", "limits.backlog_bytes")
	send(http.StatusOK)
	r.changes("")
}

func TestReloadTakesFreeDiskOver(t *testing.T) {
	r := startReloadable(t, "", func(o *node.Options) {
		o.FS = disk.OS()
		dir := t.TempDir()
		read := o.Read
		o.Config.Data = dir
		o.Read = func() (config.Config, error) {
			c, err := read()
			c.Data = dir
			return c, err
		}
	})
	r.entity("a")
	r.changes("limits: {free_disk_bytes: 9000000000000000000}", "limits.free_disk_bytes")
	if status, answer := r.call("POST", "/v1/events", `{"entity_id":"b","payload":{"text":"b"}}`); status != http.StatusInsufficientStorage {
		t.Errorf("%d %s", status, answer)
	}
	r.changes("", "limits.free_disk_bytes")
	r.entity("b")
}

// entity sends one of the default collection.
func (r *reloadable) entity(id string) {
	r.t.Helper()
	var in struct{ Token string }
	r.must("POST", "/v1/events", fmt.Sprintf(`{"entity_id":%q,"payload":{"text":"the text of %s","pad":%q}}`, id, id, strings.Repeat("x", 500)), &in)
	if err := r.CatchUpWithin(time.Minute); err != nil {
		r.t.Fatal(err)
	}
}

func TestReloadTakesRetentionOver(t *testing.T) {
	var ahead atomic.Int64 // ns
	r := startReloadable(t, "", func(o *node.Options) {
		o.NoSources = false // retention runs
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	for i := range 20 {
		r.entity(fmt.Sprint("e", i))
	}
	retain := func() int64 {
		t.Helper()
		if err := r.Retain(t.Context()); err != nil {
			t.Fatal(err)
		}
		return r.Log().RawFirst()
	}
	if first := retain(); first != 0 {
		t.Fatalf("events are gone up to %d from the beginning: the test proves nothing", first)
	}
	r.changes("retention: {bytes: 6000}", "retention.bytes")
	bySize := retain()
	if kept := r.Log().RawBytesFrom(bySize); bySize == 0 || kept > 9000 {
		t.Errorf("with retention.bytes 6000 %d bytes are kept, from %d on", kept, bySize)
	}
	if list, err := r.Doctor(t.Context()); err != nil || !strings.Contains(fmt.Sprint(list), fmt.Sprintf("from offset %d on; they stay for 168h0m0s", bySize)) {
		t.Errorf("doctor: %v %v", list, err)
	}
	ahead.Store(int64(2 * time.Hour))
	r.changes("", "retention.bytes")
	if first := retain(); first != bySize {
		t.Errorf("with an age of 168h events are gone up to %d, before it was %d", first, bySize)
	}
	// The interval counts at once: the one before would not end within the test. Nothing else calls Retain now.
	r.changes("retention: {age: 1h, tombstone_ttl: 3h, interval: 10ms}", "retention.age", "retention.tombstone_ttl", "retention.interval")
	for end := time.Now().Add(20 * time.Second); r.Log().RawFirst() == bySize; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("retention.interval or retention.age had no effect")
		}
	}
	var a struct{ Clean bool }
	if r.must("POST", "/v1/admin/audit", "", &a); !a.Clean {
		t.Error("the audit is not clean")
	}
}

func TestReloadTakesSnapshotsOver(t *testing.T) {
	r := startReloadable(t, "snapshot: {interval: 10h}")
	r.entity("a")
	if r.Store().Unsaved() == 0 {
		t.Fatal("nothing waits for a snapshot: the test proves nothing")
	}
	r.changes("snapshot: {interval: 10ms}", "snapshot.interval")
	for end := time.Now().Add(20 * time.Second); r.Store().Unsaved() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("snapshot.interval had no effect")
		}
	}
}

// widths returns the width and the target of each index, by its collection.
func (r *reloadable) widths() map[string]int {
	r.t.Helper()
	var l gateway.IndexList
	r.must("GET", "/v1/admin/index", "", &l)
	all := map[string]int{}
	for _, x := range l.Indexes {
		all[x.Collection] = x.Ef
	}
	return all
}

func TestReloadTakesWidthsAndCollectionsOver(t *testing.T) {
	const own = "collections: {own: {dim: 3, index: {ef: %s}}}\n"
	r := startReloadable(t, fmt.Sprintf(own, "30"))
	vector := func(collection string, want int) {
		t.Helper()
		if status, answer := r.call("POST", "/v1/events", fmt.Sprintf(`{"entity_id":"a","collection":%q,"vector":[1,2,3]}`, collection)); status != want {
			t.Fatalf("%d, want %d: %s", status, want, answer)
		}
		if err := r.CatchUpWithin(time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	r.entity("a")
	vector("own", http.StatusOK)
	want := func(all map[string]int) {
		t.Helper()
		if got := r.widths(); fmt.Sprint(got) != fmt.Sprint(all) {
			t.Errorf("the widths are %v, want %v", got, all)
		}
	}
	want(map[string]int{"default": 64, "own": 30})
	r.changes(fmt.Sprintf(own, "40")+"index: {ef: 200}", "collections.own.index.ef", "index.ef")
	want(map[string]int{"default": 200, "own": 40})
	vector("later", http.StatusBadRequest)
	const later = "collections: {own: {dim: 3, index: {ef: 40}}, later: {dim: 3, index: {ef: 50}}}\n"
	r.changes(later+"index: {ef: 200, target_recall: 0.8}", "collections.later", "index.target_recall")
	vector("later", http.StatusOK)
	want(map[string]int{"default": 200, "own": 40, "later": 50})
	var before struct{ Clean bool }
	if r.must("POST", "/v1/admin/audit", "", &before); !before.Clean {
		t.Error("the audit is not clean")
	}
	r.changes(later, "index.ef", "index.target_recall")
	want(map[string]int{"default": 64, "own": 40, "later": 50})

	// What a rebuild has set goes before the configuration.
	if err := r.Store().RebuildIndexes(t.Context(), "default", "", control.Index{Ef: 90}, func(int, int, freshet.Shard) {}); err != nil {
		t.Fatal(err)
	}
	r.changes(later+"index: {ef: 10}", "index.ef")
	want(map[string]int{"default": 90, "own": 40, "later": 50})
}

// Whatever can't be taken over is named, and nothing beside it is changed.
func TestReloadIsRefusedAsAWhole(t *testing.T) {
	r := startReloadable(t, "collections: {own: {dim: 3}}")
	for yaml, want := range map[string][]string{
		"index: {kind: flat, ef: 9}\nlisten: 127.0.0.1:9\ncollections: {own: {dim: 3}, more: {dim: 2}}": {"listen", "index.kind"},
		"dedupe: {max_ids: 5}\ncollections: {own: {dim: 4}}\nlimits: {event_bytes: 5}":                  {"collections.own.dim", "dedupe.max_ids"},
		"partitions: 3\nlimits: {event_bytes: 5}":                                                       {"partitions", "collections.own"},
		"collections: {own: {dim: 3}}\nmapping: {changes: [{entity: event.id}]}":                        {"mapping"},
	} {
		r.yaml.Store(&yaml)
		status, answer := r.call("POST", "/v1/admin/reload", "")
		var p struct {
			Code, Detail string
			Refused      []gateway.RefusedKey
		}
		if err := json.Unmarshal(answer, &p); err != nil || status != http.StatusBadRequest || p.Code != "invalid_field" {
			t.Fatalf("%q: %d %s", yaml, status, answer)
		}
		var keys []string
		for _, k := range p.Refused {
			keys = append(keys, k.Key)
			for _, part := range []string{k.Key + ": ", k.Remedy} {
				if k.Remedy == "" || !strings.Contains(p.Detail, part) {
					t.Errorf("%q: %s is not told: %s", yaml, k.Key, p.Detail)
				}
			}
		}
		if fmt.Sprint(keys) != fmt.Sprint(want) {
			t.Errorf("%q: refused are %q, want %q", yaml, keys, want)
		}
	}
	for yaml, want := range map[string]string{
		"no_such_key: 1": "no_such_key",
		"collections: {own: {dim: 3}}\nindex: {ef: -1}":                                                                    "Ef is -1",
		"collections: {own: {dim: 3}}\nlimits: {event_bytes: 5}\nsources: {files: [{path: x, namespace: ''}, {path: ''}]}": "path",
	} {
		r.yaml.Store(&yaml)
		if status, answer := r.call("POST", "/v1/admin/reload", ""); status != http.StatusBadRequest || !strings.Contains(string(answer), want) {
			t.Errorf("%q: %d %s", yaml, status, answer)
		}
	}
	if r.declared("more") || r.Intake().EventBytes() != 4<<20 {
		t.Error("a reload that was refused has changed something")
	}
	r.changes("collections: {own: {dim: 3}}")
}

// declared reports whether there is a collection.
func (r *reloadable) declared(collection string) bool {
	status, _ := r.call("POST", "/v1/search", fmt.Sprintf(`{"collection":%q,"vector":[1,2,3]}`, collection))
	return status != http.StatusNotFound
}

func TestReloadWithoutAFile(t *testing.T) {
	s := start(t, disk.New(vfs.NewMem(), nil), "data")
	if status, answer := s.call("POST", "/v1/admin/reload", ""); status != http.StatusBadRequest || !strings.Contains(string(answer), "--config") {
		t.Errorf("%d %s", status, answer)
	}
}

// A collection that exists by another schema is refused by name, though the configuration has not had it.
func TestReloadAgainstTheCatalog(t *testing.T) {
	r := startReloadable(t, "auto_create: true")
	if status, answer := r.call("POST", "/v1/events", `{"entity_id":"a","collection":"made","payload":{"text":"x"}}`); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	yaml := "auto_create: true\ncollections: {a: {dim: 3}, made: {dim: 3}}"
	r.yaml.Store(&yaml)
	if status, answer := r.call("POST", "/v1/admin/reload", ""); status != http.StatusBadRequest || !strings.Contains(string(answer), "collections.made") {
		t.Errorf("%d %s", status, answer)
	}
	if r.declared("a") {
		t.Error("one of two collections was made")
	}
}

func TestReloadTakesFoldersOver(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	folders := func(list ...string) string {
		for i := range list {
			list[i] = fmt.Sprintf("{path: %q, namespace: %s}", list[i], map[string]string{one: "one", two: "two"}[list[i]])
		}
		return "sources: {files: [" + strings.Join(list, ",") + "]}"
	}
	r := startReloadable(t, folders(one), func(o *node.Options) { o.NoSources = false })
	write := func(dir, name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte("a note"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	there := func(namespace, name string) bool {
		status, _ := r.call("GET", "/v1/entities/"+name+"?namespace="+namespace, "")
		return status == http.StatusOK
	}
	await := func(namespace, name string) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !there(namespace, name); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s/%s does not come", namespace, name)
			}
		}
	}
	write(one, "a.md")
	await("one", "a.md")
	yaml := folders(one, two, filepath.Join(two, "none"))
	yaml = strings.Replace(yaml, "namespace: }", "namespace: x}", 1)
	r.yaml.Store(&yaml)
	if status, answer := r.call("POST", "/v1/admin/reload", ""); status != http.StatusBadRequest || !strings.Contains(string(answer), "no such folder") {
		t.Fatalf("a folder that is none: %d %s", status, answer)
	}
	write(two, "b.md")
	r.changes(folders(two), "sources.files", "sources.files")
	await("two", "b.md")
	write(one, "c.md")
	write(two, "d.md")
	await("two", "d.md")
	if there("one", "c.md") || !there("one", "a.md") {
		t.Error("a folder that is left out is watched still, or its entities are gone")
	}
	r.changes(folders(one, two), "sources.files")
	await("one", "c.md") // what has come meanwhile is found
}

// Reloads, searches and events at the same time; with -race a reader that is not meant to see half of a change is found.
func TestReloadUnderTraffic(t *testing.T) {
	r := startReloadable(t, "")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var traffic, reloads sync.WaitGroup
	for w := range 2 {
		traffic.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if status, answer := r.call("POST", "/v1/events", fmt.Sprintf(`{"entity_id":"w%d-%d","payload":{"text":"number %d"}}`, w, i%50, i)); status != http.StatusOK {
					t.Errorf("%d %s", status, answer)
					return
				}
				r.call("POST", "/v1/search", `{"text":"number"}`)
			}
		})
	}
	for w := range 2 {
		reloads.Go(func() {
			for i := range 15 {
				yaml := fmt.Sprintf("index: {ef: %d}\nretention: {age: %dh}\nlimits: {event_bytes: %d}", 50+i, i+1, 1000*(i+w+1))
				r.yaml.Store(&yaml)
				if _, err := r.Reload(ctx); err != nil {
					t.Error(err)
				}
				if _, err := r.Doctor(ctx); err != nil {
					t.Error(err)
				}
			}
		})
	}
	reloads.Wait()
	stop()
	traffic.Wait()
	r.Kill()
	if _, err := r.Reload(context.Background()); err == nil {
		t.Error("a node that has stopped reloads")
	}
}
