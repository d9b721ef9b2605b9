package mapping

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/freshet-io/freshet"
)

// expression is one compiled expression of the configuration. It is safe for concurrent use.
type expression struct {
	field  string // where it stands in the configuration, for messages
	source string // as configured
	canon  string // as printed from its tree, without what makes no difference

	constant ref.Val     // the value, where the expression is a literal
	path     []string    // variable and members, where it only selects: event.a.b
	program  cel.Program // all other expressions, and those two if something is wrong
}

// kind is what a field of the configuration may yield.
type kind struct {
	words   string // for messages
	takes   []types.Kind
	element []types.Kind // of a list, or of the keys of a map; nil means any
}

// The kinds of the fields.
var (
	kindBool      = kind{words: "a bool", takes: []types.Kind{types.BoolKind}}
	kindList      = kind{words: "a list", takes: []types.Kind{types.ListKind}}
	kindID        = kind{words: "a string or an int", takes: []types.Kind{types.StringKind, types.IntKind, types.UintKind}}
	kindText      = kind{words: "a string", takes: []types.Kind{types.StringKind}}
	kindVector    = kind{words: "a list of numbers", takes: []types.Kind{types.ListKind}, element: numbers}
	kindMap       = kind{words: "a map with string keys", takes: []types.Kind{types.MapKind}, element: []types.Kind{types.StringKind}}
	kindTimestamp = kind{words: "an int (ms since 1970), a timestamp or an RFC 3339 string", takes: append([]types.Kind{types.TimestampKind, types.StringKind}, numbers...)}
	kindOrder     = kind{words: "an int", takes: numbers} // a whole double is one

	numbers = []types.Kind{types.IntKind, types.UintKind, types.DoubleKind}
)

// accepts reports whether an expression of type t may give the kind. What is not known
// before run time (dyn) may.
func (k kind) accepts(t *types.Type) bool {
	if t.Kind() == types.OpaqueKind && t.TypeName() == "optional_type" {
		t = t.Parameters()[0]
	}
	if !oneOf(k.takes, t) {
		return false
	}
	return k.element == nil || len(t.Parameters()) == 0 || oneOf(k.element, t.Parameters()[0])
}

func oneOf(kinds []types.Kind, t *types.Type) bool {
	switch t.Kind() {
	case types.DynKind, types.AnyKind, types.NullTypeKind, types.TypeParamKind:
		return true
	}
	return slices.Contains(kinds, t.Kind())
}

// compile parses, checks and plans one expression; "" gives nil. The error is a
// *freshet.Error that names field, place and remedy.
func compile(env *cel.Env, field, source string, k kind, maxCost uint64) (*expression, error) {
	if strings.TrimSpace(source) == "" {
		return nil, nil
	}
	refuse := func(format string, args ...any) error {
		return &freshet.Error{Code: freshet.CodeInvalidField, Field: field, Message: fmt.Sprintf(format, args...)}
	}
	if len(source) > MaxExpressionBytes {
		return nil, refuse("has %d bytes, an expression has at most %d; make it shorter", len(source), MaxExpressionBytes)
	}
	tree, issues := env.Compile(source)
	if err := issues.Err(); err != nil {
		first := issues.Errors()[0]
		return nil, refuse("%s at line %d, column %d of %q; %s", first.Message, first.Location.Line(), first.Location.Column()+1,
			clip(source), remedy(first.Message))
	}
	if !k.accepts(tree.OutputType()) {
		return nil, refuse("%q gives %s, but %s is needed; convert it, for instance with string(…) or int(…)",
			clip(source), cel.FormatCELType(tree.OutputType()), k.words)
	}
	e := &expression{field: field, source: source, canon: strings.TrimSpace(source)}
	if printed, err := cel.AstToString(tree); err == nil {
		e.canon = printed
	}
	root := tree.NativeRep().Expr()
	if root.Kind() == ast.LiteralKind {
		e.constant = root.AsLiteral()
		return e, nil
	}
	e.path = selection(root)
	// What loops over the event costs is known at run time; what loops over literals, now.
	estimate, err := env.EstimateCost(tree, unknownSizes{})
	if err == nil && estimate.Min > maxCost {
		return nil, refuse("%q costs at least %d, max_cost is %d; make it cheaper or raise max_cost", clip(source), estimate.Min, maxCost)
	}
	e.program, err = env.Program(tree, cel.EvalOptions(cel.OptOptimize),
		cel.CustomDecoratorV2(sortMapLiterals), cel.CustomDecoratorV2(meter))
	if err != nil {
		return nil, refuse("%q can't be planned: %v; correct it", clip(source), err)
	}
	return e, nil
}

// remedy says what to do about a message of the CEL compiler.
func remedy(message string) string {
	switch {
	case strings.Contains(message, "'item'"), strings.Contains(message, "'index'"):
		return "item and index are defined beside for_each, but not in when and for_each themselves, which come before it"
	case strings.Contains(message, "undeclared reference"):
		return `the variables are event, source and accepted_at, and item and index beside for_each; a constant text is quoted twice in YAML: '"products"'`
	case strings.Contains(message, "no matching overload"):
		return "convert the operands with string(…), int(…) or double(…)"
	}
	return "correct the expression; https://cel.dev describes the language"
}

// selection returns variable and members of an expression like event.after.id, nil for others.
func selection(e ast.Expr) []string {
	switch e.Kind() {
	case ast.IdentKind:
		return []string{e.AsIdent()}
	case ast.SelectKind:
		s := e.AsSelect()
		if below := selection(s.Operand()); below != nil && !s.IsTestOnly() {
			return append(below, s.FieldName())
		}
	}
	return nil
}

// immediate gives the value of a literal or a selection without the interpreter, which takes
// most of its time to find a member. It leaves to it all that is not a member of an object,
// also the errors.
func (e *expression) immediate(vars *variables) (ref.Val, bool) {
	if e.constant != nil {
		return e.constant, true
	}
	if e.path == nil {
		return nil, false
	}
	root, ok := vars.ResolveName(e.path[0])
	if !ok {
		return nil, false
	}
	v := root.(ref.Val)
	for _, name := range e.path[1:] {
		o, ok := v.(*object)
		if !ok {
			return nil, false
		}
		if v, ok = o.lookup(name); !ok {
			return nil, false
		}
	}
	return v, true
}
