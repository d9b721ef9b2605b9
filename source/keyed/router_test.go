package keyed_test

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/source"
	"github.com/freshet-io/freshet/source/keyed"
	"github.com/freshet-io/freshet/wire"
)

// life is a router in a process of its own.
type life struct {
	*keyed.Router
	client *kafka.Client
	reader *kafka.SharedReader
	cancel context.CancelFunc
	ended  chan error
}

func start(t *testing.T, c *kafka.Client, partition int32, o keyed.RouterOptions) *life {
	t.Helper()
	l := &life{client: open(t, c.Options()), ended: make(chan error, 1)}
	l.reader = l.client.NewSharedReader()
	o.Client, o.Reader = l.client, l.reader
	if o.Mapper == nil {
		o.Mapper, o.Form = process.Default{}, codec.FormEvents
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l.Router = keyed.NewRouter(o, partition)
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	go func() { l.ended <- l.Run(ctx) }()
	t.Cleanup(l.stop)
	return l
}

// kill ends the router without its last commit.
func (l *life) kill() {
	l.client.Close()
	l.cancel()
	l.reader.Close()
}

func (l *life) stop() {
	l.cancel()
	<-l.ended
	l.ended <- nil
	l.reader.Close()
}

// route has partitions of events.raw routed to their ends, by routers that are killed all the time, some of them late: their
// successors are at work already. It returns when all is forwarded.
func route(t *testing.T, c *kafka.Client, o keyed.RouterOptions, producing <-chan struct{}) {
	t.Helper()
	var all sync.WaitGroup
	for p := range int32(partitions) {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(p), 1))
			for kills := 0; ; kills++ {
				l := start(t, c, p, o)
				select {
				case <-producing:
					if kills >= 5 {
						settle(t, c, l.Router, p)
						return
					}
				default:
				}
				enough := int64(1 + rng.IntN(1500))
				most := time.Second
				if kills == 0 {
					enough, most = 1, time.Minute // one at least dies with what it has sent
				}
				for from := time.Now(); l.Forwarded.Load() < enough && time.Since(from) < most; {
					time.Sleep(time.Millisecond)
				}
				if kills > 0 && rng.IntN(2) == 0 {
					go func() {
						time.Sleep(100 * time.Millisecond)
						l.kill()
					}()
				} else {
					l.kill()
				}
			}
		})
	}
	all.Wait()
}

