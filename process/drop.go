package process

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/wire"
)

// Drop is the command that empties a namespace of a collection, or without one all of it. Every entity whose version lies
// below it counts as if it had never existed, and no event id that was remembered before it counts. Events behind it start
// anew; one from before it that comes late, a dead letter, has no effect.
type Drop struct {
	Collection string `json:"collection"`
	Namespace  string `json:"namespace,omitempty"`
}

func (*Drop) kind() string { return "drop" }

func (c *Drop) shard() freshet.Shard {
	return freshet.Shard{Collection: c.Collection, Namespace: c.Namespace}
}

func (*Drop) say(*plan) {}

// do implements deed.
func (c *Drop) do(s *Sequencer, p *plan, m *mapped, _ spot, _ *made) error {
	name := c.shard()
	for _, e := range p.order {
		if e.key.Collection == name.Collection && (name.Namespace == "" || e.key.Namespace == name.Namespace) {
			*e = pending{key: e.key, replaces: e.replaces, head: freshet.Change{Key: e.key}}
		}
	}
	drops := maps.Clone(p.facts.Drops)
	if drops == nil {
		drops = map[freshet.Shard]Dropped{}
	}
	drops[name] = Dropped{Offset: m.record.Position.Offset, Number: s.state.NextID() + uint64(len(p.seen))}
	p.facts.Drops, p.told = drops, true
	p.drops = append(p.drops, name)
	return nil
}

// Dropped says from where on a shard was begun anew.
type Dropped struct {
	Offset int64  `json:"offset"` // of the command
	Number uint64 `json:"number"` // that the next event id was to get
}

// dropped is the last drop that a shard, or its collection, has been through.
func (f *Facts) dropped(name freshet.Shard) Dropped {
	d := f.Drops[name]
	if all := f.Drops[freshet.Shard{Collection: name.Collection}]; all.Offset > d.Offset {
		d = all
	}
	return d
}

// predates reports whether an event is from before the drop of its shard.
func (f *Facts) predates(key freshet.Key, v freshet.Version) bool {
	return len(f.Drops) > 0 && v.Offset < f.dropped(key.Shard()).Offset
}

// emptied reports whether a state is the deletion that a drop has put in the place of an entity. A drop at offset 0 has found none, and
// 0 stands for no drop too.
func (f *Facts) emptied(c *freshet.Change) bool {
	if len(f.Drops) == 0 || !c.Deleted() || c.Version.Offset == 0 {
		return false
	}
	return c.Version.Offset == f.dropped(c.Key.Shard()).Offset
}

// forgets reports whether an event id with a number was remembered before the drop of its shard.
func (f *Facts) forgets(key freshet.Key, number uint64) bool {
	return len(f.Drops) > 0 && number < f.dropped(key.Shard()).Number
}

const factDrop = "fdrop"

// parseDrop takes in an entry of the table.
func (f *Facts) parseDrop(marker, value []byte) error {
	name, ok := wire.ParseDrop(marker)
	if !ok {
		return fmt.Errorf("the drop of %x is damaged", marker)
	}
	var d Dropped
	if err := json.Unmarshal(value, &d); err != nil {
		return err
	}
	if f.Drops == nil {
		f.Drops = map[freshet.Shard]Dropped{}
	}
	f.Drops[name] = d
	return nil
}

// stageDrops adds the drops of a batch to the facts in its transaction.
func (t *factTable) stageDrops(tx broker.Txn, d *Decided) error {
	for _, name := range d.Drops {
		v, err := json.Marshal(d.Facts.Drops[name])
		if err != nil {
			return err
		}
		if err := tx.SetTable(t.table, wire.AppendDrop([]byte(factDrop), name), v); err != nil {
			return err
		}
	}
	return nil
}
