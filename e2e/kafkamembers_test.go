package e2e_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
)

var assigned = regexp.MustCompile(`msg="partitions are owned by this process" partitions="?(\[[0-9 ]+\])`)

// partitionsOf is what a process has said, since its start, about the partitions that it was given.
func partitionsOf(s *server) (all []string) {
	for _, m := range assigned.FindAllStringSubmatch(s.out.tail(1<<20), -1) {
		all = append(all, m[1])
	}
	return all
}

// A process with an instance_id that is killed, or stopped, and is back within session_timeout has its partitions again, and others keep
// theirs all the time. Of two with the same instance_id the first ends, and says why; the partitions are decided on.
func TestKafkaStaticMembers(t *testing.T) {
	t.Parallel()
	k := kafkatest.Start(t, kafkatest.Options{})
	yaml, _ := onKafka(t, k)
	const session = 40 * time.Second
	yaml += fmt.Sprintf("    session_timeout: %v\n", session)
	owned := func(n float64, apis ...*api) {
		t.Helper()
		eventually(t, fmt.Sprintf("%v partitions owned by each", n), func() bool {
			for _, a := range apis {
				if a.metrics()["freshet_partitions_owned"] != n {
					return false
				}
			}
			return true
		})
	}
	s, a := startServer(t, yaml+"    instance_id: one\n")
	owned(6, a) // so the other one is given only what it keeps
	other, b := startServer(t, yaml+"    instance_id: two\n")
	owned(3, a, b)
	a.await(a.events(event{EntityID: "e", Payload: text("before")}))
	given := partitionsOf(other)
	var its []int32 // what the other one does not have
	for p := range int32(6) {
		if !slices.Contains(strings.Fields(strings.Trim(strings.Join(given, " "), "[]")), fmt.Sprint(p)) {
			its = append(its, p)
		}
	}
	for _, end := range []func(){s.kill, s.stop} {
		begun := time.Now()
		end()
		s.start()
		owned(3, a)
		took := since(begun)
		t.Logf("back after %v", took)
		if took > session/2 {
			t.Errorf("the process has its partitions again after %v: as late as if it were another one", took)
		}
		if got := partitionsOf(s); len(got) != 1 || got[0] != fmt.Sprint(its) {
			t.Errorf("it has the partitions %v, had %v", got, its)
		}
		if got := partitionsOf(other); len(got) != len(given) || strings.Contains(other.out.tail(1<<20), "partitions go to other processes") {
			t.Errorf("partitions of the other process were moved: it has been given %v, before %v", got, given)
		}
		a.await(b.events(event{EntityID: "e", Payload: text("after")}))
	}

	second, c := startServer(t, yaml+"    instance_id: one\n")
	select {
	case <-s.exited:
	case <-time.After(deadline):
		t.Fatal("two processes have the same instance_id, and none ends")
	}
	s.cmd = nil
	if said := s.out.tail(5); s.code == nil || !strings.Contains(said, "broker.kafka.instance_id: another process has joined the group") || !strings.Contains(said, `"one"`) {
		t.Errorf("it ended with %v: %s", s.code, said)
	}
	owned(3, b, c)
	if e := c.entity("e", "after", c.events(event{EntityID: "e", Payload: text("last")})); e.Events != 4 {
		t.Errorf("%+v", e)
	}
	select {
	case <-second.exited:
		t.Errorf("the second process ended too: %s", second.out.tail(5))
	default:
	}
}

// A process whose delivery is not that of those that run ends and names both; when they have died it may have its own.
func TestKafkaDeliveryIsOfAll(t *testing.T) {
	t.Parallel()
	k := kafkatest.Start(t, kafkatest.Options{})
	yaml, _ := onKafka(t, k)
	s, a := startServer(t, yaml)
	token := a.events(event{EntityID: "e", Payload: text("before")})
	eventually(t, "all partitions owned", func() bool { return a.metrics()["freshet_partitions_owned"] == 6 })
	other := newServer(t, yaml+"    delivery: idempotent\n")
	other.troubled = true
	if said := other.refused(); !strings.Contains(said, "broker.kafka.delivery: it is idempotent here, and transactional in processes of the group") {
		t.Errorf("it said: %s", said)
	}
	a.await(token)
	if out, errs, status := command(t, nil, "epoch", "list", "--config", s.config); status != 0 || strings.Count(out, "\n") != 1 || !strings.Contains(out, `"reason":"created"`) {
		t.Errorf("epoch list ends with %d: %s%s", status, out, errs)
	}
	s.kill()
	other.start()
	b := newAPI(t, other.url)
	eventually(t, "all partitions owned", func() bool { return b.metrics()["freshet_partitions_owned"] == 6 })
	if e := b.entity("e", "after", b.events(event{EntityID: "e", Payload: text("after")})); e.Events != 2 {
		t.Errorf("%+v", e)
	}
}
