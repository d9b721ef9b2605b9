package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/wire"
)

// drop empties a random namespace, or all of a collection.
func (l *life) drop(ctx context.Context, rng *rand.Rand) error {
	name := (&author{rng: rng, late: l.late}).blank().key.Shard()
	if rng.IntN(3) == 0 {
		name.Namespace = ""
	}
	if _, ok := l.node.Planner().Catalog.Get(name.Collection); !ok {
		return nil
	}
	l.model.appending.RLock()
	defer l.model.appending.RUnlock()
	l.drops.Store(true)
	report, err := l.node.Drop(ctx, name.Collection, name.Namespace)
	if err != nil {
		return fmt.Errorf("drop: %w", err)
	}
	token, err := wire.ParseToken(report.Token)
	if err != nil {
		return err
	}
	l.outlet.witness(func() { l.model.counts(token) })
	return nil
}

// within reports whether a drop of name takes a shard.
func within(name, shard freshet.Shard) bool {
	return shard.Collection == name.Collection && (name.Namespace == "" || shard.Namespace == name.Namespace)
}

// drop empties a namespace of a collection, or all of it: its events start anew, with the same ids too.
func (st *state) drop(s *submission) {
	name := freshet.Shard{Collection: s.command.Collection, Namespace: s.command.Namespace}
	st.drops[name] = s.offset
	st.changed = slices.DeleteFunc(st.changed, func(c changed) bool { return within(name, c.key.Shard()) }) // nobody needs to keep them
	for key, e := range st.entities {
		if within(name, key.Shard()) {
			st.vanish(e, never)
			st.emptied++
		}
	}
	for id := range st.remembered {
		if within(name, id.key.Shard()) {
			delete(st.remembered, id)
		}
	}
}
