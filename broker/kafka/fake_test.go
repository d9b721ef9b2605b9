package kafka_test

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
)

// fake starts a cluster inside the process.
func fake(t *testing.T, brokers int, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(brokers)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// options are those of tests, at which change has its way.
func options(addrs []string, change ...func(*kafka.Options)) kafka.Options {
	o := kafka.Options{Brokers: addrs, Partitions: 4, ConnectTimeout: 10 * time.Second, Logger: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&o)
	}
	return o
}

func open(t *testing.T, o kafka.Options) *kafka.Client {
	t.Helper()
	c, err := kafka.Open(deadline(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// genuine are options for the real Kafka that the tests share.
func genuine(t *testing.T) kafka.Options {
	t.Helper()
	return options(kafkatest.Shared(t).Addrs(), func(o *kafka.Options) {
		o.Topics.Prefix = kafkatest.Name(t) + "."
		o.Group = kafkatest.Name(t)
	})
}

func TestMain(m *testing.M) { os.Exit(kafkatest.Main(m)) }

// clusters runs a test on a cluster, with names of topics that no other test has.
func clusters(t *testing.T, test func(t *testing.T, o kafka.Options)) {
	t.Run("fake", func(t *testing.T) { test(t, options(fake(t, 1).ListenAddrs())) })
	t.Run("real", func(t *testing.T) { test(t, genuine(t)) })
}
