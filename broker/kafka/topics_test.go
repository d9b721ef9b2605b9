package kafka_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet/broker/kafka"
)

// admin is a client of a cluster for what an operator does.
func admin(t *testing.T, addrs []string) *kadm.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addrs...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

func TestEnsureMakesTheTopics(t *testing.T) {
	addrs := fake(t, 3).ListenAddrs()
	c := open(t, options(addrs, func(o *kafka.Options) { o.Topics.Prefix = "x."; o.RawBytes = 4<<20 - 3; o.RawRetention = kafka.Forever }))
	topics, err := c.Ensure(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	ids := map[kafka.TopicID]bool{}
	for _, topic := range topics {
		ids[topic.ID] = true
	}
	if len(topics) != 6 || len(ids) != 6 || ids[kafka.TopicID{}] {
		t.Errorf("got %v", topics)
	}
	again, err := c.Ensure(deadline(t))
	if err != nil {
		t.Fatal("what it made it refuses:", err)
	}
	a := admin(t, addrs)
	for field, want := range map[string]map[string]string{
		"raw":     {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "1048576", "message.timestamp.type": "LogAppendTime"},
		"keyed":   {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "1048576", "message.timestamp.type": "LogAppendTime"},
		"sync":    {"cleanup.policy": "compact", "delete.retention.ms": "604800000", "message.timestamp.type": "CreateTime"},
		"dead":    {"cleanup.policy": "compact", "message.timestamp.type": "CreateTime"},
		"state":   {"cleanup.policy": "compact", "message.timestamp.type": "CreateTime"},
		"control": {"cleanup.policy": "compact", "message.timestamp.type": "CreateTime"},
	} {
		topic := topics[field]
		if again[field] != topic {
			t.Errorf("%s is %v the second time, was %v", field, again[field], topic)
		}
		wantPartitions := 4
		if field == "control" {
			wantPartitions = 1
		}
		if !strings.HasPrefix(topic.Name, "x.") || topic.Partitions != wantPartitions {
			t.Errorf("%s is %+v", field, topic)
		}
		want["min.insync.replicas"], want["max.message.bytes"] = "2", "16777216"
		found, err := a.DescribeTopicConfigs(deadline(t), topic.Name)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, cfg := range found[0].Configs {
			got[cfg.Key] = cfg.MaybeValue()
		}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s of %s is %s, want %s", name, field, got[name], value)
			}
		}
		details, err := a.ListTopics(deadline(t), topic.Name)
		if err != nil || details[topic.Name].Partitions.NumReplicas() != 3 {
			t.Errorf("%s has %d replicas, %v", field, details[topic.Name].Partitions.NumReplicas(), err)
		}
	}
}

