package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/filter"
	"github.com/freshet-io/freshet/query"
)

// operator is a client that searches, and does what an operator does.
type operator struct {
	*life
	rng *rand.Rand
}

// run goes on until the writers are done or the power is off.
func (o *operator) run(ctx context.Context, done <-chan struct{}) error {
	for n := 30; n > 0 && o.outlet.on(); n-- {
		o.clock.move(o.rng)
		var err error
		switch p := o.rng.IntN(21); {
		case p < 3:
			err = o.snapshot(ctx)
		case p < 5 && !o.held:
			err = o.pause(ctx)
		case p < 6:
			err = o.audit(ctx)
		case p < 8 && !o.held && o.retains():
			err = o.retain(ctx)
		case p < 9 && !o.held:
			err = o.expire(ctx)
		case p < 11 && !o.held:
			err = o.letters(ctx)
		case p < 14:
			err = o.get(ctx)
		case p == 20:
			err = o.backup(ctx)
		default:
			err = o.search(ctx, !o.held && o.rng.IntN(2) == 0)
		}
		if err != nil {
			return fmt.Errorf("operator: %w", err)
		}
		select {
		case <-done:
			return nil
		default:
			runtime.Gosched()
		}
	}
	return nil
}

// snapshot saves the indexes.
func (o *operator) snapshot(ctx context.Context) error {
	s := o.aboutToSave()
	if _, err := o.node.Snapshot(ctx); err != nil {
		return err
	}
	o.outlet.witness(func() { o.model.save(s) })
	return nil
}

// aboutToSave is the offset up to which every record will count in a snapshot begun now.
func (l *life) aboutToSave() int64 { return l.node.Planner().Tracker.Decided() }

// pause holds processing while other things go on.
func (o *operator) pause(ctx context.Context) error {
	o.node.Processor().Pause()
	defer o.node.Processor().Resume()
	for range o.rng.IntN(4) {
		if err := o.search(ctx, false); err != nil {
			return err
		}
	}
	if o.rng.IntN(3) == 0 {
		return o.snapshot(ctx)
	}
	return nil
}

// audit finds nothing, at any time.
func (o *operator) audit(ctx context.Context) error {
	report, err := o.node.Audit(ctx)
	if err != nil {
		return err
	}
	if !report.Clean() {
		return fmt.Errorf("audit while traffic goes on: %+v", report.Differences)
	}
	return nil
}

// retains says whether the node lets old events go.
func (l *life) retains() bool { return l.cfg.Retention.Bytes > 0 }

// retain lets old events go, which everybody knows by then, and reads what it has written itself.
func (o *operator) retain(ctx context.Context) error {
	o.model.appending.Lock()
	defer o.model.appending.Unlock()
	if known, err := o.checkLog(ctx); err != nil || !known {
		return err
	}
	first := o.node.Log().RawFirst()
	if err := o.node.Retain(ctx); err != nil {
		return err
	}
	o.outlet.witness(func() {
		if o.node.Log().RawFirst() > first {
			o.model.report.Cuts++
		}
	})
	_, err := o.checkLog(ctx)
	return err
}

// expire has what is due deleted.
func (o *operator) expire(ctx context.Context) error {
	o.model.appending.RLock()
	defer o.model.appending.RUnlock()
	_, err := o.node.Expire(ctx)
	return err
}

// expireAll has all that is due deleted.
func (l *life) expireAll(ctx context.Context) error {
	if err := l.node.CatchUp(ctx); err != nil {
		return err
	}
	for {
		if n, err := l.node.Expire(ctx); err != nil || n == 0 {
			return err
		}
	}
}

// get reads a random entity, whatever version it has by now.
func (o *operator) get(ctx context.Context) error {
	key := (&author{rng: o.rng}).blank().key
	c, ok, err := o.node.Store().Get(ctx, key)
	if err == nil && ok {
		o.seen(key, c.Version)
	}
	return err
}

// search looks for something in a random shard, with the token of a random batch or without.
func (o *operator) search(ctx context.Context, wait bool) error {
	key := (&author{rng: o.rng}).blank().key
	r := request(o.rng, key.Shard())
	r.K = 1 + o.rng.IntN(20)
	if b := o.model.acknowledged(o.rng); wait && b != nil {
		token, known, err := o.tokenOfBatch(ctx, b)
		if err != nil {
			return err
		}
		if known {
			r.After = token
		}
	}
	answer, err := o.node.Planner().Search(ctx, r)
	if isCode(err, freshet.CodeUnknownCollection) {
		return nil
	}
	if err != nil {
		return err
	}
	o.outlet.witness(func() { o.model.counts(answer.Applied) })
	for i, h := range answer.Hits {
		if i > 0 && h.Score > answer.Hits[i-1].Score {
			return fmt.Errorf("hit %d has score %v, the one before %v", i, h.Score, answer.Hits[i-1].Score)
		}
		o.seen(h.Key, h.Version)
	}
	return nil
}

// request is a random search of a shard, without k.
func request(rng *rand.Rand, shard freshet.Shard) query.Request {
	r := query.Request{Shard: shard, Exact: rng.IntN(2) == 0, Timeout: waitMost}
	if hasModel(shard.Collection) {
		text := words[rng.IntN(len(words))]
		r.Text = &text
		return r
	}
	r.Vector = []float32{1, float32(rng.IntN(9)) - 4, float32(rng.IntN(9)) - 4, 1}
	return r
}

// colorFilter matches the entities of one color.
func colorFilter(color string) *filter.Expr {
	f, err := filter.Parse(fmt.Appendf(nil, `{"eq":{"color":%q}}`, color))
	if err != nil {
		panic(err) // the filter is a constant but for the color
	}
	return f
}
