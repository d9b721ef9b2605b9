package kafka

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/freshet-io/freshet"
)

// Options are the settings of a connection to a cluster. The zero value of a field means its default.
type Options struct {
	Brokers  []string // HOST:PORT of one at least; the others are found through it
	ClientID string   // what brokers log and count by. Default "freshet"
	// Group is the consumer group that shares the partitions among processes, and the prefix of their transactional ids.
	// Default "freshet". Two freshets in one cluster have groups and topics of their own.
	Group  string
	Topics Topics

	Partitions  int // of every topic but control; default 16
	Replication int // of topics; default 3, or the number of brokers where there are fewer
	MinInSync   int // min.insync.replicas; default 2 where Replication is 3 or more, else 1
	// RawRetention is how long events.raw and events.keyed are kept. Default 7 days; Forever.
	RawRetention time.Duration
	// RawBytes is how much of events.raw, and of events.keyed, is kept at most, over all partitions. Default: only RawRetention counts.
	RawBytes int64
	// SyncDeleteRetention is how long a deletion is kept in the compacted topics for readers that are behind. Default 7 days.
	SyncDeleteRetention time.Duration
	// Delivery is how owners commit: DeliveryTransactional, the default, or DeliveryIdempotent.
	Delivery string
	// SyncFormat is the form in which values of vector.sync are written: SyncBinary, the default, or SyncJSON for consumers that know
	// nothing of freshet. Both are read, whatever is set.
	SyncFormat string
	// MixedWriters says what is done about records of vector.sync whose collection another one writes: MixedRefuse, the default, or MixedIgnore.
	MixedWriters string
	// Compression is how batches of records are compressed: CompressAuto, the default, CompressNone, CompressSnappy, CompressLz4 or CompressZstd.
	Compression string
	// MaxRecordBytes is the largest record, and the largest batch of them. Default 16 MiB.
	MaxRecordBytes int

	TLS  *TLS  // nil means a connection that is not encrypted
	SASL *SASL // nil means no authentication, or that of TLS

	Rack       string // where this process is; reads go to a replica there if the brokers select replicas by rack
	InstanceID string // of this process, for static membership: a restart within SessionTimeout moves no partition
	// SessionTimeout is how long a process that is not heard of keeps its partitions. Default 6 s, the least that brokers allow by default.
	SessionTimeout time.Duration

	// ConnectTimeout bounds Open and Ensure. Default 30 s.
	ConnectTimeout time.Duration
	// DeliveryTimeout is how long an append tries. Default 30 s.
	DeliveryTimeout time.Duration
	// AppendBytes is what may wait in an Appender; more is refused. Default 64 MiB.
	AppendBytes int64
	// FetchBytes is what a Reader asks of a broker at once, compressed as the records are; it holds one answer of each. A SharedReader leaves a
	// partition out when as much of it waits, in memory, for who reads it. Default 8 MiB.
	FetchBytes int

	Logger *slog.Logger // default slog.Default()
}

// Topics are the names of the topics, each after Prefix.
type Topics struct {
	Prefix   string
	Raw      string // default events.raw
	Keyed    string // default events.keyed
	Sync     string // default vector.sync
	Dead     string // default vector.sync.dlq
	State    string // default freshet.state
	Control  string // default freshet.control
	Requests string // default embeddings.requests
	Results  string // default embeddings.results
}

// Forever is a RawRetention without end.
const Forever time.Duration = math.MaxInt64

// Defaults of Options.
const (
	DefaultGroup               = "freshet"
	DefaultPartitions          = 16
	DefaultReplication         = 3 // or the number of brokers
	DefaultRawRetention        = 7 * 24 * time.Hour
	DefaultSyncDeleteRetention = 7 * 24 * time.Hour
	DefaultMaxRecordBytes      = 16 << 20
	DefaultSessionTimeout      = 6 * time.Second
)

// Bounds of Options.
const (
	maxPartitions     = 1 << 15
	minRecordBytes    = 1 << 20
	maxRecordBytes    = 64 << 20 // a request of 100 MiB is the most that brokers take by default
	minSessionTimeout = time.Second
	maxSessionTimeout = 30 * time.Minute
)

