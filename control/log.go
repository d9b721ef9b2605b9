package control

import (
	"encoding/json"
	"fmt"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
)

// Log is a log as its catalog needs it.
type Log interface {
	// ID is the identity of the log.
	ID() freshet.LogID
	// OneSequence reports whether all records to decide have their offsets from one sequence. If not, offsets of two partitions
	// don't compare, and the catalog has a collection for all records, whenever it was made: who decides them notes where it begins.
	OneSequence() bool
	// Scan calls yield for the latest record of each key of freshet.control, in order of key. Key and Value are valid during
	// the call only.
	Scan(topic string, lower, upper []byte, yield func(broker.Record) error) error
	// CatchUp hands to take what others have written up to now.
	CatchUp(take func([]broker.Record) error) error
	// WriteControl writes the records of freshet.control that decide returns, all or none of them; they are durable when it
	// returns. One without a value removes its key, in a log that several nodes share. Where others write too, take gets first what they have written, and when another one writes between
	// decide and the write, nothing is written and all of it begins again: so decide may be called several times. An error of
	// decide ends it. take gets the written records as well. All calls of take are one after the other, in the order of the log.
	WriteControl(decide func() ([]broker.Record, error), take func([]broker.Record) error) error
}

// keyed is a record with its key; without a format it is the removal of the key.
type keyed struct {
	key string
	rec record
}

// write writes what decide says of the newest catalog. What is needed by nobody any more, as the catalog has it already, costs no
// write: but for nodes, each of which writes of itself, nothing that is recorded is ever taken back. Errors of decide are returned as they are.
func (c *Catalog) write(what string, decide func() ([]keyed, error)) error {
	if recs, err := decide(); err == nil && len(recs) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var refused error
	err := c.log.WriteControl(func() ([]broker.Record, error) {
		recs, err := decide()
		refused = err
		out := make([]broker.Record, len(recs))
		for i, r := range recs {
			if r.rec.Format == 0 {
				out[i] = broker.Record{Key: []byte(r.key)}
				continue
			}
			value, bad := json.Marshal(r.rec)
			if bad != nil {
				return nil, bad
			}
			out[i] = broker.Record{Key: []byte(r.key), Value: value}
		}
		return out, err
	}, c.Take)
	if err != nil && refused == nil {
		err = fmt.Errorf("record %s: %w", what, err)
	}
	return err
}
