package embedded

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/ann"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/wire"
)

// How a rebuild goes on.
const (
	rebuildBatch = 256                   // records that are copied under one lock
	rebuildPoll  = 10 * time.Millisecond // between looks at whether the new index takes more
)

// Rebuild is a vector index that is being built anew beside the one in use.
type Rebuild struct {
	Shard    freshet.Shard
	Settings control.Index // what was asked for
	Began    time.Time
	state    atomic.Pointer[string]
	entities atomic.Int64 // to copy
	copied   atomic.Int64
	next     *ann.Index
}

// RebuildStats is how far a rebuild is.
type RebuildStats struct {
	State                      string // waiting, copying, linking, or switching
	Entities, Copied, Unlinked int
}

// Stats returns how far it is.
func (r *Rebuild) Stats() RebuildStats {
	return RebuildStats{State: *r.state.Load(), Entities: int(r.entities.Load()), Copied: int(r.copied.Load())}
}

// Rebuilding returns how far the rebuild of a shard's index is, if there is one.
func (s *Store) Rebuilding(name freshet.Shard) (RebuildStats, bool) {
	if sh := s.shard(name); sh != nil {
		if r := sh.rebuild.Load(); r != nil {
			st := r.Stats()
			st.Unlinked = r.next.Stats().InBuffer
			return st, true
		}
	}
	return RebuildStats{}, false
}

// IndexStats is the vector index of one shard.
type IndexStats struct {
	Shard   freshet.Shard
	Options ann.Options
	Stats   ann.Stats
	Recall  *Recall // nil: not measured
}

// Indexes returns the vector indexes of all shards.
func (s *Store) Indexes() []IndexStats {
	var out []IndexStats
	for _, sh := range s.all() {
		ix := sh.vectors()
		out = append(out, IndexStats{sh.name, ix.Options(), ix.Stats(), sh.recall()})
	}
	return out
}

func (r *Rebuild) enter(state string) { r.state.Store(&state) }

// Rebuild builds the vector index of a shard anew, with the settings given where they are not zero, and then puts it in the
// place of the one in use, which answers searches until then. Changes go to both. It takes the memory of both; a process
// that ends meanwhile has the old one at its next start.
//
// What it copies are the vectors of vector.sync, so a precision that was lost by the old index comes back.
func (s *Store) Rebuild(ctx context.Context, name freshet.Shard, settings control.Index) error {
	sh := s.shard(name)
	if sh == nil {
		return &freshet.Error{Code: freshet.CodeNotFound, Message: fmt.Sprintf("there is no index of namespace %q in collection %q", name.Namespace, name.Collection)}
	}
	opt, err := s.annOptions(name, settings)
	if err != nil {
		return err
	}
	next, err := ann.New(opt)
	if err != nil {
		return err
	}
	r := &Rebuild{Shard: name, Settings: settings, Began: time.Now(), next: next}
	r.enter("copying")
	if !sh.begin(r) {
		return errors.Join(&freshet.Error{Code: freshet.CodeUnavailable, Message: fmt.Sprintf("the index of %s/%s is being rebuilt already", name.Collection, name.Namespace)}, next.Close())
	}
	err = s.copyTo(ctx, sh, r)
	if err == nil {
		r.enter("linking")
		err = next.Flush(ctx)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("rebuild the index of %s/%s: %w", name.Collection, name.Namespace, err), sh.giveUp(r), next.Close())
	}
	r.enter("switching")
	old, err := sh.switchTo(r)
	if err != nil {
		return errors.Join(err, next.Close())
	}
	err = s.fit(sh, settings) // the configuration may be another by now
	sh.dirty.Add(1)           // the snapshot has the old one
	sh.reading.Lock()
	defer sh.reading.Unlock()
	return errors.Join(err, old.Close())
}

// begin makes changes go to the new index too. It returns false when another one is being built.
func (s *shard) begin(r *Rebuild) bool {
	s.applying.Lock()
	defer s.applying.Unlock()
	if s.rebuild.Load() != nil {
		return false
	}
	s.rebuild.Store(r)
	s.rebuildErr = nil
	return true
}

func (s *shard) giveUp(r *Rebuild) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.rebuild.CompareAndSwap(r, nil)
	return nil
}

// switchTo puts the new index in the place of the old one, which it returns. Searches that have the old one at hand may
// still use it, and find it closed then: see shard.find.
func (s *shard) switchTo(r *Rebuild) (old *ann.Index, err error) {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.rebuild.Store(nil)
	if s.rebuildErr != nil {
		return nil, fmt.Errorf("rebuild the index of %s/%s: a change could not be applied: %w", s.name.Collection, s.name.Namespace, s.rebuildErr)
	}
	if s.dropped.Load() {
		return nil, fmt.Errorf("rebuild the index of %s/%s: it was dropped meanwhile", s.name.Collection, s.name.Namespace)
	}
	old = s.vectors()
	s.use(r.next)
	return old, nil
}