// Resolved returns the full names of the topics, with an empty Prefix.
func (t Topics) Resolved() Topics {
	name := func(given, def string) string { return t.Prefix + cmp.Or(given, def) }
	return Topics{
		Raw:      name(t.Raw, freshet.TopicRaw),
		Keyed:    name(t.Keyed, freshet.TopicKeyed),
		Sync:     name(t.Sync, freshet.TopicSync),
		Dead:     name(t.Dead, freshet.TopicDead),
		State:    name(t.State, freshet.TopicState),
		Control:  name(t.Control, freshet.TopicControl),
		Requests: name(t.Requests, freshet.TopicRequests),
		Results:  name(t.Results, freshet.TopicResults),
	}
}

// copied are those that a partition's owner writes, and of which every node has a copy.
func (t Topics) copied() []string { return []string{t.Sync, t.State, t.Dead} }

// named are the names with the fields that they come from.
func (t Topics) named() []struct{ field, name string } {
	return []struct{ field, name string }{{"topics.raw", t.Raw}, {"topics.keyed", t.Keyed}, {"topics.sync", t.Sync},
		{"topics.dead", t.Dead}, {"topics.state", t.State}, {"topics.control", t.Control},
		{"topics.requests", t.Requests}, {"topics.results", t.Results}}
}

