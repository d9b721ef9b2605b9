package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/backup"
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/node"
)

func open(fs disk.FS, dir string) (*node.Node, error) {
	cfg := config.Defaults()
	cfg.Data, cfg.CacheBytes, cfg.Partitions = dir, 1<<20, 3
	cfg.Collections["vectors"] = config.Collection{Dim: 3, Metric: "l2"}
	return node.Open(context.Background(), node.Options{Config: cfg, FS: fs, SegmentBytes: 2000, NoSources: true, Logger: slog.New(slog.DiscardHandler)})
}

// server is a node that is spoken to by its HTTP side.
type server struct {
	*node.Node
	t testing.TB
}

func start(t testing.TB, fs disk.FS, dir string) *server {
	t.Helper()
	n, err := open(fs, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Kill)
	return &server{n, t}
}

func (s *server) call(method, path, body string) (status int, answer []byte) {
	s.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	w := httptest.NewRecorder()
	s.Gateway().ServeHTTP(w, r)
	return w.Code, w.Body.Bytes()
}

func (s *server) must(method, path, body string, out any) {
	s.t.Helper()
	status, answer := s.call(method, path, body)
	if status != http.StatusOK {
		s.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		s.t.Fatalf("%s %s: %v: %s", method, path, err, answer)
	}
}

// put sends an entity and waits until it counts; it returns the token.
func (s *server) put(entity string, x int) string {
	s.t.Helper()
	var in struct{ Token string }
	s.must("POST", "/v1/events", fmt.Sprintf(`{"entity_id":%q,"collection":"vectors","payload":{"n":%d},"vector":[%d,1,0]}`, entity, x, x), &in)
	if err := s.CatchUpWithin(time.Minute); err != nil {
		s.t.Fatal(err)
	}
	return in.Token
}

// get returns the payload's n and the version of an entity.
func (s *server) get(entity string) (n int, version string) {
	s.t.Helper()
	var e struct {
		Metadata struct{ N int }
		Version  string
	}
	s.must("GET", "/v1/entities/"+entity+"?collection=vectors", "", &e)
	return e.Metadata.N, e.Version
}

// after searches with a token and returns the status.
func (s *server) after(token string) int {
	s.t.Helper()
	status, _ := s.call("POST", "/v1/search", fmt.Sprintf(`{"collection":"vectors","vector":[1,0,0],"after":%q}`, token))
	return status
}

// changes returns the entities behind a token, and the last token.
func (s *server) changes(after string) (status int, entities []string, last string) {
	s.t.Helper()
	path := "/v1/changes?collection=vectors&follow=false"
	if after != "" {
		path += "&after=" + url.QueryEscape(after)
	}
	status, answer := s.call("GET", path, "")
	for line := range bytes.Lines(answer) {
		var c struct {
			Token    string
			EntityID string `json:"entity_id"`
		}
		if err := json.Unmarshal(line, &c); err != nil {
			s.t.Fatal(err)
		}
		if last = c.Token; c.EntityID != "" {
			entities = append(entities, c.EntityID)
		}
	}
	return status, entities, last
}

