package bench

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/broker/journal"
)

// ReadBack says what a log holds of what was acknowledged, after its server was killed.
type ReadBack struct {
	Events  int64   `json:"events"`  // acknowledged
	Missing int64   `json:"missing"` // of these, not in the log
	Extra   int64   `json:"extra"`   // in the log, and not acknowledged
	Seconds float64 `json:"seconds"` // to read and count them
}

// tally counts how often each body was acknowledged.
type tally struct{ bodies []atomic.Int64 }

func newTally(bodies int) *tally { return &tally{make([]atomic.Int64, bodies)} }

// note counts request number i, if all of its events were accepted.
func (t *tally) note(i, accepted int) {
	if accepted == batchEvents {
		t.bodies[i%len(t.bodies)].Add(1)
	}
}

// readBack reads every event of a data folder, whose server is gone.
func (t *tally) readBack(ctx context.Context, data string) (r ReadBack, err error) {
	began := time.Now()
	log, err := embedded.Open(data, embedded.Options{})
	if err != nil {
		return r, err
	}
	defer log.Close()
	reader := log.ReadRaw(log.RawFirst())
	defer reader.Close()
	counts := make([]int64, len(t.bodies)*batchEvents)
	var records []journal.Record
	for reader.Offset() < log.RawEnd() {
		if records, err = reader.Next(ctx, records[:0], 8<<20); err != nil {
			return r, err
		}
		for i := range records {
			n, err := eventNumber(records[i].Value)
			if err != nil || n >= len(counts) {
				return r, fmt.Errorf("record %d was never sent: %.80q", records[i].Offset, records[i].Value)
			}
			counts[n]++
		}
	}
	for n, have := range counts {
		want := t.bodies[n/batchEvents].Load()
		r.Events += want
		r.Missing += max(0, want-have)
		r.Extra += max(0, have-want)
	}
	r.Seconds = round(time.Since(began).Seconds())
	return r, nil
}

// eventNumber is the number in the event id of an event of a body.
func eventNumber(event []byte) (int, error) {
	const mark, digits = "event-", 8
	at := bytes.Index(event, []byte(mark)) + len(mark)
	if at < len(mark) || at+digits > len(event) {
		return 0, strconv.ErrSyntax
	}
	return strconv.Atoi(string(event[at : at+digits]))
}
