// Package config reads freshet's configuration: one YAML file with strict keys, values from
// the environment, and defaults for everything. It decides nothing; each part validates its
// own settings.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/codec/cdc"
	"github.com/freshet-io/freshet/codec/registry"
	"github.com/freshet-io/freshet/embed/chunk"
	"github.com/freshet-io/freshet/process/mapping"
	"github.com/freshet-io/freshet/source"
)

// maxPoints is how many points the embedded store keeps of an entity.
const maxPoints = 4095

// BuiltinModel names the built-in model in a configuration.
const BuiltinModel = "builtin"

// Config is a whole configuration. The zero value of every field means its default.
type Config struct {
	Listen     string `yaml:"listen,omitempty"`     // HOST:PORT; default 127.0.0.1:8080
	Data       string `yaml:"data,omitempty"`       // data folder; default ./freshet-data
	Partitions int    `yaml:"partitions,omitempty"` // of events.raw; default 16; fixed with the data folder

	Broker Broker `yaml:"broker,omitempty"` // default: the log is in the data folder

	Roles     []string `yaml:"roles,omitempty"`     // some of Roles; default all. Others need a log in Kafka
	Advertise string   `yaml:"advertise,omitempty"` // where other processes reach this one; default http:// and Listen
	Process   Process  `yaml:"process,omitempty"`
	Query     Query    `yaml:"query,omitempty"`

	// AutoCreate makes a collection that an event names and that doesn't exist, as a copy of
	// "default". Default false: such events are rejected.
	AutoCreate  bool                  `yaml:"auto_create,omitempty"`
	Collections map[string]Collection `yaml:"collections,omitempty"`
	Codec       *cdc.Options          `yaml:"codec,omitempty"`   // of events that are changes of rows; default: events are objects
	Mapping     *mapping.Config       `yaml:"mapping,omitempty"` // default: the default mapping
	// SchemaRegistry is that of records in Confluent's wire format; default: none are.
	SchemaRegistry *registry.Options `yaml:"schema_registry,omitempty"`
	Splitter       chunk.Options     `yaml:"splitter,omitempty"` // of texts into points
	Embed          Embed             `yaml:"embed,omitempty"`
	Dedupe         Dedupe            `yaml:"dedupe,omitempty"`
	Index          Index             `yaml:"index,omitempty"`
	Snapshot       Snapshot          `yaml:"snapshot,omitempty"`
	Retention      Retention         `yaml:"retention,omitempty"`
	Limits         Limits            `yaml:"limits,omitempty"`
	CacheBytes     int64             `yaml:"cache_bytes,omitempty"` // of the table's block cache; default 256 MiB
	Sources        Sources           `yaml:"sources,omitempty"`
}

// Collection declares a collection: a model, or the dimension of the vectors that its events
// bring.
type Collection struct {
	Model  string `yaml:"model,omitempty"`  // "builtin"; default "builtin" if dim is not given
	Dim    int    `yaml:"dim,omitempty"`    // 2 to 4096; with a model it is the model's
	Metric string `yaml:"metric,omitempty"` // cosine (default), ip, l2
	Source string `yaml:"source,omitempty"` // of collectionSources; default freshet, which is ""
	Index  Index  `yaml:"index,omitempty"`  // what differs from the settings of all indexes
}

// Who writes the entities of a collection into vector.sync: freshet, as events say, or others.
const (
	sourceFreshet  = "freshet"
	SourceExternal = "external"
)

var collectionSources = []string{sourceFreshet, SourceExternal}

// Embed says where contents become vectors.
type Embed struct {
	Workers string `yaml:"workers,omitempty"` // EmbedByTopic, or in the process that decides, which is the default
}

// Where contents become vectors.
const (
	embedInProcess = "process"
	EmbedByTopic   = "topic" // in processes with the role embed, through Kafka
)

var embedWorkers = []string{embedInProcess, EmbedByTopic}

func (e Embed) validate(kafka bool) error {
	if !slices.Contains(embedWorkers, e.Workers) {
		return fmt.Errorf("embed.workers: %q is not known; use one of %s", e.Workers, strings.Join(embedWorkers, ", "))
	}
	if e.Workers == EmbedByTopic && !kafka {
		return fmt.Errorf("embed.workers: %q needs broker.kafka, whose topics the workers share; leave it out", e.Workers)
	}
	return nil
}

// Dedupe bounds how long event ids are remembered.
type Dedupe struct {
	Window Duration `yaml:"window,omitempty"`  // default 24h
	MaxIDs uint64   `yaml:"max_ids,omitempty"` // default 10 million
}

