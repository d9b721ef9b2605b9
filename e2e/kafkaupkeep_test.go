package e2e_test

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
)

// A process on Kafka takes over what may change while it runs, refuses the rest by name, checks its copy, and tells what is wrong with the topics.
func TestKafkaUpkeep(t *testing.T) {
	t.Parallel()
	k := kafkatest.Start(t, kafkatest.Options{})
	yaml, prefix := onKafka(t, k)
	s, a := startServer(t, yaml)
	b, _ := startServer(t, yaml)
	run := func(args ...string) (out string, status int) {
		t.Helper()
		out, errs, status := command(t, nil, args...)
		return out + errs, status
	}
	a.await(a.events(event{EntityID: "a", Payload: text("red")}))

	s.configure(yaml + "limits: {event_bytes: 300}\ncollections: {late: {}}\n")
	if out, status := run("config", "reload", "--server", s.url()); status != 0 || !strings.Contains(out, "limits.event_bytes") || !strings.Contains(out, "collections.late") {
		t.Errorf("reload: %d %s", status, out)
	}
	var in ingested
	if status, err := a.call("POST", "/v1/events", event{EntityID: "1", Payload: text(strings.Repeat("red ", 100))}, &in); err != nil || status < 400 {
		t.Errorf("an event above the new limit: %d %v", status, err)
	}
	token := a.events(event{EntityID: "b", Collection: "late", Payload: text("blue")})
	other := newAPI(t, b.url)
	if e := other.entity("b", "collection", "late", "after", token); e.Text != "blue" {
		t.Errorf("b is %+v", e)
	}
	s.configure(yaml + "retention: {age: 9h}\n")
	if out, status := run("config", "reload", "--server", s.url()); status != 1 || !strings.Contains(out, "retention.age") || !strings.Contains(out, "kafka-configs.sh") {
		t.Errorf("reload of the retention: %d %s", status, out)
	}

	if out, status := run("verify", "--server", s.url()); status != 0 || !strings.Contains(out, "tables") || strings.Contains(out, "journal") {
		t.Errorf("verify: %d %s", status, out)
	}
	if out, status := run("doctor", "--server", s.url()); status == 2 || !strings.Contains(out, "1 answer") || !strings.Contains(out, "they have the settings") || !strings.Contains(out, "in step") {
		t.Errorf("doctor: %d %s", status, out)
	}
	admin := k.Admin()
	short := "1000"
	if _, err := admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "retention.ms", Value: &short}}, prefix+"events.keyed"); err != nil {
		t.Fatal(err)
	}
	if out, status := run("doctor", "--server", s.url()); status != 2 || !strings.Contains(out, prefix+"events.keyed: retention.ms is 1000") || !strings.Contains(out, "--alter") {
		t.Errorf("doctor of a topic that forgets: %d %s", status, out)
	}
}