// All that is wrong is said at once, with what is found, what is wanted and what to do.
func TestEnsureRefusesWhatWouldLoseData(t *testing.T) {
	addrs := fake(t, 3).ListenAddrs()
	c := open(t, options(addrs))
	if _, err := c.Ensure(deadline(t)); err != nil {
		t.Fatal(err)
	}
	alter(t, addrs, "vector.sync", "cleanup.policy", "compact,delete", "delete.retention.ms", "1000")
	alter(t, addrs, "events.raw", "retention.ms", "60000", "retention.bytes", "5", "cleanup.policy", "compact", "min.insync.replicas", "1", "message.timestamp.type", "CreateTime")
	alter(t, addrs, "freshet.state", "max.message.bytes", "1000", "min.insync.replicas", "4")
	remake(t, addrs, 2, "vector.sync.dlq", map[string]string{"cleanup.policy": "compact", "min.insync.replicas": "2"})
	remake(t, addrs, 3, "freshet.control", map[string]string{"cleanup.policy": "compact", "min.insync.replicas": "2"})

	_, err := c.Ensure(deadline(t))
	var layout *kafka.LayoutError
	if !errors.As(err, &layout) {
		t.Fatalf("got %v", err)
	}
	got := map[string]kafka.Problem{}
	for _, p := range layout.Problems {
		got[p.Topic+" "+p.Setting] = p
		if line := p.Topic + ": " + p.Setting + " is " + p.Found + ", wanted " + p.Wanted + ": " + p.Remedy; !strings.Contains(err.Error(), line) {
			t.Errorf("the error does not say %s: %s", line, err)
		}
	}
	for _, want := range []kafka.Problem{
		{"vector.sync", "cleanup.policy", "compact,delete", "compact", "--entity-name vector.sync --add-config cleanup.policy=compact"},
		{"vector.sync", "delete.retention.ms", "1000", "604800000", "delete.retention.ms=604800000"},
		{"events.raw", "retention.ms", "60000", "604800000", "retention.ms=604800000"},
		{"events.raw", "retention.bytes", "5", "-1", "retention.bytes=-1"},
		{"events.raw", "cleanup.policy", "compact", "delete", "cleanup.policy=delete"},
		{"events.raw", "min.insync.replicas", "1", "2", "min.insync.replicas=2"},
		{"events.raw", "message.timestamp.type", "CreateTime", "LogAppendTime", "--entity-name events.raw --add-config message.timestamp.type=LogAppendTime"},
		{"freshet.state", "max.message.bytes", "1000", "16777216", "max.message.bytes=16777216"},
		{"freshet.state", "min.insync.replicas", "4", "at most 3, as many as there are replicas", "min.insync.replicas=2"},
		{"vector.sync.dlq", "partitions", "2", "4", "set partitions to 2"},
		{"vector.sync.dlq", "max.message.bytes", "1048588", "16777216", addrs[0]},
		{"vector.sync.dlq", "delete.retention.ms", "86400000", "604800000", "delete.retention.ms=604800000"},
		{"freshet.control", "partitions", "3", "1", "delete it"},
		{"freshet.control", "max.message.bytes", "1048588", "16777216", ""},
		{"freshet.control", "delete.retention.ms", "86400000", "604800000", ""},
	} {
		p, ok := got[want.Topic+" "+want.Setting]
		delete(got, want.Topic+" "+want.Setting)
		if !ok || p.Found != want.Found || p.Wanted != want.Wanted || !strings.Contains(p.Remedy, want.Remedy) {
			t.Errorf("got %+v, want %+v", p, want)
		}
	}
	if len(got) > 0 {
		t.Errorf("these are no problems: %v", got)
	}
}

