package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/embed/chunk"
	"github.com/freshet-io/freshet/process/mapping"
)

func environment(values map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := values[name]
		return v, ok
	}
}

func parse(yaml string) (config.Config, error) {
	return config.Parse([]byte(yaml), environment(map[string]string{"PORT": "9000", "EMPTY": "", "FOLDER": "/srv/freshet data"}))
}

func TestDefaults(t *testing.T) {
	d := config.Defaults()
	if err := d.Validate(); err != nil {
		t.Error("the defaults are refused:", err)
	}
	want := config.Config{Listen: "127.0.0.1:8080", Data: "freshet-data", Partitions: 16,
		Collections: map[string]config.Collection{"default": {Model: config.BuiltinModel, Metric: "cosine"}},
		Dedupe:      config.Dedupe{Window: config.Duration(24 * time.Hour), MaxIDs: 10_000_000},
		Index:       config.Index{Kind: "hnsw", EfConstruction: 100, TargetRecall: 0.95}, Snapshot: config.Snapshot{Interval: config.Duration(5 * time.Minute), Changes: 100_000},
		Retention:  config.Retention{Age: config.Duration(7 * 24 * time.Hour), DiskShare: 0.2, Interval: config.Duration(30 * time.Second)},
		CacheBytes: 256 << 20, Embed: config.Embed{Workers: "process"}}
	if !reflect.DeepEqual(d, want) {
		t.Errorf("the defaults are %+v, want %+v", d, want)
	}
	for name, yaml := range map[string]string{"empty": "", "blank": " \n\n", "comments": "# nothing\n\n# at all\n", "a separator": "---\n"} {
		if c, err := parse(yaml); err != nil || !reflect.DeepEqual(c, d) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	if c, err := config.Load(""); err != nil || !reflect.DeepEqual(c, d) {
		t.Errorf("no file: %+v, %v", c, err)
	}
}

func TestParse(t *testing.T) {
	c, err := parse(`
listen: 0.0.0.0:${PORT}
data: "${FOLDER}/x"
partitions: ${PARTITIONS:4}
auto_create: true
# ${MISSING} in a comment is no variable
collections:
  default: {metric: ip}
  images: {dim: 3}
  "odd name": {model: builtin, metric: l2}
mapping:
  max_cost: 7
  changes:
    - {entity: event.id, text: 'event.t', order: event.v}
splitter: {max_bytes: 100, overlap_bytes: 25}
dedupe: {window: 90m, max_ids: 5}
index: {kind: flat, m: 8, ef: 50}
snapshot: {interval: 500ms}
retention: {bytes: 9, disk_share: 0.5, tombstone_ttl: 1h, interval: 1s}
limits: {event_bytes: 10, backlog_bytes: 20, free_disk_bytes: 30}
cache_bytes: 40
sources:
  files:
    - path: a
    - {path: b, collection: odd name, namespace: n, max_bytes: 9, ignore: ["*.log"]}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{Listen: "0.0.0.0:9000", Data: "/srv/freshet data/x", Partitions: 4, AutoCreate: true,
		Collections: map[string]config.Collection{"default": {Model: "builtin", Metric: "ip"}, "images": {Dim: 3, Metric: "cosine"},
			"odd name": {Model: "builtin", Metric: "l2"}},
		Mapping:  &mapping.Config{MaxCost: 7, Changes: []mapping.Change{{Entity: "event.id", Text: "event.t", Order: "event.v"}}},
		Splitter: chunk.Options{MaxBytes: 100, OverlapBytes: 25}, Embed: config.Embed{Workers: "process"},
		Dedupe: config.Dedupe{Window: config.Duration(90 * time.Minute), MaxIDs: 5},
		Index:  config.Index{Kind: "flat", M: 8, EfConstruction: 100, Ef: 50, TargetRecall: 0.95}, Snapshot: config.Snapshot{Interval: config.Duration(500 * time.Millisecond), Changes: 100_000},
		Retention: config.Retention{Age: config.Duration(7 * 24 * time.Hour), Bytes: 9, DiskShare: 0.5, TombstoneTTL: config.Duration(time.Hour), Interval: config.Duration(time.Second)},
		Limits:    config.Limits{EventBytes: 10, BacklogBytes: 20, FreeDiskBytes: 30}, CacheBytes: 40,
		Sources: config.Sources{Files: []config.Files{{Path: "a", Collection: "default", Namespace: "default", MaxBytes: 256 << 10},
			{Path: "b", Collection: "odd name", Namespace: "n", MaxBytes: 9, Ignore: []string{"*.log"}}}}}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestEnvironment(t *testing.T) {
	for yaml, want := range map[string]string{
		"data: ${FOLDER}":       "/srv/freshet data",
		"data: a${EMPTY}b":      "ab",
		"data: a${NONE:}b":      "ab",
		"data: a${NONE:x:y}b":   "ax:yb",
		"data: ${PORT:1}":       "9000",
		"data: ${EMPTY:x}y":     "y", // set, though to nothing
		"data: $PORT":           "$PORT",
		"data: '${1}'":          "${1}",
		"data: ${PORT}/${PORT}": "9000/9000",
	} {
		if c, err := parse(yaml); err != nil || c.Data != want {
			t.Errorf("%s: %q, %v, want %q", yaml, c.Data, err, want)
		}
	}
	_, err := parse("listen: x\n\ndata: ${NONE}\n")
	if err == nil || !strings.Contains(err.Error(), "line 3") || !strings.Contains(err.Error(), "${NONE:default}") {
		t.Error("a variable that is missing:", err)
	}
}

// Each error names the field, its value and the remedy.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		yaml string
		want []string
	}{
		{"listen: x\nlisen: y", []string{"lisen", "2:1"}},
		{"index:\n  knd: flat", []string{"knd", "2:3"}},
		{"collections:\n  a:\n    dim: 3\n    size: 4", []string{"size", "4:5"}},
		{"mapping:\n  changes:\n    - entiti: x", []string{"entiti", "3:7"}},
		{"partitions: many", []string{"1:13", "many"}},
		{"broker: {kafka: {}}", []string{"broker.kafka.brokers", "empty", "HOST:PORT"}},
		{"broker: {kafka: {brokers: [a:1], topic: x}}", []string{"topic", "1:34"}},
		{"broker: {kafka: {brokers: [[x]]}}", []string{"HOST:PORT", "[x]", "kafka-1:9092"}},
		{"broker: {kafka: {brokers: [a:1], tls: {insecure: true}}}", []string{"insecure"}},
		{"broker: {kafka: {brokers: [a:1], sasl: {mechanism: gssapi}}}", []string{"broker.kafka.sasl.mechanism", `"gssapi"`, "scram-sha-512"}},
		{"broker: {kafka: {brokers: [a:1], replication: 1.5}}", []string{"broker.kafka.replication", "1.5", "whole number"}},
		{"broker: {kafka: {brokers: [a:1], delivery: once}}", []string{"broker.kafka.delivery", "once", "idempotent"}},
		{"broker: {kafka: {brokers: [a:1], sync_format: xml}}", []string{"broker.kafka.sync_format", "xml", "json"}},
		{"embed: {workers: topic}", []string{"embed.workers", "topic", "broker.kafka"}},
		{"embed: {workers: many}", []string{"embed.workers", "many", "process"}},
		{"broker: {kafka: {brokers: [a:1], compression: brotli}}", []string{"broker.kafka.compression", "brotli", "zstd"}},
		{"broker: {kafka: {brokers: [a:1], mixed_writers: allow}}", []string{"broker.kafka.mixed_writers", "allow", "ignore"}},
		{"collections: {a: {dim: 2, source: external}}", []string{"collections.a.source", "external", "broker.kafka"}},
		{"collections: {a: {dim: 2, source: flink}}", []string{"collections.a.source", "flink", "external"}},
		{"broker: {kafka: {brokers: [a:1], session_timeout: forever}}", []string{"broker.kafka.session_timeout", "forever", "24h"}},
		{"partitions: 0.5", []string{"partitions", "0.5", "whole number"}},
		{"collections: {a: {dim: 2.5}}", []string{"collections.a.dim", "2.5", "whole number"}},
		{"sources: {files: [{path: a, max_bytes: 1.5}]}", []string{"sources.files[0].max_bytes", "1.5", "whole number"}},
		{"retention: {bytes: -1}", []string{"retention.bytes", "-1", "disk_share"}},
		{"retention: {disk_share: 1.5}", []string{"retention.disk_share", "1.5", "share of the disk"}},
		{"auto_create: 5", []string{"1:14"}},
		{"listen: [", []string{"1:9"}},
		{"data: a\ndata: b", []string{"data", "2:1"}},
		{"dedupe: {window: 5}", []string{"5", "24h"}},
		{"dedupe: {window: -5m}", []string{"-5m", "24h"}},
		{"dedupe: {window: 0s}", []string{"0s", "24h"}},
		{"dedupe: {window: forever}", []string{"dedupe.window", "forever", "24h"}},
		{"snapshot: {interval: often}", []string{"often", "500ms"}},
		{"dedupe: {max_ids: -1}", []string{"-1"}},
		{`collections: {"": {dim: 3}}`, []string{"collections", `""`, "1 to 1024 bytes"}},
		{"collections: {\"a\\u0007\": {dim: 3}}", []string{"collections", "control character"}},
		{"collections: {a: {model: gpt}}", []string{"collections.a.model", `"gpt"`, `use "builtin"`}},
		{"collections: {a: {model: builtin, dim: 3}}", []string{"collections.a.dim", "3", "leave one"}},
		{"collections: {a: {dim: 1}}", []string{"collections.a.dim", "1", "2 to 4096"}},
		{"collections: {a: {dim: 4097}}", []string{"collections.a.dim", "4097", "2 to 4096"}},
		{"collections: {a: {dim: -3}}", []string{"collections.a.dim", "-3", "2 to 4096"}},
		{"collections: {a: {metric: dot}}", []string{"collections.a.metric", `"dot"`, `"ip"`}},
		{"index: {kind: ivf}", []string{"index.kind", `"ivf"`, "hnsw, flat"}},
		{"mapping: {}", []string{"mapping.changes", "0 entries", "no mapping at all"}},
		{"mapping: {changes: [{text: event.t}]}", []string{"mapping.changes[0].entity", "event.id"}},
		{"splitter: {max_bytes: 5}", []string{"splitter.max_bytes", "5", "64"}},
		{"splitter: {overlap_bytes: 900}", []string{"splitter.overlap_bytes", "900", "a quarter"}},
		{"splitter: {max_chunks: 4096}", []string{"splitter.max_chunks", "4096", "4095"}},
		{"splitter: {max_chunks: -1}", []string{"splitter.max_chunks", "-1", "at least 1"}},
		{"limits: {event_bytes: -1}", []string{"limits.event_bytes", "-1", "give 1 to"}},
		{"limits: {event_bytes: 99999999}", []string{"limits.event_bytes", "99999999", "33554432"}},
		{"limits: {backlog_bytes: -1}", []string{"limits.backlog_bytes", "-1", "4 GiB"}},
		{"limits: {free_disk_bytes: -1}", []string{"limits.free_disk_bytes", "-1", "512 MiB"}},
		{"sources: {files: [{collection: default}]}", []string{"sources.files[0].path", "name the folder"}},
		{"sources: {files: [{path: a}, {path: b, collection: c}]}", []string{"sources.files[1].collection", `"c"`, "under collections"}},
		{"collections: {c: {dim: 3}}\nsources: {files: [{path: b, collection: c}]}", []string{"sources.files[0].collection", `"c"`, "no model"}},
		{"sources: {files: [{path: b, namespace: \"a\\tb\"}]}", []string{"sources.files[0].namespace", "control character"}},
		{"sources: {files: [{path: b, max_bytes: -1}]}", []string{"sources.files[0].max_bytes", "-1", "256 KiB"}},
	} {
		_, err := parse(c.yaml)
		if err == nil {
			t.Errorf("%s: is accepted", c.yaml)
			continue
		}
		for _, part := range c.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: the error does not say %q: %s", c.yaml, part, err)
			}
		}
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	if _, err := config.Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Error("a file that is not there:", err)
	}
	if err := os.WriteFile(path, []byte("index: {kind: ivf}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "index.kind") {
		t.Error("a file that is refused:", err)
	}
}

// The example is what it says: as it stands it means the defaults, and with its comments taken
// away it is read, and shows every key there is.
func TestExample(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "docs", "example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(raw, environment(nil))
	if err != nil || !reflect.DeepEqual(c, config.Defaults()) {
		t.Errorf("as it stands: %+v, %v", c, err)
	}
	var yaml []string
	for _, line := range strings.Split(string(raw), "\n") {
		if key := regexp.MustCompile(`^# ( *(- )?[a-z_]+:( |$).*)`).FindStringSubmatch(line); key != nil {
			yaml = append(yaml, key[1])
		}
	}
	c, err = parse(strings.Join(yaml, "\n"))
	if err != nil {
		t.Fatalf("without its comments: %v\n%s", err, strings.Join(yaml, "\n"))
	}
	text := strings.Join(yaml, "\n")
	for _, key := range keys(reflect.TypeOf(c)) {
		if !regexp.MustCompile(`(?m)^[ -]*` + key + `:`).MatchString(text) {
			if !slices.Contains([]string{"op", "token_file", "token_url", "client_secret_file", "scope"}, key) { // stand beside others, in words
				t.Errorf("the example does not show the key %s", key)
			}
		}
	}

	// Its values are the defaults, but for what has none.
	d := config.Defaults()
	d.Collections["images"] = config.Collection{Dim: 512, Metric: "cosine", Index: config.Index{Kind: "ivf_flat"}}
	d.Index.Precision = "float32"
	d.Roles, d.Advertise, d.Query.Partitions, d.Process.Copies = config.Roles, "http://10.0.0.5:8080", "all", config.CopiesAll
	d.Broker, d.Codec, d.Mapping, d.SchemaRegistry, d.Sources = c.Broker, c.Codec, c.Mapping, c.SchemaRegistry, c.Sources
	d.Splitter = chunk.Options{MaxBytes: chunk.DefaultMaxBytes, MaxChunks: chunk.DefaultMaxChunks}
	d.Index.M, d.Index.Ef = 16, 64
	d.Retention.Bytes, d.Retention.TombstoneTTL = 10<<30, config.Duration(8760*time.Hour)
	d.Limits = config.Limits{EventBytes: 4 << 20, BacklogBytes: 4 << 30, FreeDiskBytes: 512 << 20}
	if !reflect.DeepEqual(c, d) {
		t.Errorf("without its comments it is\n%+v\nwant\n%+v", c, d)
	}
	if _, err := mapping.New(*c.Mapping, nil); err != nil {
		t.Error("its mapping is refused:", err)
	}
	if c.Mapping.MaxCost != mapping.DefaultMaxCost {
		t.Error("its max_cost is", c.Mapping.MaxCost)
	}
}