// withDefaults fills in what does not depend on the cluster: Replication and MinInSync may stay 0.
func (o Options) withDefaults() Options {
	def := func(v *time.Duration, d time.Duration) { *v = cmp.Or(*v, d) }
	o.ClientID = cmp.Or(o.ClientID, "freshet")
	o.Group = cmp.Or(o.Group, DefaultGroup)
	o.Topics = o.Topics.Resolved()
	o.Partitions = cmp.Or(o.Partitions, DefaultPartitions)
	def(&o.RawRetention, DefaultRawRetention)
	def(&o.SyncDeleteRetention, DefaultSyncDeleteRetention)
	o.Delivery = cmp.Or(o.Delivery, DeliveryTransactional)
	o.SyncFormat, o.MixedWriters = cmp.Or(o.SyncFormat, SyncBinary), cmp.Or(o.MixedWriters, MixedRefuse)
	o.Compression = cmp.Or(o.Compression, CompressAuto)
	o.MaxRecordBytes = cmp.Or(o.MaxRecordBytes, DefaultMaxRecordBytes)
	def(&o.SessionTimeout, DefaultSessionTimeout)
	def(&o.ConnectTimeout, 30*time.Second)
	def(&o.DeliveryTimeout, 30*time.Second)
	o.AppendBytes = cmp.Or(o.AppendBytes, 64<<20)
	o.FetchBytes = cmp.Or(o.FetchBytes, 8<<20)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// withCluster fills in what depends on the number of brokers.
func (o Options) withCluster(brokers int) Options {
	o.Replication = cmp.Or(o.Replication, min(DefaultReplication, brokers))
	if o.MinInSync == 0 {
		o.MinInSync = 1
		if o.Replication >= 3 {
			o.MinInSync = 2
		}
	}
	return o
}

// legalName is what Kafka takes as the name of a topic or an instance.
var legalName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

const nameRemedy = "use 1 to 249 letters, digits, dots, underscores and hyphens"

// Validate checks what can be checked without a connection and without reading files. An error names the first field at fault, its
// value and the remedy.
func (o Options) Validate() error {
	if err := o.validateNames(); err != nil {
		return err
	}
	if d := o.Delivery; d != "" && d != DeliveryTransactional && d != DeliveryIdempotent {
		return fmt.Errorf("delivery: %q is not known; use %s or %s", d, DeliveryTransactional, DeliveryIdempotent)
	}
	if f := o.SyncFormat; f != "" && f != SyncBinary && f != SyncJSON {
		return fmt.Errorf("sync_format: %q is not known; use %q or %q", f, SyncBinary, SyncJSON)
	}
	if m := o.MixedWriters; m != "" && m != MixedRefuse && m != MixedIgnore {
		return fmt.Errorf("mixed_writers: %q is not known; use %q or %q", m, MixedRefuse, MixedIgnore)
	}
	if _, ok := compressions[o.Compression]; !ok && o.Compression != "" && o.Compression != CompressAuto {
		return fmt.Errorf("compression: %q is not known; use %q, %q, %q, %q or %q", o.Compression, CompressAuto, CompressNone, CompressSnappy, CompressLz4, CompressZstd)
	}
	if o.MinInSync > 0 && o.Replication > 0 && o.MinInSync > o.Replication {
		return fmt.Errorf("min_insync: %d is more than replication %d, so nothing could be written; give at most that", o.MinInSync, o.Replication)
	}
	for _, n := range []struct {
		field     string
		is        int64
		low, high int64
	}{
		{"partitions", int64(o.Partitions), 1, maxPartitions},
		{"replication", int64(o.Replication), 1, math.MaxInt16},
		{"min_insync", int64(o.MinInSync), 1, math.MaxInt16},
		{"raw_bytes", o.RawBytes, 1, math.MaxInt64},
		{"max_record_bytes", int64(o.MaxRecordBytes), minRecordBytes, maxRecordBytes},
		{"append_bytes", o.AppendBytes, 1, math.MaxInt64},
		{"fetch_bytes", int64(o.FetchBytes), 1, maxRecordBytes},
	} {
		if n.is != 0 && (n.is < n.low || n.is > n.high) {
			return fmt.Errorf("%s: %d is out of range; give %d to %d, or leave it out", n.field, n.is, n.low, n.high)
		}
	}
	for _, d := range []struct {
		field     string
		is        time.Duration
		low, high time.Duration
	}{
		{"raw_retention", o.RawRetention, time.Millisecond, Forever},
		{"sync_delete_retention", o.SyncDeleteRetention, time.Millisecond, math.MaxInt64 - 1},
		{"session_timeout", o.SessionTimeout, minSessionTimeout, maxSessionTimeout},
		{"connect_timeout", o.ConnectTimeout, time.Millisecond, time.Hour},
		{"delivery_timeout", o.DeliveryTimeout, time.Second, time.Hour},
	} {
		if d.is != 0 && (d.is < d.low || d.is > d.high) {
			return fmt.Errorf("%s: %v is out of range; give %v to %v, or leave it out", d.field, d.is, d.low, d.high)
		}
	}
	return errors.Join(o.TLS.validate(), o.SASL.validate())
}

func (o Options) validateNames() error {
	if len(o.Brokers) == 0 {
		return errors.New("brokers: is empty; name one at least, as HOST:PORT")
	}
	for i, b := range o.Brokers {
		host, port, err := net.SplitHostPort(b)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || n == 0 {
			return fmt.Errorf("brokers[%d]: %q is no HOST:PORT; write it like kafka-1:9092", i, b)
		}
	}
	if o.InstanceID != "" && !legalName.MatchString(o.InstanceID) {
		return fmt.Errorf("instance_id: %q is no name in Kafka; %s", o.InstanceID, nameRemedy)
	}
	for _, n := range []struct{ field, is string }{{"client_id", o.ClientID}, {"group", o.Group}, {"rack", o.Rack}} {
		if len(n.is) > 249 || strings.ContainsFunc(n.is, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return fmt.Errorf("%s: %q has control characters or is longer than 249 bytes; give another", n.field, n.is)
		}
	}
	used := map[string]string{}
	for _, n := range o.Topics.Resolved().named() {
		if !legalName.MatchString(n.name) || n.name == "." || n.name == ".." {
			return fmt.Errorf("%s: %q is no name of a topic in Kafka; %s", n.field, n.name, nameRemedy)
		}
		if other, twice := used[n.name]; twice {
			return fmt.Errorf("%s: %q is the name of %s too; give each topic a name of its own", n.field, n.name, other)
		}
		used[n.name] = n.field
	}
	return nil
}
