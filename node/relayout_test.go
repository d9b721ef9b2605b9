package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/node"
	"github.com/freshet-io/freshet/wire"
)

func TestMain(m *testing.M) { os.Exit(kafkatest.Main(m)) }

// laid is a log in Kafka, and what its processes are started with.
type laid struct {
	t      *testing.T
	fs     *vfs.MemFS
	addrs  []string
	prefix string
	config config.Config
	admin  *kadm.Client

	failures int
}

// onClusters runs a test on a fake Kafka, and on a real one.
func onClusters(t *testing.T, partitions int, test func(*laid)) {
	t.Run("fake", func(t *testing.T) { test(newLaid(t, partitions, newFake(t).ListenAddrs())) })
	t.Run("real", func(t *testing.T) { test(newLaid(t, partitions, kafkatest.Shared(t).Addrs())) })
}

func newFake(t *testing.T) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func newLaid(t *testing.T, partitions int, addrs []string) *laid {
	t.Helper()
	l := &laid{t: t, fs: vfs.NewCrashableMem(), addrs: addrs, prefix: kafkatest.Name(t) + "."}
	l.partitions(partitions)
	c, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	l.admin = kadm.NewClient(c)
	return l
}

// partitions makes the configuration one with so many.
func (l *laid) partitions(n int) { l.configure(n, "") }

// configure makes the configuration one with so many partitions, and with more lines.
func (l *laid) configure(n int, more string) {
	l.t.Helper()
	c, err := config.Parse(fmt.Appendf(nil, `
data: data
partitions: %d
collections: {vectors: {dim: 3}}
broker: {kafka: {brokers: [%s], group: %q, session_timeout: 6s, topics: {prefix: %q}}}
%s
`, n, strings.Join(l.addrs, ", "), strings.TrimSuffix(l.prefix, "."), l.prefix, more), nil)
	if err != nil {
		l.t.Fatal(err)
	}
	l.config = c
}

func (l *laid) options() node.Options {
	return node.Options{Config: l.config, FS: disk.New(l.fs, nil), Logger: slog.New(slog.DiscardHandler)}
}

// process is one that serves a log in Kafka.
type process struct {
	*node.Cluster
	t *testing.T
}

func (l *laid) start() *process {
	l.t.Helper()
	var c *node.Cluster
	var err error
	l.eventually("a start", func() bool {
		c, err = node.OpenCluster(l.t.Context(), l.options())
		return err == nil
	}, func() error { return err })
	l.t.Cleanup(c.Kill)
	return &process{c, l.t}
}

func (l *laid) eventually(what string, ok func() bool, why func() error) {
	l.t.Helper()
	for end := time.Now().Add(40 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("no %s: %v", what, why())
		}
	}
}

// refused expects a start to be refused with an error that has all the parts.
func (l *laid) refused(parts ...string) {
	l.t.Helper()
	c, err := node.OpenCluster(l.t.Context(), l.options())
	if err == nil {
		c.Kill()
		l.t.Fatal("the start is not refused")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			l.t.Errorf("the error does not say %q: %v", part, err)
		}
	}
}

// raise raises the epoch.
func (l *laid) raise(alter ...func(*node.RelayoutOptions)) (lines []string, changed bool, err error) {
	l.t.Helper()
	o := node.RelayoutOptions{Options: l.options(), Tell: func(line string) { lines = append(lines, line) }}
	for _, f := range alter {
		f(&o)
	}
	_, changed, err = node.RaiseKafkaEpoch(l.t.Context(), o)
	return lines, changed, err
}

func (l *laid) mustRaise() {
	l.t.Helper()
	if lines, changed, err := l.raise(); err != nil || !changed {
		l.t.Fatal(lines, changed, err)
	}
}

// epochs are those that the log has.
func (l *laid) epochs() []control.Epoch {
	l.t.Helper()
	all, err := node.KafkaEpochs(l.t.Context(), l.options())
	if err != nil {
		l.t.Fatal(err)
	}
	return all
}

// delete takes a topic away, by its default name.
func (l *laid) delete(topic string) {
	l.t.Helper()
	name := l.prefix + topic
	if r, err := l.admin.DeleteTopics(l.t.Context(), name); err != nil || r.Error() != nil {
		l.t.Fatal(err, r.Error())
	}
	l.eventually("deletion", func() bool {
		d, err := l.admin.ListTopics(l.t.Context(), name)
		return err == nil && !d.Has(name)
	}, func() error { return nil })
}