// keys are the YAML keys of a struct and of what it holds.
func keys(t reflect.Type) (all []string) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return keys(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
			if name == "" {
				panic(fmt.Sprintf("%s.%s has no yaml name", t, t.Field(i).Name))
			}
			all = append(append(all, name), keys(t.Field(i).Type)...)
		}
	}
	return all
}

func FuzzParse(f *testing.F) {
	f.Add("listen: ${A:b}\ncollections: {a: {dim: 3}}\n")
	f.Add("mapping: {changes: [{entity: event.id}]}")
	f.Fuzz(func(t *testing.T, yaml string) {
		if c, err := parse(yaml); err == nil && c.Validate() != nil {
			t.Fatal("what was accepted is not valid")
		}
	})
}

// A configuration with its defaults written out is the same configuration.
func TestYAMLReadsBack(t *testing.T) {
	for _, text := range []string{"", "dedupe: {window: 90m}\ncollections: {images: {dim: 5, index: {kind: flat}}}\nbroker: {kafka: {brokers: ['a:1'], tls: {}, sasl: {mechanism: plain}}}\nsources: {files: [{path: ./a, ignore: ['*.log']}]}"} {
		c, err := config.Parse([]byte(text), environment(nil))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := config.Parse(raw, environment(nil))
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%s\nreads back as %+v, %v; was %+v", raw, again, err, c)
		}
	}
}

