package embedded

import (
	"context"
	"fmt"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/ann"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/filter"
	"github.com/freshet-io/freshet/wire"
)

const (
	maxDifferences = 100
	// maxSuspects is how many differences may wait to be looked at again. At high rates most of
	// them are entities that changed while the table was read.
	maxSuspects = 10_000
	// recheckRounds is how often a difference is looked at again before it is reported.
	recheckRounds = 3
)

// Audit compares vector.sync with what searches use: documents, vectors, filter index and
// graph. Traffic goes on: what differs is looked at again once wait has returned, which
// blocks until the store has everything that was committed when it was called.
//
// An entity that changes without pause is compared too, but for its entry in the filter
// index: that is read in one pass over all, and counts for entities that did not change
// during the pass. Shards that are dropped meanwhile are passed over.
func (s *Store) Audit(ctx context.Context, wait func(context.Context) error, report *freshet.AuditReport) error {
	if s.part.none() {
		return nil
	}
	shards := s.all()
	for _, sh := range shards {
		sh.reading.RLock()
		defer sh.reading.RUnlock()
	}
	a := &auditor{s: s, shards: shards, wait: wait, report: report,
		suspects: map[freshet.Key]suspect{}, digester: filter.NewDigester()}
	if err := wait(ctx); err != nil {
		return err
	}
	damage := a.graphs()
	orphans := map[*shard][]uint64{}
	for _, sh := range shards {
		orphans[sh] = sh.orphans()
	}
	if err := a.compareAll(ctx); err != nil {
		return err
	}
	if err := a.settle(ctx); err != nil {
		return err
	}
	for sh, keys := range orphans {
		if !sh.dropped.Load() {
			sh.reportOrphans(keys, report)
		}
	}
	a.reportGraphs(damage)
	return nil
}

// auditor is an audit under way.
type auditor struct {
	s        *Store
	shards   []*shard // that are there at the beginning, and can be read to the end
	wait     func(context.Context) error
	report   *freshet.AuditReport
	suspects map[freshet.Key]suspect
	digester *filter.Digester
}

// suspect is an entity that differed when it was looked at.
type suspect struct {
	// committed is the version that vector.sync had then, zero when it had none. Once wait has
	// returned, the indexes have it or a newer one.
	committed freshet.Version
	diff      *freshet.Difference // nil: it was changing, and nothing can be said
	fresh     bool                // nothing can be said of diff before it has been looked at once more
}

func (a *auditor) suspect(ctx context.Context, committed freshet.Version, d *freshet.Difference) error {
	if d == nil {
		return nil
	}
	a.suspects[d.Key] = suspect{committed: committed, diff: d}
	if len(a.suspects) < maxSuspects {
		return nil
	}
	return a.settle(ctx)
}

