package process_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/embed/chunk"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/wire"
)

// fake embeds a text as numbers that depend on it alone, counts what it is asked for, and
// refuses the texts that hold the word "bad".
type fake struct {
	mu     sync.Mutex // guards what follows
	calls  int
	texts  []string
	broken error // of every call, while it is set

	answer func(text string) freshet.Embedding // nil: as described
}

func (f *fake) Model() freshet.Model { return freshet.Model{Name: "fake", Dim: 4} }

func (f *fake) Embed(_ context.Context, inputs []freshet.Input) ([]freshet.Embedding, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.broken != nil {
		return nil, f.broken
	}
	out := make([]freshet.Embedding, len(inputs))
	for i, in := range inputs {
		f.texts = append(f.texts, in.Text)
		switch {
		case f.answer != nil:
			out[i] = f.answer(in.Text)
		case strings.Contains(in.Text, "bad"):
			out[i].Err = &freshet.Error{Code: freshet.CodeEmbedFailed, Message: "the model refuses it"}
		default:
			out[i].Vector = vectorOf(in.Text)
		}
	}
	return out, nil
}

func (f *fake) set(broken error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = broken
}

func (f *fake) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.texts...)
}

func vectorOf(text string) []float32 {
	h := fnv.New64a()
	io.WriteString(h, text)
	s := h.Sum64()
	return []float32{float32(s & 0xff), float32(s >> 8 & 0xff), float32(s >> 16 & 0xff), 1}
}

// scripted is a mapping whose events say what becomes of them; any other event is one of the
// default mapping.
type scripted struct{}

func (scripted) Describe() string { return "scripted" }

func (scripted) Map(r process.Record) ([]process.Draft, error) {
	var e struct {
		Drop, Panic, Plain, PlainDraft, NaN bool
		Embed                               *string
		Each                                []json.RawMessage
		Event                               json.RawMessage
	}
	if json.Unmarshal(r.Value, &e) != nil {
		return process.Default{}.Map(r)
	}
	key := freshet.Key{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace, Entity: "a"}
	switch {
	case e.Drop:
		return nil, nil
	case e.Panic:
		panic("the mapping has a bug")
	case e.Plain:
		return nil, errors.New("an error without a code")
	case e.PlainDraft:
		return []process.Draft{{Key: key, Op: freshet.OpUpsert}}, errors.New("an error without a code")
	case e.NaN:
		var zero float32
		key.Collection = "vec"
		return []process.Draft{{Key: key, Op: freshet.OpUpsert, Vector: []float32{1, zero / zero, 0}}}, nil
	case e.Embed != nil:
		r.Value = e.Event
		drafts, err := process.Default{}.Map(r)
		if err == nil {
			drafts[0].Embed = *e.Embed
		}
		return drafts, err
	case e.Each != nil:
		var all []process.Draft
		for _, raw := range e.Each {
			r.Value = raw
			drafts, err := process.Default{}.Map(r)
			if err != nil {
				return nil, err
			}
			all = append(all, drafts...)
		}
		return all, nil
	}
	return process.Default{}.Map(r)
}

// event reads the short form of an event: "a some text" upserts a, "-a" deletes it; the last
// words may be #ID for an event id, ^N for an order, @NAME for a collection and %SECONDS for
// the time at which the event is accepted. Raw JSON stands for itself.
func event(short string) (raw string, at int64) {
	if strings.HasPrefix(short, "{") || strings.HasPrefix(short, "default ") || strings.HasPrefix(short, "[") {
		return short, 0
	}
	e := map[string]any{}
	words := strings.Fields(short)
	for len(words) > 1 {
		last := words[len(words)-1]
		n, _ := strconv.ParseInt(last[1:], 10, 64)
		switch last[0] {
		case '#':
			e["event_id"] = last[1:]
		case '^':
			e["order"] = n
		case '@':
			e["collection"] = last[1:]
		case '%':
			at = n * 1000
		default:
			e["payload"] = map[string]any{"text": strings.Join(words[1:], " ")}
			words = words[:2]
		}
		words = words[:len(words)-1]
	}
	e["entity_id"] = words[0]
	if name, ok := strings.CutPrefix(words[0], "-"); ok {
		e["entity_id"], e["op"] = name, "delete"
	}
	b, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	return string(b), at
}

