// Package feed lets other systems follow what has been committed: the changes of a collection in the order of vector.sync,
// from any place in it, without a gap and without an end.
//
// vector.sync keeps the latest change of each entity. So who begins at the beginning gets every entity once, with its
// present state, deleted ones included, and then each change as it comes; who was away meanwhile gets what the changes
// amount to. A change is handed out once it is durable: what others were told is not taken back by a power cut.
package feed

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/freshet-io/freshet"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/freshness"
	"github.com/freshet-io/freshet/wire"
)

// How much is read before it is handed out. No iterator of the log is open meanwhile, so a slow reader holds nothing.
const (
	stepChanges = 256
	stepBytes   = 4 << 20
	stepLooked  = 16384 // changes looked at, of other collections too
)

// pause is how long changes gather before a follower is told of them: each telling costs a sync.
const pause = 10 * time.Millisecond

// Feed gives out the changes of a log. It is safe for concurrent use.
type Feed struct {
	log     *broker.State
	tracker *freshness.Tracker
	now     func() time.Time
}

// New returns the feed of a log; tracker says when there may be more, now what has expired: that is left out, and comes
// when it is deleted.
func New(log *broker.State, tracker *freshness.Tracker, now func() time.Time) *Feed {
	return &Feed{log: log, tracker: tracker, now: now}
}

// Request says what to follow.
type Request struct {
	Collection string
	Namespace  string        // "": all of them
	After      freshet.Token // of this feed; the zero token means everything
	Vectors    bool          // points too
	// Follow goes on with what comes; else the feed ends with what is there.
	Follow bool
	// Idle is how long nothing is handed out at most while there is nothing new; 0 means for ever.
	Idle time.Duration
}

// place is where a follower stands.
type place struct {
	next int64 // the first offset that it was not told of
	// began is the end of vector.sync when it began with everything. It was told of nothing that a deletion or a drop below has
	// made untrue since: that stood there already. Beyond the first pass it is of no account.
	began int64
}

// Item is a change and the place behind it.
type Item struct {
	freshet.Change
	// Dropped says that it is no change of an entity: the namespace of Change.Key, or where that is empty all of the
	// collection, was dropped. What was told of its entities before does not hold any more.
	Dropped bool
	Token   freshet.Token
}

// Batch is what is handed out at once, perhaps nothing but a place: that behind everything that was looked at.
type Batch struct {
	Items []Item
	Token freshet.Token
}

// Token is the place behind everything that is committed now.
func (f *Feed) Token() (freshet.Token, error) {
	end, err := f.log.End(freshet.TopicSync)
	return f.token(place{next: end}), err
}

// token names a place. In the first pass its span goes from the place to where the pass will end.
func (f *Feed) token(at place) freshet.Token {
	t := freshet.Token{Log: f.log.ID()}
	if at.next > 0 {
		t.Spans = []freshet.Span{{Topic: freshet.TopicSync, First: at.next - 1, Last: max(at.next, at.began) - 1}}
	}
	return t
}

// place returns what a token names; the beginning for one that names nothing.
func (f *Feed) place(t freshet.Token) (place, error) {
	foreign := func(format string, args ...any) (place, error) {
		return place{}, &freshet.Error{Code: freshet.CodeForeignToken, Field: "after", Message: fmt.Sprintf(format, args...)}
	}
	if id := f.log.ID(); t.Log != id && (t.Log != (freshet.LogID{}) || len(t.Spans) > 0) {
		return foreign("the token is of log %s, this server's log is %s; leave it out to begin with everything", wire.LogIDString(t.Log), wire.LogIDString(id))
	}
	end, err := f.log.End(freshet.TopicSync)
	if err != nil || len(t.Spans) == 0 {
		return place{began: end}, err
	}
	s := t.Spans[0]
	if len(t.Spans) > 1 || s.Topic != freshet.TopicSync || s.Partition != 0 {
		return foreign("the token is of events, not of changes; use one that came with a change")
	}
	if s.Last >= end {
		return foreign("the token names %s@%d, the log has changes up to %d only: it has lost what came after; leave the token out to begin with everything", s.Topic, s.Last, end-1)
	}
	return place{next: s.First + 1, began: s.Last + 1}, nil
}

