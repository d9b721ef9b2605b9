package source_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/source"
	"github.com/freshet-io/freshet/wire"
)

const partitions = 8

// dock is an intake with the log behind it.
type dock struct {
	*source.Intake
	t       *testing.T
	log     *embedded.Log
	catalog *control.Catalog
	decided atomic.Int64
}

func newDock(t *testing.T, o source.Options) *dock {
	t.Helper()
	log, err := embedded.Open("data", embedded.Options{FS: disk.New(vfs.NewMem(), nil), Partitions: partitions, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	catalog, err := control.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	if err := catalog.Declare(control.Collection{Name: freshet.DefaultCollection, Model: "m", Dim: 4, Metric: "cosine"}); err != nil {
		t.Fatal(err)
	}
	d := &dock{t: t, log: log, catalog: catalog}
	d.decided.Store(-1)
	o.Log, o.Catalog, o.Decided = log, catalog, d.decided.Load
	d.Intake = source.NewIntake(o)
	return d
}

// records are those in the log from an offset on.
func (d *dock) records(from int64) []journal.Record {
	d.t.Helper()
	reader := d.log.ReadRaw(from)
	d.t.Cleanup(func() { reader.Close() })
	records, err := reader.Next(context.Background(), nil, 1<<30)
	if err != nil {
		d.t.Fatal(err)
	}
	return records
}

func (d *dock) refuses(what string, err error, code freshet.Code, field string) {
	d.t.Helper()
	var e *freshet.Error
	if !errors.As(err, &e) || e.Code != code || e.Field != field || e.Message == "" {
		d.t.Errorf("%s: %v, want %s on %q", what, err, code, field)
	}
}

// An event goes into the partition of its entity, as it came, and the token names exactly the
// places of the batch.
func TestAppend(t *testing.T) {
	d := newDock(t, source.Options{AutoCreate: true})
	r := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		first := d.log.RawEnd()
		b := d.NewBatch()
		var raw []string
		var keys []freshet.Key
		for range 1 + r.IntN(12) {
			k := freshet.Key{Collection: []string{"default", "c"}[r.IntN(2)], Namespace: []string{"default", "n é"}[r.IntN(2)], Entity: fmt.Sprint("e/", r.IntN(40))}
			keys = append(keys, k)
			raw = append(raw, fmt.Sprintf(` {"entity_id":"e\/%s","namespace":%q, "collection":%q,"payload":{"text":"x"}} `, k.Entity[2:], k.Namespace, k.Collection))
			if err := b.Add([]byte(raw[len(raw)-1]), journal.Header{Name: "h", Value: []byte("v")}); err != nil {
				t.Fatal(err)
			}
		}
		if b.Len() != len(raw) || b.Bytes() == 0 {
			t.Errorf("a batch of %d events has %d, %d bytes", len(raw), b.Len(), b.Bytes())
		}
		token, err := b.Append(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		b.Release()

		spans := map[int32]freshet.Span{}
		for i, rec := range d.records(first) {
			p := wire.Partition(keys[i], partitions)
			if string(rec.Value) != raw[i] || rec.Partition != p || rec.Offset != first+int64(i) || string(rec.Headers[0].Value) != "v" {
				t.Fatalf("record %d is %+v, want %s in partition %d", i, rec, raw[i], p)
			}
			s, ok := spans[p]
			if !ok {
				s = freshet.Span{Topic: freshet.TopicRaw, Partition: p, First: rec.Offset}
			}
			s.Last = rec.Offset
			spans[p] = s
		}
		want := freshet.Token{Log: d.log.ID()}
		for p := range int32(partitions) {
			if s, ok := spans[p]; ok {
				want.Spans = append(want.Spans, s)
			}
		}
		if !reflect.DeepEqual(token, want) {
			t.Fatalf("the token is %+v, want %+v", token, want)
		}
		if parsed, err := wire.ParseToken(wire.TokenString(token)); err != nil || !reflect.DeepEqual(parsed, token) {
			t.Fatalf("as a string the token is %+v, %v", parsed, err)
		}
	}
}

// A refused event leaves the batch as it was; an empty batch is nothing.
func TestRefusedEvents(t *testing.T) {
	d := newDock(t, source.Options{Limits: source.Limits{EventBytes: 100}})
	b := d.NewBatch()
	defer b.Release()
	for _, c := range []struct {
		raw   string
		code  freshet.Code
		field string
	}{
		{`{"entity_id":"` + strings.Repeat("x", 100) + `"}`, freshet.CodeTooLarge, ""},
		{`nonsense`, freshet.CodeInvalidJSON, ""},
		{`[]`, freshet.CodeInvalidJSON, ""},
		{"{\"entity_id\":\"\xff\"}", freshet.CodeInvalidUTF8, ""},
		{`{"payload":{}}`, freshet.CodeMissingField, "entity_id"},
		{`{"entity_id":""}`, freshet.CodeInvalidField, "entity_id"},
		{`{"entity_id":"a","collection":"nowhere"}`, freshet.CodeUnknownCollection, "collection"},
		{`{"entity_id":"a","op":"patch","order":1}`, freshet.CodeOrderMismatch, "order"},
		{`{"entity_id":"a","x":1}`, freshet.CodeUnknownField, "x"},
	} {
		d.refuses(c.raw, b.Add([]byte(c.raw)), c.code, c.field)
	}
	if b.Len() != 0 || b.Bytes() != 0 {
		t.Errorf("refused events leave %d events, %d bytes", b.Len(), b.Bytes())
	}
	token, err := b.Append(context.Background())
	if err != nil || len(token.Spans) != 0 || token.Log != d.log.ID() || d.log.RawEnd() != 0 {
		t.Errorf("an empty batch gives %+v, %v, the log ends at %d", token, err, d.log.RawEnd())
	}
	// What is left to processing: the payload, the vector's numbers.
	for _, raw := range []string{`{"entity_id":"a"}`, `{"entity_id":"a","payload":[]}`, `{"entity_id":"a","vector":["x"]}`} {
		if err := b.Add([]byte(raw)); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// An event may be as large as the limit says, and no larger.
func TestEventBytes(t *testing.T) {
	raw := []byte(`{"entity_id":"abc"}`)
	for limit, ok := range map[int]bool{len(raw) - 1: false, len(raw): true} {
		d := newDock(t, source.Options{Limits: source.Limits{EventBytes: limit}})
		b := d.NewBatch()
		if err := b.Add(raw); (err == nil) != ok || d.EventBytes() != limit {
			t.Errorf("%d bytes with a limit of %d: %v", len(raw), limit, err)
		}
		b.Release()
	}
	if n := newDock(t, source.Options{}).EventBytes(); n != 4<<20 {
		t.Error("the default is", n)
	}
}

func TestLimitsAreValidated(t *testing.T) {
	for _, c := range []struct {
		limits source.Limits
		want   string
	}{
		{source.Limits{}, ""},
		{source.Limits{EventBytes: source.MaxEventBytes, BacklogBytes: 1, FreeDiskBytes: 1}, ""},
		{source.Limits{EventBytes: source.MaxEventBytes + 1}, "limits.event_bytes: 33554433"},
		{source.Limits{EventBytes: -1}, "limits.event_bytes: -1"},
		{source.Limits{BacklogBytes: -2}, "limits.backlog_bytes: -2"},
		{source.Limits{FreeDiskBytes: -3}, "limits.free_disk_bytes: -3"},
	} {
		err := c.limits.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.limits, err)
		}
	}
}

// A collection is made with its first event, for events that are not decided yet.
func TestAutoCreate(t *testing.T) {
	d := newDock(t, source.Options{AutoCreate: true})
	d.decided.Store(41)
	b := d.NewBatch()
	defer b.Release()
	raw := []byte(`{"entity_id":"a","collection":"new"}`)
	if err := b.Add(raw); err != nil {
		t.Fatal(err)
	}
	clear(raw) // the catalog must not keep the event's bytes
	got, ok := d.catalog.Get("new")
	want := control.Collection{Name: "new", Model: "m", Dim: 4, Metric: "cosine", Origin: "auto", Since: 42}
	if !ok || got != want {
		t.Errorf("the collection is %+v, want %+v", got, want)
	}
	d.refuses("a delete in a collection that is not there", b.AddDelete(freshet.Key{Collection: "x", Namespace: "n", Entity: "e"}, "", 0), freshet.CodeUnknownCollection, "collection")
}

// With a mapping any object is taken, as it is; which entity it is of is not known yet.
func TestMapped(t *testing.T) {
	d := newDock(t, source.Options{Mapped: true, AutoCreate: true})
	b := d.NewBatch()
	defer b.Release()
	for _, raw := range []string{`{}`, `{"collection":"x","entity_id":5}`, ` {"a":[1]} `} {
		if err := b.Add([]byte(raw)); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
	for _, raw := range []string{`5`, `[]`, `{"a":}`, `{} {}`, ``} {
		d.refuses(raw, b.Add([]byte(raw)), freshet.CodeInvalidJSON, "")
	}
	if len(d.catalog.All()) != 1 {
		t.Error("a mapped event has made a collection", d.catalog.All())
	}
	if err := b.AddDelete(freshet.Key{Collection: "default", Namespace: "n", Entity: "e<&>/é"}, "id", 7); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Append(context.Background()); err != nil {
		t.Fatal(err)
	}
	records := d.records(0)
	for i, rec := range records {
		marked := len(rec.Headers) == 1 && rec.Headers[0].Name == freshet.HeaderDefaultEvent
		if marked != (i == 3) || rec.Partition < 0 || rec.Partition >= partitions {
			t.Errorf("record %d is %+v", i, rec)
		}
	}
}

// A delete is an event of the default mapping that says all that is known.
func TestAddDelete(t *testing.T) {
	d := newDock(t, source.Options{})
	b := d.NewBatch()
	defer b.Release()
	key := freshet.Key{Collection: "default", Namespace: "n", Entity: "e/é\""}
	if err := b.AddDelete(key, "id", 7, journal.Header{Name: "h", Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	if err := b.AddDelete(key, "", 0); err != nil {
		t.Fatal(err)
	}
	token, err := b.Append(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	p := wire.Partition(key, partitions)
	if want := []freshet.Span{{Topic: freshet.TopicRaw, Partition: p, First: 0, Last: 1}}; !reflect.DeepEqual(token.Spans, want) {
		t.Errorf("the token is %+v, want %+v", token.Spans, want)
	}
	records := d.records(0)
	if got, want := string(records[0].Value), `{"event_id":"id","entity_id":"e/é\"","op":"delete","order":7,"collection":"default","namespace":"n"}`; got != want {
		t.Errorf("the event is %s, want %s", got, want)
	}
	if got, want := string(records[1].Value), `{"entity_id":"e/é\"","op":"delete","collection":"default","namespace":"n"}`; got != want {
		t.Errorf("the event is %s, want %s", got, want)
	}
	if len(records[0].Headers) != 1 || len(records[1].Headers) != 0 {
		t.Errorf("headers are %+v and %+v", records[0].Headers, records[1].Headers)
	}
	for i, rec := range records { // the checks of intake let it pass
		if err := b.Add(rec.Value); err != nil {
			t.Errorf("record %d: %v", i, err)
		}
	}
}

// Room looks at the backlog, and again after a while.
func TestRoom(t *testing.T) {
	d := newDock(t, source.Options{Limits: source.Limits{BacklogBytes: 100}})
	if err := d.Room(); err != nil {
		t.Fatal(err)
	}
	b := d.NewBatch()
	defer b.Release()
	for range 10 {
		if err := b.Add([]byte(`{"entity_id":"abc","payload":{"text":"some text"}}`)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Append(context.Background()); err != nil {
		t.Fatal(err)
	}
	until(t, "a refusal", func() bool { return d.Room() != nil })
	d.refuses("backlog", d.Room(), freshet.CodeBacklogFull, "")
	d.decided.Store(9)
	until(t, "room", func() bool { return d.Room() == nil })
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within 20 s", what)
		}
	}
}

// A released batch comes back empty.
func TestRelease(t *testing.T) {
	d := newDock(t, source.Options{})
	for i := range 3 {
		b := d.NewBatch()
		if b.Len() != 0 || b.Bytes() != 0 {
			t.Fatalf("batch %d begins with %d events", i, b.Len())
		}
		if err := b.Add([]byte(`{"entity_id":"a"}`)); err != nil {
			t.Fatal(err)
		}
		token, err := b.Append(context.Background())
		if err != nil || len(token.Spans) != 1 || token.Spans[0].First != int64(i) || token.Spans[0].Last != int64(i) {
			t.Errorf("batch %d has the token %+v, %v", i, token, err)
		}
		b.Release()
	}
}
