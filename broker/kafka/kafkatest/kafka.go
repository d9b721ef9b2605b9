package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	startTimeout = 2 * time.Minute       // of one start, on a machine that does much else
	probeTimeout = 5 * time.Second       // of one request of a probe
	probePause   = 50 * time.Millisecond // between probes
	readyTopic   = "kafkatest.ready"     // has a partition for each node
)

// errPortTaken says that a port that was free a moment ago no longer is.
var errPortTaken = errors.New("another process has taken its port")

// Options of a cluster. The zero value is one node for PLAINTEXT clients.
type Options struct {
	// Nodes is how many there are, each broker and controller; 0 means 1. Topics have a replica
	// on each; with three and more, min.insync.replicas is 2.
	Nodes int
	// Protocol of the listener for clients: PLAINTEXT (""), SSL, SASL_PLAINTEXT or SASL_SSL. What
	// it needs besides is in Settings, as listener.name.client.* or for all listeners.
	Protocol string
	// Lanes is how many more listeners for clients there are, each of which can be cut off.
	Lanes int
	// Fast has the JVM compile as in production: a node is up later and faster then, for measurements.
	Fast bool
	// Settings are added to every node's server.properties, and go before this package's.
	Settings map[string]string

	jvm []string
}

// Kafka is a cluster of one or more nodes, numbered from 0: the numbers are the broker ids. Its
// methods may be called by several goroutines, but not two at once for the same node.
type Kafka struct {
	in      installation
	options Options
	nodes   []*node
	lanes   []*Lane
	admin   *kgo.Client // through the listener of the brokers, which needs no authentication
}

// Run starts a cluster whose data and logs are below dir, and waits until it serves. The caller
// closes it. Tests use Start, StartCluster or Shared.
func Run(dir string, options Options) (*Kafka, error) {
	in, err := install()
	if err != nil {
		return nil, err
	}
	return in.run(dir, options)
}

func (in installation) run(dir string, options Options) (*Kafka, error) {
	options.Nodes = max(options.Nodes, 1)
	for attempt := 0; ; attempt++ {
		k, err := in.runOnce(filepath.Join(dir, "attempt-"+strconv.Itoa(attempt)), options)
		if attempt == 3 || !errors.Is(err, errPortTaken) {
			return k, err
		}
	}
}

func (in installation) runOnce(dir string, options Options) (_ *Kafka, err error) {
	each := 3 + options.Lanes
	addrs, err := freeAddrs(each * options.Nodes)
	if err != nil {
		return nil, err
	}
	k := &Kafka{in: in, options: options}
	defer func() {
		if err != nil {
			k.Close()
		}
	}()
	for range options.Lanes {
		k.lanes = append(k.lanes, &Lane{})
	}
	var voters, all []string
	for id := range options.Nodes {
		n := &node{
			id:         id,
			dir:        filepath.Join(dir, "node-"+strconv.Itoa(id)),
			client:     addrs[each*id],
			broker:     addrs[each*id+1],
			controller: addrs[each*id+2],
			settings:   options.settings(),
		}
		for i, lane := range k.lanes {
			addr := addrs[each*id+3+i]
			p, err := newProxy(addr)
			if err != nil {
				return nil, err
			}
			lane.proxies = append(lane.proxies, p)
			n.lanes = append(n.lanes, listener{addr: addr, advertised: p.addr()})
		}
		voters = append(voters, fmt.Sprintf("%d@%s", id, n.controller))
		k.nodes = append(k.nodes, n)
		all = append(all, n.broker)
	}
	cluster := newID()
	for _, n := range k.nodes {
		n.voters = strings.Join(voters, ",")
		if err := n.format(in, cluster); err != nil {
			return nil, err
		}
	}
	k.admin, err = kgo.NewClient(kgo.SeedBrokers(all...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.RetryTimeout(probeTimeout))
	if err != nil {
		return nil, err
	}
	if err := k.Start(k.ids()...); err != nil {
		return nil, err
	}
	return k, nil
}

// settings of every node: those that Kafka recommends for production where tests rely on them,
// and waits and sizes that suit a test.
func (o Options) settings() map[string]string {
	replicas, insync := strconv.Itoa(o.Nodes), "1"
	if o.Nodes >= 3 {
		insync = "2"
	}
	s := map[string]string{
		"auto.create.topics.enable":                        "false",
		"default.replication.factor":                       replicas,
		"min.insync.replicas":                              insync,
		"offsets.topic.replication.factor":                 replicas,
		"offsets.topic.num.partitions":                     replicas,
		"transaction.state.log.replication.factor":         replicas,
		"transaction.state.log.min.isr":                    insync,
		"transaction.state.log.num.partitions":             replicas,
		"share.coordinator.state.topic.replication.factor": replicas,
		"share.coordinator.state.topic.min.isr":            insync,
		"group.initial.rebalance.delay.ms":                 "0",
		"log.cleaner.backoff.ms":                           "100",
		"log.cleaner.dedupe.buffer.size":                   "16777216", // 600,000 keys a pass
		"listener.security.protocol.map":                   "CLIENT:" + o.protocol() + ",BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
	}
	// A broker that is killed is in the cluster until its session ends; restarted, it waits for that.
	s["broker.heartbeat.interval.ms"], s["broker.session.timeout.ms"] = "500", "3000" // about as long as it takes to start
	for i := range o.Lanes {
		s["listener.security.protocol.map"] += fmt.Sprintf(",LANE%d:%s", i, o.protocol())
	}
	if o.Nodes > 1 {
		// How soon the controller gives up a leader, and the followers turn to the next one.
		s["broker.session.timeout.ms"], s["replica.fetch.backoff.ms"] = "2000", "200"
	}
	maps.Copy(s, o.Settings)
	return s
}

// Rack is where a node is: each in a rack of its own. It matters with a replica.selector.class in Options.Settings.
func Rack(id int) string { return "rack-" + strconv.Itoa(id) }

func (o Options) protocol() string {
	if o.Protocol == "" {
		return "PLAINTEXT"
	}
	return o.Protocol
}

func (o Options) heap() string {
	if o.Nodes > 1 {
		return "384m"
	}
	return "512m"
}

// Addrs are the addresses for clients, one of each node.
func (k *Kafka) Addrs() []string {
	var addrs []string
	for _, n := range k.nodes {
		addrs = append(addrs, n.client)
	}
	return addrs
}

// Admin does what an operator does, through the listener of the brokers, which needs no authentication.
func (k *Kafka) Admin() *kadm.Client { return kadm.NewClient(k.admin) }

func (k *Kafka) ids() []int {
	ids := make([]int, len(k.nodes))
	for i := range ids {
		ids[i] = i
	}
	return ids
}

// Start starts nodes that were stopped or killed, on the data that they have. It returns when they
// are back in the cluster and in sync, and, if all nodes run, when each partition takes a record.
func (k *Kafka) Start(ids ...int) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for _, id := range ids {
		if err := k.nodes[id].start(k.in, k.options); err != nil {
			return fmt.Errorf("starting node %d: %w", id, err)
		}
	}
	for _, id := range ids {
		if err := k.await(ctx, k.nodes[id]); err != nil {
			return err
		}
	}
	for _, n := range k.nodes {
		if !n.running() {
			return nil
		}
	}
	return k.awaitProduce(ctx)
}

