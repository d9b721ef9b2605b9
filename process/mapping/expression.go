package mapping

import (
	"fmt"
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
	fast     cel.Program // without metering
	metered  cel.Program // stops at the limit of cost
	bounds   bounds      // what fast may cost at most
}

// kind is what a field of the configuration may yield.
type kind struct {
	words string // for messages
	takes []types.Kind
}

// The kinds of the fields.
var (
	kindBool      = kind{"a bool", []types.Kind{types.BoolKind}}
	kindList      = kind{"a list", []types.Kind{types.ListKind}}
	kindID        = kind{"a string or an int", []types.Kind{types.StringKind, types.IntKind, types.UintKind}}
	kindText      = kind{"a string", []types.Kind{types.StringKind}}
	kindVector    = kind{"a list of numbers", []types.Kind{types.ListKind}}
	kindMap       = kind{"a map with string keys", []types.Kind{types.MapKind}}
	kindTimestamp = kind{"an int (ms since 1970), a timestamp or an RFC 3339 string", []types.Kind{types.IntKind, types.UintKind, types.TimestampKind, types.StringKind, types.DoubleKind}}
	kindOrder     = kind{"an int", []types.Kind{types.IntKind, types.UintKind, types.DoubleKind}}
)

// accepts reports whether an expression of type t may give the kind. What is not known
// before run time (dyn) may.
func (k kind) accepts(t *types.Type) bool {
	if t.Kind() == types.OpaqueKind && t.TypeName() == "optional_type" {
		t = t.Parameters()[0]
	}
	switch t.Kind() {
	case types.DynKind, types.AnyKind, types.NullTypeKind, types.TypeParamKind:
		return true
	}
	for _, want := range k.takes {
		if t.Kind() == want {
			return k.acceptsElements(t)
		}
	}
	return false
}

func (k kind) acceptsElements(t *types.Type) bool {
	var element *types.Type
	var wanted []types.Kind
	switch k.words {
	case kindVector.words:
		element, wanted = t.Parameters()[0], []types.Kind{types.DoubleKind, types.IntKind, types.UintKind}
	case kindMap.words:
		element, wanted = t.Parameters()[0], []types.Kind{types.StringKind}
	default:
		return true
	}
	return kind{"", append(wanted, types.DynKind)}.accepts(element)
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
	var err error
	if e.bounds, err = estimate(env, tree); err != nil {
		return nil, refuse("the cost of %q can't be estimated: %v", clip(source), err)
	}
	if least := e.bounds.least; least > maxCost {
		return nil, refuse("%q costs at least %d, max_cost is %d; make it cheaper or raise max_cost", clip(source), least, maxCost)
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize), cel.CustomDecoratorV2(sortMapLiterals)}
	if e.fast, err = env.Program(tree, options...); err == nil {
		e.metered, err = env.Program(tree, append(options, cel.CostLimit(maxCost))...)
	}
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

// selected walks the path without the interpreter, which takes most of its time to find a
// member. It leaves all that is not a member of an object to it, also the errors.
func (e *expression) selected(vars *variables) (ref.Val, bool) {
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
