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
	log     *broker.Log
	tracker *freshness.Tracker
	now     func() time.Time
}

// New returns the feed of a log; tracker says when there may be more, now what has expired: that is left out, and comes
// when it is deleted.
func New(log *broker.Log, tracker *freshness.Tracker, now func() time.Time) *Feed {
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

	began int64 // drops below this offset are of no interest to who begins with everything
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
	return f.token(end), err
}

// token is the place in front of an offset.
func (f *Feed) token(next int64) freshet.Token {
	t := freshet.Token{Log: f.log.ID()}
	if next > 0 {
		t.Spans = []freshet.Span{{Topic: freshet.TopicSync, First: next - 1, Last: next - 1}}
	}
	return t
}

// offset returns the first offset behind a token.
func (f *Feed) offset(t freshet.Token) (int64, error) {
	if t.Log == (freshet.LogID{}) && len(t.Spans) == 0 {
		return 0, nil
	}
	foreign := func(format string, args ...any) (int64, error) {
		return 0, &freshet.Error{Code: freshet.CodeForeignToken, Field: "after", Message: fmt.Sprintf(format, args...)}
	}
	if id := f.log.ID(); t.Log != id {
		return foreign("the token is of log %s, this server's log is %s; leave it out to begin with everything", wire.LogIDString(t.Log), wire.LogIDString(id))
	}
	if len(t.Spans) == 0 {
		return 0, nil
	}
	s := t.Spans[0]
	if len(t.Spans) > 1 || s.Topic != freshet.TopicSync || s.Partition != 0 {
		return foreign("the token is of events, not of changes; use one that came with a change")
	}
	end, err := f.log.End(freshet.TopicSync)
	if err == nil && s.Last >= end {
		return foreign("the token names %s@%d, the log has changes up to %d only: it has lost what came after; leave the token out to begin with everything", s.Topic, s.Last, end-1)
	}
	return s.Last + 1, err
}

// Follow calls yield with what there is behind r.After, in order, then once with a place and no items, and then with what
// comes, until ctx ends or yield returns an error, which it returns. Without r.Follow it ends with that place.
func (f *Feed) Follow(ctx context.Context, r Request, yield func(Batch) error) error {
	next, err := f.offset(r.After)
	if err != nil {
		return err
	}
	if next == 0 {
		if r.began, err = f.log.End(freshet.TopicSync); err != nil {
			return err
		}
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
			if b, next, more, err = f.step(r, next); err != nil {
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
		if err := tell(Batch{Token: f.token(next)}); err != nil || !r.Follow {
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

// step reads from an offset on. It returns where to go on, and whether there may be more at once.
func (f *Feed) step(r Request, from int64) (b Batch, next int64, more bool, err error) {
	if err := f.retained(r, from); err != nil {
		return Batch{}, from, false, err
	}
	end, err := f.log.End(freshet.TopicSync)
	if err != nil || from >= end {
		return Batch{}, from, false, err
	}
	parts := wire.Head
	if r.Vectors {
		parts = wire.Points
	}
	looked, bytes, now := 0, 0, f.now().UnixMilli()
	next = end
	err = f.log.Changed(freshet.TopicSync, from, func(offset int64, raw []byte) error {
		if offset >= end || looked == stepLooked || len(b.Items) == stepChanges || bytes >= stepBytes {
			next, more = min(offset, end), offset < end
			return errEnough
		}
		looked++
		if name, ok := wire.ParseDrop(raw); ok {
			if offset >= r.began && name.Collection == r.Collection && (r.Namespace == "" || name.Namespace == "" || name.Namespace == r.Namespace) {
				b.Items = append(b.Items, Item{Dropped: true, Token: f.token(offset + 1),
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
			b.Items = append(b.Items, Item{Change: c, Token: f.token(offset + 1)})
		}
		return err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	b.Token = f.token(next)
	return b, next, more, err
}

var errEnough = errors.New("enough for now")

// retained refuses a place from which deletions can't be told any more: they are forgotten. Who begins has none to miss.
func (f *Feed) retained(r Request, from int64) error {
	if from == 0 {
		return nil
	}
	scope := "" // of all
	if r.Namespace != "" {
		scope = broker.PurgeScope(freshet.Shard{Collection: r.Collection, Namespace: r.Namespace})
	}
	p, err := f.log.Purged(freshet.TopicSync, scope)
	if err != nil || from >= p.Through {
		return err
	}
	return &freshet.Error{Code: freshet.CodeTooOld, Field: "after", Message: fmt.Sprintf("the token names %s@%d, and deletions up to %d are forgotten: "+
		"some would be missed; leave it out to begin with everything", freshet.TopicSync, from-1, p.Through-1)}
}
