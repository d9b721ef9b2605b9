package node_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/wire"
)

// onBothDeliveries runs a test on a fake Kafka and on a real one, with either delivery.
func onBothDeliveries(t *testing.T, partitions int, test func(*laid)) {
	for _, delivery := range []string{kafka.DeliveryTransactional, kafka.DeliveryIdempotent} {
		t.Run(delivery, func(t *testing.T) {
			onClusters(t, partitions, func(l *laid) {
				l.config.Broker.Kafka.Delivery = delivery
				test(l)
			})
		})
	}
}

// keep has the topics of a log that is begun keep events for so long.
func (l *laid) keep(age time.Duration) {
	l.config.Retention.Age = config.Duration(age)
	l.config.Retention.Interval = config.Duration(100 * time.Millisecond)
}

// events are where the events end that there are.
func (l *laid) events() kadm.Offsets {
	l.t.Helper()
	ends, err := l.admin.ListEndOffsets(l.t.Context(), l.prefix+"events.keyed")
	if err != nil {
		l.t.Fatal(err)
	}
	return ends.Offsets()
}

// deleteEvents has the brokers delete events.
func (l *laid) deleteEvents(ends kadm.Offsets) {
	l.t.Helper()
	r, err := l.admin.DeleteRecords(l.t.Context(), ends)
	if err := errors.Join(err, r.Error()); err != nil {
		l.t.Fatal(err)
	}
}

// folded waits until audits fold no event, but only what is before them.
func (l *laid) folded(p *process) {
	l.t.Helper()
	var r *freshet.AuditReport
	var err error
	l.eventually("audit base with everything", func() bool {
		r, err = p.Audit(l.t.Context())
		return err == nil && r.Whole() && r.Records == 0
	}, func() error { return fmt.Errorf("%+v, %w", r, err) })
	if len(r.Gaps) > 0 || !r.Clean() {
		l.t.Errorf("audit: %+v", r)
	}
}

