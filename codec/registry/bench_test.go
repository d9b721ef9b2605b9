package registry_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/freshet-io/freshet/codec"
)

// An event of the seed's shape, and an envelope of Debezium with its key, as events.raw has them.
func BenchmarkDecode(b *testing.B) {
	s := newServer(b)
	const keySchema = `{"type":"record","name":"Key","fields":[{"name":"id","type":"long"}]}`
	key := framed(s.add(sr.TypeAvro, keySchema), encodeAvro(b, keySchema, map[string]any{"id": 7})...)
	event := framed(s.add(sr.TypeAvro, seedAvro), encodeAvro(b, seedAvro, map[string]any{"event_id": "e1", "entity_id": "product-1004", "timestamp": 1700000000123,
		"payload": map[string]any{"Payload": map[string]any{"text": "red cotton shirt with short sleeves, for the summer", "price": "19.90"}}})...)
	row := framed(s.add(sr.TypeAvro, envelope), encodeAvro(b, envelope, map[string]any{"op": "u", "after": map[string]any{"id": 7, "title": "red shoes", "price": "19.90",
		"rate": nil, "made": 1700000000123456, "day": 19000, "seen": 1000, "attributes": `{"a": [1]}`, "picture": nil, "tags": []any{"x"}},
		"source": map[string]any{"connector": "postgresql", "name": "shop", "ts_ms": 1700000000000, "db": "shop", "schema": "public", "table": "products", "txId": 5, "lsn": 99}})...)
	for _, c := range []struct {
		name string
		raw  []byte
		d    interface{ Decode([]byte) ([]byte, error) }
	}{
		{"event", codec.AppendFrame(nil, []byte("product-1004"), event), s.open(b, events)},
		{"object", event, s.open(b, objects)},
		{"row", codec.AppendFrame(nil, key, row), s.open(b, rows)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.d.Decode(c.raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
