package ann

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
)

// Metric says how two vectors are compared.
type Metric uint8

const (
	// Cosine compares directions. Vectors are normalised when they are stored; the score is the cosine, in [-1, 1].
	Cosine Metric = iota
	// InnerProduct scores by the plain inner product, so longer vectors rank higher.
	InnerProduct
	// L2 compares by Euclidean distance d; the score is 1/(1+d), in (0, 1].
	L2
)

var metricNames = [...]string{"cosine", "inner_product", "l2"}

// String returns the name that ParseMetric accepts.
func (m Metric) String() string {
	if int(m) < len(metricNames) {
		return metricNames[m]
	}
	return fmt.Sprintf("metric(%d)", uint8(m))
}

// ParseMetric returns the metric of a name: cosine, inner_product or l2.
func ParseMetric(name string) (Metric, error) {
	for i, n := range metricNames {
		if n == name {
			return Metric(i), nil
		}
	}
	return 0, fmt.Errorf("ann: metric %q is not known: use cosine, inner_product or l2", name)
}

// Kind says how an index finds neighbours.
type Kind uint8

const (
	// HNSW walks a navigable graph: approximate, fast, and the default.
	HNSW Kind = iota
	// Flat compares the query with every point: exact, and the oracle of the others.
	Flat
	// HNSWDisk is HNSW with the codes and the graph in memory and the full vectors in a file, of which a search reads the
	// few that its results are ranked by. Exact searches read all of them.
	HNSWDisk
	// IVFFlat divides the points among lists of near ones, and a search looks at the lists that are nearest, at a byte per
	// component. Less memory than HNSW and a higher rate of changes, slower searches at the same recall.
	IVFFlat
	// IVFPQ is IVFFlat with two bits per component (product quantisation with a trained rotation), of which a search
	// ranks more by their full vectors. With Precision Float16 or Int8 it is the kind that takes the least memory.
	IVFPQ
	// IVFHNSW is IVFFlat with many short lists, which are found through a graph of their centroids: for large sets that
	// change slowly.
	IVFHNSW
)

// inverted reports whether the kind divides points among lists.
func (k Kind) inverted() bool { return k == IVFFlat || k == IVFPQ || k == IVFHNSW }

var kindNames = [...]string{"hnsw", "flat", "hnsw_disk", "ivf_flat", "ivf_pq", "ivf_hnsw"}

// String returns the name that ParseKind accepts.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// ParseKind returns the kind of a name, as String returns it.
func ParseKind(name string) (Kind, error) {
	for i, n := range kindNames {
		if n == name {
			return Kind(i), nil
		}
	}
	return 0, fmt.Errorf("ann: index kind %q is not known: use one of %s", name, strings.Join(kindNames[:], ", "))
}

// Limits of what an index accepts.
const (
	MinDim            = 2       // smallest Options.Dim
	MaxDim            = 4096    // largest Options.Dim
	MinM              = 4       // smallest Options.M
	MaxM              = 64      // largest Options.M
	MaxEf             = 1 << 16 // largest Options.Ef, Options.EfConstruction and SearchOptions.Ef
	MaxK              = 1 << 20 // largest k of a search
	MaxWorkers        = 256     // largest Options.Workers
	MaxBuffer         = 1 << 20 // largest Options.BufferSize and Options.FlatBelow
	maxAlpha          = 2
	maxNormSquared    = 1e37 // inner product and L2: beyond it float32 distances overflow
	unitNormTolerance = 1e-6 // a squared norm this close to 1 is left as it is
)

// Defaults of Options: what a zero field means.
const (
	DefaultM              = 16
	DefaultEfConstruction = 200
	DefaultEf             = 64
	DefaultPlainEf        = 100 // of InnerProduct, and of kinds with lists: see SearchOptions.Ef
	DefaultFlatBelow      = 1000
	DefaultBufferSize     = 4096
	DefaultAlpha          = 1.1
)

