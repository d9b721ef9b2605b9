package sim

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// clock is the time of a node and of its clients. It stands still but where it is moved, mostly by little; it jumps
// now and then, back too.
type clock struct{ ms atomic.Int64 }

const (
	clockStart = 1_800_000_000_000 // ms
	minute     = int64(time.Minute / time.Millisecond)
)

func newClock() *clock {
	c := &clock{}
	c.ms.Store(clockStart)
	return c
}

func (c *clock) now() int64 { return c.ms.Load() }

func (c *clock) time() time.Time { return time.UnixMilli(c.now()) }

// move moves it.
func (c *clock) move(rng *rand.Rand) {
	switch p := rng.IntN(200); {
	case p == 0: // all event ids are older then than the window of deduplication
		c.ms.Add(2 * 24 * 60 * minute)
	case p < 10:
		c.ms.Add(rng.Int64N(60 * minute))
	case p < 14:
		c.ms.Add(-rng.Int64N(20 * minute))
	default:
		c.ms.Add(rng.Int64N(10))
	}
}

// pass moves it beyond a time, if it is not there yet.
func (c *clock) pass(ms int64) { c.ms.Store(max(c.now(), ms+1000)) }

// expiry is a time at which something expires: in an hour at most, or it has already.
func (c *clock) expiry(rng *rand.Rand) int64 { return c.now() + rng.Int64N(80*minute) - 20*minute }
