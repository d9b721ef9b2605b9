package control

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/wire"
)

// Epoch is a history of the log: from its first offset on, offsets were given out once. A restore begins a new one, as
// offsets that the lost end of the history before had are given out again.
type Epoch struct {
	// Number stands in the versions that are made in it. It rises from epoch to epoch, and is at least the time at which the
	// epoch began (s since 1970): so it lies above every one that a lost history had, which nothing else here knows of.
	Number uint32 `json:"epoch"`
	// Log is the identity that the log has had since: tokens name it.
	Log string `json:"log"`
	// Since is the first offset of events.raw in the epoch, Changes the first of vector.sync.
	Since   int64 `json:"since"`
	Changes int64 `json:"changes"`
	// Starts are the first offsets in the epoch of each partition, where partitions have offsets of their own. A partition that came
	// later was split off the one with its number modulo theirs, and has that one's history.
	Starts []int64 `json:"starts,omitempty"`
	At     int64   `json:"at"`     // ms
	Reason string  `json:"reason"` // "created", "restored", "raised", "moved"
}

// Reasons of epochs.
const (
	EpochCreated  = "created"
	EpochRestored = "restored"
	EpochRaised   = "raised"
	EpochMoved    = "moved"
)

// firstEpoch is the number of the first epoch of a log.
const firstEpoch = 1

// ErrEpoch means that the parts of a data folder are of different histories.
var ErrEpoch = errors.New("the data folder is put together from different histories")

// Epochs returns the epochs of the log, oldest first.
func (c *Catalog) Epochs() []Epoch { return c.now.Load().epochs }

// start is the first offset of the epoch in a partition.
func (e *Epoch) start(partition int32) int64 {
	if len(e.Starts) == 0 {
		return e.Since
	}
	return e.Starts[int(partition)%len(e.Starts)]
}

// EpochOf is the epoch of a record to decide: what its versions carry. It is a function of the place.
func (c *Catalog) EpochOf(partition int32, offset int64) uint32 {
	all := c.Epochs()
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].start(partition) <= offset {
			return all[i].Number
		}
	}
	return firstEpoch
}

// CheckEpoch records the first epoch of a log, and later refuses an identity that is not the newest epoch's: then state/ and
// FORMAT of the data folder are not of the same history.
func (c *Catalog) CheckEpoch(now time.Time) error {
	id := wire.LogIDString(c.log.ID())
	err := c.write("the first epoch", func() ([]keyed, error) {
		if len(c.Epochs()) > 0 {
			return nil, nil
		}
		return c.addEpoch(Epoch{Number: firstEpoch, Log: id, At: now.UnixMilli(), Reason: EpochCreated}), nil
	})
	if err != nil {
		return err
	}
	all := c.Epochs()
	if newest := all[len(all)-1]; newest.Log != id {
		return fmt.Errorf("%w: FORMAT names log %s, state/ belongs to log %s. "+
			"Restore the folder whole, from a backup; or `freshet epoch raise` accepts what is there", ErrEpoch, id, newest.Log)
	}
	return nil
}

// RaiseEpoch begins a new epoch, under a new identity of the log: records of events.raw from offset since on, and of
// vector.sync from offset changes on, are of it.
func (c *Catalog) RaiseEpoch(id freshet.LogID, since, changes int64, now time.Time, reason string) (Epoch, error) {
	return c.raise(Epoch{Log: wire.LogIDString(id), Since: since, Changes: changes, At: now.UnixMilli(), Reason: reason}, now)
}

// RaiseEpochAt is RaiseEpoch where each partition has offsets of its own: from starts on records are of it. It is no error if that
// epoch has begun already.
func (c *Catalog) RaiseEpochAt(id freshet.LogID, starts []int64, now time.Time, reason string) (Epoch, error) {
	name := wire.LogIDString(id)
	if all := c.Epochs(); len(all) > 0 && all[len(all)-1].Log == name {
		return all[len(all)-1], nil
	}
	return c.raise(Epoch{Log: name, Starts: starts, At: now.UnixMilli(), Reason: reason}, now)
}