// Events have the time of the broker: by a producer's clock retention could take them at once.
func TestEnsureWantsTheTimeOfTheBroker(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		c := ready(t, o) // as it makes them they are right
		for _, topic := range []string{c.Options().Topics.Raw, c.Options().Topics.Keyed} {
			alter(t, o.Brokers, topic, "message.timestamp.type", "CreateTime")
			_, err := c.Ensure(deadline(t))
			var layout *kafka.LayoutError
			if !errors.As(err, &layout) || len(layout.Problems) != 1 || !strings.Contains(err.Error(), topic+": message.timestamp.type is CreateTime, wanted LogAppendTime: ") ||
				!strings.HasSuffix(err.Error(), "--entity-name "+topic+" --add-config message.timestamp.type=LogAppendTime") {
				t.Errorf("%s has the time of producers, and Ensure says %v", topic, err)
			}
			alter(t, o.Brokers, topic, "message.timestamp.type", "LogAppendTime")
			if _, err := c.Ensure(deadline(t)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What is safer than was asked for is none of our business.
func TestEnsureAcceptsWhatIsHarmless(t *testing.T) {
	addrs := fake(t, 3).ListenAddrs()
	o := options(addrs)
	if _, err := open(t, o).Ensure(deadline(t)); err != nil {
		t.Fatal(err)
	}
	alter(t, addrs, "events.raw", "retention.ms", "-1", "min.insync.replicas", "3", "max.message.bytes", "50000000")
	alter(t, addrs, "vector.sync", "delete.retention.ms", "900000000")
	o.Replication, o.RawBytes = 2, 1000 // there are three, and no bound
	if _, err := open(t, o).Ensure(deadline(t)); err != nil {
		t.Error(err)
	}
}

func TestEnsureWantsReplicas(t *testing.T) {
	addrs := fake(t, 3).ListenAddrs()
	if _, err := open(t, options(addrs, func(o *kafka.Options) { o.Replication = 1 })).Ensure(deadline(t)); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, options(addrs)).Ensure(deadline(t))
	if err == nil || strings.Count(err.Error(), "replication is 1, wanted 3") != 6 || !strings.Contains(err.Error(), "kafka-reassign-partitions.sh") {
		t.Error(err)
	}
}

// A topic that was deleted and made again has another id.
func TestTopicIDs(t *testing.T) {
	addrs := fake(t, 1).ListenAddrs()
	c := open(t, options(addrs))
	was, err := c.Ensure(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	remove(t, addrs, "events.raw")
	is, err := c.Ensure(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	for field := range was {
		if same := is[field].ID == was[field].ID; same == (field == "raw") {
			t.Errorf("%s: the id is the same: %v", field, same)
		}
	}
}

// Processes that start at the same time make the topics together.
func TestEnsureTogether(t *testing.T) {
	addrs := fake(t, 1).ListenAddrs()
	var wg sync.WaitGroup
	results := make([]map[string]kafka.Topic, 4)
	for i := range results {
		c := open(t, options(addrs))
		wg.Go(func() {
			var err error
			if results[i], err = c.Ensure(deadline(t)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, r := range results {
		if r["raw"] != results[0]["raw"] {
			t.Errorf("%v and %v", r, results[0])
		}
	}
}

func TestEnsureNamesTheCommandWhereItMayNotMake(t *testing.T) {
	addrs := fake(t, 1).ListenAddrs()
	_, err := open(t, options(addrs, func(o *kafka.Options) { o.Replication = 3 })).Ensure(deadline(t))
	if err == nil || !strings.Contains(err.Error(), "kafka-topics.sh --bootstrap-server "+addrs[0]+" --create --topic events.raw --partitions 4 --replication-factor 3") ||
		!strings.Contains(err.Error(), "--config cleanup.policy=delete") {
		t.Error(err)
	}
}

func TestOpenSaysWhoDoesNotAnswer(t *testing.T) {
	start := time.Now()
	_, err := kafka.Open(context.Background(), options([]string{"127.0.0.1:1"}, func(o *kafka.Options) { o.ConnectTimeout = time.Second }))
	if err == nil || !strings.Contains(err.Error(), "no answer from 127.0.0.1:1") || time.Since(start) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

// alter sets settings of a topic, as pairs of name and value.
func alter(t *testing.T, addrs []string, topic string, pairs ...string) {
	t.Helper()
	var configs []kadm.AlterConfig
	for i := 0; i < len(pairs); i += 2 {
		configs = append(configs, kadm.AlterConfig{Name: pairs[i], Value: &pairs[i+1]})
	}
	done, err := admin(t, addrs).AlterTopicConfigs(deadline(t), configs, topic)
	if err == nil {
		_, err = done.On(topic, func(r *kadm.AlterConfigsResponse) error { return r.Err })
	}
	if err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { // brokers come to know it a moment later
		found, err := admin(t, addrs).DescribeTopicConfigs(deadline(t), topic)
		if err != nil || len(found) != 1 || found[0].Err != nil {
			t.Fatal(err, found)
		}
		for i := 0; i < len(pairs); i += 2 {
			if !slices.ContainsFunc(found[0].Configs, func(c kadm.Config) bool { return c.Key == pairs[i] && c.MaybeValue() == pairs[i+1] }) {
				return false
			}
		}
		return true
	})
}

// remake deletes a topic and makes it anew.
func remake(t *testing.T, addrs []string, partitions int32, topic string, settings map[string]string) {
	t.Helper()
	remove(t, addrs, topic)
	configs := map[string]*string{}
	for name, value := range settings {
		configs[name] = &value
	}
	if _, err := admin(t, addrs).CreateTopic(deadline(t), partitions, 3, configs, topic); err != nil {
		t.Fatal(err)
	}
}

// remove deletes a topic and waits for as long as a client may have seen it a moment ago.
func remove(t *testing.T, addrs []string, topic string) {
	t.Helper()
	if _, err := admin(t, addrs).DeleteTopic(deadline(t), topic); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
}

// A broker that has not heard of a topic yet, which was made a moment ago through another one, is asked again.
func TestEnsureAsksAgain(t *testing.T) {
	cluster := fake(t, 3)
	var refused atomic.Int64
	cluster.ControlKey(int16(kmsg.DescribeConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if refused.Add(1) > 4 {
			return nil, nil, false
		}
		cluster.KeepControl()
		resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
		for _, r := range req.(*kmsg.DescribeConfigsRequest).Resources {
			one := kmsg.NewDescribeConfigsResponseResource()
			one.ErrorCode, one.ResourceType, one.ResourceName = kerr.UnknownTopicOrPartition.Code, r.ResourceType, r.ResourceName
			resp.Resources = append(resp.Resources, one)
		}
		return resp, nil, true
	})
	if _, err := open(t, options(cluster.ListenAddrs())).Ensure(deadline(t)); err != nil || refused.Load() < 4 {
		t.Errorf("refused %d times: %v", refused.Load(), err)
	}
}
