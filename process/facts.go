package process

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
)

// Facts is what commands have said so far: beside the entities and the event ids all that the
// next decision depends on. It is a value; who alters what it points to copies that first.
type Facts struct {
	Purge Purge
	Drops map[freshet.Shard]Dropped // with an empty namespace: of all of a collection
}

// Purge is the command that bounds how long tombstones count. One that is older counts as if
// its entity had never existed, whether it is still stored or not.
type Purge struct {
	// Floor is an offset of events.raw: tombstones with a version below it are gone, and so no
	// upsert with a version below it may come any more.
	Floor int64 `json:"floor"`
	// Before is for collections with an order of their source, where versions say nothing about
	// age: tombstones of events that were accepted before that time, ms, are gone.
	Before int64 `json:"before,omitempty"`
}

func (*Purge) kind() string { return "purge" }

func (c *Purge) say(p *plan) {
	p.facts.Purge = Purge{Floor: max(p.facts.Purge.Floor, c.Floor), Before: max(p.facts.Purge.Before, c.Before)}
	p.told = true
}

// Gone reports whether a state of an entity counts as if it had never been.
func (f *Facts) Gone(c *freshet.Change) bool {
	if f.predates(c.Key, c.Version) || f.emptied(c) {
		return true
	}
	if c.Op != freshet.OpDelete {
		return false
	}
	if c.Version.Order > 0 {
		return c.AcceptedAt < f.Purge.Before
	}
	return c.Version.Offset < f.Purge.Floor
}

// forget takes from an entity a state that is gone.
func (p *plan) forget(e *pending) {
	if e.head.Version != (freshet.Version{}) && p.facts.Gone(&e.head) {
		fence := e.fence
		if fence == nil && e.touched && e.head.Deleted() && e.replaces != nil && !e.replaces.Change.Deleted() {
			deletion := e.head
			fence = &deletion
		}
		*e = pending{key: e.key, replaces: e.replaces, head: freshet.Change{Key: e.key}, touched: e.touched, fence: fence}
	}
}

// checkAge refuses an event that may be older than a deletion that is forgotten.
func (p *plan) checkAge(e *pending, v freshet.Version) error {
	if e.head.Version != (freshet.Version{}) || v.Order > 0 || v.Offset >= p.facts.Purge.Floor {
		return nil
	}
	return staged("sequence", &freshet.Error{Code: freshet.CodeTooOld, Field: "entity",
		Message: fmt.Sprintf("%q is not there, and deletions that the event at offset %d may be older than are forgotten (below offset %d); "+
			"send the event again as a new one if it is to hold", clip(e.key.Entity), v.Offset, p.facts.Purge.Floor)})
}

// newFacts returns the facts if the batch has altered them.
func (p *plan) newFacts() *Facts {
	if !p.told {
		return nil
	}
	return &p.facts
}

// factTable keeps the facts in a state table of the log: 'f' name → JSON.
type factTable struct {
	table broker.Table
	facts Facts
}

const factPurge = "fpurge"

func openFacts(log broker.Log, table broker.Table) (*factTable, error) {
	t := &factTable{table: table}
	if err := log.ScanTable(table, []byte{'f'}, []byte{'f' + 1}, t.facts.parse); err != nil {
		return nil, fmt.Errorf("read what commands have said: %w", err)
	}
	return t, nil
}

// parse takes in an entry of the table.
func (f *Facts) parse(key, value []byte) error {
	if marker, ok := bytes.CutPrefix(key, []byte(factDrop)); ok {
		return f.parseDrop(marker, value)
	}
	if string(key) != factPurge {
		return fmt.Errorf("%q is not known to this version of freshet; use the one that wrote it", key)
	}
	return json.Unmarshal(value, &f.Purge)
}

// Facts implements State.
func (t *factTable) Facts() Facts { return t.facts }

// stageFacts adds new facts, if there are any, to the transaction of their batch.
func (t *factTable) stageFacts(tx broker.Txn, f *Facts) error {
	if f == nil {
		return nil
	}
	v, err := json.Marshal(f.Purge)
	if err != nil {
		return err
	}
	return tx.SetTable(t.table, []byte(factPurge), v)
}

// take makes new facts count once they are committed.
func (t *factTable) take(f *Facts) {
	if f != nil {
		t.facts = *f
	}
}
