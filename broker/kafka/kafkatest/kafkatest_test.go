package kafkatest_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
)

func TestMain(m *testing.M) { os.Exit(kafkatest.Main(m)) }

// deadline of what a test waits for, on a busy machine.
const deadline = 90 * time.Second

func TestSharedKeepsRecords(t *testing.T) {
	k := kafkatest.Shared(t)
	if again := kafkatest.Shared(t); again != k {
		t.Fatal("a second Kafka in one process")
	}
	keepsRecords(t, k)
}

func TestNodeIsRestartedOnItsData(t *testing.T) {
	k := kafkatest.Start(t, kafkatest.Options{})
	topic := keepsRecords(t, k)
	for _, end := range []func(int) error{
		func(id int) error { k.Kill(id); return nil },
		k.Stop,
	} {
		if err := end(0); err != nil {
			t.Fatal(err)
		}
		if err := k.Start(0); err != nil {
			t.Fatal(err)
		}
		if got := read(t, k, topic); len(got) != 100 {
			t.Fatalf("%d of 100 records after a restart", len(got))
		}
	}
}

// TestClusterLosesNothingAcknowledged kills the leader of a partition twice while a producer writes.
func TestClusterLosesNothingAcknowledged(t *testing.T) {
	k := kafkatest.StartCluster(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 3*deadline)
	defer cancel()
	topic := k.Topic(t, 3, map[string]string{"cleanup.policy": "compact"})
	producer := k.Client(t, kgo.DefaultProduceTopic(topic))

	writing, written := make(chan struct{}), make(chan map[string]int)
	go func() {
		acked := map[string]int{}
		defer func() { written <- acked }()
		for i := 0; ; i++ {
			select {
			case <-writing:
				return
			default:
			}
			value := fmt.Sprint(i)
			if err := producer.ProduceSync(ctx, kgo.KeyStringRecord(value, value)).FirstErr(); err != nil {
				t.Errorf("record %d: %v", i, err)
				return
			}
			acked[value] = 1
		}
	}()
	for partition := range int32(2) {
		leader, err := k.Leader(ctx, topic, partition)
		if err != nil {
			t.Fatal(err)
		}
		k.Kill(leader)
		killed := time.Now()
		for {
			if next, err := k.Leader(ctx, topic, partition); err == nil && next != leader {
				break
			}
			if err := ctx.Err(); err != nil {
				t.Fatalf("partition %d has no other leader: %v", partition, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Logf("another leader after %v", time.Since(killed).Round(time.Millisecond))
		if err := k.Start(leader); err != nil {
			t.Fatal(err)
		}
	}
	close(writing)
	want := <-written
	if len(want) == 0 {
		t.Fatal("nothing was acknowledged")
	}
	if got := read(t, k, topic); !maps.Equal(got, want) {
		t.Errorf("%d records were acknowledged, %d read", len(want), len(got))
		for value := range want {
			if got[value] != 1 {
				t.Errorf("record %s was read %d times", value, got[value])
			}
		}
	}
	// Each of the three replicas is compacted.
	if err := k.Compact(ctx, topic); err != nil {
		t.Fatal(err)
	}
	if got := read(t, k, topic); !maps.Equal(got, want) {
		t.Errorf("of %d records %d are left by a compaction", len(want), len(got))
	}
}

// TestServerDiesWithItsProcess kills a process that runs a server, which can't stop it then.
func TestServerDiesWithItsProcess(t *testing.T) {
	if os.Getenv("KAFKATEST_CHILD") != "" {
		fmt.Println("address", kafkatest.Start(t, kafkatest.Options{}).Addrs()[0])
		time.Sleep(deadline)
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells a process that its parent is gone")
	}
	kafkatest.Shared(t) // skips where there is none
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), "KAFKATEST_CHILD=1", "TMPDIR="+t.TempDir())
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var addr string
	if _, err := fmt.Fscanf(out, "address %s\n", &addr); err != nil {
		t.Errorf("no server: %v", err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	for end := time.Now().Add(deadline); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		conn.Close()
		if time.Now().After(end) {
			t.Fatalf("%s still answers", addr)
		}
	}
}

// keepsRecords writes 100 records into a new topic and reads them.
func keepsRecords(t *testing.T, k *kafkatest.Kafka) (topic string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	topic = k.Topic(t, 4, nil)
	producer := k.Client(t, kgo.DefaultProduceTopic(topic))
	for i := range 100 {
		producer.Produce(ctx, kgo.StringRecord(fmt.Sprint(i)), func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("record %d: %v", i, err)
			}
		})
	}
	if err := producer.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	got := read(t, k, topic)
	for i := range 100 {
		if got[fmt.Sprint(i)] != 1 {
			t.Errorf("record %d was read %d times", i, got[fmt.Sprint(i)])
		}
	}
	return topic
}

// read reads a topic from its start to its end, and counts how often it meets each value.
func read(t *testing.T, k *kafkatest.Kafka, topic string) map[string]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	// Markers of transactions have offsets as well, and may be what is last.
	consumer := k.Client(t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())
	defer consumer.Close()
	ends, err := kadm.NewClient(consumer).ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	left := 0 // partitions that are not at their end
	ends.Each(func(o kadm.ListedOffset) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		if o.Offset > 0 {
			left++
		}
	})
	values := map[string]int{}
	for left > 0 {
		fetches := consumer.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			t.Fatalf("%d partitions are not read to their ends: %v", left, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				values[string(r.Value)]++
			}
			if end, _ := ends.Lookup(topic, r.Partition); r.Offset == end.Offset-1 {
				left--
			}
		})
	}
	return values
}
