package config

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every key is described, and nothing else is.
func TestSchemaDescribesEveryKey(t *testing.T) {
	var root map[string]any
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	left := maps.Clone(descriptions)
	var walk func(s map[string]any, path string)
	walk = func(s map[string]any, path string) {
		if path != "" && s["description"] == nil {
			t.Errorf("%s has no description", path)
		}
		delete(left, path)
		if properties, ok := s["properties"].(map[string]any); ok {
			if s["additionalProperties"] != false {
				t.Errorf("%s takes unknown keys", path)
			}
			for name, sub := range properties {
				walk(sub.(map[string]any), strings.TrimPrefix(path+"."+name, "."))
			}
		}
		if sub, ok := s["additionalProperties"].(map[string]any); ok {
			walk(sub, path+".*")
		}
		if sub, ok := s["items"].(map[string]any); ok {
			walk(sub, path+"[]")
		}
	}
	walk(root, "")
	if len(left) > 0 {
		t.Errorf("described are keys that there are not: %v", slices.Sorted(maps.Keys(left)))
	}
	for path := range choices {
		if _, ok := descriptions[path]; !ok {
			t.Errorf("%s has choices and is no key", path)
		}
	}
}

// The defaults that the schema names are the ones of the example, which a test of its own holds to be true.
func TestSchemaNamesTheDefaultsOfTheExample(t *testing.T) {
	raw, err := os.ReadFile("../docs/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	example := string(raw)
	stated := regexp.MustCompile(`[Dd]efault ([a-z0-9.:-]+[a-z0-9])`)
	for path, text := range descriptions {
		m := stated.FindStringSubmatch(text)
		if m == nil || strings.HasPrefix(path, "collections") || strings.HasPrefix(path, "mapping.changes") || m[1] == "none" {
			continue
		}
		key := strings.TrimSuffix(path[strings.LastIndexByte(path, '.')+1:], "[]")
		if !regexp.MustCompile(`(?m)^# +(- )?` + key + `: ` + regexp.QuoteMeta(m[1]) + `\b`).MatchString(example) {
			t.Errorf("%s: the schema says that the default is %s, the example does not", path, m[1])
		}
	}
}