func (s *server) mustBeClean() {
	s.t.Helper()
	r, err := s.Audit(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, d := range r.Differences {
		s.t.Errorf("audit: %+v", d)
	}
}

func (s *server) backup() []byte {
	s.t.Helper()
	var out bytes.Buffer
	if _, err := s.Backup(context.Background(), &out, backup.Options{}); err != nil {
		s.t.Fatal(err)
	}
	return out.Bytes()
}

func restore(fs disk.FS, dir string, raw []byte, now time.Time) (*node.Restored, error) {
	return node.Restore(fs, dir, now, func(f backup.Folder) (*backup.Manifest, error) {
		return f.Unpack(context.Background(), bytes.NewReader(raw))
	})
}

// TestRestoreBeginsAnEpoch: what is made after a restore wins over all that was made before, also over what was made after
// the backup; tokens of the time before the backup count, tokens of what was lost are refused.
func TestRestoreBeginsAnEpoch(t *testing.T) {
	fs := disk.New(vfs.NewMem(), nil)
	a := start(t, fs, "a")
	for i := range 40 {
		a.put(fmt.Sprint("e", i%10), i)
	}
	if _, err := a.Snapshot(context.Background()); err != nil {
		t.Fatal(err)
	}
	kept := a.put("e3", 99)
	_, told, keptPlace := a.changes("")
	if len(told) != 10 {
		t.Fatalf("the feed tells of %v", told)
	}
	raw := a.backup()
	lost := a.put("e1", 1000)
	a.put("only", 1)
	_, lostVersion := a.get("e1")
	_, _, lostPlace := a.changes(keptPlace)
	a.mustBeClean()
	a.Kill()

	before := time.Now()
	r, err := restore(fs, "b", raw, before)
	if err != nil {
		t.Fatal(err)
	}
	if r.Epoch.Since != 41 || int64(r.Epoch.Number) < before.Unix() {
		t.Errorf("the new epoch is %+v", r.Epoch)
	}
	b := start(t, fs, "b")
	if l := b.Store().Loaded(); l.Snapshots == 0 || len(l.Rejected) > 0 {
		t.Errorf("the snapshots of the backup are not used: %+v", l)
	}
	b.mustBeClean()
	if n, _ := b.get("e1"); n != 31 {
		t.Errorf("e1 is %d, the backup has 31", n)
	}
	if n, _ := b.get("e3"); n != 99 {
		t.Errorf("e3 is %d, the backup has 99", n)
	}
	if status := b.after(kept); status != http.StatusOK {
		t.Errorf("a token of before the backup: %d", status)
	}
	if status := b.after(lost); status != http.StatusConflict {
		t.Errorf("a token of what was lost: %d", status)
	}
	if status, _, _ := b.changes(lostPlace); status != http.StatusConflict {
		t.Errorf("a follower's token of what was lost: %d", status)
	}
	for i := range 5 { // offsets that the lost history had are given out again
		b.put("other", i)
	}
	b.put("e1", 5)
	n, version := b.get("e1")
	if n != 5 || version <= lostVersion {
		t.Errorf("the update after the restore gives %d, version %s; the lost history had %s", n, version, lostVersion)
	}
	for _, x := range []struct {
		token string
		want  int
	}{{kept, http.StatusOK}, {lost, http.StatusConflict}} {
		if status := b.after(x.token); status != x.want {
			t.Errorf("once the log has grown past the token: %d, want %d", status, x.want)
		}
	}
	if status, told, _ := b.changes(keptPlace); status != http.StatusOK || !slices.Equal(told, []string{"other", "e1"}) {
		t.Errorf("a follower's token of before the backup: %d, %v", status, told)
	}
	if status, _, _ := b.changes(lostPlace); status != http.StatusConflict {
		t.Errorf("a follower's token of what was lost, once the log has grown past it: %d", status)
	}
	b.mustBeClean()
	again := b.backup()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = start(t, fs, "b")
	b.mustBeClean()

	// A backup of the restored folder, restored: three epochs, and tokens of the first still count.
	second, err := restore(fs, "c", again, before)
	if err != nil {
		t.Fatal(err)
	}
	if second.Epoch.Number <= r.Epoch.Number {
		t.Errorf("epoch %d follows %d", second.Epoch.Number, r.Epoch.Number)
	}
	c := start(t, fs, "c")
	if x, y := c.after(kept), c.after(lost); x != http.StatusOK || y != http.StatusConflict {
		t.Errorf("tokens of the first epoch: %d and %d", x, y)
	}
	c.put("e1", 6)
	if _, v := c.get("e1"); v <= version {
		t.Errorf("version %s, before the second restore it was %s", v, version)
	}
	c.mustBeClean()
}

// TestBackupUnderTraffic: what was acknowledged before a backup began is in it, its parts agree, and it takes only one
// at a time.
func TestBackupUnderTraffic(t *testing.T) {
	fs := disk.New(vfs.NewMem(), nil)
	a := start(t, fs, "a")
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
			in := a.Intake().NewBatch()
			if err = in.Add(fmt.Appendf(nil, `{"entity_id":"t%d","collection":"vectors","payload":{"n":%d},"vector":[%d,1,0]}`, i%50, i, i)); err == nil {
				_, err = in.Append(context.Background())
			}
			in.Release()
		}
		done <- err
	}()
	for i := range 5 {
		a.put("mine", i)
		if i == 2 {
			if _, err := a.Snapshot(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		acknowledged := a.Log().RawEnd()
		var out bytes.Buffer
		m, err := a.Backup(context.Background(), writerFunc(func(p []byte) (int, error) {
			if out.Len() == 0 {
				var e *freshet.Error
				if _, err := a.Backup(context.Background(), io.Discard, backup.Options{}); !errors.As(err, &e) || e.Code != freshet.CodeUnavailable {
					t.Errorf("a second backup at the same time: %v", err)
				}
			}
			return out.Write(p)
		}), backup.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if m.Info.RawEnd < acknowledged {
			t.Errorf("the backup ends at %d, %d were acknowledged before", m.Info.RawEnd, acknowledged)
		}
		dir := fmt.Sprint("r", i)
		if _, err := restore(fs, dir, out.Bytes(), time.Now()); err != nil {
			t.Fatal(err)
		}
		r := start(t, fs, dir)
		if err := r.CatchUpWithin(time.Minute); err != nil {
			t.Fatal(err)
		}
		if n, _ := r.get("mine"); n != i {
			t.Errorf("the backup has %d, written was %d", n, i)
		}
		r.mustBeClean()
		r.Kill()
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
	a.mustBeClean()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// small returns a file system and the backup of a small data folder.
func small(t testing.TB) []byte {
	t.Helper()
	s := start(t, disk.New(vfs.NewMem(), nil), "a")
	for i := range 5 {
		s.put(fmt.Sprint("e", i), i)
	}
	if _, err := s.Snapshot(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s.backup()
}

// TestRestoreInterrupted kills a restore before each of its operations of the file system, with the page cache kept or
// lost. Then the folder is restored, or a start refuses it and another restore makes it whole.
func TestRestoreInterrupted(t *testing.T) {
	raw := small(t)
	rng := rand.New(rand.NewPCG(1, 2))
	restored, refused := 0, 0
	for at := 0; ; at++ {
		mem := vfs.NewCrashableMem()
		var after *vfs.MemFS
		count := 0
		var mu sync.Mutex // the state has goroutines of its own
		fs := disk.New(errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
				return nil
			}
			if count++; count > at && after == nil {
				after = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100 * (at % 2), RNG: rng})
			}
			return nil
		})), nil)
		if _, err := restore(fs, "data", raw, time.Now()); err != nil {
			t.Fatal(err)
		}
		if after == nil {
			break
		}
		left := disk.New(after, nil) // what the disk held at that moment
		n, err := open(left, "data")
		if err == nil {
			restored++
		} else {
			refused++
			if _, err := after.Stat("data/FORMAT"); err == nil {
				t.Fatalf("killed before operation %d it left a data folder that can't be opened: %v", at, err)
			}
			if _, err := restore(left, "data", raw, time.Now()); err != nil {
				t.Fatalf("killed before operation %d, and restored again: %v", at, err)
			}
			if n, err = open(left, "data"); err != nil {
				t.Fatalf("killed before operation %d, and restored again: %v", at, err)
			}
		}
		s := &server{n, t}
		if s.Log().RawEnd() == 0 && err == nil { // it had not begun, and the start made a new folder
			restored--
		} else if n, _ := s.get("e4"); n != 4 {
			t.Fatalf("killed before operation %d: e4 is %d", at, n)
		}
		s.mustBeClean()
		n.Kill()
	}
	t.Logf("%d restored, %d refused", restored, refused)
	if refused < 20 {
		t.Error("the kills are not where they should be")
	}
}