// settle waits until a router has committed the end of its partition.
func settle(t *testing.T, c *kafka.Client, l *keyed.Router, partition int32) {
	topic := c.Options().Topics.Raw
	ctx := deadline(t)
	for {
		ends, err := c.Ends(ctx, topic)
		if err != nil {
			t.Error(err)
			return
		}
		id, err := c.TopicID(ctx, topic)
		if err != nil {
			t.Error(err)
			return
		}
		next, _, err := c.Checkpoint(ctx, c.Options().Group+"-router", topic, id, partition)
		records, age := l.Lag(time.Now())
		if err != nil || next == ends[partition] && records == 0 && age == 0 {
			if err != nil {
				t.Error(err)
			}
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// decided is what the owner of a partition of events.keyed reads, without repetitions.
func decided(t *testing.T, c *kafka.Client, partition int32) (records []journal.Record) {
	t.Helper()
	ends, err := c.Ends(deadline(t), c.Options().Topics.Keyed)
	if err != nil || ends[partition] == 0 {
		return nil
	}
	h, err := hold(t, c, partition)
	if err != nil {
		t.Fatal(err)
	}
	defer h.end(t)
	r := h.ReadRaw(0)
	defer r.Close()
	for r.Offset() < ends[partition] {
		// What is left may be repetitions alone, behind which nothing comes.
		ctx, cancel := context.WithTimeout(deadline(t), 2*time.Second)
		records, err = r.Next(ctx, records, 0)
		cancel()
		if err != nil && ctx.Err() == nil {
			t.Fatal(err)
		}
	}
	return records
}

// sent is an event of these tests.
type sent struct {
	Event string `json:"event_id"`
	Items []struct{ ID string }
	ID    string `json:"entity_id"`
}

func parse(t *testing.T, value []byte) (e sent) {
	t.Helper()
	if err := json.Unmarshal(value, &e); err != nil {
		t.Fatalf("%s: %v", value, err)
	}
	return e
}

// check holds events.keyed against events.raw and what an intake has sent: each change of each event is there once, in the partition
// of its entity, and what comes from one partition of events.raw is in its order.
func check(t *testing.T, c *kafka.Client, want map[string]int) {
	t.Helper()
	type place struct {
		partition int32
		offset    int64
	}
	from := map[string]place{}
	for p, records := range readAll(t, c, c.Options().Topics.Raw) {
		for _, r := range records {
			from[parse(t, r.Value).Event] = place{p, r.Offset}
		}
	}
	stored, taken, got := 0, 0, map[string]int{}
	for _, records := range readAll(t, c, c.Options().Topics.Keyed) {
		stored += len(records)
	}
	for p := range int32(partitions) {
		last := map[int32]int64{} // offset and change of each source
		for _, r := range decided(t, c, p) {
			taken++
			e := parse(t, r.Value)
			id, change := e.ID, 0
			if len(e.Items) > 0 {
				if change, _ = strconv.Atoi(header(r, freshet.HeaderChange)); change == 0 && len(e.Items) > 1 {
					t.Fatalf("%s is whole", r.Value)
				}
				id = e.Items[max(change, 1)-1].ID
			}
			if home := wire.Partition(entity(id), partitions); home != p {
				t.Fatalf("%s of %q is in partition %d, not in %d", r.Value, id, p, home)
			}
			got[fmt.Sprint(e.Event, "/", change)]++
			if at, foreign := from[e.Event]; foreign {
				now := at.offset*100 + int64(change) + 1
				if now <= last[at.partition] {
					t.Fatalf("%s of %v is behind %d", r.Value, at, last[at.partition])
				}
				last[at.partition] = now
			}
		}
	}
	for name, n := range want {
		if got[name] != n {
			t.Errorf("%s is there %d times, want %d", name, got[name], n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d changes, want %d", len(got), len(want))
	}
	if stored <= taken {
		t.Errorf("%d records, of which %d count: no router has sent anything again", stored, taken)
	}
	t.Logf("%d records, of which %d count", stored, taken)
}

// byCRC is the partitioner of librdkafka, consistent_random, for records with keys.
func byCRC() kgo.Partitioner {
	return kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
		return func(r *kgo.Record, n int) int { return int(crc32.ChecksumIEEE(r.Key) % uint32(n)) }
	})
}

// foreign writes events with a producer that is not freshet's.
func foreign(t *testing.T, c *kafka.Client, p kgo.Partitioner, events map[string]string, order []string) {
	o := []kgo.Opt{kgo.SeedBrokers(c.Options().Brokers...), kgo.DefaultProduceTopic(c.Options().Topics.Raw)}
	if p != nil {
		o = append(o, kgo.RecordPartitioner(p))
	}
	producer, err := kgo.NewClient(o...)
	if err != nil {
		t.Error(err)
		return
	}
	defer producer.Close()
	for i, key := range order {
		producer.Produce(t.Context(), &kgo.Record{Key: []byte(key), Value: []byte(events[key])}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
		if i%500 == 0 {
			time.Sleep(20 * time.Millisecond) // routers come and go meanwhile
		}
	}
	if err := producer.Flush(deadline(t)); err != nil {
		t.Error(err)
	}
}

// librdkafka is a producer of Confluent with its default partitioner.
const librdkafka = `
import sys
from confluent_kafka import Producer
p = Producer({'bootstrap.servers': sys.argv[1]})
failed = []
for i in range(int(sys.argv[3])):
    p.produce(sys.argv[2], key='k%d' % i, value='{"event_id":"confluent-%d","entity_id":"k%d","payload":{"text":"x"}}' % (i, i),
              on_delivery=lambda e, m: failed.append(e) if e else None)
    if i % 500 == 0: p.poll(0.01)
left = p.flush(60)
sys.exit('%d left, %s' % (left, failed) if left or failed else 0)
`

// python is an interpreter, which PYTHON may name, with Confluent's client; "" without one.
func python() string {
	interpreter := os.Getenv("PYTHON")
	if interpreter == "" {
		interpreter = "python3"
	}
	if exec.Command(interpreter, "-c", "import confluent_kafka").Run() != nil {
		return ""
	}
	return interpreter
}

// The same 10,000 keys, written at once by clients that disagree on partitions: every entity ends up in one partition.
func TestPartitionersAgree(t *testing.T) {
	const keys = 10_000
	clusters(t, func(t *testing.T, c *kafka.Client) {
		want := map[string]int{}
		producing := make(chan struct{})
		var writers sync.WaitGroup
		for name, p := range map[string]kgo.Partitioner{"java": nil, "crc": byCRC()} {
			events, order := map[string]string{}, []string{}
			for i := range keys {
				key := fmt.Sprint("k", i)
				order = append(order, key)
				named := fmt.Sprintf(`,"entity_id":%q`, key)
				if name == "java" {
					named = "" // the key says it
				}
				events[key] = fmt.Sprintf(`{"event_id":"%s-%d"%s,"payload":{"text":"x"}}`, name, i, named)
				want[fmt.Sprintf("%s-%d/0", name, i)] = 1
			}
			writers.Go(func() { foreign(t, c, p, events, order) })
		}
		if interpreter := python(); interpreter == "" {
			t.Log("without Confluent's client: PYTHON names no interpreter that has confluent_kafka; its partitioner is imitated alone")
		} else {
			for i := range keys {
				want[fmt.Sprintf("confluent-%d/0", i)] = 1
			}
			writers.Go(func() {
				cmd := exec.Command(interpreter, "-c", librdkafka, strings.Join(c.Options().Brokers, ","), c.Options().Topics.Raw, strconv.Itoa(keys))
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("confluent_kafka: %v\n%s", err, out)
				}
			})
		}
		in := intake(t, appender(t, c, c.Options().Topics.Keyed), source.Options{})
		for i := range keys {
			want[fmt.Sprintf("http-%d/0", i)] = 1
		}
		writers.Go(func() {
			for i := 0; i < keys; {
				b := in.NewBatch()
				for range 500 {
					if err := b.Add(fmt.Appendf(nil, `{"event_id":"http-%d","entity_id":"k%d","payload":{"text":"x"}}`, i, i)); err != nil {
						t.Error(err)
					}
					i++
				}
				if _, err := b.Append(deadline(t)); err != nil {
					t.Error(err)
				}
				b.Release()
			}
		})
		go func() { writers.Wait(); close(producing) }()
		route(t, c, keyed.RouterOptions{}, producing)
		check(t, c, want)
	})
}

// Events of users become changes of products.
func TestRekeyed(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafka.Client) {
		rng := rand.New(rand.NewPCG(3, 3))
		want, events, order := map[string]int{}, map[string]string{}, []string{}
		for i := range 3000 {
			key := fmt.Sprint("user", i)
			var items []string
			n := rng.IntN(5)
			for k := range n {
				items = append(items, fmt.Sprintf(`{"id":"p%d","title":"T"}`, rng.IntN(200)*5+k))
				change := k + 1
				if n == 1 {
					change = 0
				}
				want[fmt.Sprintf("%d/%d", i, change)] = 1
			}
			order = append(order, key)
			events[key] = fmt.Sprintf(`{"event_id":"%d","items":[%s]}`, i, strings.Join(items, ","))
		}
		producing := make(chan struct{})
		go func() { foreign(t, c, byCRC(), events, order); close(producing) }()
		route(t, c, keyed.RouterOptions{Mapper: purchases(t), Form: codec.FormObjects}, producing)
		check(t, c, want)
	})
}
