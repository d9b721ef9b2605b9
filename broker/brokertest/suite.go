// Package brokertest is the conformance suite of the log: what processing relies on, whoever
// implements it. The interface that it tests moves to the root when there is a second one.
package brokertest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// Record is a record of the raw topic, or the latest one of a key in a compacted topic.
type Record struct {
	Partition int32
	Offset    int64
	Key       []byte
	Value     []byte
}

// Broker is a log. Its raw topic is read in order of offset; offsets increase within a
// partition, and may have gaps. The topic of the suite's transactions is compacted by key.
type Broker interface {
	// Append returns when the records are durable, with the offset of each.
	Append(ctx context.Context, records []Record) ([]int64, error)
	// Read returns records of the raw topic from an offset on, at least one: it waits for it.
	Read(ctx context.Context, from int64) ([]Record, error)
	// Latest returns the latest committed record of a key.
	Latest(key []byte) (Record, bool, error)
	// Scan yields the latest records from an offset on, in order of offset.
	Scan(from int64, yield func(Record) error) error
	// Join makes the caller the owner of a group and fences who owned it before.
	Join(group string) Member
	// Position is the next offset of a group.
	Position(group string) (int64, error)
	Begin() Txn
}

// Member is the owner of a group.
type Member any

// Txn is a transaction: all or nothing.
type Txn interface {
	Put(key, value []byte) error
	Move(m Member, next int64) error
	Commit() error
	Abort()
}

// Harness makes and breaks the broker under test.
type Harness struct {
	// Open opens the log of the test, which keeps its data between calls.
	Open func(t *testing.T) Broker
	// Crash ends the open broker, dropping all that is not durable.
	Crash func(t *testing.T)
	// Fenced reports whether an error says that the owner was deposed.
	Fenced func(error) bool
	// Group is the one group that the log has; "" when it has any.
	Group string
}

// group is the group of tests that need one.
func (h Harness) group() string { return cmp.Or(h.Group, "g") }

// timeout bounds what should take milliseconds.
const timeout = 20 * time.Second

// Run runs the suite. makeHarness makes a harness with empty data for each test.
func Run(t *testing.T, makeHarness func(t *testing.T) Harness) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"AppendedRecordsAreReadInOrder", readInOrder},
		{"ReadWaitsForTheNextRecord", readWaits},
		{"ConcurrentAppendsKeepTheirOrder", concurrentAppends},
		{"AcknowledgedRecordsSurviveACrash", survives},
		{"TransactionIsAllOrNothing", allOrNothing},
		{"AbortedTransactionLeavesNothing", aborted},
		{"PositionsMoveWithTheirEffects", positions},
		{"LatestRecordWins", latest},
		{"ScanFollowsTheOrderOfCommits", scan},
		{"DeposedOwnerIsFenced", fenced},
		{"GroupsAreIndependent", groups},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, makeHarness(t)) })
	}
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func records(n int, tag string) []Record {
	out := make([]Record, n)
	for i := range out {
		out[i] = Record{Partition: int32(i % 3), Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "%s-%d", tag, i)}
	}
	return out
}

// readAll reads n records from an offset on.
func readAll(t *testing.T, b Broker, from int64, n int) []Record {
	t.Helper()
	var all []Record
	for len(all) < n {
		got, err := b.Read(deadline(t), from)
		must(t, err)
		for _, r := range got {
			r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
			all = append(all, r)
		}
		from = all[len(all)-1].Offset + 1
	}
	return all[:n]
}

func readInOrder(t *testing.T, h Harness) {
	b := h.Open(t)
	sent := records(100, "a")
	offsets, err := b.Append(deadline(t), sent)
	must(t, err)
	more, err := b.Append(deadline(t), records(1, "b"))
	must(t, err)
	if more[0] <= offsets[99] {
		t.Errorf("offset %d of a later append is not behind %d", more[0], offsets[99])
	}
	for i, r := range readAll(t, b, offsets[0], 100) {
		if r.Offset != offsets[i] || r.Partition != sent[i].Partition || !bytes.Equal(r.Key, sent[i].Key) || !bytes.Equal(r.Value, sent[i].Value) {
			t.Fatalf("record %d is %+v, sent %+v at offset %d", i, r, sent[i], offsets[i])
		}
	}
	if r := readAll(t, b, offsets[50], 1)[0]; r.Offset != offsets[50] {
		t.Errorf("reading from %d begins at %d", offsets[50], r.Offset)
	}
}

