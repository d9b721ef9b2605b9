package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
	"github.com/freshet-io/freshet/wire"
)

// The copy of a process is damaged on disk. An audit says what differs, and of which partitions it can't say it; a repair mends the copy and the
// topics, and other processes have what it has written.
func TestKafkaRepair(t *testing.T) {
	t.Parallel()
	k := kafkatest.Start(t, kafkatest.Options{})
	yaml, _ := onKafka(t, k)
	s, a := startServer(t, yaml)
	const entities = 400
	var all []event
	for i := range entities {
		all = append(all, event{EntityID: fmt.Sprint("e", i), Payload: text(fmt.Sprint("the weir of ", i), "n", i)})
	}
	a.await(a.events(all...))
	state := func(x *api) map[string]string {
		out := map[string]string{}
		for i := range entities {
			id := fmt.Sprint("e", i)
			e, status := x.get(id)
			out[id] = fmt.Sprint(status, e.Version, e.Text, string(e.Metadata), e.Events, e.Points)
		}
		return out
	}
	before := state(a)
	audit := func(args ...string) (out string, status int) {
		t.Helper()
		out, errs, status := command(t, nil, append([]string{"audit"}, args...)...)
		return out + errs, status
	}
	if out, status := audit("--server", s.url()); status != 0 || !strings.Contains(out, "clean: log, table and indexes agree") {
		t.Errorf("an audit of all ends with %d: %s", status, out)
	}
	s.stop()

	var format struct{ Of string }
	raw, err := os.ReadFile(filepath.Join(s.data, "FORMAT"))
	if err == nil {
		err = json.Unmarshal(raw, &format)
	}
	if err != nil {
		t.Fatal(err)
	}
	of, err := wire.ParseLogID(format.Of)
	if err != nil {
		t.Fatal(err)
	}
	copied, err := embedded.OpenCopy(s.data, "kafka", of, embedded.Options{Partitions: 6})
	if err != nil {
		t.Fatal(err)
	}
	damage(t, copied, random(seed(t), "repair").Perm(entities)[:entities/4])
	if err := copied.CloseCopy(); err != nil {
		t.Fatal(err)
	}

	s.start()
	eventually(t, "all partitions owned", func() bool { return a.metrics()["freshet_partitions_owned"] == 6 })
	if out, status := audit("--server", s.url()); status != 1 || !strings.Contains(out, "differences") {
		t.Fatalf("an audit of the damage ends with %d: %s", status, out)
	}
	if out, status := audit("--repair", "--server", s.url()); status != 0 || !strings.Contains(out, " written again") {
		t.Errorf("the repair ends with %d: %s", status, out)
	}
	other, b := startServer(t, yaml)
	eventually(t, "partitions of both", func() bool {
		of, ob := a.metrics()["freshet_partitions_owned"], b.metrics()["freshet_partitions_owned"]
		return of+ob == 6 && ob > 0
	})
	for name, x := range map[string]*api{"the repaired": a, "another": b} {
		for id, now := range state(x) {
			if now != before[id] {
				t.Errorf("%s process: %s is %s, was %s", name, id, now, before[id])
			}
		}
	}
	var some struct {
		Clean, Whole bool
		Covers       []int
		Others       []string
	}
	b.must("POST", "/v1/admin/audit", nil, &some)
	if !some.Clean || some.Whole || len(some.Covers) == 0 || len(some.Covers) == 6 || !slices.Contains(some.Others, s.url()) {
		t.Errorf("one process audits %+v", some)
	}
	if out, status := audit("--server", other.url()); status != 0 || !strings.Contains(out, fmt.Sprint(entities, " entities")) || !strings.Contains(out, "clean: log, table and indexes agree") {
		t.Errorf("an audit of both ends with %d: %s", status, out)
	}
	s.kill() // its partitions are nobody's for a while
	if out, status := audit("--server", other.url()); status != 2 || !strings.Contains(out, "NOT AUDITED: partitions") || strings.Contains(out, "clean: log") {
		t.Errorf("an audit of some partitions ends with %d: %s", status, out)
	}
}
