package fanout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/wire"
)

// patience is how long who wants what there is waits for a process that is down, though no other can be asked.
const patience = time.Second

// maxReasons is how many an error names why partitions are missing.
const maxReasons = 3

// round is a request that asks others.
type round[T any] struct {
	f       *Fanout
	peers   []*peer
	partial bool
	call    func(ctx context.Context, p *peer, partitions string) (T, error)
}

// outcome is what came of asking for some partitions.
type outcome[T any] struct {
	parts   []T
	missing set     // nobody has answered for them
	reasons []error // why they are
	refused error   // by a peer, and every other one would refuse too
}

// gather asks for partitions, each of one peer. Without an error all of them are answered for, or those that are not are missing where
// that is allowed.
func gather[T any](ctx context.Context, f *Fanout, partitions []int32, partial bool, call func(context.Context, *peer, string) (T, error)) (parts []T, missing []int32, err error) {
	end, err := f.begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer end()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &round[T]{f, f.known(), partial, call}
	o := r.ask(ctx, newSet(f.opts.Partitions, partitions), nil, false)
	if o.refused != nil {
		return nil, nil, o.refused
	}
	missing = o.missing.list()
	if len(missing) == 0 {
		return o.parts, nil, nil
	}
	if partial {
		f.Stats.Incomplete.Add(1)
		return o.parts, missing, nil
	}
	f.Stats.Failed.Add(1)
	return nil, nil, unanswered(missing, o.reasons)
}

// unanswered is the error of partitions that nobody has answered for.
func unanswered(missing []int32, reasons []error) error {
	var why []string
	for _, reason := range reasons {
		var e *freshet.Error
		if errors.As(reason, &e) && e.Code == freshet.CodeNotReached {
			return e // it waited in vain for what it was to wait for
		}
		if text := reason.Error(); !slices.Contains(why, text) && len(why) < maxReasons {
			why = append(why, text)
		}
	}
	if why == nil {
		why = []string{"no process that holds them has told where it is; start one with the role query, or set its key advertise"}
	}
	return &freshet.Error{Code: freshet.CodeUnavailable, Message: fmt.Sprintf("nobody answers for the partitions %s: %s", wire.PartitionsString(missing), strings.Join(why, "; "))}
}

// ask asks for partitions, but none of the peers that were tried. hedge says that those may still answer.
func (r *round[T]) ask(ctx context.Context, want set, tried []*peer, hedge bool) outcome[T] {
	plan, left := cover(r.peers, want, tried)
	if len(plan) == 0 {
		return outcome[T]{missing: left}
	}
	outcomes := make([]outcome[T], len(plan))
	var asking sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i, s := range plan {
		ask := func() {
			outcomes[i] = r.askPeer(ctx, s, append(slices.Clip(tried), s.peer), hedge)
			if outcomes[i].refused != nil {
				cancel()
			}
		}
		if i == len(plan)-1 {
			ask()
		} else {
			asking.Go(ask)
		}
	}
	asking.Wait()
	all := outcome[T]{missing: left}
	for _, o := range outcomes {
		all.parts, all.missing, all.reasons = append(all.parts, o.parts...), all.missing.or(o.missing), append(all.reasons, o.reasons...)
		if all.refused == nil {
			all.refused = o.refused
		}
	}
	return all
}

// askPeer asks a peer for its share, and others when it fails, when it is down, or once when it is silent; the first complete answer counts.
func (r *round[T]) askPeer(ctx context.Context, s share, tried []*peer, hedge bool) outcome[T] {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answered := r.start(ctx, s)
	silent := time.NewTimer(HedgeAfter)
	defer silent.Stop()
	down := s.peer.silence()
	var (
		others   chan outcome[T] // under way
		rest     = outcome[T]{missing: s.of}
		asked    bool             // others were asked
		give     <-chan time.Time // no longer waited for
		askOther = func(hedge bool) {
			if !asked {
				asked, others = true, make(chan outcome[T], 1)
				go func() { others <- r.ask(ctx, s.of, tried, hedge) }()
			}
		}
	)
	for answered != nil || others != nil {
		select {
		case a := <-answered:
			answered = nil
			switch {
			case a.err == nil:
				return outcome[T]{parts: []T{a.value}, missing: s.of.minus(s.of)}
			case refuses(a.err):
				return outcome[T]{missing: s.of, refused: a.err}
			}
			if ctx.Err() == nil {
				r.note(s.peer, a.err)
			}
			rest.reasons = append(rest.reasons, fmt.Errorf("%s: %w", s.peer.name(), a.err))
			askOther(hedge)
		case o := <-others:
			others = nil
			o.reasons = append(rest.reasons, o.reasons...)
			if rest = o; o.refused != nil || o.missing.empty() {
				return o
			}
		case <-silent.C:
			s.peer.doubt(false)
			if !hedge && !s.peer.local {
				r.f.Stats.Hedged.Add(1)
				askOther(true)
			}
		case <-down:
			down = nil
			askOther(hedge)
			if r.partial {
				give = time.After(patience)
			}
		case <-give:
			answered = nil
			rest.reasons = append(rest.reasons, fmt.Errorf("%s: is silent", s.peer.name()))
		case <-ctx.Done():
			if others != nil {
				o := <-others // it ends with ctx
				o.reasons = append(rest.reasons, o.reasons...)
				rest = o
			}
			if !rest.missing.empty() && answered != nil {
				rest.reasons = append(rest.reasons, fmt.Errorf("%s: has not answered in time", s.peer.name()))
			}
			return rest
		}
	}
	return rest
}

type answer[T any] struct {
	value T
	err   error
}

// start asks a peer.
func (r *round[T]) start(ctx context.Context, s share) <-chan answer[T] {
	answered := make(chan answer[T], 1)
	s.peer.busy.Add(1)
	go func() {
		defer s.peer.busy.Add(-1)
		v, err := r.call(ctx, s.peer, wire.PartitionsString(s.of.list()))
		answered <- answer[T]{v, err}
	}()
	return answered
}

// note draws its conclusion from an error of a peer.
func (r *round[T]) note(p *peer, err error) {
	var e *freshet.Error
	switch known := errors.As(err, &e); {
	case !known:
		p.doubt(true)
	case e.Code != freshet.CodeNotReached:
		p.doubt(false)
	}
}

// refuses reports whether every other peer would say the same.
func refuses(err error) bool {
	var e *freshet.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case freshet.CodeUnavailable, freshet.CodeInternal, freshet.CodeMisdirected, freshet.CodeNotReached:
		return false
	}
	return true
}

// name is how the peer is called in errors.
func (p *peer) name() string {
	if p.local {
		return "this process"
	}
	return p.node.Address
}
