package config_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/config"
)

func TestDifferences(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string
		want     []config.Difference // of the remedy a part
	}{
		"none":              {"", "listen: 127.0.0.1:8080", nil},
		"a duration":        {"", "retention: {age: 24h}", []config.Difference{{"retention.age", "168h0m0s", "24h0m0s", ""}}},
		"set and unset":     {"limits: {event_bytes: 100}", "limits: {backlog_bytes: 9}", []config.Difference{{"limits.event_bytes", "100", "", ""}, {"limits.backlog_bytes", "", "9", ""}}},
		"widths":            {"index: {ef: 64}", "index: {ef: 100, target_recall: 0.9}", []config.Difference{{"index.ef", "64", "100", ""}, {"index.target_recall", "0.95", "0.9", ""}}},
		"a kind":            {"", "index: {kind: flat}", []config.Difference{{"index.kind", "hnsw", "flat", "freshet index rebuild"}}},
		"links":             {"", "index: {m: 32, ef_construction: 200}", []config.Difference{{"index.m", "", "32", "freshet index rebuild"}, {"index.ef_construction", "100", "200", "freshet index rebuild"}}},
		"of a collection":   {"collections: {a: {dim: 3, index: {ef: 10}}}", "collections: {a: {dim: 3, index: {ef: 20, m: 5}}}", []config.Difference{{"collections.a.index.m", "", "5", "freshet index rebuild"}, {"collections.a.index.ef", "10", "20", ""}}},
		"a schema":          {"collections: {a: {dim: 3}}", "collections: {a: {dim: 4, metric: l2}}", []config.Difference{{"collections.a.dim", "3", "4", "declare a new one"}, {"collections.a.metric", "cosine", "l2", "declare a new one"}}},
		"a new collection":  {"", "collections: {a: {dim: 3}}", []config.Difference{{"collections.a", "", "{dim: 3, metric: cosine}", ""}}},
		"one less":          {"collections: {a: {dim: 3}}", "", []config.Difference{{"collections.a", "{dim: 3, metric: cosine}", "", "freshet drop"}}},
		"the address":       {"", "listen: 127.0.0.1:9", []config.Difference{{"listen", "127.0.0.1:8080", "127.0.0.1:9", "restart"}}},
		"a switch":          {"", "auto_create: true", []config.Difference{{"auto_create", "false", "true", "restart"}}},
		"what replays need": {"", "dedupe: {window: 1h}", []config.Difference{{"dedupe.window", "24h0m0s", "1h0m0s", "restart"}}},
		"a mapping":         {"", "mapping: {changes: [{entity: event.id}]}", []config.Difference{{"mapping", "", "{changes: [{entity: event.id}]}", "set it back"}}},
		"a registry":        {"", "schema_registry: {urls: ['http://x']}", []config.Difference{{"schema_registry", "", "{urls: [http://x]}", "restart"}}},
		"a cluster":         {"", "broker: {kafka: {brokers: ['a:1']}}", []config.Difference{{"broker.kafka", "", "{brokers: [\"a:1\"]}", "stop all processes"}}},
		"its topics":        {"broker: {kafka: {brokers: [a:1]}}", "broker: {kafka: {brokers: [a:1], rack: r, topics: {raw: x}}}", []config.Difference{{"broker.kafka.topics.raw", "", "x", "set it back"}, {"broker.kafka.rack", "", "r", "stop all processes"}}},
		"partitions":        {"", "partitions: 3", []config.Difference{{"partitions", "16", "3", "epoch raise"}}},
		"a splitter":        {"", "splitter: {max_bytes: 100}", []config.Difference{{"splitter.max_bytes", "", "100", "set it back"}}},
		"folders": {"sources: {files: [{path: a}, {path: b}]}", "sources: {files: [{path: c}, {path: b}]}", []config.Difference{
			{"sources.files", "{path: a, collection: default, namespace: default, max_bytes: 262144}", "", ""},
			{"sources.files", "", "{path: c, collection: default, namespace: default, max_bytes: 262144}", ""}}},
	} {
		was, err := parse(c.old)
		if err != nil {
			t.Fatal(name, err)
		}
		is, err := parse(c.new)
		if err != nil {
			t.Fatal(name, err)
		}
		got := config.Differences(was, is)
		for i := range got {
			if i < len(c.want) && c.want[i].Remedy != "" && strings.Contains(got[i].Remedy, c.want[i].Remedy) {
				got[i].Remedy = c.want[i].Remedy
			}
		}
		if !reflect.DeepEqual(got, c.want) && len(got)+len(c.want) > 0 {
			t.Errorf("%s:\n%q, want\n%q", name, got, c.want)
		}
	}
}

// Which keys reload is said where they are described: by the schema, and by the example beside its groups.
func TestReloadsIsSaid(t *testing.T) {
	var schema struct {
		Properties map[string]struct {
			Description string
			Properties  map[string]struct{ Description string }
		}
	}
	if err := json.Unmarshal(config.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	const said = "A running server takes it over."
	for key, want := range map[string]bool{"retention": true, "snapshot": true, "limits": true, "index": false, "dedupe": false, "mapping": false, "cache_bytes": false} {
		if p := schema.Properties[key]; strings.Contains(p.Description, said) != want {
			t.Errorf("%s: %s", key, p.Description)
		}
	}
	for key, want := range map[string]bool{"ef": true, "target_recall": true, "m": false, "kind": false} {
		if p := schema.Properties["index"].Properties[key]; strings.Contains(p.Description, said) != want {
			t.Errorf("index.%s: %s", key, p.Description)
		}
	}
	raw, err := os.ReadFile(filepath.Join("..", "docs", "example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for block := range strings.SplitSeq(string(raw), "\n\n") {
		for key, p := range schema.Properties {
			if strings.Contains("\n"+block, "\n# "+key+":") && strings.Contains(block, "(reloads)") != (strings.Contains(p.Description, said) || key == "index" || key == "collections" || key == "sources") {
				t.Errorf("the example does not say of %s whether a running server takes it over:\n%s", key, block)
			}
		}
	}
}
