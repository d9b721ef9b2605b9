package kafkatest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Start starts a cluster for one test, a single node by default, and closes it at the test's end.
func Start(t testing.TB, options Options) *Kafka {
	t.Helper()
	require(t)
	dir := t.TempDir() // deleted after the cluster is closed
	k, err := Run(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// StartCluster starts a cluster of several nodes for one test.
func StartCluster(t testing.TB, nodes int) *Kafka {
	t.Helper()
	return Start(t, Options{Nodes: nodes})
}

// require skips a test where Kafka can't be had, or fails it when it must be.
func require(t testing.TB) {
	t.Helper()
	err := Install()
	if err == nil {
		return
	}
	if os.Getenv("FRESHET_TEST_REQUIRE") == "1" {
		t.Fatal(err)
	}
	t.Skip(err)
}

// The Kafka of this process: its first user starts it, Main closes it.
var (
	inMain     bool
	shared     *Kafka
	sharedDir  string
	openShared = sync.OnceValue(func() (err error) {
		if sharedDir, err = os.MkdirTemp("", "freshet-kafka-"); err != nil {
			return err
		}
		shared, err = Run(sharedDir, Options{})
		return err
	})
)

// Shared returns one node that all tests of the package share; use topics, groups and transactional
// ids with random names. The package's TestMain must call Main.
func Shared(t testing.TB) *Kafka {
	t.Helper()
	if !inMain {
		t.Fatal("kafkatest.Shared needs: func TestMain(m *testing.M) { os.Exit(kafkatest.Main(m)) }")
	}
	require(t)
	if err := openShared(); err != nil {
		t.Fatal(err)
	}
	return shared
}

// Main runs the tests of a package, and closes the Kafka that they shared. It returns the exit code.
func Main(m *testing.M) int {
	inMain = true
	defer func() {
		if shared != nil {
			shared.Close()
		}
		if sharedDir != "" {
			_ = os.RemoveAll(sharedDir) // left over, it is the system's to delete
		}
	}()
	return m.Run()
}

// Name returns a random name that begins with the test's: for topics, groups, transactional ids.
func Name(t testing.TB) string {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, t.Name())
	return fmt.Sprintf("%.100s-%08x", safe, rand.Uint32())
}

// Topic creates a topic with a random name and a replica on each node. Settings are those of
// topics: cleanup.policy, min.insync.replicas and so on.
func (k *Kafka) Topic(t testing.TB, partitions int, settings map[string]string) string {
	t.Helper()
	configs := map[string]*string{}
	for key, value := range settings {
		configs[key] = &value
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	name := Name(t)
	_, err := k.Admin().CreateTopic(ctx, int32(partitions), int16(len(k.nodes)), configs, name)
	if err != nil {
		t.Fatalf("creating topic %s: %v", name, err)
	}
	for id := range k.nodes {
		for !k.knows(ctx, id, name, partitions) {
			if ctx.Err() != nil {
				t.Fatalf("node %d does not know topic %s within a minute", id, name)
			}
			time.Sleep(probePause)
		}
	}
	return name
}

// knows reports whether a node knows the leaders of a topic's partitions: it hears of a new one later than who has asked for it.
func (k *Kafka) knows(ctx context.Context, id int, topic string, partitions int) bool {
	req := kmsg.NewPtrMetadataRequest()
	one := kmsg.NewMetadataRequestTopic()
	one.Topic = &topic
	req.Topics = append(req.Topics, one)
	answer, err := k.admin.Broker(id).RetriableRequest(ctx, req)
	if err != nil {
		return false
	}
	topics := answer.(*kmsg.MetadataResponse).Topics
	return len(topics) == 1 && len(topics[0].Partitions) == partitions && !slices.ContainsFunc(topics[0].Partitions,
		func(p kmsg.MetadataResponseTopicPartition) bool { return p.ErrorCode != 0 || p.Leader < 0 })
}

// Client connects to the listener for clients, and is closed at the test's end.
func (k *Kafka) Client(t testing.TB, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(k.Addrs()...)}, options...)...)
	if err != nil {
		t.Fatalf("a client: %v", err)
	}
	t.Cleanup(client.Close)
	return client
}