func (p *process) call(method, path, body string) (status int, answer []byte) {
	p.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	w := httptest.NewRecorder()
	p.Gateway().ServeHTTP(w, r)
	return w.Code, w.Body.Bytes()
}

// send accepts events, one after the other, and waits until they count. It returns the last token.
func (p *process) send(events ...string) (token string) {
	p.t.Helper()
	return p.sendTo(p, events...)
}

// sendTo is send, where another process finds what comes of them.
func (p *process) sendTo(finds *process, events ...string) (token string) {
	p.t.Helper()
	for _, e := range events {
		status, answer := p.call("POST", "/v1/events", e)
		var in struct{ Token string }
		if err := json.Unmarshal(answer, &in); err != nil || status != http.StatusOK {
			p.t.Fatalf("%s: %d %s", e, status, answer)
		}
		token = in.Token
		if status, answer := finds.call("POST", "/v1/search", fmt.Sprintf(`{"collection":"vectors","vector":[1,0,0],"after":%q,"timeout_ms":30000}`, token)); status != http.StatusOK {
			p.t.Fatalf("%s: waiting for it: %d %s", e, status, answer)
		}
	}
	return token
}

func vector(entity, id string, n int) string {
	return fmt.Sprintf(`{"event_id":%q,"entity_id":%q,"collection":"vectors","payload":{"n":%d},"vector":[%d,1,0]}`, id, entity, n, n)
}

// has expects entities, by number of what they were changed to and of the events that changed them; n below 0 is a deleted one.
// 0 events are any number: a deletion may be forgotten at any time once no event is kept that is older, and then they are counted anew.
func (p *process) has(want map[string][2]int) {
	p.t.Helper()
	wrong := 0
	for entity, w := range want {
		status, answer := p.call("GET", "/v1/entities/"+entity+"?collection=vectors", "")
		var e struct {
			Metadata struct{ N int }
			Events   int
		}
		err := json.Unmarshal(answer, &e)
		good := err == nil && status == http.StatusOK && e.Metadata.N == w[0] && (w[1] == 0 || e.Events == w[1])
		if w[0] < 0 {
			good = status == http.StatusNotFound
		}
		if good {
			continue
		}
		if wrong++; wrong < 5 {
			p.t.Errorf("%s is %d %s, want %v", entity, status, answer, w)
		}
	}
}

// mustBeClean audits.
func (p *process) mustBeClean() {
	p.t.Helper()
	r, err := p.Audit(p.t.Context())
	if err != nil || len(r.Differences) > 0 {
		p.t.Errorf("audit: %+v, %v", r, err)
	}
}

// caughtUp waits until the process has what the topics had at its start.
func (l *laid) caughtUp(p *process) *process {
	l.t.Helper()
	l.eventually("readiness", func() bool { ready, _ := p.Ready(); return ready }, func() error { return nil })
	return p
}

// filled starts a process and sends it entities, some of them twice, some deleted.
func (l *laid) filled(entities int) (want map[string][2]int, token string) {
	p := l.start()
	want = map[string][2]int{}
	var batch []string
	for i := range entities {
		e := fmt.Sprint("e", i)
		batch = append(batch, vector(e, "first", i))
		want[e] = [2]int{i, 1}
		switch i % 3 {
		case 1:
			batch = append(batch, vector(e, "second", 1000+i))
			want[e] = [2]int{1000 + i, 2}
		case 2:
			batch = append(batch, fmt.Sprintf(`{"entity_id":%q,"collection":"vectors","op":"delete"}`, e))
			want[e] = [2]int{-1, 2}
		}
	}
	token = p.send(batch...)
	p.has(want)
	if err := p.Close(); err != nil {
		l.t.Fatal(err)
	}
	return want, token
}