// compareAll compares everything once; what differs becomes a suspect.
func (a *auditor) compareAll(ctx context.Context) error {
	filters := map[*shard]map[uint32]uint64{}
	present := map[*shard][]bool{} // by document: vector.sync has it
	for _, sh := range a.shards {
		filters[sh] = sh.filterDigests(nil)
		present[sh] = make([]bool, sh.size())
	}
	err := a.s.log.Scan(freshet.TopicSync, nil, nil, func(r broker.Record) error {
		key, err := wire.ParseKey(r.Key)
		if err != nil {
			a.report.Note(maxDifferences, *differ("documents", "damaged", key, err.Error()))
			return nil
		}
		if !a.s.part.holds(key) {
			return nil
		}
		sh := a.s.shard(key.Shard())
		if sh == nil {
			sh = &shard{} // without documents: whatever is in the table is missing
		}
		if doc, ok := sh.document(key.Entity); ok && int(doc) < len(present[sh]) {
			present[sh][doc] = true
		}
		c, err := wire.DecodeChange(key, r.Value, wire.Points)
		if err != nil {
			a.report.Note(maxDifferences, *differ("documents", "damaged", key, err.Error()))
			return nil
		}
		if err := a.suspect(ctx, c.Version, sh.compare(&c, filters[sh], a.digester)); err != nil {
			return err
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	for sh := range present {
		for _, d := range sh.extras(present[sh], filters[sh], a.report) {
			if err := a.suspect(ctx, freshet.Version{}, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// settle looks at the suspects again, several times, and reports those that still differ.
func (a *auditor) settle(ctx context.Context) error {
	for round := 0; round < recheckRounds && len(a.suspects) > 0; round++ {
		if err := a.wait(ctx); err != nil {
			return err
		}
		byShard := map[freshet.Shard][]freshet.Key{}
		for key := range a.suspects {
			byShard[key.Shard()] = append(byShard[key.Shard()], key)
		}
		for name, keys := range byShard {
			sh := a.s.shard(name)
			if sh == nil {
				if err := a.withoutShard(ctx, keys); err != nil {
					return err
				}
				continue
			}
			done, digests := sh.done.Load(), sh.filterDigests(keys)
			for _, key := range keys {
				now, err := a.inspect(sh, key, done, digests)
				if err != nil {
					return err
				}
				if now == nil {
					delete(a.suspects, key)
				} else {
					a.suspects[key] = *now
				}
			}
		}
	}
	for _, p := range a.suspects {
		if p.diff != nil && !p.fresh {
			a.report.Note(maxDifferences, *p.diff)
		}
	}
	clear(a.suspects)
	return nil
}

// withoutShard looks at suspects of a shard that is not there: they are missing still, unless it was dropped.
func (a *auditor) withoutShard(ctx context.Context, keys []freshet.Key) error {
	for _, key := range keys {
		c, ok, err := a.s.Get(ctx, key)
		switch {
		case err != nil:
			return fmt.Errorf("audit of entity %q: %w", key.Entity, err)
		case !ok:
			delete(a.suspects, key)
		case c.Version.After(a.suspects[key].committed):
			a.suspects[key] = suspect{committed: c.Version} // it has come anew, and is about to be applied
		}
	}
	return nil
}

// inspect compares one suspect while nothing is applied to its shard. digests are of the
// filter index, read after batch done was finished. The result is nil when all is well.
func (a *auditor) inspect(sh *shard, key freshet.Key, done uint64, digests map[uint32]uint64) (*suspect, error) {
	sh.applying.Lock()
	defer sh.applying.Unlock()
	before := a.suspects[key]
	doc, numbered := sh.docs.find(key.Entity)
	var info docInfo
	if numbered {
		info = sh.docs.info[doc]
	}
	c, ok, err := a.s.Get(context.Background(), key)
	switch {
	case err != nil:
		return nil, fmt.Errorf("audit of entity %q: %w", key.Entity, err)
	case !ok && info.known(): // or just dropped, or forgotten
		fresh := before.diff == nil || before.diff.Kind != "extra"
		return &suspect{diff: differ("documents", "extra", key, "it is indexed, vector.sync does not have it"), fresh: fresh}, nil
	case !ok:
		if _, filtered := digests[doc]; filtered && numbered {
			return &suspect{diff: differ("filters", "extra", key, "filters find it, vector.sync does not have it")}, nil
		}
		return nil, nil
	case c.Version.After(info.version) && !before.committed.After(info.version):
		return &suspect{committed: c.Version}, nil // committed, and about to be applied
	}
	d := sh.compare(&c, digests, a.digester)
	if d == nil {
		return nil, nil
	}
	if d.Part == partFilters && info.batch > done {
		return &suspect{committed: c.Version}, nil // digests may be of the version before
	}
	return &suspect{committed: before.committed, diff: d}, nil
}

// graphs returns what the vector indexes find wrong with themselves.
func (a *auditor) graphs() map[*shard][]ann.Problem {
	found := map[*shard][]ann.Problem{}
	for _, sh := range a.shards {
		if problems := sh.vectors().Check(); len(problems) > 0 {
			found[sh] = problems
		}
	}
	return found
}

// reportGraphs reports the problems that are there still. A point that no walk finds is not
// among them: it is where it belongs, exact searches find it, and how many there may be is a
// matter of recall, which the index mends when it sweeps.
func (a *auditor) reportGraphs(before map[*shard][]ann.Problem) {
	for sh, problems := range before {
		if sh.dropped.Load() {
			continue
		}
		type place struct {
			code string
			key  uint64
		}
		now := map[place]bool{}
		for _, p := range sh.vectors().Check() {
			now[place{p.Code, p.Key}] = p.Code != ann.ProblemUnreachable
		}
		for _, p := range problems {
			if !now[place{p.Code, p.Key}] {
				continue
			}
			key := freshet.Key{Collection: sh.name.Collection, Namespace: sh.name.Namespace}
			if p.Code != ann.ProblemCount {
				key = sh.keyOf(docOf(p.Key))
			}
			a.report.Note(maxDifferences, freshet.Difference{Part: "graph", Kind: "damaged", Key: key, Detail: p.String()})
		}
	}
}
