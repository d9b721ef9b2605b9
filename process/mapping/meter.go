package mapping

import (
	"errors"
	"strings"

	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
	"cel.dev/cel-go/parser"
)

// The cost of an evaluation is one per step (a node of the syntax tree, each time it is
// evaluated) and one per unitBytes bytes of the texts, and elements of the lists and maps,
// that the step puts into the hands of the next: a function reads its arguments once, so
// charging them where they arise covers it. It is metered here because cel-go's own tracker
// searches a stack that grows with every turn of a loop: its time is the square of the turns,
// and three times that of the evaluation for expressions without one.
const unitBytes = 10

// runName is the name under which the nodes find the run that they are part of. No expression
// can hold it.
const runName = "@run"

// errCost is the error about an event whose run has nothing left to spend.
var errCost = errors.New("cost limit exceeded")

// spend takes cost from what the run may still spend, or ends the evaluation. The panic is
// the one by which cel-go ends an evaluation itself; cel.Program turns it into an error.
func spend(frame *interpreter.ExecutionFrame, cost uint64) {
	v, _ := frame.ResolveName(runName)
	r, running := v.(*run)
	if !running {
		return // constants are folded when the plan is made
	}
	if !r.spend(cost) {
		panic(interpreter.EvalCancelledError{Cause: interpreter.CostLimitExceeded, Message: errCost.Error()})
	}
}

// meter is an interpreter.InterpretableDecoratorV2 that makes the steps of a plan spend.
func meter(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	switch node := i.(type) {
	case meteredAttribute, meteredCall, meteredNode, interpreter.InterpretableConst:
		return i, nil
	case interpreter.InterpretableAttribute:
		return meteredAttribute{node, !isAccumulator(node)}, nil
	case interpreter.InterpretableCall:
		return meteredCall{node}, nil
	}
	return meteredNode{i}, nil
}

// meteredAttribute is a variable and what is selected from it.
type meteredAttribute struct {
	interpreter.InterpretableAttribute
	sized bool
}

func (m meteredAttribute) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	v := m.InterpretableAttribute.Exec(frame)
	cost := uint64(1)
	if m.sized {
		cost += textCost(v) + containerCost(v)
	}
	spend(frame, cost)
	return v
}

func (m meteredAttribute) Eval(vars interpreter.Activation) ref.Val {
	return m.Exec(interpreter.AsFrame(vars))
}

// meteredCall is a function or an operator. A list that it makes costs what its elements
// cost where they arose.
type meteredCall struct{ interpreter.InterpretableCall }

func (m meteredCall) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	v := m.InterpretableCall.Exec(frame)
	spend(frame, 1+textCost(v))
	return v
}

func (m meteredCall) Eval(vars interpreter.Activation) ref.Val {
	return m.Exec(interpreter.AsFrame(vars))
}

// meteredNode is any other node: a loop, a literal, a logical operator.
type meteredNode struct{ interpreter.InterpretableV2 }

func (m meteredNode) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	v := m.InterpretableV2.Exec(frame)
	spend(frame, 1)
	return v
}

func (m meteredNode) Eval(vars interpreter.Activation) ref.Val {
	return m.Exec(interpreter.AsFrame(vars))
}

// isAccumulator reports whether an attribute is the result of a loop so far. Each turn of the
// loop adds to it without passing over it.
func isAccumulator(a interpreter.InterpretableAttribute) bool {
	named, ok := a.Attr().(interpreter.NamespacedAttribute)
	if !ok {
		return false
	}
	for _, name := range named.CandidateVariableNames() {
		if strings.HasPrefix(name, "@") || name == parser.AccumulatorName {
			return true
		}
	}
	return false
}

func textCost(v ref.Val) uint64 {
	switch v := v.(type) {
	case types.String:
		return uint64(len(v)) / unitBytes
	case types.Bytes:
		return uint64(len(v)) / unitBytes
	}
	return 0
}

func containerCost(v ref.Val) uint64 {
	switch v.(type) {
	case types.String, types.Bytes:
		return 0
	}
	if s, ok := v.(traits.Sizer); ok {
		return uint64(s.Size().(types.Int)) / unitBytes
	}
	return 0
}

// unknownSizes is a checker.CostEstimator that knows no more than the expression says.
type unknownSizes struct{}

func (unknownSizes) EstimateSize(checker.AstNode) *checker.SizeEstimate { return nil }

func (unknownSizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}
