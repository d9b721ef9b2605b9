package mapping_test

import (
	"fmt"
	"testing"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"

	"github.com/freshet-io/freshet/process/mapping"
)

// TestBoundedFunctionsAgreeWithCEL compares the functions that are defined anew with those of
// cel-go, on all combinations of some texts and offsets.
func TestBoundedFunctionsAgreeWithCEL(t *testing.T) {
	env, err := cel.NewEnv(cel.Variable("event", cel.DynType), ext.Strings(), ext.Lists())
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{"", "a", "aa", "banana", "ü", "üaü", "水の水", "aXbXc", "an"}
	for _, call := range []string{
		`string(event.s.indexOf(event.u))`, `string(event.s.lastIndexOf(event.u))`,
		`string(event.s.indexOf(event.u, event.n))`, `string(event.s.lastIndexOf(event.u, event.n))`,
		`event.s.replace(event.u, event.w)`, `event.s.replace(event.u, event.w, event.n)`,
		`[event.s, event.u, event.s, event.w, event.u].distinct().join("|")`,
		`string([1, event.n, 1.0, 2u, event.n, null, null, [1], [1]].distinct().size())`,
	} {
		tree, issues := env.Compile(call)
		if issues.Err() != nil {
			t.Fatal(issues.Err())
		}
		reference, err := env.Program(tree)
		if err != nil {
			t.Fatal(err)
		}
		m := newMapper(t, mapping.Change{Entity: `"e"`, Vector: `[1]`, Text: call})
		for _, s := range texts {
			for _, u := range texts {
				for n := -1; n < 8; n++ {
					event := fmt.Sprintf(`{"s":%q,"u":%q,"w":"ö-","n":%d}`, s, u, n)
					drafts, err := m.Map(record(event))
					want, _, wantErr := reference.Eval(map[string]any{"event": map[string]any{"s": s, "u": u, "w": "ö-", "n": int64(n)}})
					if (err != nil) != (wantErr != nil) {
						t.Fatalf("%s of %s: error %v, CEL's %v", call, event, err, wantErr)
					}
					if err == nil && drafts[0].Text != want.Value() {
						t.Fatalf("%s of %s is %q, CEL's %q", call, event, drafts[0].Text, want.Value())
					}
				}
			}
		}
	}
}