// goesOn expects that events sent before have no effect any more, and new ones have.
func (l *laid) goesOn(want map[string][2]int) {
	l.t.Helper()
	p := l.caughtUp(l.start())
	p.has(want)
	p.mustBeClean()
	for i := range len(want) {
		e := fmt.Sprint("e", i)
		if i%3 != 2 {
			p.send(vector(e, "first", 7))
		}
		switch i % 4 {
		case 0:
			p.send(vector(e, "later", 5000+i))
			events := want[e][1] + 1
			if want[e][0] < 0 {
				events = 0
			}
			want[e] = [2]int{5000 + i, events}
		case 1:
			p.send(fmt.Sprintf(`{"entity_id":%q,"collection":"vectors","op":"delete"}`, e))
			want[e] = [2]int{-1, 0}
		}
	}
	p.has(want)
	p.mustBeClean()
	if err := p.Close(); err != nil {
		l.t.Fatal(err)
	}
	l.fs = vfs.NewCrashableMem() // what the topics alone give
	p = l.caughtUp(l.start())
	p.has(want)
	p.Kill()
}

// A topic that was deleted and made again stops a start until the epoch is raised. Then all is there, an update is visible though
// offsets begin anew, and what was sent before has no second effect.
func TestKafkaTopicIsMadeAgain(t *testing.T) {
	for _, topic := range []string{"events.raw", "events.keyed", "vector.sync", "freshet.state"} {
		t.Run(topic, func(t *testing.T) {
			onClusters(t, 3, func(l *laid) {
				want, _ := l.filled(24)
				p := l.caughtUp(l.start())
				before := l.epochs()
				if err := p.Close(); err != nil {
					t.Fatal(err)
				}
				l.delete(topic)
				l.refused(l.prefix+topic+": its id is ", "freshet epoch raise")
				l.mustRaise()
				if after := l.epochs(); len(before) != 1 || len(after) != 2 || after[0].Log != before[0].Log || after[1].Reason != control.EpochRaised {
					t.Errorf("epochs %+v, before %+v", after, before)
				}
				if lines, changed, err := l.raise(); changed || err != nil {
					t.Errorf("raised again: %v %v", lines, err)
				}
				l.goesOn(want)
			})
		})
	}
}

// What owners have forwarded of foreign records is not forwarded again when freshet.state was made again, though no position is committed.
func TestKafkaForwardedIsKept(t *testing.T) {
	l := newLaid(t, 3, newFake(t).ListenAddrs())
	const registry = "schema_registry: {urls: ['http://127.0.0.1:1']}"
	l.configure(3, registry)
	producer, err := kgo.NewClient(kgo.SeedBrokers(l.addrs...), kgo.DefaultProduceTopic(l.prefix+"events.raw"))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	write := func(entity string) {
		r := &kgo.Record{Key: []byte("one partition"), Value: []byte(vector(entity, "id of "+entity, 1))}
		if err := producer.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	routed := func(entity string) string {
		p := l.caughtUp(l.start())
		write(entity)
		l.eventually(entity, func() bool {
			status, _ := p.call("GET", "/v1/entities/"+entity+"?collection=vectors", "")
			return status == http.StatusOK
		}, func() error { return nil })
		_, metrics := p.call("GET", "/metrics", "")
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(metrics), "\nfreshet_router_forwarded_total ")
		n, _, _ := strings.Cut(rest, "\n")
		return n
	}
	for i := range 3 {
		if n := routed(fmt.Sprint("e", i)); n != "1" {
			t.Errorf("run %d has forwarded %q records", i, n)
		}
		if r, err := l.admin.DeleteGroups(t.Context(), strings.TrimSuffix(l.prefix, ".")+"-router"); err != nil || r.Error() != nil {
			t.Fatal(err, r.Error())
		}
		if i == 1 {
			l.delete("freshet.state")
			l.mustRaise()
		}
	}
	l.configure(6, registry)
	l.mustRaise() // which forwards what stands in the old partitions
	consumer, err := kgo.NewClient(kgo.SeedBrokers(l.addrs...), kgo.ConsumeTopics(l.prefix+"events.keyed"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	commands, forwarded := 0, 0
	for commands < 3 && ctx.Err() == nil { // behind all else in each of the old partitions
		consumer.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			for _, h := range r.Headers {
				switch h.Key {
				case freshet.HeaderCommand:
					commands++
				case "freshet.forwarded":
					forwarded++
				}
			}
		})
	}
	if commands != 3 || forwarded != 3 {
		t.Errorf("%d records are forwarded, and %d commands, want 3 and 3", forwarded, commands)
	}
}

