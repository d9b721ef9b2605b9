package kafka_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/wire"
)

// What an owner hands on to another partition is there once its transaction is, and never without it; what it hands on again is
// decided once.
func TestForwardToAnotherPartition(t *testing.T) {
	clusters(t, func(t *testing.T, o kafka.Options) {
		o.Partitions = 2
		if _, err := open(t, o).Ensure(deadline(t)); err != nil {
			t.Fatal(err)
		}
		key := freshet.Key{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace, Entity: "a"}
		there := wire.Partition(key, 2)
		here := 1 - there
		forward := func(w *owner, from int64, piece int, value string) error {
			tx := w.Begin()
			err := tx.(broker.Forwarder).Forward(key, from, piece, kafka.Record{Value: []byte(value), Headers: []kafka.Header{{Name: "h", Value: []byte("v")}}})
			return errors.Join(err, tx.Commit())
		}
		zombie := ownPartition(t, o, vfs.NewCrashableMem(), here)
		if err := forward(zombie, 5, 1, "first"); err != nil {
			t.Fatal(err)
		}
		w := ownPartition(t, o, vfs.NewCrashableMem(), here)
		if err := forward(zombie, 5, 2, "of a zombie"); !errors.Is(err, broker.ErrFenced) {
			t.Errorf("a zombie hands on: %v", err)
		}
		for _, f := range []struct {
			from  int64
			piece int
			value string
		}{{5, 1, "again"}, {5, 2, "second"}, {4, 9, "again"}, {6, 1, "third"}} {
			if err := forward(w, f.from, f.piece, f.value); err != nil {
				t.Fatal(err)
			}
		}
		other := ownPartition(t, o, vfs.NewCrashableMem(), there)
		reader := other.ReadRawAs(other.Join("process"), 0)
		defer reader.Close()
		var got []string
		for len(got) < 3 {
			records, err := reader.Next(deadline(t), nil, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range records {
				if r.Partition != there || r.Headers[0].Name != "h" {
					t.Errorf("%+v", r)
				}
				got = append(got, string(r.Value))
			}
		}
		if !slices.Equal(got, []string{"first", "second", "third"}) {
			t.Errorf("the other partition has %q", got)
		}
		if r := other.RawEnd(); r > reader.Offset() {
			t.Errorf("the partition ends at %d, the reader stands at %d", r, reader.Offset())
		}
	})
}