// Follow calls yield with what there is behind r.After, in order, then once with a place and no items, and then with what
// comes, until ctx ends or yield returns an error, which it returns. Without r.Follow it ends with that place.
func (f *Feed) Follow(ctx context.Context, r Request, yield func(Batch) error) error {
	at, err := f.place(r.After)
	if err != nil {
		return err
	}
	told := time.Now()
	tell := func(b Batch) error {
		if err := f.log.Sync(disk.FeedState); err != nil {
			return err
		}
		told = time.Now()
		return yield(b)
	}
	for first := true; ; first = false {
		decided := f.tracker.Decided() // before it looks, so that what is committed later wakes it
		for more := true; more; {
			var b Batch
			if b, at, more, err = f.step(r, at); err != nil {
				return err
			}
			if len(b.Items) > 0 || more && r.Idle > 0 && time.Since(told) >= r.Idle {
				if err := tell(b); err != nil {
					return err
				}
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		if !first {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if err := f.wait(ctx, decided, r.Idle-time.Since(told), r.Idle > 0); err == nil {
				continue
			} else if !errors.Is(err, errIdle) {
				return err
			}
		}
		if err := tell(Batch{Token: f.token(at)}); err != nil || !r.Follow {
			return err
		}
	}
}

var errIdle = errors.New("nothing new")

// wait returns nil when more than decided is decided, errIdle when idle has passed, if that is bounded.
func (f *Feed) wait(ctx context.Context, decided int64, idle time.Duration, bounded bool) error {
	if bounded {
		if idle <= 0 {
			return errIdle // changes of others come all the time
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, idle, errIdle)
		defer cancel()
	}
	_, err := f.tracker.Past(ctx, decided)
	return err
}

// step reads from a place on. It returns where to go on, and whether there may be more at once.
func (f *Feed) step(r Request, at place) (b Batch, to place, more bool, err error) {
	end, err := f.log.End(freshet.TopicSync)
	if err != nil || at.next >= end {
		return Batch{}, at, false, err
	}
	parts := wire.Head
	if r.Vectors {
		parts = wire.Points
	}
	looked, bytes, now := 0, 0, f.now().UnixMilli()
	to = place{end, at.began}
	err = f.log.Changed(freshet.TopicSync, at.next, func(offset int64, raw []byte) error {
		if offset >= end || looked == stepLooked || len(b.Items) == stepChanges || bytes >= stepBytes {
			to.next, more = min(offset, end), offset < end
			return errEnough
		}
		looked++
		if name, ok := wire.ParseDrop(raw); ok {
			if offset >= at.began && name.Collection == r.Collection && (r.Namespace == "" || name.Namespace == "" || name.Namespace == r.Namespace) {
				b.Items = append(b.Items, Item{Dropped: true, Token: f.token(place{offset + 1, at.began}),
					Change: freshet.Change{Key: freshet.Key{Collection: name.Collection, Namespace: name.Namespace}}})
			}
			return nil
		}
		key, err := wire.ParseKey(raw)
		if err != nil || key.Collection != r.Collection || r.Namespace != "" && key.Namespace != r.Namespace {
			return err
		}
		record, ok, err := f.log.Latest(freshet.TopicSync, raw, nil)
		if err != nil || !ok || record.Offset != offset {
			return err // replaced meanwhile: it comes at its new place
		}
		c, err := wire.DecodeChange(key, record.Value, parts)
		bytes += len(record.Value)
		if err == nil && !c.Due(now) {
			b.Items = append(b.Items, Item{Change: c, Token: f.token(place{offset + 1, at.began})})
		}
		return err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err == nil {
		err = f.retained(r, at) // now: what was forgotten while it read is missing too
	}
	b.Token = f.token(to)
	return b, to, more, err
}

var errEnough = errors.New("enough for now")

// retained refuses a place from which deletions can't be told any more: they are forgotten.
func (f *Feed) retained(r Request, at place) error {
	from := max(at.next, at.began)
	p, err := f.log.Purged(freshet.TopicSync, "") // cheap, and mostly enough
	switch {
	case err != nil || from >= p.Through:
		return err
	case r.Namespace == "":
		p, err = f.log.PurgedIn(freshet.TopicSync, r.Collection)
	default:
		p, err = f.log.Purged(freshet.TopicSync, broker.PurgeScope(freshet.Shard{Collection: r.Collection, Namespace: r.Namespace}))
	}
	if err != nil || from >= p.Through {
		return err
	}
	return &freshet.Error{Code: freshet.CodeTooOld, Field: "after", Message: fmt.Sprintf("the token names %s@%d, and deletions up to %d are forgotten: "+
		"some would be missed; leave it out to begin with everything", freshet.TopicSync, at.next-1, p.Through-1)}
}