// id is the identity of the log.
func (p *process) id() freshet.LogID {
	p.t.Helper()
	epochs := p.Planner().Catalog.Epochs()
	id, err := wire.ParseLogID(epochs[len(epochs)-1].Log)
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

// inCopy calls f with an entity as the copy on disk of a process that is not there has it, if it does.
func (l *laid) inCopy(of freshet.LogID, entity string, f func(*embedded.State, *freshet.Change) error) (there bool) {
	l.t.Helper()
	s, err := embedded.OpenCopy("data", "kafka", of, embedded.Options{FS: disk.New(l.fs, nil), CacheBytes: 1 << 20, Partitions: l.config.Partitions})
	if err != nil {
		l.t.Fatal(err)
	}
	key := freshet.Key{Collection: "vectors", Namespace: freshet.DefaultNamespace, Entity: entity}
	r, there, err := s.Latest(freshet.TopicSync, wire.AppendKey(nil, key), nil)
	if err == nil && there {
		var c freshet.Change
		if c, err = wire.DecodeChange(key, r.Value, wire.Points); err == nil {
			err = f(s, &c)
		}
	}
	if err := errors.Join(err, s.CloseCopy()); err != nil {
		l.t.Fatal(err)
	}
	return there
}

// damage counts an event of an entity that nobody has sent, in the copy on disk of a process that is not there.
func (l *laid) damage(of freshet.LogID, entity string) {
	l.t.Helper()
	there := l.inCopy(of, entity, func(s *embedded.State, c *freshet.Change) error {
		c.Events++
		tx := s.Begin()
		return errors.Join(tx.Put(freshet.TopicSync, wire.AppendKey(nil, c.Key), wire.AppendChange(nil, c)), tx.Commit())
	})
	if !there {
		l.t.Fatalf("the copy has no %s", entity)
	}
}

// differs expects an audit that finds one difference, in an entity.
func (l *laid) differs(p *process, entity string) (r *freshet.AuditReport) {
	l.t.Helper()
	var err error
	l.eventually("audit", func() bool { r, err = p.Audit(l.t.Context()); return err == nil && r.Whole() }, func() error { return err })
	if len(r.Differences) != 1 || r.Differences[0].Key.Entity != entity {
		l.t.Errorf("the audit finds %+v, want %s", r.Differences, entity)
	}
	return r
}

// What audits begin with goes on in front of what the brokers delete, through deaths of its owner, and all that is of the past counts in it: how
// many events there were, ids that come again, drops, dead letters, patches. What is wrong with an entity whose events are gone is found.
func TestKafkaAuditBaseGoesOn(t *testing.T) {
	onBothDeliveries(t, 2, func(l *laid) {
		l.keep(2 * time.Second)
		p := l.start()
		want := map[string][2]int{}
		for round := range 4 {
			for i := range 12 {
				e := fmt.Sprint("e", i)
				p.send(vector(e, fmt.Sprint(round, "/", i), round), vector(e, fmt.Sprint(round, "/", i), 99)) // the second has no effect
				want[e] = [2]int{round, round + 1}
			}
			switch round {
			case 0:
				p.call("POST", "/v1/events", `{"entity_id":"bad","collection":"vectors","vector":[1]}`)
				p.send(`{"entity_id":"e0","collection":"vectors","op":"delete"}`)
			case 1:
				p.send(`{"entity_id":"e1","collection":"vectors","op":"patch","payload":{"m":1}}`)
			case 2:
				if _, err := p.Drop(t.Context(), "vectors", ""); err != nil {
					l.t.Fatal(err)
				}
			}
			if round%2 == 0 {
				l.eventually("some of them folded", func() bool { r, err := p.Audit(l.t.Context()); return err == nil && r.Records < 20 }, func() error { return nil })
				p.Kill()
				p = l.caughtUp(l.start())
			}
			events := l.events() // owners write commands of their own behind them
			l.folded(p)
			l.deleteEvents(events)
			p.mustBeClean()
		}
		for e := range want {
			want[e] = [2]int{3, 1} // the drop took the rest
		}
		p.send(vector("e0", "3/0", 99))
		p.has(want)
		p.mustBeClean()
		id := p.id()
		p.Kill()
		l.damage(id, "e3")
		p = l.caughtUp(l.start())
		if r := l.differs(p, "e3"); len(r.Gaps) > 0 {
			l.t.Errorf("gaps: %+v", r.Gaps)
		}
		p.Kill()
		l.fs = vfs.NewCrashableMem() // what the topics alone give
		p = l.caughtUp(l.start())
		p.has(want)
		p.mustBeClean()
		p.Kill()
	})
}

// Events that were deleted before they were folded are named by audits, which begin with what stands there since, and find what becomes
// wrong from then on.
func TestKafkaEventsAreDeletedTooEarly(t *testing.T) {
	onBothDeliveries(t, 2, func(l *laid) {
		l.keep(time.Hour)
		p := l.start()
		want := map[string][2]int{}
		for i := range 12 {
			e := fmt.Sprint("e", i)
			p.send(vector(e, e, i), vector(e, e+" again", i))
			want[e] = [2]int{i, 2}
		}
		p.mustBeClean()
		p.Kill()
		l.deleteEvents(l.events())
		p = l.caughtUp(l.start())
		var r *freshet.AuditReport
		var err error
		l.eventually("audit", func() bool { r, err = p.Audit(l.t.Context()); return err == nil && r.Whole() }, func() error { return err })
		if !r.Clean() || r.Records != 0 || len(r.Gaps) != 2 {
			l.t.Fatalf("audit: %+v", r)
		}
		events := int64(0)
		for i, g := range r.Gaps {
			if events += g.To - g.From; g.Partition != int32(i) || g.From != 0 || g.Until < g.To || g.At == 0 {
				l.t.Errorf("gap: %+v", g)
			}
		}
		if events != 24 {
			l.t.Errorf("%d events are named, want 24: %+v", events, r.Gaps)
		}
		for i := range 12 {
			e := fmt.Sprint("e", i)
			p.send(vector(e, e, 99), vector(e, e+" later", i))
			want[e] = [2]int{i, 3}
		}
		p.has(want)
		p.mustBeClean()
		id := p.id()
		p.Kill()
		l.damage(id, "e3")
		p = l.caughtUp(l.start())
		if r := l.differs(p, "e3"); len(r.Gaps) != 2 || r.Records != 24 {
			l.t.Errorf("audit: %+v", r)
		}
		p.Kill()
	})
}

// elsewhere is the same log for a process with a data folder of its own.
func (l *laid) elsewhere() *laid {
	other := *l
	other.fs = vfs.NewCrashableMem()
	return &other
}

// tombstones is how many deletions the indexes of a process have.
func (p *process) tombstones() (n int) {
	for _, s := range p.Store().Stats() {
		n += s.Tombstones
	}
	return n
}

// changesToken is that of the changes up to now.
func (p *process) changesToken() (token string) {
	p.t.Helper()
	_, answer := p.call("GET", "/v1/changes?collection=vectors&follow=false", "")
	lines := strings.Split(strings.TrimSpace(string(answer)), "\n")
	var last struct{ Token string }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.Token == "" {
		p.t.Fatalf("no token in %s", answer)
	}
	return last.Token
}

// lastValues are the lengths of the last records of entities in vector.sync; 0 is a null.
func (l *laid) lastValues() map[string]int {
	l.t.Helper()
	topic := l.prefix + "vector.sync"
	ends, err := l.admin.ListCommittedOffsets(l.t.Context(), topic)
	if err != nil {
		l.t.Fatal(err)
	}
	starts := map[int32]kgo.Offset{}
	missing := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		starts[o.Partition], missing[o.Partition] = kgo.NewOffset().AtStart(), o.Offset
	})
	c, err := kgo.NewClient(kgo.SeedBrokers(l.addrs...), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: starts}))
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	last := map[string]int{}
	for len(missing) > 0 {
		fetches := c.PollFetches(l.t.Context())
		if err := fetches.Err(); err != nil {
			l.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if key, err := wire.ParseKey(r.Key); err == nil && !r.Attrs.IsControl() {
				last[key.Entity] = len(r.Value)
			}
			if r.Offset+1 >= missing[r.Partition] {
				delete(missing, r.Partition)
			}
		})
	}
	return last
}