// bench is a log with a processor at work.
type bench struct {
	t       testing.TB
	fs      vfs.FS
	log     *embedded.Log
	catalog *control.Catalog
	model   *fake
	options process.SequencerOptions
	proc    *process.Processor
	now     int64 // ms, of the next append
	skip    func(disk.Site) bool
	through chan int64
	halt    func() // stops the processor
	segment int64  // bytes of a segment of the journal; 0 means the default
	deliver func(process.Batch)
	// deleting has drops delete entity by entity.
	deleting bool
}

type setting func(*bench)

func withWindow(w process.Window) setting { return func(b *bench) { b.options.Window = w } }
func withFS(fs vfs.FS) setting            { return func(b *bench) { b.fs = fs } }
func withSmallSegments(b *bench)          { b.segment = 1 }
func withDeliver(f func(process.Batch)) setting {
	return func(b *bench) { b.deliver = f }
}
func withDeleting(b *bench)   { b.deleting = true }
func withAutoCreate(b *bench) { b.options.AutoCreate = true }
func withSplitter(o chunk.Options) setting {
	return func(b *bench) { b.options.Splitter = o }
}

func newBench(t testing.TB, settings ...setting) *bench {
	t.Helper()
	b := &bench{t: t, fs: vfs.NewMem(), model: &fake{}, now: 1_000_000}
	b.options = process.SequencerOptions{Mapper: scripted{}, Revision: 1, Window: process.DefaultWindow}
	for _, set := range settings {
		set(b)
	}
	b.open()
	t.Cleanup(b.close)
	return b
}

func (b *bench) open() {
	b.t.Helper()
	var err error
	b.log, err = embedded.Open("data", embedded.Options{FS: disk.New(b.fs, b.skip), Partitions: 4,
		CacheBytes: 1 << 20, SegmentBytes: b.segment, Now: func() time.Time { return time.UnixMilli(b.now) }})
	if err != nil {
		b.t.Fatal(err)
	}
	if b.catalog, err = control.Open(b.log); err != nil {
		b.t.Fatal(err)
	}
	for _, c := range []control.Collection{
		{Name: freshet.DefaultCollection, Model: "fake", Dim: 4, Metric: "cosine", Origin: "default"},
		{Name: "other", Model: "fake", Dim: 4, Metric: "cosine", Origin: "config"},
		{Name: "vec", Dim: 3, Metric: "cosine", Origin: "config"},
		{Name: "far", Dim: 3, Metric: "l2", Origin: "config"},
	} {
		if err := b.catalog.Declare(c); err != nil {
			b.t.Fatal(err)
		}
	}
	b.options.Collections = b.catalog
	b.options.Embedders = map[string]freshet.Embedder{"fake": b.model}
	b.start()
}

// start runs a processor from where the last one stopped.
func (b *bench) start() {
	b.t.Helper()
	through := make(chan int64, 100_000)
	proc, err := process.New(process.Options{Log: b.log, Sequencer: b.options, Logger: slog.New(slog.DiscardHandler), DropByDeleting: b.deleting,
		Deliver: func(_ context.Context, d process.Batch) error {
			if b.deliver != nil {
				b.deliver(d)
			}
			through <- d.Through
			return nil
		}})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- proc.Run(ctx) }()
	b.proc, b.through = proc, through
	b.halt = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error("the processor ended:", err)
		}
	})
}

func (b *bench) close() {
	b.halt()
	if err := b.log.Close(); err != nil {
		b.t.Error(err)
	}
}

