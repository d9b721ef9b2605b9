package process_test

import (
	"fmt"
	"testing"

	"github.com/freshet-io/freshet/process"

	"github.com/freshet-io/freshet/broker"
)

// rows counts the entries of the table of event ids.
func (b *bench) rows() (n int) {
	b.t.Helper()
	if err := b.log.ScanTable(broker.TableProcess, nil, nil, func(_, _ []byte) error { n++; return nil }); err != nil {
		b.t.Fatal(err)
	}
	return n
}

// The table of event ids stays as large as the window, and what has left the window makes no
// repeat any more, nor does a sweep take anything else.
func TestSeenIsSwept(t *testing.T) {
	const ids = 50
	for name, w := range map[string]process.Window{
		"by count": {MaxAgeMs: 1e12, MaxIDs: ids},
		"by age":   {MaxAgeMs: ids * 1000, MaxIDs: 1e9},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, withWindow(w))
			for i := range 10 * ids {
				b.append(fmt.Sprintf("e%d red #x %%%d", i, 1000+i))
				if i%7 == 6 {
					b.settle()
				}
			}
			b.settle()
			if n, most := b.rows(), 2*(ids+8); n > most || n < 2*ids {
				t.Errorf("%d ids leave %d rows, want %d to %d", 10*ids, n, 2*ids, most)
			}
			applied := b.proc.Stats.Applied.Load()
			b.send([]string{fmt.Sprintf("e%d blue #x %%%d", 10*ids-ids/2, 1000+10*ids)}) // within
			b.send([]string{fmt.Sprintf("e%d blue #x %%%d", 2, 1000+10*ids)})            // beyond
			if b.proc.Stats.Repeated.Load() != 1 || b.proc.Stats.Applied.Load() != applied+1 {
				t.Error("outcomes are", b.outcomes())
			}
			b.mustBeClean()
		})
	}
}

// An id that is remembered anew in the batch that sweeps its old number counts from then on.
func TestAnIDIsRememberedAnew(t *testing.T) {
	b := newBench(t, withWindow(process.Window{MaxAgeMs: 1e12, MaxIDs: 2}))
	b.send([]string{"a red #1"}, []string{"b red #2"}, []string{"b red #3"}, []string{"b red #4"},
		[]string{"a red #1"}, []string{"a red #1"})
	if got := b.outcomes(); got != "applied 2, unchanged 3, repeated 1" {
		t.Error("outcomes are", got)
	}
	b.mustBeClean()
}

// The window goes on over a restart: numbers and clock are those of the table.
func TestSeenOutlivesARestart(t *testing.T) {
	b := newBench(t, withWindow(process.Window{MaxAgeMs: 20_000, MaxIDs: 3}))
	b.send([]string{"a red #1 %1000"}, []string{"b red #2 %1021"})
	b.close()
	b.open()
	b.send([]string{"a red #1 %1005"}) // too old since the clock stood at 1021
	b.send([]string{"b red #2 %1006"})
	b.close()
	b.open()
	b.send([]string{"c red #3 %1006"}, []string{"c red #4 %1006"}, []string{"b red #2 %1006"})
	if got := b.outcomes(); got != "applied 1, unchanged 2" {
		t.Error("outcomes since the last start are", got)
	}
	b.mustBeClean()
}

// An id that is too old stays so over a restart though it is not swept yet and the server's
// clock has been set back.
func TestTheClockOfTheWindowOutlivesARestart(t *testing.T) {
	b := newBench(t, withWindow(process.Window{MaxAgeMs: 20_000, MaxIDs: 100}))
	b.send([]string{"a red #1 %1000", "a red #2", "a red #3", "a red #4", "a red #5"}, []string{"b red #6 %1021"})
	b.close()
	b.open()
	b.send([]string{"a blue #5 %1005"})
	if got := b.outcomes(); got != "applied 1" {
		t.Error("outcomes since the last start are", got)
	}
	b.mustBeClean()
}