// Index is the settings of vector indexes.
type Index struct {
	Kind           string `yaml:"kind,omitempty"`      // hnsw (default), flat, hnsw_disk, ivf_flat, ivf_pq, ivf_hnsw
	Precision      string `yaml:"precision,omitempty"` // float32 (default), float16, int8
	M              int    `yaml:"m,omitempty"`
	EfConstruction int    `yaml:"ef_construction,omitempty"` // default 100
	Ef             int    `yaml:"ef,omitempty"`
	// TargetRecall is the share of the true ten nearest that searches should find; Ef is raised where they find fewer.
	// Default 0.95; above 1 switches the control off.
	TargetRecall float64 `yaml:"target_recall,omitempty"`
}

// The kinds of indexes and the precisions of their vectors; package ann says what they are.
var (
	indexKinds = []string{"hnsw", "flat", "hnsw_disk", "ivf_flat", "ivf_pq", "ivf_hnsw"}
	precisions = []string{"float32", "float16", "int8"}
)

// validate checks what has names; package ann checks the numbers.
func (i Index) validate(field string) error {
	switch {
	case i.Kind != "" && !slices.Contains(indexKinds, i.Kind):
		return fmt.Errorf("%s.kind: %q is not known; use one of %s", field, i.Kind, strings.Join(indexKinds, ", "))
	case i.Precision != "" && !slices.Contains(precisions, i.Precision):
		return fmt.Errorf("%s.precision: %q is not known; use one of %s", field, i.Precision, strings.Join(precisions, ", "))
	case i.TargetRecall < 0 || i.TargetRecall > 2:
		return fmt.Errorf("%s.target_recall: %v is out of range; give a share such as 0.95, or 2 for no control", field, i.TargetRecall)
	}
	return nil
}

// Snapshot says when indexes are saved, so that the next start needs not build them.
type Snapshot struct {
	Interval Duration `yaml:"interval,omitempty"` // default 5m; also at a clean stop
	Changes  int64    `yaml:"changes,omitempty"`  // entities changed after which it does not wait for that; default 100,000
}

// Retention says how long events.raw, and with it what is deleted, is kept. What is current is kept for ever.
type Retention struct {
	Age       Duration `yaml:"age,omitempty"`        // of an event; default 168h, Forever for as long as disk_share and bytes allow
	Bytes     int64    `yaml:"bytes,omitempty"`      // of events.raw; default: only DiskShare counts
	DiskShare float64  `yaml:"disk_share,omitempty"` // of the disk of the data folder that events.raw may take; default 0.2
	// TombstoneTTL is how long deletions are kept in collections with an order of their source; default for ever.
	TombstoneTTL Duration `yaml:"tombstone_ttl,omitempty"`
	Interval     Duration `yaml:"interval,omitempty"` // how often it is looked at; default 30s
}

// Limits bound what is taken in; see source.Limits.
type Limits struct {
	EventBytes    int   `yaml:"event_bytes,omitempty"`
	BacklogBytes  int64 `yaml:"backlog_bytes,omitempty"`
	FreeDiskBytes int64 `yaml:"free_disk_bytes,omitempty"`
}

// Sources are where events come from besides the API.
type Sources struct {
	Files []Files `yaml:"files,omitempty"`
}

// Files watches a folder of texts, Markdown, HTML, PDFs and source code: each file is an entity, named by its path.
type Files struct {
	Path       string   `yaml:"path"`
	Collection string   `yaml:"collection,omitempty"`
	Namespace  string   `yaml:"namespace,omitempty"`
	MaxBytes   int64    `yaml:"max_bytes,omitempty"` // larger files are passed over, PDFs beyond 64 times that; default 256 KiB
	Ignore     []string `yaml:"ignore,omitempty"`    // patterns of base names, as path/filepath.Match; hidden files are ignored anyway
}

// Duration is a time.Duration that reads "24h" and "500ms".
type Duration time.Duration

// Forever is how long retention.age can be: it reads "forever", and time never gets there.
const Forever Duration = math.MaxInt64

const foreverText = "forever"

// UnmarshalYAML implements yaml.BytesUnmarshaler.
func (d *Duration) UnmarshalYAML(b []byte) error {
	var s string
	if err := yaml.Unmarshal(b, &s); err != nil {
		return err
	}
	if s == foreverText {
		*d = Forever
		return nil
	}
	v, err := time.ParseDuration(s)
	if err != nil || v <= 0 {
		return fmt.Errorf(`%q is no duration above zero; write it like "24h" or "500ms"`, s)
	}
	*d = Duration(v)
	return nil
}

// Defaults returns the configuration that an empty file stands for.
func Defaults() Config {
	c := Config{}
	c.fill()
	return c
}