// Whichever of its records the brokers refuse for their numbers, the command goes on where it was.
func TestKafkaRaiseIsRefusedOnce(t *testing.T) {
	for nth := int64(1); ; nth++ {
		fake := newFake(t)
		l := newLaid(t, 3, fake.ListenAddrs())
		want, _ := l.filled(24)
		l.delete("freshet.state")
		var produced atomic.Int64
		fake.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
			fake.KeepControl()
			if produced.Add(1) != nth {
				return nil, nil, false
			}
			return kafkatest.Refuse(r.(*kmsg.ProduceRequest), kerr.OutOfOrderSequenceNumber), nil, true
		})
		l.mustRaise()
		n := produced.Load()
		l.goesOn(want)
		if n < nth {
			if nth < 5 {
				t.Errorf("%d requests of a raise were refused", nth-1)
			}
			return
		}
	}
}

// Where no copy is left of a compacted topic, that has to be said; then the events that are kept give the entities again.
func TestKafkaTopicIsLost(t *testing.T) {
	onClusters(t, 3, func(l *laid) {
		want, _ := l.filled(12)
		l.delete("vector.sync")
		l.fs = vfs.NewCrashableMem()
		l.refused("its id is ")
		if _, _, err := l.raise(); err == nil || !strings.Contains(err.Error(), "--without-copy") {
			t.Fatalf("raised without a copy: %v", err)
		}
		if lines, _, err := l.raise(func(o *node.RelayoutOptions) { o.WithoutCopy = true }); err != nil {
			t.Fatal(lines, err)
		}
		p := l.start()
		p.send(vector("last", "x", 1)) // of one partition
		l.eventually("entities", func() bool { _, lag := p.Ready(); return lag == 0 }, func() error { return nil })
		p.Kill()
		l.goesOn(want)
	})
}

// A log gets more partitions; the one who does it is killed now and then. Each entity is in its new partition, and nowhere else.
func TestKafkaGetsMorePartitions(t *testing.T) {
	onClusters(t, 3, func(l *laid) {
		want, token := l.filled(36)
		l.partitions(4)
		if _, _, err := l.raise(); err == nil || !strings.Contains(err.Error(), "set partitions to 6") {
			t.Errorf("4 partitions: %v", err)
		}
		l.partitions(6)
		l.refused("epoch raise")
		kills := 0
		for !l.raiseUntilKilled() {
			l.fs = l.fs.CrashClone(vfs.CrashCloneCfg{})
			if kills++; kills == 3 {
				l.refused("was interrupted")
			}
		}
		if kills < 5 {
			t.Errorf("it was killed %d times", kills)
		}
		p := l.start()
		if status, answer := p.call("POST", "/v1/search", fmt.Sprintf(`{"collection":"vectors","vector":[1,0,0],"after":%q}`, token)); status != http.StatusOK {
			t.Errorf("a token of before: %d %s", status, answer)
		}
		p.Kill()
		l.goesOn(want)
		l.inPlace(6, want)
	})
}

// raiseUntilKilled raises the epoch, and is killed after two batches, unless that was all.
func (l *laid) raiseUntilKilled() (done bool) {
	killed := errors.New("killed")
	defer func() {
		if r := recover(); r != nil && r != any(killed) {
			panic(r)
		}
	}()
	lines := 0
	_, _, err := l.raise(func(o *node.RelayoutOptions) {
		o.Batch = 9
		o.Tell = func(string) {
			if lines++; lines > 2 {
				panic(killed)
			}
		}
	})
	return l.done(err)
}