// Kill ends a node with SIGKILL, and returns when it is gone.
func (k *Kafka) Kill(id int) { k.nodes[id].kill() }

// Stop shuts a node down in order: it hands its partitions over first.
func (k *Kafka) Stop(id int) error { return k.nodes[id].stop() }

// Close ends all nodes. It may be called again.
func (k *Kafka) Close() {
	for _, n := range k.nodes {
		n.kill()
	}
	for _, l := range k.lanes {
		for _, p := range l.proxies {
			p.close()
		}
	}
	if k.admin != nil {
		k.admin.Close()
	}
}

// Leader returns the node that leads a partition, as the others know it at the moment.
func (k *Kafka) Leader(ctx context.Context, topic string, partition int32) (int, error) {
	m, err := k.Admin().Metadata(ctx, topic)
	if err != nil {
		return 0, err
	}
	p, ok := m.Topics[topic].Partitions[partition]
	if !ok {
		return 0, fmt.Errorf("topic %s has no partition %d: %w", topic, partition, m.Topics[topic].Err)
	}
	if p.Leader < 0 {
		return 0, fmt.Errorf("partition %d of %s has no leader", partition, topic)
	}
	return int(p.Leader), nil
}

// await waits until a node that was started is a part of the cluster, and its replicas are in sync.
func (k *Kafka) await(ctx context.Context, n *node) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(n.broker), kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer client.Close()
	return k.poll(ctx, n, func(ctx context.Context) error {
		// What the node itself says: the others may still list it from before it was killed.
		resp, err := client.SeedBrokers()[0].Request(ctx, kmsg.NewPtrMetadataRequest())
		if err != nil {
			return err
		}
		m := resp.(*kmsg.MetadataResponse)
		id := int32(n.id)
		if !slices.ContainsFunc(m.Brokers, func(b kmsg.MetadataResponseBroker) bool { return b.NodeID == id }) {
			return errors.New("not a part of the cluster")
		}
		for _, topic := range m.Topics {
			for _, p := range topic.Partitions {
				if slices.Contains(p.Replicas, id) && !slices.Contains(p.ISR, id) {
					return fmt.Errorf("not in sync: partition %d of %s", p.Partition, *topic.Topic)
				}
			}
		}
		return nil
	})
}

// awaitProduce waits until a record of each partition of the ready topic is acknowledged.
func (k *Kafka) awaitProduce(ctx context.Context) error {
	admin := k.Admin()
	count := len(k.nodes)
	return k.poll(ctx, k.nodes[0], func(ctx context.Context) error {
		_, err := admin.CreateTopic(ctx, int32(count), int16(count), nil, readyTopic)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return err
		}
		var records []*kgo.Record
		for p := range count {
			records = append(records, &kgo.Record{Topic: readyTopic, Partition: int32(p), Value: []byte("ready")})
		}
		return k.admin.ProduceSync(ctx, records...).FirstErr()
	})
}

// poll repeats a probe until it succeeds. The error names the last cause and has the end of the
// node's log.
func (k *Kafka) poll(ctx context.Context, n *node, probe func(context.Context) error) error {
	for {
		once, cancel := context.WithTimeout(ctx, probeTimeout)
		err := probe(once)
		cancel()
		if err == nil {
			return nil
		}
		for _, other := range k.nodes {
			if other.exited != nil && !other.running() && (other == n || other.portTaken()) {
				return other.ended()
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("node %d is not ready: %w; its log %s ends:\n%s", n.id, err, n.serverLog(), n.logTail())
		case <-time.After(probePause):
		}
	}
}

// freeAddrs returns addresses of 127.0.0.1 that nobody listens on. Their ports are below those that
// the system gives to outgoing connections, so that a node finds its own free when it is restarted.
func freeAddrs(count int) ([]string, error) {
	const first, last, tries = 20_000, 32_000, 1000
	var addrs []string
	for range tries {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(last-first)))
		if err != nil {
			continue
		}
		defer l.Close() // when all are chosen, so that none is chosen twice
		if addrs = append(addrs, l.Addr().String()); len(addrs) == count {
			return addrs, nil
		}
	}
	return nil, fmt.Errorf("no %d free ports of 127.0.0.1 between %d and %d", count, first, last)
}
