package keyed_test

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/source"
)

const partitions = 4

func TestMain(m *testing.M) { os.Exit(kafkatest.Main(m)) }

// clusters runs a test on a cluster inside the process and on a real Kafka, with topics that no other test has.
func clusters(t *testing.T, test func(t *testing.T, c *kafka.Client)) {
	o := kafka.Options{Partitions: partitions, Logger: slog.New(slog.DiscardHandler)}
	t.Run("fake", func(t *testing.T) {
		c, err := kfake.NewCluster(kfake.NumBrokers(1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		o := o
		o.Brokers = c.ListenAddrs()
		test(t, open(t, o))
	})
	t.Run("real", func(t *testing.T) {
		o := o
		o.Brokers, o.Group = kafkatest.Shared(t).Addrs(), kafkatest.Name(t)
		o.Topics.Prefix = o.Group + "."
		test(t, open(t, o))
	})
}

// open connects and makes the topics.
func open(t *testing.T, o kafka.Options) *kafka.Client {
	t.Helper()
	c, err := kafka.Open(deadline(t), o)
	if err == nil {
		t.Cleanup(c.Close)
		_, err = c.Ensure(deadline(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func appender(t *testing.T, c *kafka.Client, topic string) *kafka.Appender {
	t.Helper()
	a, err := c.NewAppender(topic)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// catalog has the default collection alone.
func catalog(t *testing.T) *control.Catalog {
	t.Helper()
	log, err := embedded.Open("control", embedded.Options{FS: disk.New(vfs.NewMem(), nil), CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	catalog, err := control.Open(log)
	if err == nil {
		err = catalog.Declare(control.Collection{Name: freshet.DefaultCollection, Model: "m", Dim: 4, Metric: "cosine"})
	}
	if err != nil {
		t.Fatal(err)
	}
	return catalog
}

// intake is one that writes to events.keyed; o has what a test wants otherwise.
func intake(t *testing.T, a *kafka.Appender, o source.Options) *source.Intake {
	o.Catalog, o.Decided = catalog(t), func() int64 { return -1 }
	if o.Log == nil {
		o.Log = keyedLog(a)
	}
	return source.NewIntake(o)
}

// readAll reads all partitions of a topic to their ends.
func readAll(t *testing.T, c *kafka.Client, topic string) map[int32][]kafka.Record {
	t.Helper()
	ends, err := c.Ends(deadline(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	var from []freshet.Position
	for p, end := range ends {
		if end > 0 {
			from = append(from, freshet.Position{Topic: topic, Partition: p})
		}
	}
	r, err := c.NewReader(from...)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	all := map[int32][]kafka.Record{}
	for left := len(from); left > 0; {
		got, err := r.Read(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range got {
			all[f.Partition] = append(all[f.Partition], f.Records...)
			if f.Next >= ends[f.Partition] {
				left--
			}
		}
	}
	return all
}

// header is the value of a header, "" without.
func header(r journal.Record, name string) string {
	for _, h := range r.Headers {
		if h.Name == name {
			return string(h.Value)
		}
	}
	return ""
}