// append makes events durable as one frame of the journal, which is read as one batch.
func (b *bench) append(events ...string) {
	b.t.Helper()
	var batch journal.Batch
	for _, short := range events {
		raw, at := event(short)
		if at != 0 {
			b.now = at
		}
		raw, marked := strings.CutPrefix(raw, "default ")
		if marked {
			batch.Add(0, nil, []byte(raw), journal.Header{Name: freshet.HeaderDefaultEvent, Value: []byte{1}})
			continue
		}
		batch.Add(0, nil, []byte(raw))
	}
	if _, err := b.log.AppendRaw(context.Background(), &batch); err != nil {
		b.t.Fatal(err)
	}
}

// settle waits until everything in the log is decided.
func (b *bench) settle() {
	b.t.Helper()
	for b.proc.Stats.Position.Load() < b.log.RawEnd() {
		select {
		case <-b.through:
		case <-time.After(2 * time.Minute):
			b.t.Fatalf("position %d of %d is reached after 2 minutes", b.proc.Stats.Position.Load(), b.log.RawEnd())
		}
	}
}

// send has events decided, each group of them as one batch.
func (b *bench) send(groups ...[]string) {
	b.t.Helper()
	for _, g := range groups {
		b.append(g...)
		b.settle()
	}
}

// one makes every event a group of its own.
func oneByOne(events []string) [][]string {
	groups := make([][]string, len(events))
	for i, e := range events {
		groups[i] = []string{e}
	}
	return groups
}

// state is vector.sync by key.
func (b *bench) state() map[string]freshet.Change {
	b.t.Helper()
	all := map[string]freshet.Change{}
	err := b.log.Scan(freshet.TopicSync, nil, nil, func(r broker.Record) error {
		key, err := wire.ParseKey(r.Key)
		if err != nil {
			return err
		}
		c, err := wire.DecodeChange(key, append([]byte(nil), r.Value...), wire.Points)
		name := key.Entity
		if key.Collection != freshet.DefaultCollection {
			name += "@" + key.Collection
		}
		all[name] = c
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

// dead is the dead letters as "offset/ordinal stage class", in order.
func (b *bench) dead() []string {
	b.t.Helper()
	var all []string
	for _, l := range b.letters() {
		all = append(all, fmt.Sprintf("%d/%d %s %s", l.Position.Offset, l.Ordinal, l.Stage, l.Class))
	}
	return all
}

func (b *bench) letters() (all []freshet.DeadLetter) {
	b.t.Helper()
	err := b.log.Scan(freshet.TopicDead, nil, nil, func(r broker.Record) error {
		l, err := wire.DecodeDeadLetter(r.Value)
		all = append(all, l)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

// outcomes names the totals that are not zero.
func (b *bench) outcomes() string {
	s := &b.proc.Stats
	var out []string
	for _, o := range []struct {
		name string
		n    int64
	}{{"applied", s.Applied.Load()}, {"deleted", s.Deleted.Load()}, {"unchanged", s.Unchanged.Load()},
		{"superseded", s.Superseded.Load()}, {"repeated", s.Repeated.Load()}, {"dropped", s.Dropped.Load()}, {"dead", s.Dead.Load()}, {"expired", s.Expired.Load()}, {"replayed", s.Replayed.Load()}} {
		if o.n != 0 {
			out = append(out, fmt.Sprintf("%s %d", o.name, o.n))
		}
	}
	return strings.Join(out, ", ")
}

// audit folds the log anew.
func (b *bench) audit() *freshet.AuditReport {
	b.t.Helper()
	report := &freshet.AuditReport{}
	if err := process.Audit(context.Background(), b.log, b.options, report); err != nil {
		b.t.Fatal("audit:", err)
	}
	return report
}

func (b *bench) mustBeClean() {
	b.t.Helper()
	if r := b.audit(); !r.Clean() {
		b.t.Errorf("the audit finds %d differences: %+v", r.Found, r.Differences)
	}
}