// raise records an epoch with the number that it is to have.
func (c *Catalog) raise(want Epoch, now time.Time) (e Epoch, err error) {
	err = c.write("a new epoch", func() ([]keyed, error) {
		e = want
		e.Number = uint32(min(max(0, now.Unix()), math.MaxUint32))
		if all := c.Epochs(); len(all) > 0 {
			newest := all[len(all)-1]
			if newest.Number == math.MaxUint32 {
				return nil, fmt.Errorf("raise epoch: it is %d already, the highest there is", newest.Number)
			}
			e.Number = max(e.Number, newest.Number+1)
		}
		e.Number = max(e.Number, firstEpoch+1)
		return c.addEpoch(e), nil
	})
	return e, err
}

func (c *Catalog) addEpoch(e Epoch) []keyed {
	all := append(slices.Clone(c.Epochs()), e)
	return []keyed{{epochKey, record{Format: recordFormat, Epochs: all}}}
}

// checkEpochs refuses a list of epochs that is none.
func checkEpochs(all []Epoch) error {
	if len(all) == 0 {
		return errors.New("it names no epoch")
	}
	for i, e := range all {
		if _, err := wire.ParseLogID(e.Log); err != nil {
			return err
		}
		shared := i > 0 && len(e.Starts) == 0 && len(all[i-1].Starts) == 0 // offsets that compare
		if e.Since < 0 || e.Changes < 0 || i > 0 && e.Number <= all[i-1].Number || shared && (e.Since < all[i-1].Since || e.Changes < all[i-1].Changes) {
			return fmt.Errorf("epoch %d is out of order", e.Number)
		}
	}
	return nil
}

// Knows reports whether an identity is one that this log has or had, and up to which offset of vector.sync (not included) what
// bears it is of this log's history. What lies beyond was lost, and the offsets were given out again.
func (c *Catalog) Knows(id freshet.LogID) (changes int64, ok bool) {
	if id == c.log.ID() {
		return math.MaxInt64, true
	}
	next, ok := c.after(id)
	return next.Changes, ok
}

// after is the epoch that has followed on the one in which the log had an identity.
func (c *Catalog) after(id freshet.LogID) (next Epoch, ok bool) {
	all := c.Epochs()
	name := wire.LogIDString(id)
	for i := range all[:max(0, len(all)-1)] {
		if all[i].Log == name {
			return all[i+1], true
		}
	}
	return next, false
}

// Adopt returns a token that was given out in an earlier epoch as one of the present, if what it names is of this log's
// history; a *freshet.Error if that was lost. A token of an unknown log is returned as it is: whoever it is for refuses it.
func (c *Catalog) Adopt(t freshet.Token) (freshet.Token, error) {
	if t.Log == c.log.ID() {
		return t, nil
	}
	next, ok := c.after(t.Log)
	if !ok {
		return t, nil
	}
	for _, s := range t.Spans {
		until := next.start(s.Partition)
		if s.Topic == freshet.TopicSync {
			until = next.Changes
		}
		if s.Last >= until {
			return t, &freshet.Error{Code: freshet.CodeForeignToken, Field: "after",
				Message: fmt.Sprintf("the token names %s@%d of log %s, of which this log has what stands before offset %d: the rest was lost "+
					"when the epoch was raised or a backup restored. Send the events again; changes are followed from the beginning", s.Topic, s.Last, wire.LogIDString(t.Log), until)}
		}
	}
	if next.Reason == EpochMoved { // with all its events decided; its topic is not that of the log now
		t.Spans = slices.DeleteFunc(slices.Clone(t.Spans), func(s freshet.Span) bool { return s.Topic == freshet.TopicRaw })
	}
	t.Log = c.log.ID()
	return t, nil
}
