package process

import "time"

// Timing adds up how long the stages of batches took. It is for one goroutine.
type Timing struct {
	Map, Sequence, Embed, Commit time.Duration

	last time.Time
}

func (t *Timing) begin() { t.last = time.Now() }

// lap adds the time since the last lap to a stage.
func (t *Timing) lap(stage *time.Duration) {
	now := time.Now()
	*stage += now.Sub(t.last)
	t.last = now
}