// TestRestoreIsDurable: a folder that was restored outlives a power cut; without either of the syncs it does not.
func TestRestoreIsDurable(t *testing.T) {
	raw := small(t)
	for _, skip := range []disk.Site{"", disk.RestoreFile, disk.RestoreDir} {
		mem := vfs.NewCrashableMem()
		if _, err := restore(disk.New(mem, func(s disk.Site) bool { return s == skip }), "data", raw, time.Now()); err != nil {
			t.Fatal(err)
		}
		n, err := open(disk.New(mem.CrashClone(vfs.CrashCloneCfg{}), nil), "data")
		if err == nil {
			if _, ok, gerr := n.Store().Get(context.Background(), freshet.Key{Collection: "vectors", Namespace: "default", Entity: "e4"}); !ok || gerr != nil {
				err = errors.New("e4 is gone")
			}
			if n.Store().Loaded().Snapshots == 0 {
				err = errors.Join(err, errors.New("the snapshots are gone"))
			}
			n.Kill()
		}
		if (err == nil) != (skip == "") {
			t.Errorf("without %q: %v", skip, err)
		}
	}
}

// A restore takes no folder that has anything in it, and leaves none after a damaged backup.
func TestRestoreRefuses(t *testing.T) {
	raw := small(t)
	fs := disk.New(vfs.NewMem(), nil)
	s := start(t, fs, "used")
	s.put("mine", 1)
	s.Kill()
	if _, err := restore(fs, "used", raw, time.Now()); err == nil || !strings.Contains(err.Error(), "data folder already") {
		t.Errorf("into a data folder: %v", err)
	}
	s = start(t, fs, "used")
	if n, _ := s.get("mine"); n != 1 {
		t.Error("the folder has lost what it had")
	}
	if err := fs.MkdirAll("thesis/chapter", 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := restore(fs, "thesis", raw, time.Now()); err == nil || !strings.Contains(err.Error(), `"chapter"`) {
		t.Errorf("into a folder of something else: %v", err)
	}
	for _, cut := range []int{3000, len(raw) - 1} {
		if _, err := restore(fs, "new", raw[:cut], time.Now()); !backup.IsDamage(err) {
			t.Errorf("a backup cut to %d bytes: %v", cut, err)
		}
		if names, _ := fs.List("new"); !slices.Equal(names, []string{"LOCK"}) {
			t.Errorf("it leaves %v", names)
		}
	}
	if _, err := restore(fs, "new", raw, time.Now()); err != nil {
		t.Error(err)
	}
}