func readWaits(t *testing.T, h Harness) {
	b := h.Open(t)
	first, err := b.Append(deadline(t), records(1, "a"))
	must(t, err)
	got := make(chan Record, 1)
	go func() {
		if r, err := b.Read(deadline(t), first[0]+1); err == nil {
			got <- r[0]
		}
		close(got)
	}()
	second, err := b.Append(deadline(t), records(1, "b"))
	must(t, err)
	if r, ok := <-got; !ok || r.Offset != second[0] {
		t.Errorf("the waiting reader got %+v, want offset %d", r, second[0])
	}
	ctx, cancel := context.WithCancel(deadline(t))
	cancel()
	if _, err := b.Read(ctx, second[0]+1); err == nil {
		t.Error("a read whose context has ended returns no error")
	}
}

func concurrentAppends(t *testing.T, h Harness) {
	b := h.Open(t)
	const writers, each = 8, 50
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			last := int64(-1)
			for i := range each {
				at, err := b.Append(deadline(t), []Record{{Partition: int32(w), Key: []byte{byte(w)}, Value: []byte{byte(i)}}})
				if err != nil || at[0] <= last {
					t.Errorf("append %d of writer %d: offset %v behind %d, %v", i, w, at, last, err)
					return
				}
				last = at[0]
			}
		})
	}
	all.Wait()
	next := map[byte]byte{}
	for _, r := range readAll(t, b, 0, writers*each) {
		if w := r.Key[0]; r.Value[0] != next[w] || r.Partition != int32(w) {
			t.Fatalf("record %d of writer %d comes where %d should", r.Value[0], w, next[w])
		}
		next[r.Key[0]]++
	}
}

func survives(t *testing.T, h Harness) {
	b := h.Open(t)
	for round := range 5 {
		offsets, err := b.Append(deadline(t), records(10, fmt.Sprint(round)))
		must(t, err)
		h.Crash(t)
		b = h.Open(t)
		for i, r := range readAll(t, b, offsets[0], 10) {
			if want := fmt.Sprintf("%d-%d", round, i); string(r.Value) != want || r.Offset != offsets[i] {
				t.Fatalf("after the crash record %d is %q at %d, want %q at %d", i, r.Value, r.Offset, want, offsets[i])
			}
		}
	}
}

func allOrNothing(t *testing.T, h Harness) {
	b := h.Open(t)
	for round := range 20 {
		tx := b.Begin()
		for k := range 10 {
			must(t, tx.Put([]byte{byte(k)}, []byte{byte(round)}))
		}
		if r, ok, err := b.Latest([]byte{0}); err != nil || ok && r.Value[0] == byte(round) {
			t.Fatalf("a put can be read before its commit: %v %v", r, err)
		}
		must(t, tx.Commit())
		if round%3 == 0 {
			h.Crash(t)
			b = h.Open(t)
		}
		var seen []byte
		for k := range 10 {
			if r, ok, err := b.Latest([]byte{byte(k)}); err != nil {
				t.Fatal(err)
			} else if ok {
				seen = append(seen, r.Value[0])
			}
		}
		if len(seen) != 0 && (len(seen) != 10 || bytes.Count(seen, seen[:1]) != 10) {
			t.Fatalf("round %d: part of a transaction is there: %v", round, seen)
		}
	}
}

func aborted(t *testing.T, h Harness) {
	b := h.Open(t)
	m := b.Join(h.group())
	tx := b.Begin()
	must(t, tx.Put([]byte("a"), []byte("1")))
	must(t, tx.Move(m, 7))
	tx.Abort()
	if _, ok, err := b.Latest([]byte("a")); ok || err != nil {
		t.Errorf("an aborted put is there: %v", err)
	}
	if p, err := b.Position(h.group()); p != 0 || err != nil {
		t.Errorf("an aborted move moved to %d: %v", p, err)
	}
}

