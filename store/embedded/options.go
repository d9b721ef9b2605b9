package embedded

import (
	"fmt"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/control"
)

// IndexOptions are the settings of vector indexes; zero values mean the defaults of ann.
type IndexOptions struct {
	Kind           ann.Kind
	Precision      ann.Precision
	M              int
	EfConstruction int
	Ef             int
	FlatBelow      int     // points up to which an index stays an exact list; see ann.Options
	TargetRecall   float64 // of the ten nearest, that searches should find; 0 or above 1: they are not watched
	// Dir is where indexes of kind hnsw_disk keep their vectors while they run. Nothing in it outlives the process.
	Dir string
}

// With returns the options with the settings that x has instead.
func (o IndexOptions) With(x control.Index) (IndexOptions, error) {
	var err error
	if x.Kind != "" {
		if o.Kind, err = ann.ParseKind(x.Kind); err != nil {
			return o, err
		}
	}
	if x.Precision != "" {
		if o.Precision, err = ann.ParsePrecision(x.Precision); err != nil {
			return o, err
		}
	}
	if x.M != 0 {
		o.M = x.M
	}
	if x.EfConstruction != 0 {
		o.EfConstruction = x.EfConstruction
	}
	if x.Ef != 0 {
		o.Ef = x.Ef
	}
	if x.TargetRecall != 0 {
		o.TargetRecall = x.TargetRecall
	}
	return o, o.options(ann.MinDim, ann.Cosine).Validate()
}

// options are those of an index with so many dimensions.
func (o IndexOptions) options(dim int, metric ann.Metric) ann.Options {
	return ann.Options{Dim: dim, Metric: metric, Kind: o.Kind, Precision: o.Precision, M: o.M, EfConstruction: o.EfConstruction,
		Ef: o.Ef, FlatBelow: o.FlatBelow, Dir: o.Dir, BufferSize: bufferFor(dim), LowPriority: true}
}

// bufferFor is how many vectors may wait for their links before changes wait. Searches scan
// them, about half a millisecond for the codes of bufferBytes; so long a burst can be
// searched at the speed of the pipeline, not of the graph.
func bufferFor(dim int) int { return min(maxBuffer, max(minBuffer, bufferBytes/dim)) }

const (
	bufferBytes = 4 << 20
	minBuffer   = 1024
	maxBuffer   = 16384
)

// configured are the settings of indexes in the configuration.
type configured struct {
	all         IndexOptions
	collections map[string]control.Index // that differ from all
}

// Configure replaces the settings that Options has given. Of indexes that are there the width of searches and the target
// recall follow at once; the rest is for those that are made from now on.
func (s *Store) Configure(all IndexOptions, collections map[string]control.Index) error {
	s.fitting.Lock()
	defer s.fitting.Unlock()
	s.configured.Store(&configured{all, collections})
	for _, sh := range s.all() {
		if err := s.fitLocked(sh, control.Index{}); err != nil {
			return err
		}
	}
	return nil
}

// fit gives the index of a shard the width that its settings have now, if x were set for it.
func (s *Store) fit(sh *shard, x control.Index) error {
	s.fitting.Lock()
	defer s.fitting.Unlock()
	return s.fitLocked(sh, x)
}

func (s *Store) fitLocked(sh *shard, x control.Index) error {
	opt, err := s.annOptions(sh.name, x)
	if err != nil {
		return err
	}
	ix := sh.vectors()
	was := ix.Options().Ef
	if err := ix.SetEf(opt.Ef); err != nil {
		return err
	}
	if w := sh.watcher.Load(); w != nil && ix.Options().Ef != was {
		w.ef.Store(0) // what it had found out is for another width
	}
	return nil
}

// settings are those of a shard's indexes: in this order of precedence what was set for its namespace, for its collection,
// in the configuration for the collection, and for all.
func (s *Store) settings(name freshet.Shard) (IndexOptions, error) {
	c := s.configured.Load()
	return c.all.With(s.catalog.Index(name.Collection, name.Namespace).Over(c.collections[name.Collection]))
}

// annOptions are the options of a shard's vector index, if x were set for it.
func (s *Store) annOptions(name freshet.Shard, x control.Index) (ann.Options, error) {
	col, ok, err := s.catalog.Lookup(name.Collection)
	if err != nil {
		return ann.Options{}, err
	}
	if !ok {
		return ann.Options{}, fmt.Errorf("collection %q is not in the catalog", name.Collection)
	}
	metric, err := ParseMetric(col.Metric)
	if err != nil {
		return ann.Options{}, err
	}
	o, err := s.settings(name)
	if err != nil {
		return ann.Options{}, err
	}
	if o, err = o.With(x); err != nil {
		return ann.Options{}, err
	}
	return o.options(col.Dim, metric), nil
}

// ParseMetric reads the name of a metric as configurations have it.
func ParseMetric(name string) (ann.Metric, error) {
	switch name {
	case "cosine":
		return ann.Cosine, nil
	case "ip":
		return ann.InnerProduct, nil
	case "l2":
		return ann.L2, nil
	}
	return 0, fmt.Errorf(`metric %q is not known; use "cosine", "ip" or "l2"`, name)
}
