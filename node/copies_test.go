package node_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/node"
)

// with is the same log for a process with roles, and a data folder of its own; of its copies are those of the partitions that it owns.
func (l *laid) with(roles ...string) *laid {
	other := l.elsewhere()
	other.config.Roles, other.config.Process.Copies, other.config.Advertise = roles, config.CopiesOwned, "http://127.0.0.1:1"
	return other
}

// copied is how many events the copy of a process that is not there has of an entity.
func (l *laid) copied(of freshet.LogID, entity string) (events uint64) {
	l.t.Helper()
	l.inCopy(of, entity, func(_ *embedded.State, c *freshet.Change) error {
		events = c.Events
		return nil
	})
	return events
}

// counted is how many dead letters a process knows of.
func (p *process) counted(l *laid) (n int) {
	l.t.Helper()
	findings, err := p.Doctor(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	for _, f := range findings {
		if f.Check == "dead letters" {
			_, _ = fmt.Sscanf(f.Detail, "%d events", &n) // or there are none
		}
	}
	return n
}

// Processes that have copies of the partitions that they own alone take partitions from each other, also those that they have had before, and
// those that they have had long ago; what they decide counts as if one had done it all.
func TestKafkaCopiesOfOwnedPartitions(t *testing.T) {
	onBothDeliveries(t, 4, func(l *laid) {
		const entities = 24
		finds := l.with(config.RoleQuery).start()
		la, lb := l.with(config.RoleSource, config.RoleProcess), l.with(config.RoleSource, config.RoleProcess)
		a := la.start()
		round, want := 0, map[string][2]int{}
		send := func(by *process) {
			l.t.Helper()
			round++
			for i := range entities {
				e := fmt.Sprint("e", i)
				event, n := vector(e, fmt.Sprint(e, "/", round), 100*round+i), 100*round+i
				if i%3 == 2 && round%2 == 0 {
					event, n = fmt.Sprintf(`{"event_id":"%s/%d","entity_id":%q,"collection":"vectors","op":"delete"}`, e, round, e), -1
				}
				want[e] = [2]int{n, round}
				if i%3 == 2 && round > 4 {
					want[e] = [2]int{n, 0} // the deletion is forgotten
				}
				by.sendTo(finds, event)
			}
			finds.has(want)
		}
		owns := func(p *process, n int) {
			l.t.Helper()
			var r *freshet.AuditReport
			var err error
			l.eventually(fmt.Sprint(n, " partitions"), func() bool { r, err = p.Audit(l.t.Context()); return err == nil && len(r.Covers) == n }, func() error { return err })
			if len(r.Differences) > 0 || r.Whole() != (n == 4) {
				l.t.Errorf("audit: %+v", r)
			}
		}
		owns(a, 4)
		send(a)
		const refused = 16
		for i := range refused { // what can't be decided
			if status, answer := a.call("POST", "/v1/events", fmt.Sprintf(`{"entity_id":"r%d","collection":"vectors","payload":{}}`, i)); status != http.StatusOK {
				l.t.Fatalf("%d %s", status, answer)
			}
		}
		l.eventually("dead letters", func() bool { return a.counted(l) == refused }, func() error { return nil })
		id := a.id()
		b := lb.start()
		owns(a, 2)
		owns(b, 2)
		if n, m := a.counted(l), b.counted(l); n == 0 || m == 0 || n+m != refused {
			l.t.Errorf("the processes count %d and %d dead letters, want %d together", n, m, refused)
		}
		send(b)
		if status, answer := a.call("GET", "/v1/admin/dlq", ""); status != http.StatusMisdirectedRequest {
			l.t.Errorf("dead letters of all partitions: %d %s", status, answer)
		}
		a.Kill()
		behind, level := 0, 0
		for e := range want {
			switch la.copied(id, e) {
			case 1:
				behind++
			case 2:
				level++
			}
		}
		if behind == 0 || level == 0 {
			l.t.Errorf("the copy of the first process is level with %d entities and behind in %d", level, behind)
		}
		owns(b, 4)
		send(b)
		a = la.start()
		owns(a, 2)
		b.Kill()
		owns(a, 4)
		send(a)
		o := lb.options()
		o.Now = func() time.Time { return time.Now().Add(1000 * time.Hour) } // long after its deletions were kept
		c, err := node.OpenCluster(l.t.Context(), o)
		if err != nil {
			l.t.Fatal(err)
		}
		l.t.Cleanup(c.Kill)
		b = &process{c, l.t}
		a.Kill()
		owns(b, 4)
		send(b)
	})
}

// What was lost is not written again from a data folder that has a copy of some partitions only, unless that is wanted.
func TestKafkaRaiseFromACopyOfSomePartitions(t *testing.T) {
	onClusters(t, 2, func(l *laid) {
		lq, la := l.with(config.RoleQuery), l.with(config.RoleSource, config.RoleProcess)
		finds, a := lq.caughtUp(lq.start()), la.start()
		want := map[string][2]int{}
		for i := range 12 {
			e := fmt.Sprint("e", i)
			want[e] = [2]int{i, 1}
			if status, answer := a.call("POST", "/v1/events", vector(e, e, i)); status != http.StatusOK {
				l.t.Fatalf("%d %s", status, answer)
			}
		}
		l.eventually("entities", func() bool {
			n := 0
			for _, s := range finds.Store().Sizes() {
				n += s.Entities
			}
			return n == 12
		}, func() error { return nil })
		a.Kill()
		finds.Kill()
		l.delete("vector.sync")
		if _, _, err := la.raise(); err == nil || !strings.Contains(err.Error(), "has no copy of the log") {
			l.t.Fatalf("raised from a copy of what was owned: %v", err)
		}
		if lines, changed, err := lq.raise(); err != nil || !changed {
			l.t.Fatal(lines, err)
		}
		finds = lq.caughtUp(lq.start())
		finds.has(want)
	})
}
