package node

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/config"
)

func parse(t *testing.T, yaml string) config.Config {
	t.Helper()
	c, err := config.Parse([]byte(yaml), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestKafkaOptions(t *testing.T) {
	got, err := kafkaOptions(parse(t, `
partitions: 5
retention: {age: forever, bytes: 7}
broker:
  kafka:
    brokers: [a:1, b:2]
    client_id: c
    group: g
    topics: {prefix: p., raw: r, keyed: k, sync: s, dead: d, state: t, control: l}
    replication: 3
    min_insync: 2
    sync_delete_retention: 1h
    max_record_bytes: 9000000
    tls: {ca_file: ca, cert_file: cert, key_file: key, server_name: n}
    sasl: {mechanism: oauthbearer, token_url: "https://t", client_id: i, client_secret_file: f, scope: o}
    rack: x
    instance_id: y
    session_timeout: 7s
`), slog.Default())
	want := kafka.Options{Brokers: []string{"a:1", "b:2"}, ClientID: "c", Group: "g",
		Topics:     kafka.Topics{Prefix: "p.", Raw: "r", Keyed: "k", Sync: "s", Dead: "d", State: "t", Control: "l"},
		Partitions: 5, Replication: 3, MinInSync: 2, RawRetention: kafka.Forever, RawBytes: 7, SyncDeleteRetention: time.Hour, MaxRecordBytes: 9000000,
		TLS:  &kafka.TLS{CAFile: "ca", CertFile: "cert", KeyFile: "key", ServerName: "n"},
		SASL: &kafka.SASL{Mechanism: "oauthbearer", TokenURL: "https://t", ClientID: "i", ClientSecretFile: "f", Scope: "o"},
		Rack: "x", InstanceID: "y", SessionTimeout: 7 * time.Second, Logger: slog.Default()}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

// Errors name the keys of the configuration.
func TestKafkaOptionsRefused(t *testing.T) {
	for yaml, want := range map[string][]string{
		"broker: {kafka: {brokers: [a]}}":                                              {"broker.kafka.brokers[0]:", `"a"`},
		"broker: {kafka: {brokers: [a:1], topics: {raw: 'a b'}}}":                      {"broker.kafka.topics.raw:", `"a b"`},
		"broker: {kafka: {brokers: [a:1], sasl: {mechanism: plain}}}":                  {"broker.kafka.sasl.user:", "plain needs it"},
		"partitions: 99999\nbroker: {kafka: {brokers: [a:1]}}":                         {"partitions: 99999", "32768"},
		"retention: {age: 1ns}\nbroker: {kafka: {brokers: [a:1]}}":                     {"retention.age: 1ns"},
		"limits: {event_bytes: 9000000}\nbroker: {kafka: {brokers: [a:1]}}":            {"broker.kafka.max_record_bytes: 16777216", "limits.event_bytes 9000000", "18000000"},
		"broker: {kafka: {brokers: [a:1], max_record_bytes: 2000000}}":                 {"broker.kafka.max_record_bytes: 2000000", "4194304"},
		"broker: {kafka: {brokers: [a:1], replication: 1, min_insync: 2}}":             {"broker.kafka.min_insync: 2", "replication 1"},
		"broker: {kafka: {brokers: [a:1], tls: {cert_file: c}}}":                       {"broker.kafka.tls.key_file:", `"c"`},
		"broker: {kafka: {brokers: [a:1], session_timeout: 1ms}}":                      {"broker.kafka.session_timeout: 1ms"},
		"broker: {kafka: {brokers: [a:1]}}":                                            {"broker.kafka: the log is in Kafka", "leave it out"},
		"broker: {kafka: {brokers: [a:1], instance_id: 'a b', group: 'a', rack: 'r'}}": {"broker.kafka.instance_id:"},
	} {
		_, err := Open(t.Context(), Options{Config: func() config.Config { c := parse(t, yaml); c.Data = filepath.Join(t.TempDir(), "data"); return c }()})
		if err == nil {
			t.Errorf("%s: is open", yaml)
			continue
		}
		for _, part := range want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: the error does not say %q: %s", yaml, part, err)
			}
		}
	}
}

// The example shows the defaults of the log, and the schema its mechanisms.
func TestKafkaDefaultsOfTheExample(t *testing.T) {
	raw, err := os.ReadFile("../docs/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	section := regexp.MustCompile(`(?ms)^# broker:\n(#  .*?\n)*`).FindString(string(raw))
	got, err := kafkaOptions(parse(t, regexp.MustCompile(`(?m)^# ?`).ReplaceAllString(section, "")), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := kafka.Options{Brokers: []string{"kafka-1:9092", "kafka-2:9092"}, ClientID: "freshet", Group: kafka.DefaultGroup, Topics: kafka.Topics{}.Resolved(),
		Partitions: kafka.DefaultPartitions, Replication: kafka.DefaultReplication, MinInSync: 2, RawRetention: kafka.DefaultRawRetention,
		SyncDeleteRetention: kafka.DefaultSyncDeleteRetention, MaxRecordBytes: kafka.DefaultMaxRecordBytes, SessionTimeout: kafka.DefaultSessionTimeout,
		Delivery: kafka.DeliveryTransactional, SyncFormat: kafka.SyncBinary, MixedWriters: kafka.MixedRefuse, Compression: kafka.CompressAuto,
		TLS: got.TLS, SASL: got.SASL, Rack: got.Rack, InstanceID: got.InstanceID}
	if !reflect.DeepEqual(got, want) || got.TLS == nil || got.SASL == nil || got.Rack == "" || got.InstanceID == "" {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if !slices.Equal(config.Mechanisms, kafka.Mechanisms) {
		t.Errorf("the configuration knows %v, the log %v", config.Mechanisms, kafka.Mechanisms)
	}
}