// Deletions are forgotten once no event is kept that they could be older than: in the topic, in the copies and indexes of all processes. What comes
// after is a new entity with a higher version; who follows the changes from before is told; and nothing comes back, in a copy of the topics alone either.
func TestKafkaDeletionsAreForgotten(t *testing.T) {
	onBothDeliveries(t, 2, func(l *laid) {
		l.keep(2 * time.Second)
		p := l.start()
		other := l.elsewhere()
		q := l.caughtUp(other.start())
		want := map[string][2]int{}
		for i := range 12 {
			e := fmt.Sprint("e", i)
			p.send(vector(e, e, i))
			want[e] = [2]int{i, 1}
		}
		before := p.changesToken()
		var token string
		deleted := map[string]string{} // versions
		for i := range 6 {
			e := fmt.Sprint("e", i)
			token = p.send(fmt.Sprintf(`{"entity_id":%q,"collection":"vectors","op":"delete"}`, e))
			want[e] = [2]int{-1, 0}
			after, err := wire.ParseToken(token)
			if err != nil {
				l.t.Fatal(err)
			}
			deleted[e] = wire.VersionString(freshet.Version{Epoch: 1, Offset: after.Spans[0].Last})
		}
		l.eventually("indexes without deletions", func() bool {
			for _, x := range []*process{p, q} {
				if _, err := x.Snapshot(l.t.Context()); err != nil {
					l.t.Fatal(err)
				}
			}
			return p.tombstones()+q.tombstones() == 0
		}, func() error { return fmt.Errorf("%d and %d deletions", p.tombstones(), q.tombstones()) })
		for e, size := range l.lastValues() {
			if gone := want[e][0] < 0; gone != (size == 0) {
				l.t.Errorf("the last record of %s has %d bytes, deleted: %v", e, size, gone)
			}
		}
		for _, x := range []*process{p, q} {
			x.has(want)
			if status, answer := x.call("POST", "/v1/search", fmt.Sprintf(`{"collection":"vectors","vector":[1,0,0],"after":%q,"timeout_ms":30000}`, token)); status != http.StatusOK {
				l.t.Errorf("with a token of before: %d %s", status, answer)
			}
		}
		if status, answer := p.call("GET", "/v1/changes?collection=vectors&follow=false&after="+before, ""); status != http.StatusGone || !strings.Contains(string(answer), "too_old") {
			l.t.Errorf("changes since before: %d %s", status, answer)
		}
		for i := range 3 { // some come back
			e := fmt.Sprint("e", i)
			p.send(vector(e, e+" again", 50+i))
			want[e] = [2]int{50 + i, 1}
			_, answer := p.call("GET", "/v1/entities/"+e+"?collection=vectors", "")
			var got struct{ Version string }
			if err := json.Unmarshal(answer, &got); err != nil || got.Version <= deleted[e] {
				l.t.Errorf("%s has come back as %s, %v, deleted by %s", e, answer, err, deleted[e])
			}
		}
		l.eventually("both up to date", func() bool {
			status, _ := q.call("GET", "/v1/entities/e2?collection=vectors", "")
			return status == http.StatusOK
		}, func() error { return nil })
		q.has(want)
		q.Kill()
		p.has(want)
		l.eventually("all partitions", func() bool { r, err := p.Audit(l.t.Context()); return err == nil && r.Whole() }, func() error { return nil })
		p.mustBeClean()
		p.Kill()
		p = l.caughtUp(l.start()) // with its copy and snapshots
		p.has(want)
		p.Kill()
		l.fs = vfs.NewCrashableMem() // what the topics alone give
		p = l.caughtUp(l.start())
		p.has(want)
		if n := p.tombstones(); n != 0 {
			l.t.Errorf("a new copy has %d deletions", n)
		}
		l.eventually("all partitions", func() bool { r, err := p.Audit(l.t.Context()); return err == nil && r.Whole() }, func() error { return nil })
		p.mustBeClean()
		p.Kill()
	})
}

