package dataset

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/freshet-io/freshet/ann"
)

// Set is what a benchmark runs on. It is not changed after Open returned it.
type Set struct {
	Name    string
	Metric  ann.Metric
	Base    Matrix
	Queries Matrix
	Truth   [][]int32 // of each query the rows of Base, nearest first; nil when Source.NoTruth
	// Clusters is the cluster of every row of Base, where the data has such (easy), else nil.
	Clusters []int32
}

// Source says where a Set comes from. Either Base and Queries name files, or Data names a generator.
type Source struct {
	Base, Queries, Truth string // fvecs, fvecs, ivecs; without Truth it is computed

	Data    string // easy, copies, hard, texts or glove
	N       int    // rows of the base; for files and glove 0 means all
	Dim     int    // components; 0 means DefaultDim
	NQ      int    // queries; 0 means DefaultQueries, or all of a file
	Seed    uint64
	Metric  ann.Metric
	K       int    // neighbours of the truth; 0 means DefaultTruth
	NoTruth bool   // the caller computes its own
	Shared  string // the folder of the shared data; empty: found by SharedDir
}

// Defaults of Source.
const (
	DefaultN       = 100_000
	DefaultDim     = 256
	DefaultQueries = 1000
	DefaultTruth   = 100
)

// Limits of Source.
const (
	maxRows    = 100_000_000
	maxQueries = 1_000_000
	maxTruth   = 1000
)

// Kinds are the names that Source.Data takes.
func Kinds() []string { return []string{"easy", "copies", "hard", "texts", "glove"} }

// Open reads or makes the set that s describes, and its truth. With a truth file, the truth is checked: a wrong metric
// or a truth of other data is an error, not a low recall.
func Open(s Source) (*Set, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	set, err := s.vectors()
	if err != nil {
		return nil, err
	}
	set.Metric = s.Metric
	if err := set.check(); err != nil {
		return nil, err
	}
	if s.NoTruth {
		set.Truth = nil
		return set, nil
	}
	k := s.K
	if k == 0 {
		k = DefaultTruth
	}
	if set.Truth != nil {
		return set, set.checkTruth(checkedQueries)
	}
	if set.Truth, err = Truth(set.Base, set.Queries, s.Metric, min(k, set.Base.Rows())); err != nil {
		return nil, err
	}
	return set, set.checkTruth(checkedQueries)
}

func (s Source) validate() error {
	switch {
	case (s.Base == "") != (s.Queries == ""):
		return fmt.Errorf("dataset: a base file needs a queries file and the other way round")
	case s.Base == "" && s.Truth != "":
		return fmt.Errorf("dataset: a truth file needs its base and queries files")
	case s.Base != "" && s.Data != "":
		return fmt.Errorf("dataset: data %q and a base file exclude each other", s.Data)
	case s.Base == "" && !slices.Contains(Kinds(), s.Data):
		return fmt.Errorf("dataset: data %q is not known: use one of %v", s.Data, Kinds())
	}
	for _, f := range []struct {
		name      string
		value, hi int
	}{{"N", s.N, maxRows}, {"Dim", s.Dim, ann.MaxDim}, {"NQ", s.NQ, maxQueries}, {"K", s.K, maxTruth}} {
		if f.value < 0 || f.value > f.hi {
			return fmt.Errorf("dataset: %s is %d: it must be from 0 to %d", f.name, f.value, f.hi)
		}
	}
	return nil
}

// vectors reads or makes the base and the queries, and the truth where a file has it.
func (s Source) vectors() (*Set, error) {
	if s.Base != "" {
		return s.readFiles(filepath.Base(s.Base), s.Base, s.Queries, s.Truth)
	}
	if s.Data == "glove" {
		return s.glove()
	}
	if s.N == 0 {
		s.N = DefaultN
	}
	if s.NQ == 0 {
		s.NQ = DefaultQueries
	}
	if s.Dim == 0 {
		s.Dim = DefaultDim
	}
	switch s.Data {
	case "easy":
		return easy(s), nil
	case "copies":
		return copies(s), nil
	}
	return s.texts()
}

// readFiles reads a set from files. Rows beyond N, and queries beyond NQ, are left out; leaving out rows drops the truth.
func (s Source) readFiles(name, base, queries, truth string) (*Set, error) {
	b, err := ReadFvecs(base)
	if err != nil {
		return nil, err
	}
	q, err := ReadFvecs(queries)
	if err != nil {
		return nil, err
	}
	if b.Dim != q.Dim {
		return nil, fmt.Errorf("dataset: %s has %d dimensions, %s has %d", base, b.Dim, queries, q.Dim)
	}
	set := &Set{Name: name, Base: b, Queries: q}
	if truth != "" {
		if set.Truth, err = ReadIvecs(truth); err != nil {
			return nil, err
		}
		if len(set.Truth) != q.Rows() {
			return nil, fmt.Errorf("dataset: %s has %d rows, %s has %d queries", truth, len(set.Truth), queries, q.Rows())
		}
	}
	if s.N > 0 && s.N < b.Rows() {
		set.Base, set.Truth = b.Slice(0, s.N), nil
	}
	if s.NQ > 0 && s.NQ < q.Rows() {
		set.Queries = q.Slice(0, s.NQ)
		set.Truth = set.Truth[:min(len(set.Truth), s.NQ)]
	}
	return set, nil
}

// glove is the 50-dimensional word vectors of the shared folder, with its own truth for cosine and L2.
func (s Source) glove() (*Set, error) {
	dir, err := s.sharedDir()
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "data", "glove_50d")
	truth := ""
	switch s.Metric {
	case ann.Cosine:
		truth = filepath.Join(dir, "gt_cosine_100.ivecs")
	case ann.L2:
		truth = filepath.Join(dir, "gt_l2_100.ivecs")
	}
	return s.readFiles("glove_50d", filepath.Join(dir, "base.fvecs"), filepath.Join(dir, "query.fvecs"), truth)
}

// check refuses vectors that no index could compare.
func (s *Set) check() error {
	if s.Base.Rows() == 0 || s.Queries.Rows() == 0 {
		return fmt.Errorf("dataset: %s has %d vectors and %d queries: it must have both", s.Name, s.Base.Rows(), s.Queries.Rows())
	}
	if s.Metric != ann.Cosine {
		return nil
	}
	for _, m := range []Matrix{s.Base, s.Queries} {
		for i := range m.Rows() {
			if row := m.Row(i); !(dot(row, row) > 0) {
				return fmt.Errorf("dataset: vector %d of %s is zero: it has no cosine", i, s.Name)
			}
		}
	}
	return nil
}
