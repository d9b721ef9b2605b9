package process

import (
	"bytes"
	"fmt"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/wire"
)

// adoptBatch is how many entries are written at once.
const adoptBatch = 10_000

// Adopt makes the tables the truth of all records of events.raw up to its end: they are lost, and an audit begins with what
// vector.sync has. It is for a log that nobody else uses. When it is interrupted it is to be repeated.
func Adopt(log broker.Log) error {
	a := &adopter{log: log, tx: log.Begin()}
	err := a.tx.DeleteTableRange(broker.TableBase, nil, []byte{0xff})
	if err == nil {
		err = log.ScanTable(broker.TableProcess, nil, nil, func(k, v []byte) error {
			if k[0] == 'd' { // of dead letters, for audits of what is lost
				return nil
			}
			return a.set(k, v)
		})
	}
	if err == nil {
		err = log.Scan(freshet.TopicSync, nil, nil, a.entity)
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
	log broker.Log
	tx  broker.Txn
	n   int
}

func (a *adopter) set(k, v []byte) error {
	if err := a.tx.SetTable(broker.TableBase, k, v); err != nil {
		return err
	}
	if a.n++; a.n%adoptBatch > 0 {
		return nil
	}
	return a.commit()
}

func (a *adopter) commit() error {
	err := a.tx.CommitDurable(disk.RetentionState)
	a.tx = a.log.Begin()
	return err
}

// entity takes in the state of an entity. One that can't be read is left out: the audit names it.
func (a *adopter) entity(r broker.Record) error {
	key, err := wire.ParseKey(r.Key)
	if err != nil {
		return nil
	}
	c, err := wire.DecodeChange(key, bytes.Clone(r.Value), wire.Points)
	if err != nil {
		return nil
	}
	d := Decision{Change: c, ready: len(c.Points) > 0 && c.Points[0].Model == ""}
	if len(c.Points) > 0 {
		d.PointsDigest = wire.PointsDigest(c.Points)
	}
	e := (&folded{}).next(&d)
	return a.set(baseKey(r.Key), e.append(nil))
}
