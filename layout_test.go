package freshet_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/freshet-io/freshet"

// edges are the imports that packages may have of each other, besides package freshet (the
// vocabulary), which everybody may import, and package node, which puts all of them
// together. A new edge is a decision: add it here with the change that needs it.
var edges = map[string]string{
	"wire":                 "codec", // the JSON of vector.sync
	"disk":                 "",
	"backup":               "disk",
	"codec":                "",
	"codec/parquet":        "codec", // the library of Parquet stays behind it
	"filter":               "",
	"filter/cel":           "filter",
	"ann":                  "ann/internal/cluster ann/internal/kernel ann/internal/pq", // public, usable by itself
	"broker":               "broker/journal disk",                                      // the contract
	"broker/journal":       "disk",
	"broker/embedded":      "broker broker/journal disk wire",
	"broker/kafka":         "broker broker/embedded broker/journal disk secret wire", // franz-go stays behind it
	"control":              "broker wire",
	"embed":                "embed/static",
	"embed/static":         "",
	"embed/chunk":          "",
	"secret":               "",
	"freshness":            "wire",
	"codec/cdc":            "codec",
	"codec/registry":       "codec secret",                                                        // the libraries of the registry and of Protobuf stay behind it
	"process":              "broker broker/journal codec codec/cdc control disk embed/chunk wire", // state and positions are one transaction of the log
	"process/mapping":      "codec codec/cdc process",
	"vsync":                "",
	"ann/quality":          "ann",
	"store/embedded":       "ann ann/quality broker broker/embedded control disk filter wire", // its table is vector.sync itself
	"query":                "control filter freshness query/fanout wire",
	"query/fanout":         "control wire", // a client too, of other processes
	"feed":                 "broker/embedded disk freshness wire",
	"source":               "broker/journal codec control wire",
	"source/keyed":         "broker broker/journal broker/kafka codec process source wire",
	"source/files":         "broker broker/embedded broker/journal codec disk source",
	"telemetry":            "",
	"gateway":              "backup broker/journal codec control feed filter filter/cel query query/fanout source telemetry wire",
	"config":               "codec codec/cdc codec/registry embed/chunk process/mapping source wire",
	"console":              "",
	"transfer":             "codec codec/parquet wire", // a client: the HTTP API is all it needs of a server
	"demo":                 "",
	"bench":                "ann broker/embedded broker/journal config node query",
	"bench/annbench":       "ann bench/dataset bench/peers",
	"bench/dataset":        "ann embed/static",
	"bench/peers":          "",
	"bench/runbook":        "ann bench/dataset bench/peers",
	"sim":                  "*",
	"node":                 "*",
	"cmd/freshet":          "*",
	"ann/internal/kernel":  "",
	"ann/internal/cluster": "ann/internal/kernel",
	"ann/internal/pq":      "ann/internal/cluster ann/internal/kernel",

	"broker/kafka/kafkatest": "", // for tests
}

func TestImportsFollowTheLayout(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "." {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		from := filepath.ToSlash(filepath.Dir(path))
		for _, imp := range f.Imports {
			to, ok := strings.CutPrefix(strings.Trim(imp.Path.Value, `"`), module+"/")
			if ok && from == "." {
				t.Errorf("%s: the vocabulary imports %s; it imports nothing of the project", path, to)
			} else if ok && !allowed(from, to) {
				t.Errorf("%s: package %s imports %s, which is no edge of the layout", path, from, to)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func allowed(from, to string) bool {
	list, ok := edges[from]
	if !ok {
		list = edges[firstKnown(from)]
	}
	if list == "*" || strings.HasPrefix(to, from+"/internal/") {
		return true
	}
	for _, e := range strings.Fields(list) {
		if e == to {
			return true
		}
	}
	return false
}

// firstKnown is the closest folder above a package that has edges of its own.
func firstKnown(pkg string) string {
	for dir := filepath.Dir(pkg); dir != "."; dir = filepath.Dir(dir) {
		if _, ok := edges[dir]; ok {
			return dir
		}
	}
	return ""
}