// Options describes an index. The zero value of every field but Dim stands for a default.
type Options struct {
	// Dim is the number of components of every vector, from MinDim to MaxDim. It has no default.
	Dim int
	// Metric defaults to Cosine.
	Metric Metric
	// Kind defaults to HNSW.
	Kind Kind
	// Precision says how exactly vectors are kept. Default Float32; kind HNSWDisk has no other.
	Precision Precision
	// Dir is where an index of kind HNSWDisk makes the file of its vectors; other kinds ignore it. It should be on a disk
	// of its size, not in memory as temporary folders sometimes are. It has no default.
	Dir string
	// M is the number of links that a new point of the graph makes; its row holds up to 2M on the lowest level.
	// Default DefaultM.
	M int
	// EfConstruction is the number of candidates that are gathered to link a point. Default DefaultEfConstruction.
	EfConstruction int
	// Ef is the number of candidates that a search keeps when SearchOptions.Ef is zero. Default DefaultEf,
	// or DefaultPlainEf.
	Ef int
	// Alpha relaxes the pruning of links: above 1 a row keeps more long links, which holds recall under change.
	// It applies to squared distances. Default DefaultAlpha; at most 2.
	Alpha float32
	// Seed makes the levels of the graph reproducible.
	Seed uint64
	// FlatBelow keeps an index an exact list while it has at most this many points. Default DefaultFlatBelow; negative
	// means that the graph is built, or lists are trained, from the first point on.
	FlatBelow int
	// Workers is the largest number of background goroutines that link points into the graph; they run only while
	// there is work. Default: half the processors, at least one, and all of them while a sixteenth of BufferSize waits, 256 at least.
	Workers int
	// LowPriority runs background work on threads of lower priority, where the system has that (Linux). A thread that
	// waits for a processor holds one of Go's, so a program that wants this sets GOMAXPROCS to its processors plus
	// Workers; then linking takes what searches and changes leave over.
	LowPriority bool
	// BufferSize is the number of points that may wait for their links; beyond it Apply waits. Default
	// DefaultBufferSize.
	BufferSize int

	mostWorkers int // while many points wait
}

// withDefaults returns o with every zero field replaced by its default.
func (o Options) withDefaults() Options {
	setDefault(&o.M, DefaultM)
	setDefault(&o.EfConstruction, DefaultEfConstruction)
	if o.Metric == InnerProduct || o.Kind.inverted() {
		setDefault(&o.Ef, DefaultPlainEf)
	}
	setDefault(&o.Ef, DefaultEf)
	setDefault(&o.FlatBelow, DefaultFlatBelow)
	setDefault(&o.BufferSize, DefaultBufferSize)
	if o.Workers == 0 {
		o.Workers, o.mostWorkers = max(1, processors()/2), processors()
	}
	setDefault(&o.mostWorkers, o.Workers)
	if o.Alpha == 0 {
		o.Alpha = DefaultAlpha
	}
	return o
}

// processors is how many there are for this program; Go may have been told of more.
func processors() int { return min(runtime.GOMAXPROCS(0), runtime.NumCPU()) }

func setDefault(field *int, value int) {
	if *field == 0 {
		*field = value
	}
}

// Validate returns an error that names the first field out of its range, its value and the range. Zero fields stand
// for their defaults and are valid, except Dim.
func (o Options) Validate() error {
	o = o.withDefaults()
	for _, f := range []struct {
		name          string
		value, lo, hi int
	}{
		{"Dim", o.Dim, MinDim, MaxDim},
		{"Metric", int(o.Metric), 0, len(metricNames) - 1},
		{"Kind", int(o.Kind), 0, len(kindNames) - 1},
		{"Precision", int(o.Precision), 0, len(precisionNames) - 1},
		{"M", o.M, MinM, MaxM},
		{"EfConstruction", o.EfConstruction, 1, MaxEf},
		{"Ef", o.Ef, 1, MaxEf},
		{"FlatBelow", o.FlatBelow, -1, MaxBuffer},
		{"Workers", o.Workers, 1, MaxWorkers},
		{"BufferSize", o.BufferSize, 1, MaxBuffer},
	} {
		if f.value < f.lo || f.value > f.hi {
			return fmt.Errorf("ann: option %s is %d: it must be from %d to %d", f.name, f.value, f.lo, f.hi)
		}
	}
	if o.Kind == HNSWDisk && o.Precision != Float32 {
		return fmt.Errorf("ann: option Precision is %s: kind hnsw_disk keeps float32 vectors in its file", o.Precision)
	}
	if o.Kind == HNSWDisk && o.Dir == "" {
		return errors.New("ann: option Dir is empty: kind hnsw_disk needs a folder for its file of vectors")
	}
	if !(o.Alpha >= 1 && o.Alpha <= maxAlpha) {
		return fmt.Errorf("ann: option Alpha is %v: it must be from 1 to %d", o.Alpha, maxAlpha)
	}
	return nil
}