func TestFolderWatchedTwice(t *testing.T) {
	_, err := config.Parse([]byte("sources: {files: [{path: ./a}, {path: b}, {path: a/}]}"), nil)
	if err == nil || !strings.Contains(err.Error(), `sources.files[2].path: "a/" is watched by sources.files[0]`) {
		t.Error(err)
	}
	if _, err = config.Parse([]byte("sources: {files: [{path: a}, {path: a, namespace: n}]}"), nil); err != nil {
		t.Error(err)
	}
}

// HOST:PORT needs no quotes, wherever it stands.
func TestAddresses(t *testing.T) {
	for _, text := range []string{"broker: {kafka: {brokers: [kafka-1:9092, 10.0.0.2:9093]}}", `broker: {kafka: {brokers: ["kafka-1:9092", "10.0.0.2:9093"]}}`,
		"broker:\n  kafka:\n    brokers: [kafka-1:9092, 10.0.0.2:9093]", "broker:\n  kafka:\n    brokers:\n      - kafka-1:9092\n      - 10.0.0.2:9093"} {
		c, err := parse(text)
		if err != nil || !slices.Equal(c.Broker.Kafka.Brokers, []config.Addr{"kafka-1:9092", "10.0.0.2:9093"}) {
			t.Errorf("%s: %v, %v", text, c.Broker.Kafka, err)
		}
	}
}

func TestForever(t *testing.T) {
	c, err := parse("retention: {age: forever}")
	if err != nil || c.Retention.Age != config.Forever {
		t.Fatalf("age is %v, %v", c.Retention.Age, err)
	}
	if raw, err := c.Retention.Age.MarshalYAML(); err != nil || raw != "forever" {
		t.Errorf("written again it is %v, %v", raw, err)
	}
}
