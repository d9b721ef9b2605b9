package e2e_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
)

// One process decides and searches, two others make its vectors; one of those is killed with -9 under load. Nothing is lost: every event can
// be searched, and the audit is clean. Then both are away: events are accepted and wait, and searches go on.
func TestKafkaEmbedWorkers(t *testing.T) {
	t.Parallel()
	k := kafkatest.Start(t, kafkatest.Options{})
	yaml, _ := onKafka(t, k)
	yaml += "embed: {workers: topic}\nindex: {kind: flat}\n" // exact, so what is there is found
	s, a := startServer(t, "roles: [source, process, query]\n"+yaml)
	s.troubled = true
	w1, first := startServer(t, "roles: [embed]\n"+yaml)
	w2, second := startServer(t, "roles: [embed]\n"+yaml)
	w1.troubled, w2.troubled = true, true

	const batches, size = 40, 250
	token, at := "", 0
	send := func(batches int) {
		t.Helper()
		for range batches {
			var batch []event
			for range size {
				batch = append(batch, event{EventID: "a", EntityID: fmt.Sprint("doc-", at), Payload: text(fmt.Sprintf("page number %d about topic %d", at, at%97))})
				at++
			}
			token = a.events(batch...)
		}
	}
	send(batches / 2)
	eventually(t, "both workers at work", func() bool {
		send(1)
		return first.metrics()["freshet_embed_worker_inputs_total"] > 0 && second.metrics()["freshet_embed_worker_inputs_total"] > 0
	})
	w1.kill()
	send(batches / 2)
	check := func() {
		t.Helper()
		a.await(token)
		if r := a.audit(); r.Entities != int64(at) || r.DeadLetters != 0 {
			t.Errorf("audited: %+v", r)
		}
		for i := 0; i < at; i += 501 {
			f := a.search("text", fmt.Sprintf("page number %d about topic %d", i, i%97), "k", 1)
			if len(f.Hits) != 1 || f.Hits[0].Score < 0.999 {
				t.Errorf("doc-%d is not found by its text: %+v", i, f.Hits)
			}
		}
	}
	check()
	m := a.metrics()
	if n := m["freshet_embed_inputs_total"]; n < float64(at) || m["freshet_embed_in_flight"] != 0 || m["freshet_embed_wait_seconds_count"] == 0 {
		t.Errorf("%v inputs were answered of %d, %v requests in flight, %v waited", n, at, m["freshet_embed_in_flight"], m["freshet_embed_wait_seconds_count"])
	}

	w2.kill()
	send(1)
	if f := a.search("text", "page number 7", "k", 3); len(f.Hits) != 3 {
		t.Errorf("without workers a search finds %d", len(f.Hits))
	}
	if _, status := a.trySearch("text", "x", "after", token, "timeout_ms", 200); status == http.StatusOK {
		t.Error("an event is searched that nobody has embedded")
	}
	w1.start()
	check()
	if status, err := first.call("POST", "/v1/search", `{"text":"x"}`, &problem{}); err != nil || status != http.StatusNotFound {
		t.Errorf("an embed worker answers a search with %d, %v", status, err)
	}
	w1.stop()
}