// applyOps changes the vector index, and the one that is being built.
func (s *shard) applyOps(ops []ann.Op) error {
	if err := s.vectors().Apply(ops); err != nil {
		return err
	}
	s.changed(ops)
	if r := s.rebuild.Load(); r != nil && s.rebuildErr == nil {
		s.rebuildErr = r.next.Apply(ops) // the rebuild fails by it, the change does not
	}
	return nil
}

// copyTo puts what vector.sync has of a shard into the new index.
//
// A record is copied while no change is applied, and only if the vectors that the old index has are the record's, by the
// digest of the content: else a newer change has gone to both indexes since, or is about to.
func (s *Store) copyTo(ctx context.Context, sh *shard, r *Rebuild) error {
	r.entities.Store(int64(sh.size()))
	lower, upper := wire.ShardRange(sh.name)
	var batch []freshet.Change
	flush := func() error {
		if err := sh.copyBatch(ctx, r, batch); err != nil {
			return err
		}
		r.copied.Add(int64(len(batch)))
		batch = batch[:0]
		return nil
	}
	err := s.log.Scan(freshet.TopicSync, lower, upper, func(rec broker.Record) error {
		key, err := wire.ParseKey(rec.Key)
		if err != nil || !s.part.holds(key) {
			return err
		}
		c, err := wire.DecodeChange(key, rec.Value, wire.Points)
		if err != nil {
			return err
		}
		if c.Metadata = nil; len(batch)+1 < rebuildBatch {
			batch = append(batch, c)
			return nil
		}
		batch = append(batch, c)
		return flush()
	})
	return errors.Join(err, flush())
}

func (s *shard) copyBatch(ctx context.Context, r *Rebuild, batch []freshet.Change) error {
	for room := r.next.Options().BufferSize / 2; r.next.Stats().InBuffer > room+max(0, r.next.Options().FlatBelow) && r.next.Options().Kind != ann.Flat; {
		select {
		case <-time.After(rebuildPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.applying.Lock()
	defer s.applying.Unlock()
	if s.rebuildErr != nil {
		return s.rebuildErr
	}
	var ops []ann.Op
	for i := range batch {
		c := &batch[i]
		doc, ok := s.docs.find(c.Key.Entity)
		if !ok {
			continue
		}
		info := &s.docs.info[doc]
		if same := info.version == c.Version || info.content == c.Content && c.Content != [16]byte{}; !same || int(info.points) != len(c.Points) {
			continue
		}
		for slot := range c.Points {
			ops = append(ops, ann.Op{Key: pointKey(doc, slot), Vector: c.Points[slot].Vector})
		}
	}
	if err := r.next.Apply(ops); err != nil {
		return err
	}
	return ctx.Err()
}

// RebuildIndexes rebuilds the indexes of a namespace, or with namespace "" all of a collection, one after the other, and
// records the settings, so that later starts and new namespaces have them. each is told before every one.
func (s *Store) RebuildIndexes(ctx context.Context, collection, namespace string, settings control.Index, each func(done, total int, name freshet.Shard)) error {
	var names []freshet.Shard
	for _, sh := range s.all() {
		if sh.name.Collection == collection && (namespace == "" || sh.name.Namespace == namespace) {
			names = append(names, sh.name)
		}
	}
	for i, name := range names {
		each(i, len(names), name)
		if err := s.Rebuild(ctx, name, settings); err != nil {
			return err
		}
	}
	if settings != (control.Index{}) {
		if err := s.catalog.SetIndex(collection, namespace, settings.Over(s.catalog.Index(collection, namespace))); err != nil {
			return err
		}
		for _, name := range names {
			if sh := s.shard(name); sh != nil {
				if err := s.fit(sh, control.Index{}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// CheckRebuild returns why a rebuild can't be: an unknown collection, a namespace without an index, settings out of range.
func (s *Store) CheckRebuild(collection, namespace string, settings control.Index) error {
	if _, ok := s.catalog.Get(collection); !ok {
		return &freshet.Error{Code: freshet.CodeUnknownCollection, Field: "collection", Message: fmt.Sprintf("there is no collection %q", collection)}
	}
	name := freshet.Shard{Collection: collection, Namespace: namespace}
	if namespace != "" && s.shard(name) == nil {
		return &freshet.Error{Code: freshet.CodeNotFound, Field: "namespace", Message: fmt.Sprintf("collection %q has no namespace %q", collection, namespace)}
	}
	opt, err := s.annOptions(name, settings)
	if err == nil {
		err = opt.Validate()
	}
	if err != nil {
		return &freshet.Error{Code: freshet.CodeInvalidField, Message: err.Error()}
	}
	return nil
}
