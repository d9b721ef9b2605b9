package gateway

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/backup"
	"github.com/freshet-io/freshet/query/fanout"
)

// document is the part of openapi.json that the tests look at.
type document struct {
	Paths      map[string]map[string]json.RawMessage
	Components struct {
		Schemas map[string]struct {
			Properties map[string]json.RawMessage
		}
	}
}

func readDocument(t *testing.T) (d document) {
	t.Helper()
	if err := json.Unmarshal(openAPI, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// The document lists exactly the routes that the source registers.
func TestOpenAPIListsTheRoutes(t *testing.T) {
	var listed []string
	for path, methods := range readDocument(t).Paths {
		for method := range methods {
			listed = append(listed, strings.ToUpper(method)+" "+path)
		}
	}
	var served []string
	for _, file := range []string{"server.go", "admin.go", "letters.go", "index.go", "upkeep.go", "events.go", "search.go", "entities.go", "internal.go"} {
		for _, text := range literals(t, file) {
			method, path, ok := strings.Cut(text, " /")
			if ok && slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}, method) && path != "{$}" { // the page is no part of the API
				served = append(served, method+" /"+strings.Replace(path, "...}", "}", 1))
			}
		}
	}
	slices.Sort(listed)
	slices.Sort(served)
	if !slices.Equal(listed, served) {
		t.Errorf("openapi.json lists\n%s\nserved are\n%s", strings.Join(listed, "\n"), strings.Join(served, "\n"))
	}
}

// literals are the strings of a source file.
func literals(t *testing.T, file string) (all []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			text, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, text)
		}
		return true
	})
	return all
}

// A schema has the fields of the struct that is read or written, no more and no less.
func TestOpenAPIHasTheFields(t *testing.T) {
	schemas := readDocument(t).Components.Schemas
	for name, v := range map[string]any{"SearchRequest": searchRequest{}, "SearchResponse": searchResponse{}, "Hit": hit{},
		"Entity": entityResponse{}, "Change": change{}, "ChangePoint": changePoint{}, "IngestResult": ingestResult{}, "Rejected": rejected{}, "Problem": problem{}, "DeadLetter": deadLetter{}, "LettersRequest": LettersRequest{}, "LettersResult": LettersResult{}, "LetterPlace": LetterPlace{},
		"Audit": AuditDocument{}, "AuditDifference": AuditDifference{}, "Shard": ShardStat{}, "Index": IndexStat{}, "IndexRecall": IndexRecall{}, "IndexRebuild": IndexRebuild{}, "RebuildRequest": RebuildRequest{}, "BackupRequest": BackupRequest{}, "Verify": VerifyReport{}, "VerifyPart": VerifyPart{}, "VerifyDamage": VerifyDamage{}, "Compacted": CompactReport{}, "Findings": Findings{}, "Reloaded": ReloadReport{}, "ReloadedKey": ReloadedKey{}, "RefusedKey": RefusedKey{}, "Dropped": DropReport{}, "Finding": Finding{}, "BackupFile": backup.File{}, "Stats": Live{}, "Quantiles": Quantiles{},
		"PartSearch": fanout.Search{}, "PartAnswer": fanout.Answer{}, "PartHit": fanout.Hit{}, "PartLookup": fanout.Lookup{}, "PartEntity": fanout.Entity{}, "PartCount": fanout.Count{}, "PartCounts": fanout.Counts{}, "PartSize": fanout.Size{}} {
		want := fields(reflect.TypeOf(v))
		got := slices.Sorted(maps.Keys(schemas[name].Properties))
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("schema %s has the fields %v, %T has %v", name, got, v, want)
		}
	}
}

// fields are the JSON names of a struct's fields, embedded structs included.
func fields(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			names = append(names, fields(f.Type.Elem())...)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// Every code has its status here: a new one is a decision.
func TestStatusOfEachCode(t *testing.T) {
	want := map[freshet.Code]int{
		freshet.CodeInvalidJSON: 400, freshet.CodeInvalidUTF8: 400, freshet.CodeInvalidField: 400, freshet.CodeUnknownField: 400,
		freshet.CodeMissingField: 400, freshet.CodeTooLarge: 413, freshet.CodeUnknownCollection: 404, freshet.CodeUnsupportedOp: 400,
		freshet.CodeMappingFailed: 400, freshet.CodeNoContent: 400, freshet.CodeWrongDimension: 400, freshet.CodeBadVector: 400,
		freshet.CodeOrderMismatch: 400, freshet.CodeEmbedFailed: 502, freshet.CodeNotFound: 404, freshet.CodeNoSuchMethod: 405,
		freshet.CodeForeignToken: 409, freshet.CodeNotReached: 504, freshet.CodeBacklogFull: 429, freshet.CodeDiskFull: 507,
		freshet.CodeUnavailable: 503, freshet.CodeMisdirected: 421, freshet.CodeInternal: 500, freshet.CodeTooOld: 410, freshet.CodeInvalidRecord: 400, freshet.CodeUnknownSchema: 400,
	}
	for code, w := range want {
		if got := status(code); got != w || http.StatusText(got) == "" {
			t.Errorf("%s has status %d, want %d", code, got, w)
		}
	}
	f, err := parser.ParseFile(token.NewFileSet(), "../errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if _, known := want[freshet.Code(text)]; err != nil || !known {
			t.Errorf("the code %q has no status in this test", text)
		}
		return true
	})
}