// inPlace expects every entity in its partition of vector.sync, but for deletions that are forgotten, and a null in others at most.
func (l *laid) inPlace(partitions int, want map[string][2]int) {
	l.t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(l.addrs...), kgo.ConsumeTopics(l.prefix+"vector.sync"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	at := map[string]map[int32]bool{}
	ends, err := l.admin.ListEndOffsets(l.t.Context(), l.prefix+"vector.sync")
	if err != nil {
		l.t.Fatal(err)
	}
	left := 0
	ends.Each(func(o kadm.ListedOffset) { left += int(min(o.Offset, 1)) })
	for left > 0 {
		fetches := c.PollFetches(l.t.Context())
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			for _, r := range p.Records {
				if !r.Attrs.IsControl() && !strings.HasPrefix(string(r.Key), "\x00\x00") {
					if at[string(r.Key)] == nil {
						at[string(r.Key)] = map[int32]bool{}
					}
					at[string(r.Key)][r.Partition] = r.Value != nil
				}
			}
			if o, ok := ends.Lookup(p.Topic, p.Partition); ok && len(p.Records) > 0 && p.Records[len(p.Records)-1].Offset >= o.Offset-1 {
				left--
			}
		})
	}
	moved := 0
	for k, partitionsOf := range at {
		key, err := wire.ParseKey([]byte(k))
		if err != nil {
			l.t.Fatal(err)
		}
		home := wire.Partition(key, partitions)
		for p, there := range partitionsOf {
			if forgotten := want[key.Entity][0] < 0 && !there; there != (p == home) && !forgotten {
				l.t.Errorf("%q is in partition %d: %v; its own is %d", key.Entity, p, there, home)
			}
			if !there {
				moved++
			}
		}
	}
	if moved == 0 || len(at) == 0 {
		l.t.Errorf("%d of %d entities were moved", moved, len(at))
	}
}

// done reports whether something has succeeded; it may fail now and then as it may be killed, and be repeated.
func (l *laid) done(err error) bool {
	if err != nil {
		l.t.Logf("repeated: %v", err)
		if l.failures++; l.failures > 3 {
			l.t.Fatal(err)
		}
	}
	return err == nil
}

// moveUntilKilled moves a folder, and is killed after two batches, unless that was all.
func (l *laid) moveUntilKilled(from string) (done bool) {
	killed := errors.New("killed")
	defer func() {
		if r := recover(); r != nil && r != any(killed) {
			panic(r)
		}
	}()
	lines := 0
	_, err := node.MoveToKafka(l.t.Context(), node.RelayoutOptions{Options: l.options(), Batch: 20, Tell: func(string) {
		if lines++; lines > 1 {
			panic(killed)
		}
	}}, from)
	return l.done(err)
}

// A log moves from a data folder into Kafka, by a process that is killed now and then: everything is there, events go on behind it, and
// what was sent before has no second effect.
func TestMoveToKafka(t *testing.T) {
	onClusters(t, 3, func(l *laid) {
		o := l.options()
		o.Config.Broker.Kafka, o.Config.Data, o.Config.Partitions = nil, "folder", 5
		n, err := node.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		s := &server{n, t}
		want := map[string][2]int{}
		var token string
		send := func(body string) {
			var in struct{ Token string }
			s.must("POST", "/v1/events", body, &in)
			token = in.Token
		}
		for i := range 60 {
			e := fmt.Sprint("e", i)
			send(vector(e, "first", i))
			want[e] = [2]int{i, 1}
			switch i % 3 {
			case 1:
				send(vector(e, "second", 1000+i))
				want[e] = [2]int{1000 + i, 2}
			case 2:
				send(fmt.Sprintf(`{"entity_id":%q,"collection":"vectors","op":"delete"}`, e))
				want[e] = [2]int{-1, 2}
			}
		}
		send(`{"entity_id":"bad","collection":"vectors","vector":[1]}`)
		n.Kill() // not all is decided
		kills := 0
		for !l.moveUntilKilled("folder") {
			if kills++; kills == 2 {
				l.refused("freshet move --to kafka", "was interrupted")
			}
		}
		if kills < 5 {
			t.Errorf("it was killed %d times", kills)
		}
		if _, err := node.MoveToKafka(t.Context(), node.RelayoutOptions{Options: l.options()}, "folder"); err == nil || !strings.Contains(err.Error(), "a log in the topics already") {
			t.Errorf("moved again: %v", err)
		}
		p := l.caughtUp(l.start())
		if status, answer := p.call("POST", "/v1/search", fmt.Sprintf(`{"collection":"vectors","vector":[1,0,0],"after":%q}`, token)); status != http.StatusOK {
			t.Errorf("a token of before: %d %s", status, answer)
		}
		// They are read beside the entities that it is ready with.
		var letters []freshet.DeadLetter
		for end := time.Now().Add(30 * time.Second); len(letters) == 0 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			var err error
			if letters, err = p.DeadLetters(gateway.LettersQuery{Limit: 10}); err != nil {
				t.Fatal(err)
			}
		}
		if len(letters) != 1 || letters[0].Key.Entity != "bad" {
			t.Errorf("dead letters: %+v", letters)
		}
		p.Kill()
		l.goesOn(want)
	})
}
