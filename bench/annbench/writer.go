package annbench

import (
	"time"

	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/bench/dataset"
)

// writer replaces vectors in place at a steady rate: key i gets the vector of another row, rounds after rounds.
type writer struct {
	e       *own
	set     *dataset.Set
	rate    float64
	turn    int
	next    int
	done    int
	seconds float64
	err     error
}

// writerTick is how often the writer writes what has become due, and writerBatch how much of it at once, so that one which
// had to wait does not catch up by one huge batch.
const (
	writerTick  = 5 * time.Millisecond
	writerBatch = 100
)

func (w *writer) run(stop <-chan struct{}) {
	tick := time.NewTicker(writerTick)
	defer tick.Stop()
	start, written := time.Now(), 0
	for {
		select {
		case <-stop:
			w.done += written
			w.seconds += time.Since(start).Seconds()
			return
		case <-tick.C:
		}
		due := min(writerBatch, int(time.Since(start).Seconds()*w.rate)-written)
		ops := make([]ann.Op, 0, max(0, due))
		for range due {
			ops = append(ops, w.one())
		}
		if w.err = w.e.ix.Apply(ops); w.err != nil {
			return
		}
		written += len(ops)
	}
}

// one returns the next replacement.
func (w *writer) one() ann.Op {
	n := w.set.Base.Rows()
	key := w.next
	if w.next++; w.next == n {
		w.next = 0
		w.turn++
	}
	return ann.Op{Key: uint64(key), Vector: w.set.Base.Row((key + 7919*(w.turn+1)) % n)}
}

func (w *writer) achieved() float64 {
	if w.seconds == 0 {
		return 0
	}
	return float64(w.done) / w.seconds
}
