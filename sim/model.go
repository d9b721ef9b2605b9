package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/freshet-io/freshet"
)

// submission is an event on its way into events.raw, once: a client that sends an event again
// makes another submission of it.
type submission struct {
	*event
	mark   string // unique; travels in the event's trace header
	batch  *batch
	index  int   // within the batch
	offset int64 // in events.raw, as acknowledged or as once read; unplaced before
	at     int64 // ms, when it became durable; 0 before it was read

	command *command // that the node has written; it has no event and no batch
}

const (
	unplaced int64 = -1
	lost     int64 = -2 // with the end of a history
)

// last reports whether it ends its batch; else next follows it.
func (s *submission) last() bool { return s.batch == nil || s.index == len(s.batch.subs)-1 }

func (s *submission) next() *submission { return s.batch.subs[s.index+1] }

// batch is the submissions of one append: acknowledged together, and there together or not
// at all.
type batch struct {
	subs  []*submission
	token string // "" without acknowledgement
	stray bool   // past the intake, into a collection that does not exist
	given bool   // up by its client, which has sent it again
	lost  bool   // a restore has taken it away
}

// model is what the clients know, and what they were promised by a node whose disk counted.
type model struct {
	appending   sync.RWMutex // held for reading while an append is under way, for writing while old events are let go
	mu          sync.Mutex
	log         freshet.LogID                   // identity, once a node has come up
	earlier     map[freshet.LogID]bool          // the ones before restores
	epochs      epochs                          // that versions carry
	newest      uint32                          // the highest of them in any history
	backup      *picture                        // the last one
	marks       map[string]*submission          // everything ever submitted
	batches     []*batch                        // in order of submission
	placed      []*submission                   // by offset: events.raw as far as it is known
	collections map[string]bool                 // that exist because an event that names them was taken
	observed    map[freshet.Key]freshet.Version // the newest version that a client was shown
	letters     letters
	since       int64 // the first offset for which collectionLate exists; never where it does not
	applied     int64 // the highest offset that an answer said it counts
	snapshot    int64 // every record up to this offset counts in completed snapshots
	answered    int   // batches before this one were sent again where they had to be
	report      Report
}

func newModel() *model {
	return &model{earlier: map[freshet.LogID]bool{}, epochs: epochs{{number: 1}}, newest: 1, marks: map[string]*submission{}, collections: map[string]bool{},
		observed: map[freshet.Key]freshet.Version{}, letters: letters{dropped: map[int64]int64{}, perhaps: map[int64]int64{}}, since: never, applied: -1, snapshot: -1}
}

// submit notes down a batch before it is sent.
func (m *model) submit(events []*event) *batch {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := &batch{}
	for i, e := range events {
		s := &submission{event: e, mark: fmt.Sprintf("%d/%d", len(m.batches), i), batch: b, index: i, offset: unplaced}
		m.marks[s.mark] = s
		b.subs = append(b.subs, s)
	}
	m.batches = append(m.batches, b)
	return b
}

// acknowledge notes down that a batch was promised to be there from offset first on.
func (m *model) acknowledge(b *batch, first int64, token string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	b.token = token
	for i, s := range b.subs {
		if err := m.place(s, first+int64(i)); err != nil {
			return err
		}
	}
	return nil
}

// place fixes the offset of a submission for good.
func (m *model) place(s *submission, offset int64) error {
	for int64(len(m.placed)) <= offset {
		m.placed = append(m.placed, nil)
	}
	if old := m.placed[offset]; old != nil && old != s {
		return fmt.Errorf("events.raw@%d is submission %s, before it was %s", offset, s.mark, old.mark)
	}
	if s.offset != unplaced && s.offset != offset {
		return fmt.Errorf("submission %s stands at events.raw@%d, before at %d", s.mark, offset, s.offset)
	}
	m.placed[offset], s.offset = s, offset
	return nil
}

// observe notes down a version that a client was shown.
func (m *model) observe(key freshet.Key, v freshet.Version) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v.After(m.observed[key]) {
		m.observed[key] = v
	}
}

// through notes down that an answer counts everything up to an offset of events.raw.
func (m *model) through(offset int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.applied = max(m.applied, offset)
}

// counts notes down that an answer said what it counts.
func (m *model) counts(t freshet.Token) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range t.Spans {
		m.applied = max(m.applied, s.Last)
	}
}

// exists notes down that a collection was made.
func (m *model) exists(collection string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.collections[collection] = true
}

// save notes down a completed snapshot, in which every record up to an offset counts.
func (m *model) save(decided int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.snapshot = max(decided, m.snapshot)
	m.report.Snapshots++
}

// old returns a random event with an id that was acknowledged, nil when there is none.
func (m *model) old(rng *rand.Rand) *event {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.placed) == 0 {
		return nil
	}
	s := m.placed[rng.IntN(len(m.placed))]
	if s == nil || s.command != nil || s.id == "" {
		return nil
	}
	return s.event
}

// acknowledged returns a random batch that was acknowledged, nil when there is none.
func (m *model) acknowledged(rng *rand.Rand) *batch {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.batches) == 0 {
		return nil
	}
	if b := m.batches[rng.IntN(len(m.batches))]; b.token != "" {
		return b
	}
	return nil
}

// summary completes the report at the end.
func (m *model) summary() Report {
	r := m.report
	r.Records = len(m.placed)
	for _, s := range m.marks {
		if s.offset == unplaced {
			r.Lost++
		}
	}
	for name := range m.collections {
		if strings.HasPrefix(name, autoPrefix) {
			r.Made++
		}
	}
	return r
}

// unanswered returns the batches that nobody was told the outcome of, each once.
func (m *model) unanswered() []*batch {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []*batch
	for _, b := range m.batches[m.answered:] {
		if b.token == "" && !b.stray && !b.given {
			list = append(list, b)
		}
	}
	m.answered = len(m.batches)
	return list
}
