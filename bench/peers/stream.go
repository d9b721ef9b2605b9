package peers

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Streams are the kinds of job that StartStream knows; streams.py says what each does.
func Streams() []string { return []string{"batched", "faust"} }

// Stream says what a job in Python is started with, that keeps an hnswlib index true to a topic of Kafka.
type Stream struct {
	Venv      string // virtual environment; empty: DefaultVenv
	Kind      string // of Streams
	Brokers   []string
	Raw, Sync string // topics: of events, and of states for the kind faust
	Group     string // of consumers
	Dim       int
	M, Efc    int
	Capacity  int    // upserts that the index has room for
	Queries   string // a file of fvecs
}

// Consumed is what taking events in gave. WallSeconds is from the first of them until the index has the last.
type Consumed struct {
	WallSeconds float64 `json:"wall_s"`
	Live        int     `json:"live"` // entities in the index
}

// StartStream starts such a job. The kind batched has joined its group when it returns; faust may take more seconds to.
func StartStream(ctx context.Context, s Stream) (*Process, error) {
	if !slices.Contains(Streams(), s.Kind) {
		return nil, fmt.Errorf("peers: %q is no job that is known: use one of %v", s.Kind, Streams())
	}
	return start(ctx, s.Venv, "streams.py", s.Kind, strings.Join(s.Brokers, ","), s.Raw, s.Sync, s.Group, strconv.Itoa(s.Dim),
		strconv.Itoa(s.M), strconv.Itoa(s.Efc), strconv.Itoa(s.Capacity), s.Queries)
}

// Consume returns when so many more events of the topic are in the index.
func (p *Process) Consume(events int) (c Consumed, err error) {
	err = p.call("consume", map[string]any{"op": "consume", "events": events}, &c)
	return c, err
}

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }
