package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/freshet-io/freshet/codec/cdc"
)

// Schema returns the JSON Schema of a configuration, for editors: every key with its type and what it means. What a key may
// hold beyond that is checked by Validate and by the parts.
func Schema() []byte {
	s := schemaOf(reflect.TypeFor[Config](), "")
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "freshet"
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // it is made of strings, maps and lists
	}
	return append(raw, '\n')
}

// schemaOf returns the schema of a type at a path, in which [] stands for an element and * for any name.
func schemaOf(t reflect.Type, path string) map[string]any {
	s := map[string]any{}
	if text := descriptions[path]; text != "" {
		s["description"] = text
		if Reloads(path) {
			s["description"] = text + " A running server takes it over."
		}
	}
	if values := choices[path]; values != nil {
		s["anyOf"] = []any{map[string]any{"enum": values}, variableSchema}
		return s
	}
	switch {
	case t == reflect.TypeFor[Partitions]():
		one := []any{map[string]any{"type": "string"}, map[string]any{"type": "integer", "minimum": 0}}
		s["anyOf"] = append(one, map[string]any{"type": "array", "items": map[string]any{"anyOf": one}})
		return s
	case t == reflect.TypeFor[Duration]():
		forever := ""
		if path == "retention.age" {
			forever = "^" + foreverText + "$|"
		}
		s["type"], s["pattern"] = "string", forever+`^([0-9]*\.?[0-9]*(ns|us|µs|ms|s|m|h))+$|\$\{`
		return s
	case t.Kind() == reflect.Pointer:
		return schemaOf(t.Elem(), path)
	}
	switch t.Kind() {
	case reflect.Struct:
		properties := map[string]any{}
		var required []string
		for i := range t.NumField() {
			name, options, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
			properties[name] = schemaOf(t.Field(i).Type, strings.TrimPrefix(path+"."+name, "."))
			if !strings.Contains(options, "omitempty") {
				required = append(required, name)
			}
		}
		s["type"], s["properties"], s["additionalProperties"] = "object", properties, false
		if required != nil {
			s["required"] = required
		}
	case reflect.Map:
		s["type"], s["additionalProperties"] = "object", schemaOf(t.Elem(), path+".*")
	case reflect.Slice:
		s["type"], s["items"] = "array", schemaOf(t.Elem(), path+"[]")
	case reflect.String:
		s["type"] = "string"
	case reflect.Bool:
		s["anyOf"] = []any{map[string]any{"type": "boolean"}, variableSchema}
	case reflect.Float64:
		s["anyOf"] = []any{map[string]any{"type": "number"}, variableSchema}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		s["anyOf"] = []any{map[string]any{"type": "integer", "minimum": 0}, variableSchema}
	default:
		panic(fmt.Sprintf("the configuration has %s at %s, which its schema does not know", t, path))
	}
	return s
}

// variableSchema is a value that the environment gives.
var variableSchema = map[string]any{"type": "string", "pattern": `\$\{`}

// choices are the values of the keys that have few.
var choices = map[string][]string{
	"collections.*.model":           {BuiltinModel},
	"collections.*.metric":          {"cosine", "ip", "l2"},
	"collections.*.index.kind":      indexKinds,
	"collections.*.index.precision": precisions,
	"index.kind":                    indexKinds,
	"codec.format":                  cdc.Formats,
	"index.precision":               precisions,
	"broker.kafka.sasl.mechanism":   Mechanisms,
	"roles[]":                       Roles,
	"embed.workers":                 embedWorkers,
	"broker.kafka.delivery":         Deliveries,
	"broker.kafka.sync_format":      SyncFormats,
	"broker.kafka.mixed_writers":    MixedWriters,
	"broker.kafka.compression":      Compressions,
	"collections.*.source":          collectionSources,
}

// descriptions say what each key means.
var descriptions = map[string]string{
	"listen":     "HOST:PORT of the API; default 127.0.0.1:8080. The flag --listen goes before it.",
	"data":       "The data folder; default freshet-data. The flag --data goes before it.",
	"partitions": "Of the log events.raw, 1 to 32768; default 16. Fixed when the data folder is made.",

	"broker":                             "Where the log is: in the data folder, unless this names a cluster.",
	"broker.kafka":                       "A log in a Kafka cluster, with as many partitions as partitions says. retention.age and retention.bytes are those of events.raw and events.keyed.",
	"broker.kafka.brokers":               "One at least; the others are found through it.",
	"broker.kafka.brokers[]":             "HOST:PORT.",
	"broker.kafka.client_id":             "What brokers log and count by; default freshet.",
	"broker.kafka.group":                 "The consumer group that shares the partitions, and the prefix of transactional ids; default freshet.",
	"broker.kafka.topics":                "Names of topics. They are made where they are missing; one with settings that would lose data is refused.",
	"broker.kafka.topics.prefix":         "Before every name.",
	"broker.kafka.topics.raw":            "Default events.raw.",
	"broker.kafka.topics.keyed":          "Default events.keyed.",
	"broker.kafka.topics.sync":           "Default vector.sync.",
	"broker.kafka.topics.dead":           "Default vector.sync.dlq.",
	"broker.kafka.topics.state":          "Default freshet.state.",
	"broker.kafka.topics.control":        "Default freshet.control.",
	"broker.kafka.topics.requests":       "Default embeddings.requests.",
	"broker.kafka.topics.results":        "Default embeddings.results.",
	"broker.kafka.replication":           "Of topics; default 3, or the number of brokers where there are fewer.",
	"broker.kafka.min_insync":            "min.insync.replicas; default 2 where replication is 3 or more, else 1.",
	"broker.kafka.sync_delete_retention": "How long deletions stay in the compacted topics for readers that are behind; default 168h.",
	"broker.kafka.delivery":              "How owners of partitions commit: transactional (default) or idempotent, which is sooner and promises less to other readers of vector.sync.",
	"broker.kafka.sync_format":           "How values of vector.sync are written: binary (default), or json for consumers that know nothing of freshet. Both are read.",
	"broker.kafka.compression":           "How batches of records are compressed: auto (default) is snappy where a part of the batch says that it is worth it, which vectors are not; none, snappy, lz4, zstd.",
	"broker.kafka.mixed_writers":         "Records of vector.sync by freshet in a collection that others write, or by others in one that freshet writes: refuse (default) stops, ignore goes on as if they were not there.",
	"broker.kafka.max_record_bytes":      "Of a record and of a batch of them, 1048576 to 67108864; default 16777216.",
	"broker.kafka.rack":                  "Where this process is, for reads from a replica nearby.",
	"broker.kafka.instance_id":           "Of this process, for static membership: a restart within session_timeout moves no partition.",
	"broker.kafka.session_timeout":       "How long a process that is not heard of keeps its partitions; default 6s.",

	"broker.kafka.tls":             "Encrypts connections; without it they are not.",
	"broker.kafka.tls.ca_file":     "Authorities in PEM; without it those of the system.",
	"broker.kafka.tls.cert_file":   "Certificate of this client in PEM, for mutual TLS.",
	"broker.kafka.tls.key_file":    "Its key.",
	"broker.kafka.tls.server_name": "In the certificates of the brokers; without it the host that is dialed.",

	"broker.kafka.sasl":                    "Authenticates connections. Secrets stand in files, which are read anew for each session.",
	"broker.kafka.sasl.mechanism":          "plain, scram-sha-256, scram-sha-512 or oauthbearer.",
	"broker.kafka.sasl.user":               "Of plain and scram.",
	"broker.kafka.sasl.password_file":      "Of plain and scram.",
	"broker.kafka.sasl.token_file":         "Of oauthbearer: a token, which somebody else renews.",
	"broker.kafka.sasl.token_url":          "Of oauthbearer: an authorization server that gives tokens for client credentials.",
	"broker.kafka.sasl.client_id":          "With token_url.",
	"broker.kafka.sasl.client_secret_file": "With token_url.",
	"broker.kafka.sasl.scope":              "With token_url, where it wants one.",

	"roles":     "What this process does: some of source (events come in), process (partitions are decided), query (indexes, searches), embed (vectors are made, where embed.workers is topic). Without it all; less with a log in Kafka only. The flag --role goes before it.",
	"roles[]":   "source, process, query or embed.",
	"advertise": "Where other processes reach this one, like http://10.0.0.5:8080; without it the address of listen, unless that stands for all interfaces.",

	"process":          "How a process with the role process decides partitions.",
	"process.copies":   "Of which partitions it has a copy, besides those that its indexes hold: all, to go on with any at once (the default), or owned, so that an event costs the same however many processes there are.",
	"query":            "What a process with the role query holds.",
	"query.partitions": `Which partitions, like "0-3,7"; default all.`,

	"auto_create":          "true makes a collection that an event names and that doesn't exist, as a copy of default; false (default) rejects the event.",
	"collections":          "Sets of entities with one schema each, by name; default is always there. A schema is fixed when its collection is made.",
	"collections.*":        "With a model, texts become vectors; with dim, events bring them.",
	"collections.*.model":  "The model that makes the vectors; default builtin where dim is not given.",
	"collections.*.dim":    "Components of the vectors that events bring, 2 to 4096.",
	"collections.*.source": "freshet (default): its entities follow from events. external: others write them into vector.sync in Kafka.",
	"collections.*.metric": "How vectors are compared: cosine (default), ip (inner product) or l2 (Euclidean).",
	"collections.*.index":  "What differs from the settings of all indexes.",

	"codec":        "The change data capture whose events come in. Without it events are objects.",
	"codec.format": "debezium, canal or aliyun.",
	"codec.key":    "Columns of the key, in its order; default: as the envelope, or the key of its record, says.",
	"codec.key[]":  "A column.",
	"codec.table":  "The one whose rows are read, as NAME, SCHEMA.NAME or DATABASE.SCHEMA.NAME; without it rows of all, whose ids then begin with their table.",
	"codec.flat":   "true: rows as Debezium's ExtractNewRecordState makes them.",
	"codec.order":  "true: the place in the source's log is the order of the events, where it is one.",

	"schema_registry":               "Confluent's, or one with its API: records are then in its wire format, with a value in Avro, Protobuf or JSON. What is JSON without it is read too.",
	"schema_registry.urls":          "Its addresses, of http or https, tried in order.",
	"schema_registry.urls[]":        "An address, like http://registry:8081.",
	"schema_registry.user":          "Of basic authentication.",
	"schema_registry.password_file": "A file with its password, read anew for each request.",
	"schema_registry.token_file":    "A file with a bearer token, instead of user and password_file; read anew for each request.",
	"schema_registry.tls":           "Which certificates count.",
	"schema_registry.tls.ca_file":   "PEM of the authorities; without it those of the system.",
	"schema_registry.tls.cert_file": "PEM of the client's own certificate, read anew for each connection.",
	"schema_registry.tls.key_file":  "PEM of its key.",

	"mapping":                      "How an event of any JSON becomes changes of entities, in CEL. Without it events are those of the reference.",
	"mapping.changes":              "The changes that an event makes, 1 at least.",
	"mapping.changes[]":            "One change, or with for_each one per element of a list. All keys are expressions.",
	"mapping.changes[].when":       "Whether there is a change; default true.",
	"mapping.changes[].for_each":   "A list: a change for each element, called item, with its number index.",
	"mapping.changes[].collection": "Default default.",
	"mapping.changes[].namespace":  "Default default.",
	"mapping.changes[].entity":     "Which entity is changed.",
	"mapping.changes[].event_id":   "By which repeats are recognised; default none.",
	"mapping.changes[].op":         "upsert (default), patch or delete.",
	"mapping.changes[].delete":     "true deletes; instead of op.",
	"mapping.changes[].text":       "What the entity says.",
	"mapping.changes[].embed":      "What is embedded, where that is another text.",
	"mapping.changes[].vector":     "A list of numbers; then nothing is embedded.",
	"mapping.changes[].metadata":   "A map with string keys; default none.",
	"mapping.changes[].timestamp":  "ms since 1970, a time of RFC 3339 or a timestamp.",
	"mapping.changes[].expires_at": "When the entity is hidden and deleted, as timestamp; default never.",
	"mapping.changes[].order":      "Of the source, 1 at least; for all events of a collection or none.",
	"mapping.max_cost":             "Of all expressions for one event; default 5000000.",

	"embed":         "Where contents become vectors. Texts of searches become vectors where they are asked.",
	"embed.workers": "process (default): in the process that decides. topic: in processes with the role embed, through embeddings.requests in Kafka. The same for all processes.",

	"splitter":               "Texts longer than max_bytes become several points of their entity.",
	"splitter.max_bytes":     "Of a chunk; default 600.",
	"splitter.overlap_bytes": "How much of a chunk the next one repeats, up to a quarter of max_bytes; default 0.",
	"splitter.max_chunks":    "Of one text, at most 4095; default 1024.",

	"dedupe":         "How long an event_id is remembered: a repeat within both bounds has no effect.",
	"dedupe.window":  "Default 24h.",
	"dedupe.max_ids": "Default 10000000.",

	"index": "The vector indexes. What freshet index rebuild has set goes before it, and so does the key index of a collection.",

	"snapshot":          "When indexes are saved, so that the next start needs not build them; also at a clean stop.",
	"snapshot.interval": "Default 5m.",
	"snapshot.changes":  "Entities changed, after which it does not wait for the interval; default 100000.",

	"retention":               "How long events are kept, and with them what is deleted; what is current is kept for ever.",
	"retention.age":           "Of an event; default 168h. forever: for as long as disk_share and bytes allow.",
	"retention.bytes":         "Of all events; without it only disk_share counts.",
	"retention.disk_share":    "Of the disk of the data folder that events may take, up to 1; default 0.2.",
	"retention.tombstone_ttl": "How long deletions are kept where events have an order; without it for ever.",
	"retention.interval":      "How often it is looked at; default 30s.",

	"limits":                 "What is taken in.",
	"limits.event_bytes":     "Of one event, at most 33554432; default 4194304.",
	"limits.backlog_bytes":   "Of events not processed yet; then 429 with Retry-After. Default 4294967296.",
	"limits.free_disk_bytes": "That the disk must keep; then 507. Default 536870912.",
	"cache_bytes":            "The block cache of the tables; default 268435456.",

	"sources":                    "Where events come from besides the API.",
	"sources.files":              "Watched folders of texts, Markdown, HTML, PDFs and source code: each file is an entity, named by its path in the folder.",
	"sources.files[]":            "A watched folder.",
	"sources.files[].path":       "The folder.",
	"sources.files[].collection": "One with a model; default default.",
	"sources.files[].namespace":  "Default default.",
	"sources.files[].max_bytes":  "Larger files are passed over, PDFs beyond 64 times that; default 262144.",
	"sources.files[].ignore":     "Patterns of base names, like *.log; hidden files are ignored anyway.",
	"sources.files[].ignore[]":   "A pattern.",
}

func init() {
	for key, text := range map[string]string{
		"kind":            "hnsw (default): a graph. flat: exact. hnsw_disk: vectors in a file. ivf_flat, ivf_pq: less memory. ivf_hnsw: large and seldom changed.",
		"precision":       "Of the stored vectors: float32 (default), float16, int8.",
		"m":               "Links of a point; default 16.",
		"ef_construction": "Candidates looked at to link a point; default 100.",
		"ef":              "Candidates that a search keeps; default 64, with lists or the inner product 100. A request may give its own.",
		"target_recall":   "Of the true ten nearest, what searches should find; default 0.95. Above 1: no control.",
	} {
		descriptions["index."+key] = text
		descriptions["collections.*.index."+key] = text
	}
}
