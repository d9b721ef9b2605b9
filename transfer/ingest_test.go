package transfer_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/codec/parquet"
	"github.com/freshet-io/freshet/transfer"
)

// fake answers as the server does: it takes events of the default mapping and rejects others.
type fake struct {
	*httptest.Server
	mu     sync.Mutex // guards what follows
	events []string
	log    string // what its tokens begin with
	breaks int    // requests after which the next one breaks off
}

func newFake(t *testing.T) *fake {
	f := &fake{log: "a", breaks: -1}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// ServeHTTP implements http.Handler.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Method == http.MethodGet {
		status := http.StatusNotFound
		if !strings.HasPrefix(r.URL.Query().Get("after"), f.log) {
			status = http.StatusConflict
		}
		w.WriteHeader(status)
		return
	}
	if f.breaks == 0 {
		panic(http.ErrAbortHandler)
	}
	f.breaks--
	type rejected struct {
		Index   int64        `json:"index"`
		Code    freshet.Code `json:"code"`
		Message string       `json:"message"`
	}
	accepted, refused := int64(0), []rejected{}
	lines := codec.NewLines(r.Body, 1<<20)
	for {
		line, err := lines.Next()
		if err == io.EOF {
			break
		}
		if _, err := codec.ParseEvent(line, codec.Full); err != nil {
			refused = append(refused, rejected{accepted + int64(len(refused)), err.(*freshet.Error).Code, err.Error()})
			continue
		}
		accepted++
		f.events = append(f.events, string(line))
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"accepted": accepted, "rejected": refused, "rejected_count": len(refused), "token": f.log + "-token"})
}

// got returns the events without their ids, and forgets them.
func (f *fake) got(t *testing.T) (events, ids []string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, raw := range f.events {
		var e map[string]json.RawMessage
		if err := json.Unmarshal([]byte(raw), &e); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, string(e["event_id"]))
		delete(e, "event_id")
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, string(b))
	}
	f.events = nil
	return events, ids
}

type run struct {
	transfer.Result
	err      error
	rejected []string // line and code
	notes    []string
}

func ingest(f *fake, path string, shape transfer.Shape, set ...func(*transfer.Options)) *run {
	r := &run{}
	o := transfer.Options{Server: &transfer.Server{URL: f.URL, HTTP: f.Client()}, Resume: transfer.ResumePath(path),
		Rejected: func(line int64, e *freshet.Error) {
			r.rejected = append(r.rejected, fmt.Sprintf("%d %s", line, e.Code))
		},
		Note:     func(format string, args ...any) { r.notes = append(r.notes, fmt.Sprintf(format, args...)) },
		Progress: func(*transfer.Input, transfer.Result) {}}
	for _, s := range set {
		s(&o)
	}
	r.Result, r.err = transfer.Ingest(context.Background(), path, "", shape, o)
	return r
}

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func packed(t *testing.T, open func(io.Writer) io.WriteCloser, content string) []byte {
	t.Helper()
	var b strings.Builder
	w := open(&b)
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return []byte(b.String())
}

// item is a row of the Parquet files of these tests.
type item struct {
	SKU   string            `parquet:"sku"`
	Title string            `parquet:"title"`
	Price *float64          `parquet:"price,optional"`
	Tags  []string          `parquet:"tags,list"`
	Size  map[string]int32  `parquet:"size"`
	Vec   []float32         `parquet:"vec,list"`
	Parts []struct{ A int } `parquet:"parts,list"`
}

