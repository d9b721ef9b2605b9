package node

import (
	"fmt"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/process"
	store "github.com/freshet-io/freshet/store/embedded"
)

// writers says who writes which collections, as the catalog has it at present. It implements [kafka.Collections].
type writers struct{ catalog *control.Catalog }

// Writer implements [kafka.Collections].
func (w writers) Writer(collection string) (external, ok bool) {
	col, ok := w.catalog.Get(collection)
	return col.External, ok
}

// External implements [kafka.Collections].
func (w writers) External() (names []string) {
	for _, col := range w.catalog.All() {
		if col.External {
			names = append(names, col.Name)
		}
	}
	return names
}

// Epoch implements [kafka.Collections].
func (w writers) Epoch() uint32 {
	all := w.catalog.Epochs()
	return all[len(all)-1].Number // the start records the first
}

// Check implements [kafka.Collections].
func (w writers) Check(c *freshet.Change) error {
	col, ok := w.catalog.Get(c.Key.Collection)
	if !ok {
		return fmt.Errorf("collection %q is not declared", c.Key.Collection)
	}
	if n := len(c.Points); n == 0 || n >= store.MaxPoints {
		return &freshet.Error{Code: freshet.CodeInvalidField, Field: "points", Message: fmt.Sprintf("are %d; an entity has 1 to %d, and a null value deletes it", n, store.MaxPoints-1)}
	}
	return process.CheckExternal(c, col)
}

// registerExternal adds the metrics of what others write into vector.sync.
func (c *Cluster) registerExternal() {
	s := &c.external.Stats
	c.counter("freshet_external_taken_total", "Records of vector.sync by others that have changed an entity here, since start.", nil, func() float64 { return float64(s.Taken.Load()) })
	c.counter("freshet_external_bad_total", "Records of vector.sync by others that can't be read, since start: their entities are deleted.", nil, func() float64 { return float64(s.Bad.Load()) })
	c.counter("freshet_external_ignored_total", "Records of vector.sync by others in a collection that is not declared, or that is not theirs, since start.", nil,
		func() float64 { return float64(s.Ignored.Load()) })
	c.gauge("freshet_external_lag_records", "Records of vector.sync that are not looked through for what others write.", func() float64 { return float64(c.external.Lag()) })
}
