package kafka_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
)

const (
	saslModules = "org.apache.kafka.common.security."
	listener    = "listener.name.client."
)

// keystore is what a node needs to show a certificate of an authority.
func keystore(t *testing.T, ca *authority) map[string]string {
	t.Helper()
	server := ca.issue(t, "server")
	var pem []byte
	for _, path := range []string{server.key, server.cert} {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		pem = append(pem, raw...)
	}
	return map[string]string{
		listener + "ssl.keystore.type":       "PEM",
		listener + "ssl.keystore.location":   file(t, "keystore.pem", string(pem)),
		listener + "ssl.truststore.type":     "PEM",
		listener + "ssl.truststore.location": ca.cert,
	}
}

func TestRealMutualTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	client, stranger := ca.issue(t, "client"), other.issue(t, "client")
	settings := keystore(t, ca)
	settings[listener+"ssl.client.auth"] = "required"
	k := kafkatest.Start(t, kafkatest.Options{Protocol: "SSL", Settings: settings})
	with := func(ca, cert, key string) kafka.Options {
		return options(k.Addrs(), func(o *kafka.Options) { o.TLS = &kafka.TLS{CAFile: ca, CertFile: cert, KeyFile: key} })
	}
	works(t, with(ca.cert, client.cert, client.key))
	refused(t, with(other.cert, client.cert, client.key), "x509")
	refused(t, with(ca.cert, "", ""), "tls: ")
	refused(t, with(ca.cert, stranger.cert, stranger.key), "tls: ")
	plain := options(k.Addrs())
	plain.ConnectTimeout = time.Second
	fails(t, plain, "no answer from "+k.Addrs()[0])
}

func TestRealSASL(t *testing.T) {
	ca := newAuthority(t)
	settings := keystore(t, ca)
	for name, value := range map[string]string{
		"sasl.enabled.mechanisms":               "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
		"plain.sasl.jaas.config":                saslModules + `plain.PlainLoginModule required user_anna="right";`,
		"scram-sha-256.sasl.jaas.config":        saslModules + "scram.ScramLoginModule required;",
		"scram-sha-512.sasl.jaas.config":        saslModules + "scram.ScramLoginModule required;",
		"oauthbearer.sasl.jaas.config":          saslModules + `oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";`,
		"oauthbearer.connections.max.reauth.ms": "3000",
	} {
		settings[listener+name] = value
	}
	k := kafkatest.Start(t, kafkatest.Options{Protocol: "SASL_SSL", Settings: settings})
	for _, mechanism := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} {
		altered, err := k.Admin().AlterUserSCRAMs(deadline(t), nil, []kadm.UpsertSCRAM{{User: "anna", Mechanism: mechanism, Iterations: 4096, Password: "right"}})
		if err = errors.Join(err, altered.Error()); err != nil {
			t.Fatal(err)
		}
	}
	with := func(sasl kafka.SASL) kafka.Options {
		return options(k.Addrs(), func(o *kafka.Options) { o.TLS, o.SASL = &kafka.TLS{CAFile: ca.cert}, &sasl })
	}
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		t.Run(mechanism, func(t *testing.T) {
			works(t, with(kafka.SASL{Mechanism: mechanism, User: "anna", PasswordFile: file(t, "password", "right\n")}))
			refused(t, with(kafka.SASL{Mechanism: mechanism, User: "anna", PasswordFile: file(t, "password", "wrong")}), "SASL_AUTHENTICATION_FAILED")
			refused(t, with(kafka.SASL{Mechanism: mechanism, User: "bert", PasswordFile: file(t, "password", "right")}), "SASL_AUTHENTICATION_FAILED")
		})
	}
	// The token is read anew when the session has to be renewed, for which brokers allow once a second.
	t.Run("oauthbearer", func(t *testing.T) {
		path := file(t, "token", token("anna", 4*time.Second))
		o := with(kafka.SASL{Mechanism: "oauthbearer", TokenFile: path})
		o.Topics.Prefix = "oauth."
		c := ready(t, o)
		a := appender(t, c)
		for begin := time.Now(); time.Since(begin) < 6*time.Second; time.Sleep(100 * time.Millisecond) {
			replace(t, path, token("anna", 4*time.Second))
			values(t, a, 0, "a")
		}
		refused(t, with(kafka.SASL{Mechanism: "oauthbearer", TokenFile: file(t, "token", token("anna", -time.Hour))}), "authentication: ")
	})
}

