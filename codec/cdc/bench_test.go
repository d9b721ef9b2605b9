package cdc_test

import (
	"testing"

	"github.com/freshet-io/freshet/codec/cdc"
)

// BenchmarkDecode reads an event of Debezium, with its schema and without.
func BenchmarkDecode(b *testing.B) {
	const row = `{"id":1004,"first_name":"Anne","last_name":"Kretchmar","email":"annek@noanswer.org","born":6000,"balance":"AN0="}`
	const value = `{"op":"u","before":` + row + `,"after":` + row + `,` + mysql + `}`
	const columns = `{"type":"int32","field":"id"},{"type":"string","field":"first_name"},{"type":"string","field":"last_name"},{"type":"string","field":"email"},` +
		`{"type":"int32","name":"io.debezium.time.Date","field":"born"},{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"},"field":"balance"}`
	for name, event := range map[string]string{"plain": value,
		"schema": `{"schema":{"type":"struct","fields":[{"type":"struct","fields":[` + columns + `],"field":"before"},{"type":"struct","fields":[` + columns + `],"field":"after"}]},"payload":` + value + `}`} {
		b.Run(name, func(b *testing.B) {
			d := newDecoder(b, cdc.Options{Format: cdc.Debezium, Key: []string{"id"}})
			b.SetBytes(int64(len(event)))
			b.ReportAllocs()
			for b.Loop() {
				if rows, err := d.Decode([]byte(event)); err != nil || len(rows) != 1 {
					b.Fatal(rows, err)
				}
			}
		})
	}
}
