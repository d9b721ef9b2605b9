package kafka_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/freshet-io/freshet/broker/kafka"
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
