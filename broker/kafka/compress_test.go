package kafka_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/wire"
)

// What is worth it is compressed, what is not is left as it is, and all of it is read as it was.
func TestCompression(t *testing.T) {
	text := []byte(`{"entity_id":"a","payload":{"text":"` + strings.Repeat("The tide comes in, and goes out again. ", 500) + `"}}`)
	vector := make([]float32, 1024)
	numbers := []string{}
	for i := range vector {
		vector[i] = float32(rand.NormFloat64())
		numbers = append(numbers, fmt.Sprint(vector[i]))
	}
	list := []byte(`{"entity_id":"a","payload":{"text":"The tide comes in."},"vector":[` + strings.Join(numbers, ",") + `]}`)
	binary := wire.AppendChange(nil, &freshet.Change{Points: []freshet.Point{{Vector: vector}}})
	const none, snappy, lz4, zstd, either = 0, 2, 3, 4, 99 // by chance it is a few bytes smaller
	cases := []struct {
		compression          string
		text, numbers, bytes uint8
	}{
		{"", snappy, none, none},
		{kafka.CompressNone, none, none, none},
		{kafka.CompressSnappy, snappy, snappy, either},
		{kafka.CompressLz4, lz4, lz4, either},
		{kafka.CompressZstd, zstd, zstd, either},
	}
	clusters(t, func(t *testing.T, o kafka.Options) {
		for i, k := range cases {
			o := o
			o.Partitions, o.Compression = len(cases), k.compression
			if i == 0 {
				if _, err := open(t, o).Ensure(deadline(t)); err != nil {
					t.Fatal(err)
				}
			}
			c := open(t, o)
			a, err := c.NewAppender(c.Options().Topics.Raw)
			if err != nil {
				t.Fatal(err)
			}
			values := [][]byte{text, list, binary, []byte("short")}
			for _, v := range values {
				if _, err := a.Append(deadline(t), []kafka.Record{{Partition: int32(i), Value: v}}); err != nil {
					t.Fatal(err)
				}
			}
			a.Close()
			reader, err := kgo.NewClient(kgo.SeedBrokers(o.Brokers...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{c.Options().Topics.Raw: {int32(i): kgo.NewOffset().AtStart()}}))
			if err != nil {
				t.Fatal(err)
			}
			var got []*kgo.Record
			for len(got) < len(values) {
				fetches := reader.PollFetches(deadline(t))
				if err := fetches.Err(); err != nil {
					t.Fatal(err)
				}
				got = append(got, fetches.Records()...)
			}
			reader.Close()
			for n, want := range []uint8{k.text, k.numbers, k.bytes, none} {
				if is := got[n].Attrs.CompressionType(); is != want && want != either || string(got[n].Value) != string(values[n]) {
					t.Errorf("compression %q, value %d: codec %d, want %d; %d of %d bytes", k.compression, n, is, want, len(got[n].Value), len(values[n]))
				}
			}
		}
	})
}
