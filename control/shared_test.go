package control_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/control"
)

// sharedLog is a log that several nodes write to, each by a view of its own.
type sharedLog struct {
	mu      sync.Mutex
	records []broker.Record
}

// view is what a node has of a shared log.
type view struct {
	log    *sharedLog
	mu     sync.Mutex // one write at a time
	have   int
	before func() // called once, between decide and the write
}

func (v *view) ID() freshet.LogID { return freshet.LogID{7} }

func (v *view) OneSequence() bool { return false }

func (v *view) Scan(_ string, _, _ []byte, yield func(broker.Record) error) error {
	v.log.mu.Lock()
	defer v.log.mu.Unlock()
	for _, r := range v.log.records {
		if err := yield(r); err != nil {
			return err
		}
	}
	v.have = len(v.log.records)
	return nil
}

func (v *view) CatchUp(take func([]broker.Record) error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.catchUp(take)
}

func (v *view) catchUp(take func([]broker.Record) error) error {
	v.log.mu.Lock()
	others := v.log.records[v.have:]
	v.have = len(v.log.records)
	v.log.mu.Unlock()
	return take(others)
}

func (v *view) WriteControl(decide func() ([]broker.Record, error), take func([]broker.Record) error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for {
		if err := v.catchUp(take); err != nil {
			return err
		}
		records, err := decide()
		if err != nil || len(records) == 0 {
			return err
		}
		if f := v.before; f != nil {
			v.before = nil
			f()
		}
		v.log.mu.Lock()
		if newest := len(v.log.records) == v.have; newest {
			v.log.records = append(v.log.records, records...)
			v.have += len(records)
			v.log.mu.Unlock()
			return take(records)
		}
		v.log.mu.Unlock()
	}
}

func openShared(t *testing.T, log *sharedLog) (*control.Catalog, *view) {
	t.Helper()
	v := &view{log: log}
	c, err := control.Open(v)
	if err != nil {
		t.Fatal(err)
	}
	return c, v
}

// Nodes that know nothing of what the others have written decide on it all the same.
func TestNodesThatShareALogAgree(t *testing.T) {
	log := &sharedLog{}
	a, _ := openShared(t, log)
	b, bv := openShared(t, log)
	first := builtin
	first.Since = 9
	declare(t, a, first)
	if got, _ := a.Get("default"); got.Since != 0 {
		t.Errorf("a collection exists since offset %d, of no partition", got.Since)
	}
	other := builtin
	other.Dim = 8
	if err := b.Declare(other); err == nil {
		t.Error("two nodes have declared two collections of one name")
	}
	declare(t, b, builtin)
	declare(t, a, control.Collection{Name: "late", Dim: 3, Metric: "l2"})
	if _, ok := b.Get("late"); ok {
		t.Error("a node knows what it was not told")
	}
	if got, ok, err := b.Lookup("late"); !ok || err != nil || got.Dim != 3 {
		t.Errorf("looked up it is %+v, %v, %v", got, ok, err)
	}
	if _, ok, err := b.Lookup("never"); ok || err != nil {
		t.Errorf("a collection that nobody has made: %v, %v", ok, err)
	}

	// Both see an event that is the first to them; the other one is faster, in the middle of the write.
	bv.before = func() {
		if err := a.SettleOrder("default", control.OrderSource); err != nil {
			t.Error(err)
		}
	}
	if err := b.SettleOrder("default", control.OrderNone); !errors.Is(err, control.ErrSettled) {
		t.Errorf("settled the other way: %v", err)
	}
	if err := b.SettleOrder("default", control.OrderSource); err != nil {
		t.Errorf("settled the same way: %v", err)
	}
	if got, _ := b.Get("default"); got.Order != control.OrderSource {
		t.Errorf("the order is %q", got.Order)
	}

	was := control.Revision{Mapping: "m", Splitter: "s"}
	if _, err := a.CheckRevision(was); err != nil {
		t.Error(err)
	}
	if _, err := b.CheckRevision(control.Revision{Mapping: "other", Splitter: "s"}); !errors.Is(err, control.ErrRevision) {
		t.Errorf("another revision: %v", err)
	}
	for _, c := range []*control.Catalog{a, b} {
		if err := c.CheckEpoch(noon); err != nil || len(c.Epochs()) != 1 {
			t.Errorf("epochs %v, %v", c.Epochs(), err)
		}
	}

	var wg sync.WaitGroup
	for i := range 20 {
		for _, c := range []*control.Catalog{a, b} {
			wg.Go(func() {
				got, err := c.CreateLike(fmt.Sprintf("c%d", i), "default", 5)
				if err != nil || got.Since != 0 || got.Order != control.OrderUndecided || got.Dim != builtin.Dim {
					t.Errorf("%+v, %v", got, err)
				}
			})
		}
	}
	wg.Wait()
	written := len(log.records)
	if written != 2+1+1+1+20 {
		t.Errorf("%d records were written", written)
	}
	declare(t, a, builtin) // the newest there is, to both
	for _, c := range []*control.Catalog{a, b} {
		for i := range 20 {
			if _, err := c.CreateLike(fmt.Sprintf("c%d", i), "default", 0); err != nil {
				t.Error(err)
			}
		}
		if len(c.All()) != 22 {
			t.Errorf("%d collections", len(c.All()))
		}
	}
	if len(log.records) != written {
		t.Error("what was known was written again")
	}
}

// What others write and can't be read leaves the catalog as it was, and everything that reads goes on.
func TestTakeRefusesWhatItDoesNotKnow(t *testing.T) {
	c, _ := openShared(t, &sharedLog{})
	declare(t, c, builtin)
	good := broker.Record{Key: []byte("collection/a"), Value: []byte(`{"format":1,"name":"a","dim":3,"metric":"l2"}`)}
	for _, bad := range []broker.Record{
		{Key: []byte("generation/1"), Value: []byte(`{"format":1}`)},
		{Key: []byte("collection/a"), Value: []byte(`{"format":9}`)},
		{Key: []byte("collection/a")},
	} {
		if err := c.Take([]broker.Record{good, bad}); err == nil || !strings.Contains(err.Error(), string(bad.Key)) {
			t.Errorf("%s: error %v", bad.Key, err)
		}
		if _, ok := c.Get("a"); ok || len(c.All()) != 1 {
			t.Errorf("%s: half of it was taken: %v", bad.Key, c.All())
		}
	}
	if err := c.Take([]broker.Record{good, {Key: []byte("log"), Value: []byte(`{"format":1,"id":"00","partitions":4}`)}}); err != nil {
		t.Error(err)
	}
	if _, ok := c.Get("a"); !ok {
		t.Error("it was not taken")
	}
}