// token is one that Kafka takes without a signature, where nothing else is configured.
func token(user string, life time.Duration) string {
	now := time.Now()
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"none"}`)) + "." + part(fmt.Appendf(nil, `{"sub":%q,"iat":%d,"exp":%d}`, user, now.Add(-time.Minute).Unix(), now.Add(life).Unix())) + "."
}

// replace puts another file in the place of one, at once.
func replace(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// Leaders are killed while several append: what was acknowledged is in the log once, where it was said to be, and nothing
// is there twice.
func TestLeadersAreKilled(t *testing.T) {
	k := kafkatest.StartCluster(t, 3)
	c := ready(t, options(k.Addrs()))
	raw := c.Options().Topics.Raw
	a := appender(t, c)
	const writers = 4
	var wg sync.WaitGroup
	stop := make(chan struct{})
	acknowledged := make([]map[string]freshet.Position, writers)
	for w := range writers {
		acknowledged[w] = map[string]freshet.Position{}
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				records := make([]kafka.Record, 4)
				for p := range records {
					records[p] = kafka.Record{Partition: int32(p), Value: fmt.Appendf(nil, "%d.%d.%d", w, i, p)}
				}
				positions, err := a.Append(deadline(t), records)
				if err != nil && !errors.Is(err, kafka.ErrUnknownOutcome) {
					t.Error(err)
					return
				}
				for j, p := range positions {
					if p.Offset >= 0 {
						acknowledged[w][string(records[j].Value)] = p
					}
				}
			}
		})
	}
	for p := range 2 {
		time.Sleep(500 * time.Millisecond)
		leader, err := k.Leader(deadline(t), raw, int32(p))
		if err != nil {
			t.Fatal(err)
		}
		k.Kill(leader)
		time.Sleep(3 * time.Second)
		if err := k.Start(leader); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
	all, n := readAll(t, c)
	found := map[string]freshet.Position{}
	for p, records := range all {
		for _, r := range records {
			if before, twice := found[string(r.Value)]; twice {
				t.Errorf("%s is at %v and at %d", r.Value, before, r.Offset)
			}
			found[string(r.Value)] = freshet.Position{Topic: raw, Partition: p, Offset: r.Offset}
		}
	}
	total := 0
	for _, m := range acknowledged {
		total += len(m)
		for value, at := range m {
			if found[value] != at {
				t.Errorf("%s was acknowledged at %v and is at %v", value, at, found[value])
			}
		}
	}
	t.Logf("%d acknowledged, %d in the log", total, n)
	if total == 0 {
		t.Error("nothing was acknowledged")
	}
}

// While the cluster is away a reader waits; an append ends within its time.
func TestClusterIsAway(t *testing.T) {
	k := kafkatest.Start(t, kafkatest.Options{})
	c := ready(t, options(k.Addrs(), func(o *kafka.Options) { o.DeliveryTimeout = 2 * time.Second }))
	a := appender(t, c)
	values(t, a, 0, "a")
	r := reader(t, c, freshet.Position{Topic: c.Options().Topics.Raw})
	until(t, r, 0, 1)
	k.Kill(0)
	start := time.Now()
	if got, err := a.Append(deadline(t), []kafka.Record{{Value: []byte("b")}}); code(err) != freshet.CodeUnavailable || time.Since(start) > 10*time.Second {
		t.Errorf("%v, %v after %v", got, err, time.Since(start))
	}
	silent(t, r)
	if err := k.Start(0); err != nil {
		t.Fatal(err)
	}
	values(t, a, 0, "c")
	if got, _ := until(t, r, 0, 2); fmt.Sprint(got) != "[c]" && fmt.Sprint(got) != "[b]" && fmt.Sprint(got) != "[b c]" {
		t.Errorf("%v", got)
	}
}

// A reader gets to the end of a partition of which compaction has left nothing that it could return.
func TestReadToTheEndOfACompactedTopic(t *testing.T) {
	k := kafkatest.Start(t, kafkatest.Options{})
	c := ready(t, options(k.Addrs(), func(o *kafka.Options) { o.SyncDeleteRetention = time.Millisecond }))
	topic := c.Options().Topics.Sync
	a, err := c.NewAppender(topic)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for _, value := range [][]byte{[]byte("a"), []byte("b"), nil} {
		for i := range 20 {
			if _, err := a.Append(deadline(t), []kafka.Record{{Key: []byte{byte(i % 4)}, Value: value}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 { // the second takes the deletions
		if err := k.Compact(deadline(t), topic); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	ends, err := c.Ends(deadline(t), topic)
	if err != nil || ends[0] < 60 {
		t.Fatal(ends, err)
	}
	r := reader(t, c, freshet.Position{Topic: topic})
	if got, last := until(t, r, 0, ends[0]); len(got) != 0 || last.Next != ends[0] || last.End != ends[0] {
		t.Errorf("%d records, %+v, the end is %d", len(got), last, ends[0])
	}
}

// The time of an event is the broker's, whatever its producer says. The fake broker keeps the setting of the topic, but not to it.
func TestRealTimeIsTheBrokers(t *testing.T) {
	o := genuine(t)
	c := ready(t, o)
	producer := kafkatest.Shared(t).Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for _, topic := range []string{c.Options().Topics.Raw, c.Options().Topics.Keyed} {
		before := time.Now().UnixMilli()
		for _, at := range []time.Time{time.UnixMilli(1), time.Now().AddDate(50, 0, 0)} {
			if err := producer.ProduceSync(deadline(t), &kgo.Record{Topic: topic, Value: []byte("e"), Timestamp: at}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		after := time.Now().UnixMilli()
		r := reader(t, c, freshet.Position{Topic: topic})
		for n := 0; n < 2; {
			got, err := r.Read(deadline(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, rec := range got[0].Records {
				if n++; rec.Time < before || rec.Time > after {
					t.Errorf("record %d of %s was appended from %d to %d, and its time is %d", rec.Offset, topic, before, after, rec.Time)
				}
			}
		}
	}
}
