package kafka_test

import (
	"context"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/brokertest"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/wire"
)

// owner is a process that owns a partition of a log, with a copy on a disk of its own.
type owner struct {
	t        *testing.T
	client   *kafka.Client
	fs       *vfs.MemFS
	state    *embedded.State
	commands *kafka.Appender
	copy     *kafka.Copy
	commits  *kafka.Committer
	*kafka.Partition
	ended sync.Once
}

func own(t *testing.T, o kafka.Options, fs *vfs.MemFS) *owner { return ownPartition(t, o, fs, 0) }

func ownPartition(t *testing.T, o kafka.Options, fs *vfs.MemFS, partition int32) *owner {
	t.Helper()
	w := candidate(t, o, fs)
	if err := w.take(partition, time.Minute); err != nil {
		t.Fatal(err)
	}
	return w
}

// candidate is an owner before it takes a partition.
func candidate(t *testing.T, o kafka.Options, fs *vfs.MemFS) *owner {
	t.Helper()
	w := &owner{t: t, client: open(t, o), fs: fs}
	w.state = openCopy(t, fs)
	var err error
	if w.commands, err = w.client.NewAppender(w.client.Options().Topics.Keyed); err != nil {
		t.Fatal(err)
	}
	deliver := func(context.Context, int32, kafka.Taken) error { return nil }
	w.copy = kafka.NewCopy(w.state, w.client.Options().Topics, deliver)
	w.commits = w.client.NewCommitter(w.copy, w.commands)
	t.Cleanup(w.close)
	return w
}

func (w *owner) take(partition int32, patience time.Duration) (err error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	w.Partition, err = w.commits.Own(ctx, partition)
	return err
}

// openCopy opens the state of a copy on a disk.
func openCopy(t *testing.T, fs vfs.FS) *embedded.State {
	t.Helper()
	state, err := embedded.OpenCopy("copy", "kafka", freshet.LogID{1}, embedded.Options{FS: disk.New(fs, nil), CacheBytes: 1 << 20, Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func (w *owner) close() {
	w.ended.Do(func() {
		if w.Partition != nil {
			w.Partition.Close()
		}
		w.commits.Close()
		w.commands.Close()
		w.client.Close()
		if err := w.state.CloseCopy(); err != nil {
			w.t.Error(err)
		}
	})
}

// The suite of all logs, against Kafka. A crash may cost the copy what was not durable, or all of it.
func TestConformance(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		n := 0
		brokertest.Run(t, func(t *testing.T) brokertest.Harness {
			n++
			o := o
			o.Partitions, o.Group, o.Topics.Prefix = 1, o.Group+strconv.Itoa(n), o.Topics.Prefix+strconv.Itoa(n)
			if _, err := open(t, o).Ensure(deadline(t)); err != nil {
				t.Fatal(err)
			}
			if n%2 == 0 {
				o.SyncFormat = kafka.SyncJSON
			}
			rng := rand.New(rand.NewPCG(uint64(n), 0))
			mem := vfs.NewCrashableMem()
			var b *adapter
			return brokertest.Harness{
				Open: func(t *testing.T) brokertest.Broker {
					b = &adapter{owner: own(t, o, mem), options: o}
					return b
				},
				Crash: func(t *testing.T) {
					if mem = b.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng}); rng.IntN(3) == 0 {
						mem = vfs.NewCrashableMem() // a new machine
					}
				},
				Fenced: func(err error) bool { return errors.Is(err, broker.ErrFenced) },
				Group:  "process",
			}
		})
	})
}

// adapter gives the owner of a partition the shape of the suite.
type adapter struct {
	*owner
	options kafka.Options
	joined  bool
}

const headerPartition = "partition" // of the suite's records: the log has one

func (b *adapter) Append(ctx context.Context, records []brokertest.Record) ([]int64, error) {
	var list []kafka.Record
	for _, r := range records {
		list = append(list, kafka.Record{Key: r.Key, Value: r.Value, Headers: []kafka.Header{{Name: headerPartition, Value: []byte{byte(r.Partition)}}}})
	}
	positions, err := b.commands.Append(ctx, list)
	var offsets []int64
	for _, p := range positions {
		offsets = append(offsets, p.Offset)
	}
	return offsets, err
}

func (b *adapter) Read(ctx context.Context, from int64) ([]brokertest.Record, error) {
	r := b.ReadRaw(from)
	defer r.Close()
	raw, err := r.Next(ctx, nil, 1<<20)
	var out []brokertest.Record
	for _, x := range raw {
		out = append(out, brokertest.Record{Partition: int32(x.Headers[0].Value[0]), Offset: x.Offset, Key: x.Key, Value: x.Value})
	}
	return out, err
}

func (b *adapter) Latest(key []byte) (brokertest.Record, bool, error) {
	r, ok, err := b.Partition.Latest(freshet.TopicSync, entityKey(key), nil)
	if err != nil || !ok {
		return brokertest.Record{}, ok, err
	}
	out, err := suiteRecord(r)
	return out, ok, err
}

func (b *adapter) Scan(from int64, yield func(brokertest.Record) error) error {
	return b.state.ReadLatest(freshet.TopicSync, from, func(r embedded.Record) error {
		out, err := suiteRecord(r)
		if err != nil {
			return err
		}
		return yield(out)
	})
}

// entityKey is the key of an entity for a key of the suite: vector.sync takes no others.
func entityKey(key []byte) []byte { return hex.AppendEncode([]byte("e"), key) }

// suiteRecord is a record as the suite has put it.
func suiteRecord(r broker.Record) (out brokertest.Record, err error) {
	key, err := wire.ParseKey(r.Key)
	if err != nil {
		return out, err
	}
	c, err := wire.DecodeChange(key, r.Value, wire.Head)
	if err != nil {
		return out, err
	}
	out.Key, err = hex.DecodeString(key.Entity[1:])
	out.Offset, out.Value = r.Offset, []byte(c.Text)
	return out, err
}

// member is an owner.
type member struct{ p *kafka.Partition }

// Join is another process that takes the partition; the first one is there already.
func (b *adapter) Join(string) brokertest.Member {
	if b.joined {
		b.owner = own(b.t, b.options, vfs.NewCrashableMem())
	}
	b.joined = true
	return member{b.Partition}
}

func (b *adapter) Position(group string) (int64, error) { return b.Partition.Position(group, "", 0) }

func (b *adapter) Begin() brokertest.Txn { return txn{b.Partition.Begin()} }

type txn struct{ broker.Txn }

func (t txn) Put(key, value []byte) error {
	c := freshet.Change{Op: freshet.OpUpsert, Version: freshet.Version{Epoch: 1}, Text: string(value)}
	return t.Txn.Put(freshet.TopicSync, entityKey(key), wire.AppendChange(nil, &c))
}

func (t txn) Move(m brokertest.Member, next int64) error {
	return t.Txn.Move(broker.Member{Group: "process"}, freshet.TopicRaw, 0, next)
}
