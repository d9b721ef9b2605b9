package control_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/disk"
)

func openLog(t *testing.T, fs vfs.FS) *embedded.Log {
	t.Helper()
	log, err := embedded.Open("data", embedded.Options{FS: disk.New(fs, nil), CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log
}

func openCatalog(t *testing.T, log *embedded.Log) *control.Catalog {
	t.Helper()
	c, err := control.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var builtin = control.Collection{Name: "default", Model: "m/1", Dim: 256, Metric: "cosine", Origin: "default"}

func declare(t *testing.T, c *control.Catalog, cols ...control.Collection) {
	t.Helper()
	for _, col := range cols {
		if err := c.Declare(col); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDeclare(t *testing.T) {
	c := openCatalog(t, openLog(t, vfs.NewMem()))
	if _, ok := c.Get("default"); ok || len(c.All()) != 0 {
		t.Error("a new catalog holds collections", c.All())
	}
	declare(t, c, builtin, control.Collection{Name: "a", Dim: 3, Metric: "l2"}, builtin)
	var names []string
	for _, col := range c.All() {
		names = append(names, col.Name)
	}
	if got, ok := c.Get("default"); !ok || got != builtin || fmt.Sprint(names) != "[a default]" {
		t.Errorf("the catalog holds %v, default is %+v", names, got)
	}
	// What is not part of the schema is as it was made.
	later := builtin
	later.Origin, later.Since = "config", 77
	declare(t, c, later)
	if got, _ := c.Get("default"); got != builtin {
		t.Errorf("a second declaration made %+v", got)
	}
	for name, alter := range map[string]func(*control.Collection){
		"model":  func(c *control.Collection) { c.Model = "m/2" },
		"dim":    func(c *control.Collection) { c.Dim = 128 },
		"metric": func(c *control.Collection) { c.Metric = "ip" },
		"source": func(c *control.Collection) { c.External = true },
	} {
		other := builtin
		alter(&other)
		err := c.Declare(other)
		var e *freshet.Error
		if !errors.As(err, &e) || e.Code != freshet.CodeInvalidField || e.Field != "collections.default" {
			t.Errorf("another %s: %v", name, err)
			continue
		}
		for _, part := range []string{fmt.Sprintf("model %q, dim %d, metric %s", builtin.Model, builtin.Dim, builtin.Metric),
			fmt.Sprintf("model %q, dim %d, metric %s", other.Model, other.Dim, other.Metric), "set these back, or declare a new collection"} {
			if !strings.Contains(e.Message, part) {
				t.Errorf("another %s: the message does not say %q: %s", name, part, e.Message)
			}
		}
		if got, _ := c.Get("default"); got != builtin {
			t.Errorf("a refused declaration made %+v", got)
		}
	}
}

func TestCreateLike(t *testing.T) {
	c := openCatalog(t, openLog(t, vfs.NewMem()))
	var e *freshet.Error
	if _, err := c.CreateLike("a", "default", 5); !errors.As(err, &e) || e.Code != freshet.CodeUnknownCollection {
		t.Errorf("a copy of nothing: %v", err)
	}
	declare(t, c, builtin)
	if err := c.SettleOrder("default", control.OrderSource); err != nil {
		t.Fatal(err)
	}
	got, err := c.CreateLike("a", "default", 5)
	want := control.Collection{Name: "a", Model: "m/1", Dim: 256, Metric: "cosine", Origin: "auto", Since: 5}
	if err != nil || got != want {
		t.Errorf("the copy is %+v, %v; want %+v", got, err, want)
	}
	if again, err := c.CreateLike("a", "default", 9); err != nil || again != want {
		t.Errorf("made again it is %+v, %v", again, err)
	}
	// Many at once make it once.
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := c.CreateLike("b", "default", int64(i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(c.All()) != 3 {
		t.Errorf("the catalog holds %v", c.All())
	}
}

func TestSettleOrder(t *testing.T) {
	c := openCatalog(t, openLog(t, vfs.NewMem()))
	declare(t, c, builtin)
	if err := c.SettleOrder("nowhere", control.OrderNone); err == nil {
		t.Error("a collection that does not exist is settled")
	}
	if err := c.SettleOrder("default", control.OrderNone); err != nil {
		t.Fatal(err)
	}
	if got, _ := c.Get("default"); got.Order != control.OrderNone {
		t.Errorf("it is %+v", got)
	}
	if err := c.SettleOrder("default", control.OrderSource); err == nil || !strings.Contains(err.Error(), `"none"`) {
		t.Errorf("settled twice: %v", err)
	}
}

func TestRevision(t *testing.T) {
	fs := vfs.NewMem()
	log := openLog(t, fs)
	c := openCatalog(t, log)
	was := control.Revision{Mapping: "default/1", Splitter: "chunk/1 max_bytes=600"}
	got, err := c.CheckRevision(was)
	if err != nil || got.Number != 1 {
		t.Fatalf("the first revision is %+v, %v", got, err)
	}
	if again, err := c.CheckRevision(was); err != nil || again != got {
		t.Errorf("the same again is %+v, %v", again, err)
	}
	log.Close()
	c = openCatalog(t, openLog(t, fs))
	if again, err := c.CheckRevision(was); err != nil || again != got {
		t.Errorf("after a reopen it is %+v, %v", again, err)
	}
	for name, is := range map[string]control.Revision{
		"mapping":  {Mapping: "cel/1 {…}", Splitter: was.Splitter},
		"splitter": {Mapping: was.Mapping, Splitter: "chunk/1 max_bytes=100"},
	} {
		_, err := c.CheckRevision(is)
		if !errors.Is(err, control.ErrRevision) {
			t.Errorf("another %s: %v", name, err)
			continue
		}
		wanted := []string{"revision 1", "with this " + name, "Set the " + name + " back", "--data", "Nothing was changed"}
		if name == "mapping" {
			wanted = append(wanted, was.Mapping, is.Mapping)
		} else {
			wanted = append(wanted, was.Splitter, is.Splitter)
		}
		for _, part := range wanted {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("another %s: the message does not say %q: %s", name, part, err)
			}
		}
		if again, err := c.CheckRevision(was); err != nil || again != got {
			t.Errorf("a refused revision made %+v, %v", again, err)
		}
	}
}

// What the catalog says is durable before it is said, and is there after a crash.
func TestCatalogOutlivesACrash(t *testing.T) {
	fs := vfs.NewCrashableMem()
	c := openCatalog(t, openLog(t, fs))
	declare(t, c, builtin, control.Collection{Name: "ü/\x7e", Dim: 3, Metric: "l2", Origin: "config", Since: 12})
	if _, err := c.CreateLike("auto", "default", 40); err != nil {
		t.Fatal(err)
	}
	if err := c.SettleOrder("auto", control.OrderSource); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CheckRevision(control.Revision{Mapping: "m", Splitter: "s"}); err != nil {
		t.Fatal(err)
	}
	want := c.All()
	again := openCatalog(t, openLog(t, fs.CrashClone(vfs.CrashCloneCfg{})))
	if got := again.All(); !reflect.DeepEqual(got, want) {
		t.Errorf("after a crash the catalog holds %+v, want %+v", got, want)
	}
	if _, err := again.CheckRevision(control.Revision{Mapping: "m", Splitter: "other"}); !errors.Is(err, control.ErrRevision) {
		t.Errorf("after a crash another revision: %v", err)
	}
}

// A record that this version can't know is not passed over.
func TestUnknownRecordsAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ key, value, want string }{
		"an unknown key":           {"generation", `{"format":1}`, `"generation" is not known`},
		"a newer collection":       {"collection/a", `{"format":2,"name":"a"}`, "format 2, this version reads 1"},
		"a newer revision":         {"revision", `{"format":2}`, "format 2"},
		"no format":                {"collection/a", `{"name":"a"}`, "format 0"},
		"no JSON":                  {"collection/a", `{"name`, `"collection/a"`},
		"another collection's key": {"collection/a", `{"format":1,"name":"b"}`, `"b"`},
	} {
		t.Run(name, func(t *testing.T) {
			log := openLog(t, vfs.NewMem())
			tx := log.Begin()
			if err := tx.Put(freshet.TopicControl, []byte(c.key), []byte(c.value)); err != nil {
				t.Fatal(err)
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			if _, err := control.Open(log); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v does not say %q", err, c.want)
			}
		})
	}
}

// A full catalog takes no further collection, and those that it has go on as before.
func TestTheNumberOfCollectionsIsBounded(t *testing.T) {
	log := openLog(t, vfs.NewMem())
	tx := log.Begin() // as so many declarations would, without a sync each
	for i := range control.MaxCollections {
		name := fmt.Sprintf("c%d", i)
		value := fmt.Sprintf(`{"format":1,"name":%q,"dim":3,"metric":"l2"}`, name)
		if err := tx.Put(freshet.TopicControl, []byte("collection/"+name), []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	c := openCatalog(t, log)
	var e *freshet.Error
	if _, err := c.CreateLike("more", "c1", 0); !errors.As(err, &e) || e.Code != freshet.CodeTooLarge || !strings.Contains(e.Message, "namespaces") {
		t.Errorf("one too many: %v", err)
	}
	if err := c.SettleOrder("c1", control.OrderNone); err != nil {
		t.Errorf("the order of one of them: %v", err)
	}
}

// Settings of indexes hold for a namespace before those of its collection, and outlive a restart.
func TestIndexSettings(t *testing.T) {
	fs := vfs.NewMem()
	log := openLog(t, fs)
	c := openCatalog(t, log)
	declare(t, c, builtin, control.Collection{Name: "a/b", Dim: 3, Metric: "l2"})
	set := func(collection, namespace string, s control.Index) {
		t.Helper()
		if err := c.SetIndex(collection, namespace, s); err != nil {
			t.Fatal(err)
		}
	}
	check := func(collection, namespace string, want control.Index) {
		t.Helper()
		for _, cat := range []*control.Catalog{c, openCatalog(t, log)} {
			if got := cat.Index(collection, namespace); got != want {
				t.Errorf("%s %s: %+v, want %+v", collection, namespace, got, want)
			}
		}
	}
	set("a/b", "", control.Index{Kind: "flat", M: 8})
	set("a/b", `n/"`, control.Index{Kind: "ivf_pq", TargetRecall: 0.9})
	check("default", "default", control.Index{})
	check("a/b", "other", control.Index{Kind: "flat", M: 8})
	check("a/b", `n/"`, control.Index{Kind: "ivf_pq", M: 8, TargetRecall: 0.9})
	set("a/b", "", control.Index{Kind: "hnsw"})
	check("a/b", `n/"`, control.Index{Kind: "hnsw"})
	if err := c.SetIndex("none", "", control.Index{}); err == nil {
		t.Error("an index of a collection that does not exist was recorded")
	}
}