func (c *Config) fill() {
	setDefault(&c.Listen, "127.0.0.1:8080")
	setDefault(&c.Data, "freshet-data")
	setDefault(&c.Partitions, 16)
	setDefault(&c.Dedupe.Window, Duration(24*time.Hour))
	setDefault(&c.Dedupe.MaxIDs, 10_000_000)
	setDefault(&c.Index.Kind, "hnsw")
	setDefault(&c.Index.EfConstruction, 100)
	setDefault(&c.Index.TargetRecall, 0.95)
	setDefault(&c.Snapshot.Interval, Duration(5*time.Minute))
	setDefault(&c.Snapshot.Changes, 100_000)
	setDefault(&c.Retention.Age, Duration(7*24*time.Hour))
	setDefault(&c.Retention.DiskShare, 0.2)
	setDefault(&c.Retention.Interval, Duration(30*time.Second))
	setDefault(&c.CacheBytes, 256<<20)
	setDefault(&c.Embed.Workers, embedInProcess)
	all := map[string]Collection{freshet.DefaultCollection: {Model: BuiltinModel}}
	maps.Copy(all, c.Collections)
	for name, col := range all {
		if col.Model == "" && col.Dim == 0 {
			col.Model = BuiltinModel
		}
		setDefault(&col.Metric, "cosine")
		if col.Source == sourceFreshet {
			col.Source = ""
		}
		all[name] = col
	}
	c.Collections = all
	for i := range c.Sources.Files {
		f := &c.Sources.Files[i]
		setDefault(&f.Collection, freshet.DefaultCollection)
		setDefault(&f.Namespace, freshet.DefaultNamespace)
		setDefault(&f.MaxBytes, 256<<10)
	}
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// MarshalYAML implements yaml.InterfaceMarshaler.
func (d Duration) MarshalYAML() (any, error) { return d.String(), nil }

// String is what is read back.
func (d Duration) String() string {
	if d == Forever {
		return foreverText
	}
	return time.Duration(d).String()
}

// YAML returns the configuration as a file. Defaults that a part of the program has by itself are left out.
func (c Config) YAML() ([]byte, error) { return yaml.Marshal(c) }

// Load reads a configuration file; an empty path means the defaults.
func Load(path string) (Config, error) {
	if path == "" {
		return Defaults(), nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	c, err := Parse(raw, os.LookupEnv)
	if err != nil {
		return c, fmt.Errorf("configuration %s: %w", path, err)
	}
	return c, nil
}

// Parse reads a configuration. ${NAME} and ${NAME:default} are replaced by values of the
// environment that lookup gives; a key that is not known is an error with its line.
func Parse(raw []byte, lookup func(string) (string, bool)) (Config, error) {
	raw, err := expand(raw, lookup)
	if err != nil {
		return Config{}, err
	}
	var c Config
	if len(bytes.TrimSpace(raw)) > 0 {
		if err := yaml.UnmarshalWithOptions(raw, &c, yaml.Strict()); err != nil {
			return Config{}, errors.New(yaml.FormatError(err, false, true))
		}
		var tree any
		if err := yaml.Unmarshal(raw, &tree); err != nil {
			return Config{}, err
		}
		if err := checkNumbers(reflect.TypeFor[Config](), tree, ""); err != nil {
			return Config{}, err
		}
	}
	c.fill()
	return c, c.Validate()
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(?::([^}]*))?\}`)

// expand replaces the variables of every line but those that are comments.
func expand(raw []byte, lookup func(string) (string, bool)) ([]byte, error) {
	lines := bytes.SplitAfter(raw, []byte("\n"))
	var missing error
	for i, line := range lines {
		if bytes.HasPrefix(bytes.TrimSpace(line), []byte("#")) {
			continue
		}
		lines[i] = variable.ReplaceAllFunc(line, func(m []byte) []byte {
			part := variable.FindSubmatch(m)
			if v, ok := lookup(string(part[1])); ok {
				return []byte(v)
			}
			if part[2] == nil && missing == nil {
				missing = fmt.Errorf("line %d: %s: the environment has no such variable; set it, or write ${%s:default}", i+1, m, part[1])
			}
			return part[2]
		})
	}
	return bytes.Join(lines, nil), missing
}

// Validate checks all that can be checked without opening anything; the log and the indexes
// check their own numbers. Errors name the field, its value and the remedy.
func (c Config) Validate() error {
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("listen: %q is no HOST:PORT (%v); write it like 127.0.0.1:8080", c.Listen, err)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Collections)) {
		if problem := codec.IDProblem(name); problem != "" {
			return fmt.Errorf("collections: the name %q %s", name, problem)
		}
		col := c.Collections[name]
		if err := col.validate("collections." + name); err != nil {
			return err
		}
		if col.Source == SourceExternal && c.Broker.Kafka == nil {
			return fmt.Errorf("collections.%s.source: %q needs broker.kafka: others write into vector.sync there; leave it out and send events", name, col.Source)
		}
	}
	if err := c.Splitter.Validate(); err != nil {
		return fmt.Errorf("splitter.%w", err)
	}
	if c.Splitter.MaxChunks > maxPoints {
		return fmt.Errorf("splitter.max_chunks: %d is out of range; an entity has at most %d points", c.Splitter.MaxChunks, maxPoints)
	}
	if c.Codec != nil {
		if err := c.Codec.Validate(); err != nil {
			return err
		}
	}
	if c.SchemaRegistry != nil {
		if err := c.SchemaRegistry.Validate(); err != nil {
			return err
		}
	}
	if c.Mapping != nil {
		if err := c.Mapping.Validate(); err != nil {
			return err
		}
	}
	if err := c.Index.validate("index"); err != nil {
		return err
	}
	if c.Snapshot.Changes < 0 {
		return fmt.Errorf("snapshot.changes: %d is negative; leave it out for 100000", c.Snapshot.Changes)
	}
	if err := c.Broker.validate(); err != nil {
		return err
	}
	if err := c.Embed.validate(c.Broker.Kafka != nil); err != nil {
		return err
	}
	if err := c.validateRoles(); err != nil {
		return err
	}
	kafka := Kafka{}
	if c.Broker.Kafka != nil {
		kafka = *c.Broker.Kafka
	}
	for _, d := range []struct {
		field string
		is    Duration
	}{{"broker.kafka.sync_delete_retention", kafka.SyncDeleteRetention}, {"broker.kafka.session_timeout", kafka.SessionTimeout}, {"dedupe.window", c.Dedupe.Window}, {"snapshot.interval", c.Snapshot.Interval},
		{"retention.tombstone_ttl", c.Retention.TombstoneTTL}, {"retention.interval", c.Retention.Interval}} {
		if d.is == Forever {
			return fmt.Errorf(`%s: %q is for retention.age only; write a time like "24h"`, d.field, d.is)
		}
	}
	if c.Retention.Bytes < 0 {
		return fmt.Errorf("retention.bytes: %d is negative; leave it out where only disk_share is to count", c.Retention.Bytes)
	}
	if share := c.Retention.DiskShare; share < 0 || share > 1 {
		return fmt.Errorf("retention.disk_share: %v is out of range; give a share of the disk such as 0.2, or 1", share)
	}
	watched := map[[3]string]int{}
	for i, f := range c.Sources.Files {
		field := fmt.Sprintf("sources.files[%d]", i)
		if f.Path == "" {
			return fmt.Errorf("%s.path: is missing; name the folder to watch", field)
		}
		as := [3]string{filepath.Clean(f.Path), f.Collection, f.Namespace}
		if other, twice := watched[as]; twice {
			return fmt.Errorf("%s.path: %q is watched by sources.files[%d] already, for the same collection and namespace; leave one of the two out", field, f.Path, other)
		}
		watched[as] = i
		col, ok := c.Collections[f.Collection]
		if !ok {
			return fmt.Errorf("%s.collection: %q is not declared; declare it under collections", field, f.Collection)
		}
		if col.Model == "" {
			return fmt.Errorf("%s.collection: %q has no model, but files are texts; name a collection with one", field, f.Collection)
		}
		if col.Source == SourceExternal {
			return fmt.Errorf("%s.collection: %q is written by others (source: external); name another", field, f.Collection)
		}
		if problem := codec.IDProblem(f.Namespace); problem != "" {
			return fmt.Errorf("%s.namespace: %q %s", field, f.Namespace, problem)
		}
		for _, pattern := range f.Ignore {
			if _, err := filepath.Match(pattern, ""); err != nil {
				return fmt.Errorf("%s.ignore: %q is no pattern; close its bracket, or write a backslash before it", field, pattern)
			}
		}
		if f.MaxBytes < 0 {
			return fmt.Errorf("%s.max_bytes: %d is negative; leave it out for 256 KiB", field, f.MaxBytes)
		}
	}
	return source.Limits(c.Limits).Validate()
}

func (c Collection) validate(field string) error {
	switch {
	case c.Model != "" && c.Model != BuiltinModel:
		return fmt.Errorf("%s.model: %q is not known; use %q, or leave it out and give dim", field, c.Model, BuiltinModel)
	case c.Model != "" && c.Dim != 0:
		return fmt.Errorf("%s.dim: %d is given beside model; the model has its own, leave one of the two out", field, c.Dim)
	case c.Model == "" && (c.Dim < 2 || c.Dim > 4096):
		return fmt.Errorf("%s.dim: %d is out of range; give 2 to 4096", field, c.Dim)
	case c.Source != "" && !slices.Contains(collectionSources, c.Source):
		return fmt.Errorf("%s.source: %q is not known; use one of %s", field, c.Source, strings.Join(collectionSources, ", "))
	case c.Metric != "cosine" && c.Metric != "ip" && c.Metric != "l2":
		return fmt.Errorf(`%s.metric: %q is not known; use "cosine", "ip" or "l2"`, field, c.Metric)
	}
	return c.Index.validate(field + ".index")
}