func positions(t *testing.T, h Harness) {
	b := h.Open(t)
	_, err := b.Append(deadline(t), records(31, "a")) // a position stands behind records that exist
	must(t, err)
	for i := int64(1); i <= 30; i++ {
		m := b.Join(h.group())
		tx := b.Begin()
		must(t, tx.Put([]byte("effect"), []byte{byte(i)}))
		must(t, tx.Move(m, i))
		must(t, tx.Commit())
		if i%5 == 0 {
			h.Crash(t)
			b = h.Open(t)
		}
		p, err := b.Position(h.group())
		must(t, err)
		r, ok, err := b.Latest([]byte("effect"))
		must(t, err)
		if !ok && p != 0 || ok && int64(r.Value[0]) != p {
			t.Fatalf("the position is %d, its effect %v: they parted", p, r.Value)
		}
	}
}

func latest(t *testing.T, h Harness) {
	b := h.Open(t)
	for i := range 5 {
		tx := b.Begin()
		must(t, tx.Put([]byte("a"), []byte{byte(i)}))
		must(t, tx.Put(fmt.Appendf(nil, "b%d", i), nil))
		must(t, tx.Commit())
	}
	if r, ok, err := b.Latest([]byte("a")); err != nil || !ok || r.Value[0] != 4 {
		t.Errorf("latest is %v %v %v", r, ok, err)
	}
	if _, ok, err := b.Latest([]byte("never")); ok || err != nil {
		t.Errorf("a key that was never put: %v %v", ok, err)
	}
}

func scan(t *testing.T, h Harness) {
	b := h.Open(t)
	for _, key := range []string{"c", "a", "b", "a", "d", "c"} {
		tx := b.Begin()
		must(t, tx.Put([]byte(key), []byte("v")))
		must(t, tx.Commit())
	}
	var keys string
	last, middle := int64(-1), int64(0)
	must(t, b.Scan(0, func(r Record) error {
		if r.Offset <= last {
			t.Errorf("offset %d behind %d", r.Offset, last)
		}
		keys += string(r.Key)
		last = r.Offset
		if string(r.Key) == "a" {
			middle = r.Offset
		}
		return nil
	}))
	if keys != "badc" {
		t.Errorf("scanned %q, want each key once in order of its latest put: \"badc\"", keys)
	}
	keys = ""
	must(t, b.Scan(middle, func(r Record) error {
		keys += string(r.Key)
		return nil
	}))
	if keys != "adc" {
		t.Errorf("scanned %q from the offset of a, want \"adc\"", keys)
	}
}

func fenced(t *testing.T, h Harness) {
	b := h.Open(t)
	old := b.Join(h.group())
	tx := b.Begin()
	must(t, tx.Put([]byte("a"), []byte("zombie")))
	must(t, tx.Move(old, 5))
	b.Join(h.group())
	if err := tx.Commit(); !h.Fenced(err) {
		t.Errorf("the deposed owner's commit returns %v", err)
	}
	if _, ok, _ := b.Latest([]byte("a")); ok {
		t.Error("the deposed owner's put is there")
	}
	if p, _ := b.Position(h.group()); p != 0 {
		t.Errorf("the deposed owner moved to %d", p)
	}
}

func groups(t *testing.T, h Harness) {
	if h.Group != "" {
		t.Skip("the log has one group")
	}
	b := h.Open(t)
	for i, g := range []string{"g", "g2", "h"} {
		tx := b.Begin()
		must(t, tx.Move(b.Join(g), int64(10+i)))
		must(t, tx.Commit())
	}
	for i, g := range []string{"g", "g2", "h"} {
		if p, err := b.Position(g); err != nil || p != int64(10+i) {
			t.Errorf("group %s is at %d, want %d: %v", g, p, 10+i, err)
		}
	}
}
