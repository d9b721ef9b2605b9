package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet"
)

// Client is a connection to a cluster, for what belongs to no single reader or writer: topics and
// offsets. Readers and appenders that it makes have connections of their own, which are closed by
// themselves. All methods are safe for concurrent use.
type Client struct {
	opts  Options // with all defaults
	kgo   *kgo.Client
	admin *kadm.Client
	// What the log says of itself; Identity sets it, before anything reads or writes.
	shifts []int64         // see shift
	split  bool            // vector.sync may have records that were taken to other partitions since
	former []freshet.LogID // identities that the log had before
	// written is beside every record of vector.sync that this client writes.
	written []kgo.RecordHeader
}

// Open connects to a cluster. It tries until one of the brokers answers, for opts.ConnectTimeout at most; what trying again does not
// mend (a password, a certificate) it returns at once.
func Open(ctx context.Context, opts Options) (*Client, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	c := &Client{opts: opts.withDefaults()}
	c.written = []kgo.RecordHeader{{Key: headerWriter, Value: []byte(c.opts.Group)}}
	var err error
	if c.kgo, err = c.connect(kgo.MetadataMinAge(metadataCached)); err != nil {
		return nil, err
	}
	c.admin = kadm.NewClient(c.kgo)
	ctx, cancel := context.WithTimeout(ctx, c.opts.ConnectTimeout)
	defer cancel()
	if err := c.reach(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close ends the connection.
func (c *Client) Close() { c.kgo.Close() }

// Options are those in force, with all defaults: the names of topics are in full.
func (c *Client) Options() Options { return c.opts }

// metadataCached is how old an answer about topics may be, the least that franz-go takes.
const metadataCached = 10 * time.Millisecond

// Waits between tries.
const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = time.Second
)

// backoff is how long to wait after a number of failures: it doubles, with a jitter of a fifth.
func backoff(failures int) time.Duration {
	d := maxBackoff
	if failures = max(failures, 1); failures < 6 {
		d = min(d, minBackoff<<(failures-1))
	}
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// reach waits for a broker and counts the brokers there are.
func (c *Client) reach(ctx context.Context) error {
	for failures := 1; ; failures++ {
		brokers, err := c.admin.ListBrokers(ctx)
		if err == nil && len(brokers) > 0 {
			c.opts = c.opts.withCluster(len(brokers))
			return nil
		}
		if err == nil {
			err = errors.New("it knows no broker")
		}
		if permanent(err) || !sleep(ctx, backoff(failures)) {
			return fmt.Errorf("kafka: brokers: no answer from %s: %w; see that the cluster runs, that the addresses are those of its listeners, "+
				"and that tls and sasl are as they want it", strings.Join(c.opts.Brokers, ", "), err)
		}
	}
}

// permanent reports whether trying again does not mend an error of a connection.
func permanent(err error) bool {
	return errors.Is(err, kerr.SaslAuthenticationFailed) || errors.Is(err, kerr.UnsupportedSaslMechanism) ||
		errors.Is(err, kerr.IllegalSaslState) || errors.Is(err, kerr.ClusterAuthorizationFailed) ||
		errors.Is(err, errAuthentication) || strings.Contains(err.Error(), "x509:") || strings.Contains(err.Error(), "tls: ")
}

// Unwritten reports whether an error is that of a producer whose records brokers have refused for their numbers: nothing of its
// transaction counts, and another producer may begin again.
func Unwritten(err error) bool {
	return errors.Is(err, kerr.OutOfOrderSequenceNumber) || errors.Is(err, kerr.UnknownProducerID)
}

// sleep waits; false means that the context has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// patient asks for ConnectTimeout while brokers say that they can't answer yet, of topics that are there.
func (c *Client) patient(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.opts.ConnectTimeout)
	defer cancel()
	for failures := 1; ; failures++ {
		err := ask(ctx)
		if err == nil || !kerr.IsRetriable(err) || errors.Is(err, kerr.UnknownTopicOrPartition) || !sleep(ctx, backoff(failures)) {
			return err
		}
	}
}

// connect makes a client of franz-go. All clients are made here, so what they have in common is said once.
func (c *Client) connect(more ...kgo.Opt) (*kgo.Client, error) {
	o := c.opts
	secure, err := o.security()
	if err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	compression, err := o.compression()
	if err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	opts := append([]kgo.Opt{
		kgo.SeedBrokers(o.Brokers...),
		kgo.ClientID(o.ClientID),
		kgo.SoftwareNameAndVersion("freshet", "1"),
		kgo.WithLogger(logger{o.Logger}),
		kgo.DisableClientMetrics(),
		// A failover is noticed by refused requests; it is over as soon as the metadata name another leader.
		kgo.DialTimeout(5 * time.Second),
		// Behind a proxy or a balancer a broker that is down takes connections and closes them, as one does that wants TLS. Whether it wants
		// that shows when the first connection is opened: see reach.
		kgo.AlwaysRetryEOF(),
		kgo.RetryBackoffFn(backoff),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.MetadataMaxAge(time.Minute),
		// The largest batch, and all that is behind it in one answer.
		kgo.ProducerBatchMaxBytes(int32(o.MaxRecordBytes)),
		kgo.BrokerMaxReadBytes(maxReadBytes),
		// Readers see only what is committed, and never go on elsewhere than where they were told to.
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.Rack(o.Rack),
		kgo.RecheckPreferredReplicaInterval(recheckRack),
		compression,
		kgo.RecordPartitioner(partitioner{kgo.StickyKeyPartitioner(nil)}),
	}, secure...)
	client, err := kgo.NewClient(append(opts, more...)...)
	if err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	return client, nil
}

// recheckRack is how long a reader keeps to the replica in its rack before it asks the leader again, which knows whether the replica lives: franz-go would
// wait for a dead one for so long.
const recheckRack = 5 * time.Second

// transactional makes a producer with the transactional id of a part of the log: of those with the same id the last one counts, and
// what the one before had begun is finished or undone before it writes.
func (c *Client) transactional(part string, more ...kgo.Opt) (*kgo.Client, error) {
	return c.connect(append([]kgo.Opt{
		kgo.TransactionalID(c.opts.Group + "-" + part),
		kgo.TransactionTimeout(c.opts.DeliveryTimeout),
		kgo.RecordDeliveryTimeout(c.opts.DeliveryTimeout),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(math.MaxInt32),
	}, more...)...)
}

// transact commits records as one transaction of a transactional producer. After an error the outcome is unknown: whoever takes the id
// next finishes or undoes what there is.
func transact(ctx context.Context, producer *kgo.Client, records []*kgo.Record) error {
	if err := producer.BeginTransaction(); err != nil {
		return err
	}
	if err := producer.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return err
	}
	if err := known(ctx, producer, records); err != nil {
		return err
	}
	return producer.EndTransaction(ctx, kgo.TryCommit)
}

