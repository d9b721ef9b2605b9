package mapping

import (
	"math"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/checker"
)

// An expression is evaluated twice as fast without metering its cost. bounds say when that is
// safe: the most that an expression can cost for events of up to so many bytes, as estimated
// at start. Nothing in an event is longer than the event, neither a text in characters nor a
// list in elements.
type bounds struct {
	least uint64
	most  [len(eventSizes)]uint64
}

// eventSizes are the lengths in bytes for which bounds are estimated. Longer events are
// always metered.
var eventSizes = [...]uint64{1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20}

// sizeClass is the place in eventSizes for an event of n bytes, len(eventSizes) for longer ones.
func sizeClass(n int) int {
	for i, size := range eventSizes {
		if uint64(n) <= size {
			return i
		}
	}
	return len(eventSizes)
}

// of is the most that the expression can cost for an event of the class.
func (b *bounds) of(class int) uint64 {
	if class >= len(b.most) {
		return math.MaxUint64
	}
	return b.most[class]
}

func estimate(env *cel.Env, tree *cel.Ast) (bounds, error) {
	var b bounds
	for i, size := range eventSizes {
		cost, err := env.EstimateCost(tree, lengths{size})
		if err != nil {
			return b, err
		}
		b.least, b.most[i] = cost.Min, cost.Max
	}
	return b, nil
}

// lengths is a checker.CostEstimator that knows how long an event is.
type lengths struct{ event uint64 }

// EstimateSize bounds variables and what is selected from them; nil leaves the rest to CEL,
// which adds sizes up or gives up.
func (l lengths) EstimateSize(node checker.AstNode) *checker.SizeEstimate {
	path := node.Path()
	if len(path) == 0 {
		return nil
	}
	switch path[0] {
	case "event", "item":
		return &checker.SizeEstimate{Min: 0, Max: l.event}
	case "source":
		return &checker.SizeEstimate{Min: 0, Max: maxSourceBytes}
	}
	return nil
}

// EstimateCallCost leaves the costs of functions to CEL and its extensions.
func (l lengths) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}
