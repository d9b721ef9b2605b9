package embedded_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/brokertest"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/disk"
)

func TestConformance(t *testing.T) {
	brokertest.Run(t, func(t *testing.T) brokertest.Harness {
		mem := vfs.NewCrashableMem()
		rng := rand.New(rand.NewPCG(1, 1))
		var open *embedded.Log
		t.Cleanup(func() {
			if open != nil {
				open.Close()
			}
		})
		return brokertest.Harness{
			Open: func(t *testing.T) brokertest.Broker {
				var err error
				open, err = embedded.Open("data", embedded.Options{FS: disk.New(mem, nil), CacheBytes: 1 << 20, SegmentBytes: 512})
				if err != nil {
					t.Fatal(err)
				}
				return adapter{open}
			},
			Crash: func(t *testing.T) {
				survived := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
				open.Close()
				mem = survived
			},
			Fenced: func(err error) bool { return errors.Is(err, broker.ErrFenced) },
		}
	})
}

// adapter gives the embedded log the shape of the suite.
type adapter struct{ log *embedded.Log }

func (b adapter) Append(ctx context.Context, records []brokertest.Record) ([]int64, error) {
	var batch journal.Batch
	for _, r := range records {
		batch.Add(r.Partition, r.Key, r.Value)
	}
	first, err := b.log.AppendRaw(ctx, &batch)
	offsets := make([]int64, len(records))
	for i := range offsets {
		offsets[i] = first + int64(i)
	}
	return offsets, err
}

func (b adapter) Read(ctx context.Context, from int64) ([]brokertest.Record, error) {
	r := b.log.ReadRaw(from)
	defer r.Close()
	raw, err := r.Next(ctx, nil, 1<<20)
	var out []brokertest.Record
	for _, x := range raw {
		out = append(out, brokertest.Record{Partition: x.Partition, Offset: x.Offset, Key: x.Key, Value: x.Value})
	}
	return out, err
}

func (b adapter) Latest(key []byte) (brokertest.Record, bool, error) {
	r, ok, err := b.log.Latest(freshet.TopicSync, key, nil)
	return brokertest.Record{Offset: r.Offset, Key: r.Key, Value: r.Value}, ok, err
}

func (b adapter) Scan(from int64, yield func(brokertest.Record) error) error {
	return b.log.ReadLatest(freshet.TopicSync, from, func(r embedded.Record) error {
		return yield(brokertest.Record{Offset: r.Offset, Key: r.Key, Value: r.Value})
	})
}

func (b adapter) Join(group string) brokertest.Member { return b.log.Join(group) }

func (b adapter) Position(group string) (int64, error) {
	return b.log.Position(group, freshet.TopicRaw, 0)
}

func (b adapter) Begin() brokertest.Txn { return txn{b.log.State.Begin()} }

type txn struct{ tx *embedded.Txn }

func (t txn) Put(key, value []byte) error {
	err := t.tx.Put(freshet.TopicSync, key, value)
	return err
}

func (t txn) Move(m brokertest.Member, next int64) error {
	return t.tx.Move(m.(broker.Member), freshet.TopicRaw, 0, next)
}

func (t txn) Commit() error { return t.tx.Commit() }
func (t txn) Abort()        { t.tx.Abort() }
