package ann

import (
	"errors"
	"fmt"
	"math"

	"github.com/freshet-io/freshet/ann/internal/kernel"
)

// space is the geometry of one metric. Inside the index, smaller distances are nearer; scores are for callers.
type space struct {
	metric Metric
	dim    int
	kernel *kernel.Set
}

// Walks compare codes, and their distances have one of two forms. The form of a search ranks points for a query: 1 - cosine,
// minus the inner product, or the squared Euclidean distance. 1 - cosine is half of the squared distance of vectors of length 1, and
// is measured as that, between what the codes stand for. The form of links says which nodes are neighbours. They differ
// under inner product only: links there follow the Euclidean distance, since with the inner product everything would link
// to the longest vectors, and the short ones could not be reached.

func (s *space) searchForm() kernel.Form {
	if s.metric == InnerProduct {
		return kernel.InnerProduct
	}
	return s.linkForm()
}

func (s *space) linkForm() kernel.Form {
	if s.metric == Cosine {
		return kernel.Euclidean(1)
	}
	return kernel.Euclidean(2)
}

// score returns the similarity of Result.
func (s *space) score(a, b []float32) float32 {
	switch s.metric {
	case L2:
		return float32(1 / (1 + math.Sqrt(float64(s.kernel.L2(a, b)))))
	case InnerProduct:
		return s.kernel.Dot(a, b)
	default:
		return min(1, max(-1, s.kernel.Dot(a, b)))
	}
}

// distance returns the distance of a search, as walks measure it, to what has this score.
func (s *space) distance(score float32) float32 {
	switch s.metric {
	case L2:
		d := 1/score - 1
		return d * d
	case InnerProduct:
		return -score
	default:
		return 1 - score
	}
}

var (
	errZeroNorm = errors.New("every component is zero, which has no direction: cosine needs one, inner_product and l2 do not")
	errTooLong  = fmt.Errorf("its squared norm is above %g: scale the vectors down", float64(maxNormSquared))
)

// check returns the squared norm of v, or why v can't be stored or searched for.
func (s *space) check(v []float32) (normSquared float64, err error) {
	if len(v) != s.dim {
		return 0, fmt.Errorf("it has %d components: the index has dimension %d", len(v), s.dim)
	}
	for i, x := range v {
		if y := float64(x); math.IsNaN(y) || math.IsInf(y, 0) {
			return 0, fmt.Errorf("component %d is %v: it must be a finite number", i, x)
		}
		normSquared += float64(x) * float64(x)
	}
	if s.metric == Cosine && normSquared == 0 {
		return 0, errZeroNorm
	}
	if s.metric != Cosine && normSquared > maxNormSquared {
		return 0, errTooLong
	}
	return normSquared, nil
}

// prepare writes v, checked, into dst in the form that is stored: under cosine normalised, unless it already is. dst
// may be longer than v; the rest becomes zero.
func (s *space) prepare(dst, v []float32, normSquared float64) {
	clear(dst[copy(dst, v):])
	if s.metric == Cosine {
		normalise(dst[:len(v)], normSquared)
	}
}

// normalise scales v to length 1. A vector that is as close to it as float32 allows stays as it is, so that doing it
// twice changes nothing.
func normalise(v []float32, normSquared float64) {
	if math.Abs(normSquared-1) < unitNormTolerance {
		return
	}
	scale := 1 / math.Sqrt(normSquared)
	for i, x := range v {
		v[i] = float32(float64(x) * scale)
	}
}