// An event that came before its collection was declared is a dead letter for audits too, in the partition where it stands; what came later counts.
func TestKafkaCollectionIsDeclaredLater(t *testing.T) {
	onBothDeliveries(t, 2, func(l *laid) {
		p := l.start()
		p.send(vector("e0", "e0", 1))
		foreign := func(entity string, n int) {
			t.Helper()
			c, err := kgo.NewClient(kgo.SeedBrokers(l.addrs...))
			if err != nil {
				l.t.Fatal(err)
			}
			defer c.Close()
			value := fmt.Appendf(nil, `{"event_id":"%s/%d","entity_id":%q,"collection":"later","payload":{"n":%d},"vector":[%d,1,0]}`, entity, n, entity, n, n)
			if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: l.prefix + "events.raw", Key: []byte(entity), Value: value}).FirstErr(); err != nil {
				l.t.Fatal(err)
			}
		}
		for i := range 6 {
			foreign(fmt.Sprint("e", i), 1)
		}
		letters := func(p *process) (n int) {
			all, err := p.DeadLetters(gateway.LettersQuery{Limit: 100})
			if err != nil {
				l.t.Fatal(err)
			}
			return len(all)
		}
		l.eventually("six dead letters", func() bool { return letters(p) == 6 }, func() error { return nil })
		p.mustBeClean()
		if err := p.Close(); err != nil {
			l.t.Fatal(err)
		}
		l.config.Collections = maps.Clone(l.config.Collections)
		l.config.Collections["later"] = l.config.Collections["vectors"]
		p = l.caughtUp(l.start())
		foreign("e1", 2)
		foreign("e2", 2)
		there := func(p *process) bool {
			for _, e := range []string{"e1", "e2"} {
				if status, _ := p.call("GET", "/v1/entities/"+e+"?collection=later", ""); status != http.StatusOK {
					return false
				}
			}
			return true
		}
		l.eventually("the later events", func() bool { return there(p) }, func() error { return nil })
		p.mustBeClean()
		p.Kill()
		l.fs = vfs.NewCrashableMem()
		p = l.caughtUp(l.start())
		l.eventually("all partitions", func() bool { r, err := p.Audit(l.t.Context()); return err == nil && r.Whole() }, func() error { return nil })
		p.mustBeClean()
		if !there(p) || letters(p) != 6 {
			l.t.Errorf("%d dead letters, the later events: %v", letters(p), there(p))
		}
		p.Kill()
	})
}