func parquetOf[T any](t *testing.T, rows ...T) []byte {
	t.Helper()
	var b strings.Builder
	w := parquet.NewWriter[T](&b, 2)
	for _, r := range rows {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return []byte(b.String())
}

// Every form of file gives the events that its records stand for.
func TestForms(t *testing.T) {
	lines := "{\"entity_id\":\"a\",\"payload\":{\"text\":\"x\"}}\n\n{\"entity_id\":\"b\",\"op\":\"delete\"}\r\n"
	array := "\n [ {\"entity_id\":\"a\",\n\"payload\":{\"text\":\"x\"}}\n,{\"entity_id\":\"b\",\"op\":\"delete\"}]\n"
	events := []string{`{"entity_id":"a","payload":{"text":"x"}}`, `{"entity_id":"b","op":"delete"}`}
	price := 2.5
	for _, c := range []struct {
		name, file string
		content    []byte
		shape      transfer.Shape
		want       []string
	}{
		{"lines", "f.ndjson", []byte(lines), transfer.Shape{}, events},
		{"lines, no ending", "f", []byte(lines), transfer.Shape{}, events},
		{"lines, gzip", "f.ndjson.gz", packed(t, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, lines), transfer.Shape{}, events},
		{"lines, zstd", "f.jsonl.zst", packed(t, func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z }, lines), transfer.Shape{}, events},
		{"array", "f.json", []byte(array), transfer.Shape{}, events},
		{"values", "f.json", []byte(strings.Join(events, "\n ")), transfer.Shape{}, events},
		{"empty array", "f.json", []byte(" [ ] "), transfer.Shape{}, nil},
		{"nothing", "f.ndjson", nil, transfer.Shape{}, nil},
		{"another collection", "f.ndjson", []byte(lines + `{"entity_id":"c","collection":"own","namespace":null,"op":"delete"}`), transfer.Shape{Collection: "c", Namespace: "n"},
			[]string{`{"collection":"c","entity_id":"a","namespace":"n","payload":{"text":"x"}}`, `{"collection":"c","entity_id":"b","namespace":"n","op":"delete"}`,
				`{"collection":"own","entity_id":"c","namespace":"n","op":"delete"}`}},
		{"objects that are no events", "f.ndjson", []byte(`{"id":7,"title":"x","body":"y","at":"2026-01-02T03:04:05Z"}`),
			transfer.Shape{EntityID: "id", Text: []string{"body", "title"}, Timestamp: "at"},
			[]string{`{"entity_id":"7","payload":{"title":"x","body":"y","text":"y\nx"},"timestamp":1767323045000}`}},
		{"columns", "f.csv", []byte("entity_id,op,text,price,note:string\n007,,\"a, b\",2.50,7\nb,delete,,,\n"), transfer.Shape{},
			[]string{`{"entity_id":"007","payload":{"text":"a, b","price":2.50,"note":"7"}}`, `{"entity_id":"b","op":"delete"}`}},
		{"named columns", "f.tsv", []byte("sku\tname\tv\n7\tx\t\"[1,2]\"\n"), transfer.Shape{EntityID: "sku", Text: []string{"name"}, Vector: "v"},
			[]string{`{"entity_id":"7","payload":{"text":"x"},"vector":[1,2]}`}},
		{"rows", "f.parquet", parquetOf(t, item{SKU: "s", Title: "x", Price: &price, Tags: []string{"a", "b"}, Size: map[string]int32{"w": 3}, Vec: []float32{0.1, -1e-9},
			Parts: []struct{ A int }{{1}, {2}}}, item{SKU: "t"}, item{SKU: "u", Vec: []float32{1}}),
			transfer.Shape{EntityID: "sku", Text: []string{"title"}, Vector: "vec"},
			[]string{`{"entity_id":"s","payload":{"price":2.5,"tags":["a","b"],"size":{"w":3},"parts":[{"A":1},{"A":2}],"text":"x"},"vector":[0.1,-1e-9]}`,
				`{"entity_id":"t","payload":{"tags":[],"size":{},"parts":[]},"vector":[]}`, `{"entity_id":"u","payload":{"tags":[],"size":{},"parts":[]},"vector":[1]}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, path := newFake(t), write(t, c.file, c.content)
			if r := ingest(f, path, c.shape); r.err != nil || r.Accepted != int64(len(c.want)) || r.Rejected != 0 {
				t.Fatalf("%+v", r)
			}
			events, ids := f.got(t)
			if !slices.Equal(events, c.want) {
				t.Errorf("events are\n%s\nwant\n%s", strings.Join(events, "\n"), strings.Join(c.want, "\n"))
			}
			// The same file again: the same ids, each another one's.
			if r := ingest(f, path, c.shape); r.err != nil {
				t.Fatal(r.err)
			}
			_, again := f.got(t)
			if !slices.Equal(again, ids) || slices.Contains(ids, "") {
				t.Errorf("ids are %v, then %v", ids, again)
			}
			slices.Sort(ids)
			if len(slices.Compact(ids)) != len(c.want) {
				t.Errorf("events share ids: %v", ids)
			}
			if _, err := os.Stat(transfer.ResumePath(path)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the resume file was left: %v", err)
			}
		})
	}
}

// What can't be an event is named by its line and collected as it stands; what comes behind it counts.
func TestBadRecords(t *testing.T) {
	for _, c := range []struct {
		name, file, content string
		shape               transfer.Shape
		rejected            string
		collected           string
		accepted            int64
		err                 string // why the file can't be read on
	}{
		{"lines", "f.ndjson", "{\"entity_id\":\"a\"}\n\n{bad\n{\"entity_id\":7}\n{\"entity_id\":\"b\"}", transfer.Shape{},
			"[3 invalid_json 4 invalid_field]", "{bad\n{\"entity_id\":7}\n", 2, ""},
		{"elements", "f.json", "[{\"entity_id\":\"a\"},\n\n {\"entity_id\":\n7},{\"entity_id\":\"b\"}]", transfer.Shape{},
			"[3 invalid_field]", "{\"entity_id\":7}\n", 2, ""},
		{"broken array", "f.json", "[{\"entity_id\":\"a\"},\n{\"entity_id\":}]", transfer.Shape{}, "[]", "", 1, "f.json:2: "},
		{"cut array", "f.json", "[{\"entity_id\":\"a\"},\n{\"enti", transfer.Shape{}, "[]", "", 1, "f.json:2: the file ends inside a value"},
		{"behind an array", "f.json", "[{\"entity_id\":\"a\"}]\n{}", transfer.Shape{}, "[]", "", 1, "behind the end"},
		{"cells", "f.csv", "entity_id:string,n:number\na,1\nb,x\nc\n\nd,4\n", transfer.Shape{}, "[3 invalid_field 4 invalid_field]", "entity_id:string,n:number\nb,x\nc\n", 2, ""},
		{"no column of ids", "f.csv", "sku,n\na,1\n", transfer.Shape{}, "[]", "", 0, "--entity-id"},
		{"no such column", "f.csv", "sku,n\na,1\n", transfer.Shape{EntityID: "sku", Text: []string{"title"}}, "[]", "", 0, `no column "title"`},
		{"no header", "f.csv", "", transfer.Shape{}, "[]", "", 0, ""},
		{"bad header", "f.csv", "a,a\n", transfer.Shape{}, "[]", "", 0, "f.csv:1: "},
		{"no Parquet", "f.parquet", "PAR1 nonsense", transfer.Shape{}, "[]", "", 0, "no Parquet"},
		{"no gzip", "f.csv.gz", "nonsense", transfer.Shape{}, "[]", "", 0, "gzip"},
		{"contradiction", "f.csv", "a\n", transfer.Shape{Flat: true, EntityID: "a"}, "[]", "", 0, "--flat"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, path := newFake(t), write(t, c.file, []byte(c.content))
			rejects := filepath.Join(t.TempDir(), "rejects")
			r := ingest(f, path, c.shape, func(o *transfer.Options) { o.Rejects = rejects })
			if c.err == "" != (r.err == nil) || c.err != "" && !strings.Contains(r.err.Error(), c.err) {
				t.Errorf("error %v, want %q", r.err, c.err)
			}
			if fmt.Sprint(r.rejected) != c.rejected || r.Accepted != c.accepted || r.Rejected != int64(len(r.rejected)) {
				t.Errorf("%+v, want %s rejected, %d accepted", r, c.rejected, c.accepted)
			}
			if got, _ := os.ReadFile(rejects); string(got) != c.collected {
				t.Errorf("collected %q, want %q", got, c.collected)
			}
		})
	}
}

// A file that was broken off is gone on with, unless something is not as it was.
func TestResume(t *testing.T) {
	var content strings.Builder
	const events = 50_000 // three requests
	for i := range events {
		if i%10_000 == 7 {
			content.WriteString("{bad\n")
		}
		fmt.Fprintf(&content, "{\"entity_id\":\"e%d\"}\n", i)
	}
	whole := content.String()
	for _, c := range []struct {
		name   string
		change func(f *fake, path string)
		shape  transfer.Shape
		note   string
		sent   int // in the second call
	}{
		{"nothing", func(*fake, string) {}, transfer.Shape{}, "going on", events - 19_998},
		{"longer", func(_ *fake, path string) { rewrite(path, whole+"{\"entity_id\":\"more\"}\n") }, transfer.Shape{}, "bytes, it had", events + 1},
		{"altered in front", func(_ *fake, path string) { rewrite(path, strings.Replace(whole, "e0", "E0", 1)) }, transfer.Shape{}, "has changed", events},
		{"altered behind", func(_ *fake, path string) { rewrite(path, strings.Replace(whole, "e49999", "E49999", 1)) }, transfer.Shape{}, "going on", events - 19_998},
		{"another log", func(f *fake, _ string) { f.log = "b" }, transfer.Shape{}, "log is not the one", events},
		{"another way", func(*fake, string) {}, transfer.Shape{Namespace: "n"}, "another way", events},
		{"a bad resume file", func(_ *fake, path string) { rewrite(transfer.ResumePath(path), "{") }, transfer.Shape{}, "no resume file", events},
		{"another format", func(_ *fake, path string) { rewrite(transfer.ResumePath(path), `{"format":2}`) }, transfer.Shape{}, "has format 2", events},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, path := newFake(t), write(t, "f.ndjson", []byte(whole))
			rejects := filepath.Join(t.TempDir(), "rejects")
			collect := func(o *transfer.Options) { o.Rejects = rejects }
			f.breaks = 1
			first := ingest(f, path, transfer.Shape{}, collect)
			if first.err == nil || first.Accepted != 19_998 || first.Rejected != 2 {
				t.Fatalf("%+v", first)
			}
			f.got(t)
			f.breaks = -1
			rewriteRejects := c.note == "going on"
			if rewriteRejects { // as if it had been killed before the resume file was written
				rewrite(rejects, "{bad\n{bad\n{bad half")
			}
			c.change(f, path)
			second := ingest(f, path, c.shape, collect)
			if second.err != nil || len(second.notes) != 1 || !strings.Contains(second.notes[0], c.note) || second.Rejected != 5 {
				t.Fatalf("%+v", second)
			}
			if got, _ := f.got(t); len(got) != c.sent {
				t.Errorf("%d events were sent, want %d", len(got), c.sent)
			}
			if got, _ := os.ReadFile(rejects); string(got) != strings.Repeat("{bad\n", 5) {
				t.Errorf("collected %q", got)
			}
		})
	}
}

func rewrite(path, content string) {
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		panic(err)
	}
}
