package kafka_test

import (
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/broker/kafka"
)

func TestNamesOfTopics(t *testing.T) {
	got := kafka.Topics{Prefix: "shop.", Sync: "vectors"}.Resolved()
	want := kafka.Topics{Raw: "shop.events.raw", Keyed: "shop.events.keyed", Sync: "shop.vectors", Dead: "shop.vector.sync.dlq",
		State: "shop.freshet.state", Control: "shop.freshet.control",
		Requests: "shop.embeddings.requests", Results: "shop.embeddings.results"}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if again := got.Resolved(); again != want {
		t.Errorf("resolved twice: %+v", again)
	}
}

// Each error names the field, its value and the remedy.
func TestValidate(t *testing.T) {
	good := kafka.Options{Brokers: []string{"a:9092", "[::1]:9093"}, Replication: 3, MinInSync: 2, RawRetention: kafka.Forever,
		TLS:  &kafka.TLS{CertFile: "c", KeyFile: "k"},
		SASL: &kafka.SASL{Mechanism: "oauthbearer", TokenURL: "https://x/t", ClientID: "c", ClientSecretFile: "s"}}
	if err := good.Validate(); err != nil {
		t.Fatal("good options are refused:", err)
	}
	for _, c := range []struct {
		break_ func(*kafka.Options)
		want   []string
	}{
		{func(o *kafka.Options) { o.Brokers = nil }, []string{"brokers", "empty", "HOST:PORT"}},
		{func(o *kafka.Options) { o.Brokers = []string{"a:1", "b"} }, []string{"brokers[1]", `"b"`, "kafka-1:9092"}},
		{func(o *kafka.Options) { o.Brokers = []string{"a:0"} }, []string{"brokers[0]", `"a:0"`}},
		{func(o *kafka.Options) { o.Brokers = []string{":9092"} }, []string{"brokers[0]", `":9092"`}},
		{func(o *kafka.Options) { o.Brokers = []string{"a:99999"} }, []string{"brokers[0]", "99999"}},
		{func(o *kafka.Options) { o.Group = "a\nb" }, []string{"group", `"a\nb"`, "control characters"}},
		{func(o *kafka.Options) { o.InstanceID = "a b" }, []string{"instance_id", `"a b"`, "letters"}},
		{func(o *kafka.Options) { o.Topics.Raw = "events raw" }, []string{"topics.raw", `"events raw"`, "letters"}},
		{func(o *kafka.Options) { o.Topics.Prefix = strings.Repeat("x", 240) }, []string{"topics.raw", "249"}},
		{func(o *kafka.Options) { o.Topics.Keyed = "vector.sync" }, []string{"topics.sync", `"vector.sync"`, "topics.keyed"}},
		{func(o *kafka.Options) { o.Partitions = -1 }, []string{"partitions", "-1", "1 to 32768"}},
		{func(o *kafka.Options) { o.Partitions = 1 << 16 }, []string{"partitions", "65536"}},
		{func(o *kafka.Options) { o.MinInSync = 4 }, []string{"min_insync", "4", "replication 3"}},
		{func(o *kafka.Options) { o.RawBytes = -5 }, []string{"raw_bytes", "-5"}},
		{func(o *kafka.Options) { o.SyncFormat = "xml" }, []string{"sync_format", "xml", "json"}},
		{func(o *kafka.Options) { o.MaxRecordBytes = 5 }, []string{"max_record_bytes", "5", "1048576"}},
		{func(o *kafka.Options) { o.RawRetention = -time.Second }, []string{"raw_retention", "-1s", "leave it out"}},
		{func(o *kafka.Options) { o.SyncDeleteRetention = kafka.Forever }, []string{"sync_delete_retention"}},
		{func(o *kafka.Options) { o.SessionTimeout = time.Millisecond }, []string{"session_timeout", "1ms", "1s"}},
		{func(o *kafka.Options) { o.TLS = &kafka.TLS{CertFile: "c"} }, []string{"tls.key_file", `"c"`, "both"}},
		{func(o *kafka.Options) { o.TLS = &kafka.TLS{KeyFile: "k"} }, []string{"tls.cert_file", `"k"`, "both"}},
		{func(o *kafka.Options) { o.SASL.Mechanism = "gssapi" }, []string{"sasl.mechanism", `"gssapi"`, "scram-sha-512"}},
		{func(o *kafka.Options) { o.SASL.TokenFile = "f" }, []string{"sasl.token_file", `"f"`, "one of the two"}},
		{func(o *kafka.Options) { o.SASL.TokenURL = "" }, []string{"sasl.token_file", "one of the two"}},
		{func(o *kafka.Options) { o.SASL.TokenURL = "auth" }, []string{"sasl.token_url", `"auth"`, "https://"}},
		{func(o *kafka.Options) { o.SASL.User = "u" }, []string{"sasl.user", `"u"`, "leave it out"}},
		{func(o *kafka.Options) { o.SASL = &kafka.SASL{Mechanism: "plain", User: "u"} }, []string{"sasl.password_file", "plain needs it"}},
		{func(o *kafka.Options) {
			o.SASL = &kafka.SASL{Mechanism: "plain", User: "u", PasswordFile: "p", Scope: "s"}
		}, []string{"sasl.scope", `"s"`}},
	} {
		o := good
		tls, sasl := *good.TLS, *good.SASL
		o.TLS, o.SASL = &tls, &sasl
		c.break_(&o)
		err := o.Validate()
		if err == nil {
			t.Errorf("accepted, wanted an error with %q", c.want)
			continue
		}
		for _, part := range c.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("the error does not say %q: %s", part, err)
			}
		}
	}
}
