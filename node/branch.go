package node

import (
	"encoding/binary"
	"fmt"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/wire"
)

// branch writes the states, tables and dead letters of a log into the partitions that they have in another layout of it: each new
// partition is split off an old one, with whose history it goes on. An entity's records go to its partition; what does not say whose it
// is (event ids, what commands have said) goes to all that are split off. The audit base of each becomes what stands there.
type branch struct {
	to      *kafka.Relayout
	catalog *control.Catalog
	state   *embedded.State
	// old is the number of partitions that the state's tables are of; 0 = they are those of a log with one sequence, which leaves its place.
	old   int
	now   int     // number of partitions
	ends  []int64 // of the old layout, or of the log with one sequence
	whole bool    // what stays is written as well: its topics are empty, or have other things
	topic string  // events.keyed, where the log had one sequence
}

// Steps of a branch, in order; places in it begin with them.
const (
	branchBase byte = iota + 1
	branchEntities
	branchTables
	branchRouted
	branchLetters
	branchPositions
	branchLeave
)

// place is one in the order of what a branch writes.
func (b *branch) place(step byte, old int32, key []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{step}, uint32(old)), key...)
}

// run writes everything that is not written yet.
func (b *branch) run() error {
	for _, step := range []func() error{b.clearBase, b.entities, b.tables, b.routed, b.letters, b.positions, b.leave} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// parents are the partitions that partitions are split off.
func (b *branch) parents() []int32 {
	all := make([]int32, max(1, b.old))
	for p := range all {
		all[p] = int32(p)
	}
	return all
}

// parent is the one that a partition is split off.
func (b *branch) parent(p int32) int32 { return p % int32(max(1, b.old)) }

// children are the partitions that are split off an old one, itself among them if it stays.
func (b *branch) children(old int32) (all []int32) {
	for p := old; p < int32(b.now); p += int32(max(1, b.old)) {
		all = append(all, p)
	}
	return all
}

// stays reports whether a partition is the one that it is split off, and has what it is to have.
func (b *branch) stays(p int32) bool { return int(p) < b.old && !b.whole }

// home is the partition of an entity by its key; ok is false for one that others write: that has none.
func (b *branch) home(key []byte) (p int32, ok bool, err error) {
	k, err := wire.ParseKey(key)
	if err != nil {
		return 0, false, err
	}
	col, _ := b.catalog.Get(k.Collection)
	return wire.Partition(k, b.now), !col.External, nil
}

// prefix is what the tables of an old partition begin with in the state.
func (b *branch) prefix(old int32) []byte {
	if b.old == 0 {
		return nil
	}
	return kafka.Prefix(old)
}

// scanTable calls yield for the entries of a table of an old partition.
func (b *branch) scanTable(t broker.Table, old int32, yield func(key, value []byte) error) error {
	lower := b.prefix(old)
	var upper []byte
	if b.old > 0 {
		upper = kafka.Prefix(old + 1)
	}
	return b.state.ScanTable(t, lower, upper, func(k, v []byte) error { return yield(k[len(lower):], v) })
}

// clearBase takes the old audit bases away.
func (b *branch) clearBase() error {
	if b.old == 0 {
		return nil
	}
	if err := b.rewrite(branchBase, broker.TableBase, func([]byte) []byte { return nil }); err != nil {
		return fmt.Errorf("clear the audit base: %w", err)
	}
	return nil
}

// rewrite writes the entries of a table of the old partitions as they are to be; nil takes one away.
func (b *branch) rewrite(step byte, t broker.Table, as func(value []byte) []byte) error {
	for _, old := range b.parents() {
		err := b.scanTable(t, old, func(k, v []byte) error {
			write, err := b.to.At(b.place(step, old, k))
			if write {
				b.to.SetTable(t, old, k, as(v))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// entities writes the latest states, and of each the entry of the audit base.
func (b *branch) entities() error {
	return b.state.Scan(freshet.TopicSync, nil, nil, func(r broker.Record) error {
		write, err := b.to.At(b.place(branchEntities, 0, r.Key))
		if err != nil || !write {
			return err
		}
		p, ok, err := b.home(r.Key)
		if err != nil || !ok {
			return err
		}
		if key, value, ok := process.BaseEntry(r); ok {
			b.to.SetTable(broker.TableBase, p, key, value)
		}
		if b.stays(p) {
			return nil
		}
		return b.to.Put(freshet.TopicSync, p, r.Key, r.Value)
	})
}

// tables writes the table of processing, and what of it the audit base has.
func (b *branch) tables() error {
	for _, old := range b.parents() {
		err := b.scanTable(broker.TableProcess, old, func(k, v []byte) error {
			write, err := b.to.At(b.place(branchTables, old, k))
			if err != nil || !write {
				return err
			}
			entity, based := process.Belongs(k)
			if !based { // what became of dead letters, for audits that begin before the ends
				return nil
			}
			for _, p := range b.children(old) {
				if entity != nil {
					home, _, err := b.home(entity)
					if err != nil {
						return err
					}
					if home != p {
						continue
					}
				}
				if !b.stays(p) {
					b.to.SetTable(broker.TableProcess, p, k, v)
				}
				b.to.SetTable(broker.TableBase, p, k, v)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read the table of processing: %w", err)
		}
	}
	return nil
}

// routed writes up to where the records of foreign producers are forwarded, which nothing else knows for sure.
func (b *branch) routed() error {
	if b.old == 0 || !b.whole {
		return nil
	}
	if err := b.rewrite(branchRouted, broker.TableRouted, func(v []byte) []byte { return v }); err != nil {
		return fmt.Errorf("read what is forwarded: %w", err)
	}
	return nil
}

// scanLetters calls yield for the dead letters of an old partition, with the partition that each has now.
func (b *branch) scanLetters(old int32, yield func(key []byte, l *freshet.DeadLetter, now int32) error) error {
	lower := b.prefix(old)
	var upper []byte
	if b.old > 0 {
		upper = kafka.Prefix(old + 1)
	}
	return b.state.Scan(freshet.TopicDead, lower, upper, func(r broker.Record) error {
		l, err := wire.DecodeDeadLetter(r.Value)
		if err != nil {
			return err
		}
		now := old
		if b.old == 0 {
			now = l.Position.Partition % int32(b.now)
		}
		if l.Key.Entity != "" {
			if home := wire.Partition(l.Key, b.now); b.parent(home) == old {
				now = home
			}
		}
		return yield(r.Key[len(lower):], &l, now)
	})
}

func (b *branch) letters() error {
	for _, old := range b.parents() {
		err := b.scanLetters(old, func(key []byte, l *freshet.DeadLetter, now int32) error {
			if b.stays(now) {
				return nil
			}
			write, err := b.to.At(b.place(branchLetters, old, key))
			if err != nil || !write {
				return err
			}
			if l.Position.Partition = now; b.old == 0 {
				l.Position.Topic = b.topic
			}
			return b.to.Put(freshet.TopicDead, now, key, wire.AppendDeadLetter(nil, l))
		})
		if err != nil {
			return fmt.Errorf("read the dead letters: %w", err)
		}
	}
	return nil
}

// positions says that all before the ends is decided, and folded.
func (b *branch) positions() error {
	for p := range int32(b.now) {
		write, err := b.to.At(b.place(branchPositions, p, nil))
		if err != nil {
			return err
		}
		if write {
			b.to.SetDecided(p, b.ends[b.parent(p)])
		}
	}
	return nil
}

// leave takes out of the old partitions what is in another one now.
func (b *branch) leave() error {
	if b.old == 0 || b.whole {
		return nil
	}
	err := b.state.Scan(freshet.TopicSync, nil, nil, func(r broker.Record) error {
		p, ok, err := b.home(r.Key)
		if err != nil || !ok || b.stays(p) {
			return err
		}
		write, err := b.to.At(b.place(branchLeave, 0, r.Key))
		if err != nil || !write {
			return err
		}
		return b.to.Put(freshet.TopicSync, b.parent(p), r.Key, nil)
	})
	for _, old := range b.parents() {
		if err == nil {
			err = b.scanTable(broker.TableProcess, old, func(k, _ []byte) error {
				entity, _ := process.Belongs(k)
				if entity == nil {
					return nil
				}
				p, _, err := b.home(entity)
				if err != nil || b.stays(p) {
					return err
				}
				write, err := b.to.At(b.place(branchLeave+1, old, k))
				if write {
					b.to.SetTable(broker.TableProcess, old, k, nil)
				}
				return err
			})
		}
		if err == nil {
			err = b.scanLetters(old, func(key []byte, _ *freshet.DeadLetter, now int32) error {
				if b.stays(now) {
					return nil
				}
				write, err := b.to.At(b.place(branchLeave+2, old, key))
				if err != nil || !write {
					return err
				}
				return b.to.Put(freshet.TopicDead, old, key, nil)
			})
		}
	}
	if err != nil {
		return fmt.Errorf("clear the old partitions: %w", err)
	}
	return nil
}
