package process

import (
	"bytes"
	"fmt"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/wire"
)

// adoptBatch is how many entries are written at once, and adoptBytes about how many bytes.
const (
	adoptBatch = 10_000
	adoptBytes = 4 << 20
)

// Adopt makes the tables the truth of all records of events.raw up to its end: they are lost, and an audit begins with what
// vector.sync has. It is for a log that nobody else uses. When it is interrupted it is to be repeated.
func Adopt(log broker.Log) error {
	view := log.View()
	defer view.Close()
	a := &adopter{log: log, tx: log.Begin()}
	err := a.tx.DeleteTableRange(broker.TableBase, nil, []byte{0xff})
	if err == nil {
		err = a.adopt(view)
	}
	for _, group := range []string{BaseGroup, Group} {
		if err == nil {
			err = a.tx.Move(log.Join(group), freshet.TopicRaw, 0, log.RawEnd())
		}
		if err == nil {
			err = a.commit()
		}
	}
	if err != nil {
		a.tx.Abort()
		return fmt.Errorf("take the tables for the truth: %w", err)
	}
	return nil
}

// adopter writes the table of the audit base.
type adopter struct {
	log   broker.Log
	tx    broker.Txn
	n     int
	bytes int
	rest  func() error // called between two transactions, if it is not nil
}

// adopt writes what a view has.
func (a *adopter) adopt(view broker.View) error {
	err := view.ScanTable(broker.TableProcess, nil, nil, func(k, v []byte) error {
		if _, based := Belongs(k); !based { // of dead letters, for audits of what is lost
			return nil
		}
		return a.set(k, v)
	})
	if err != nil {
		return err
	}
	return view.Scan(freshet.TopicSync, a.entity)
}

func (a *adopter) set(k, v []byte) error {
	if err := a.tx.SetTable(broker.TableBase, k, v); err != nil {
		return err
	}
	a.n, a.bytes = a.n+1, a.bytes+len(k)+len(v)
	if a.n < adoptBatch && a.bytes < adoptBytes {
		return nil
	}
	if err := a.commit(); err != nil || a.rest == nil {
		return err
	}
	return a.rest()
}

func (a *adopter) commit() error {
	a.n, a.bytes = 0, 0
	err := a.tx.CommitDurable(disk.RetentionState)
	a.tx = a.log.Begin()
	return err
}

// entity takes in the state of an entity. One that can't be read is left out: the audit names it.
func (a *adopter) entity(r broker.Record) error {
	key, value, ok := BaseEntry(r)
	if !ok {
		return nil
	}
	return a.set(key, value)
}

// BaseEntry is the entry of the audit base of which a record of vector.sync is the truth; ok is false if the record can't be read.
func BaseEntry(r broker.Record) (key, value []byte, ok bool) {
	k, err := wire.ParseKey(r.Key)
	if err != nil {
		return nil, nil, false
	}
	c, err := wire.DecodeChange(k, bytes.Clone(r.Value), wire.Points)
	if err != nil {
		return nil, nil, false
	}
	d := Decision{Change: c, ready: len(c.Points) > 0 && c.Points[0].Model == ""}
	if len(c.Points) > 0 {
		d.PointsDigest = wire.PointsDigest(c.Points)
	}
	e := (&folded{}).next(&d)
	return baseKey(r.Key), e.append(nil), true
}

// Belongs says of an entry of the tables of processing or of the audit base whose it is: of one entity, with its key, or of all that
// share the table. based is false for what an audit base does not have.
func Belongs(entry []byte) (entity []byte, based bool) {
	switch entry[0] {
	case 'e':
		return entry[1:], true
	case 't':
		return entry[min(len(entry), tombstoneHead):], true
	}
	return nil, entry[0] != 'd'
}