// known waits until a producer knows the partitions that it has written to. franz-go sends what waited for the first metadata of a topic a moment
// before it keeps them, and an EndTransaction in that moment finds no partition in the transaction: it undoes what is to be committed, and says
// that all is well.
func known(ctx context.Context, producer *kgo.Client, records []*kgo.Record) error {
	for _, r := range records {
		for {
			// Of a partition that has no leader now the epoch is known; of one that is not known yet neither is.
			if leader, epoch, _ := producer.PartitionLeader(r.Topic, r.Partition); leader >= 0 || epoch >= 0 {
				break
			}
			if !sleep(ctx, knownPause) {
				return fmt.Errorf("the partitions of %s are not known: %w", r.Topic, context.Cause(ctx))
			}
		}
	}
	return nil
}

const knownPause = 100 * time.Microsecond

// maxReadBytes is above all that a broker answers: it may exceed what was asked for by a batch.
const maxReadBytes = 256 << 20

// Ends are the offsets behind the last committed record of each partition of a topic. An open transaction holds its partition's end
// back to where it began.
func (c *Client) Ends(ctx context.Context, topic string) (map[int32]int64, error) {
	return c.offsets(ctx, topic, c.admin.ListCommittedOffsets)
}

// Starts are the offsets of the first records that each partition of a topic still has.
func (c *Client) Starts(ctx context.Context, topic string) (map[int32]int64, error) {
	return c.offsets(ctx, topic, c.admin.ListStartOffsets)
}

// offsets asks for offsets of all partitions. One whose leader is new does not know its end for a moment: it is asked again, for ConnectTimeout.
func (c *Client) offsets(ctx context.Context, topic string, list func(context.Context, ...string) (kadm.ListedOffsets, error)) (map[int32]int64, error) {
	var listed kadm.ListedOffsets
	err := c.patient(ctx, func(ctx context.Context) (err error) {
		listed, err = list(ctx, topic)
		return errors.Join(err, listed.Error())
	})
	if err != nil {
		return nil, fmt.Errorf("offsets of %s: %w", topic, err)
	}
	offsets := map[int32]int64{}
	for p, l := range listed[topic] {
		offsets[p] = l.Offset + c.shift(topic, p)
	}
	return offsets, nil
}

// closedAtOnce begins what franz-go says of a connection that is closed when it is opened.
const closedAtOnce = "read from broker received EOF"

// logger passes on what franz-go says. What it informs of is for debugging here.
type logger struct{ to *slog.Logger }

func (l logger) Level() kgo.LogLevel {
	if l.to.Enabled(context.Background(), slog.LevelDebug) {
		return kgo.LogLevelInfo
	}
	return kgo.LogLevelWarn
}

func (l logger) Log(level kgo.LogLevel, msg string, args ...any) {
	to := slog.LevelDebug
	switch {
	case level == kgo.LogLevelError:
		to = slog.LevelError
	case strings.HasPrefix(msg, closedAtOnce): // a broker behind a proxy that is down, ten times a second; what wants TLS is found when reaching for it
	case level == kgo.LogLevelWarn:
		to = slog.LevelWarn
	}
	l.to.Log(context.Background(), to, "kafka: "+msg, args...)
}
