package mapping_test

import (
	"testing"

	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/process/mapping"
)

// typical is a mapping as a shop would have it, with most of the fields.
var typical = mapping.Config{Changes: []mapping.Change{{
	When:       `event.type == "product"`,
	Collection: `"products"`,
	Namespace:  `event.tenant`,
	Entity:     `event.id`,
	EventID:    `event.event_id`,
	Delete:     `event.deleted`,
	Text:       `event.title + "\n" + event.body`,
	Metadata:   `{"price": event.price, "category": event.category}`,
	Timestamp:  `event.ts`,
}}}

const typicalEvent = `{"event_id":"e-3f2a90","type":"product","id":9007199254740993,"tenant":"eu","deleted":false,` +
	`"title":"Mauve Leather Daypack","body":"This stylish mauve leather daypack combines elegance with functionality.",` +
	`"price":149.99,"category":"accessories","style":"backpack","current_stock":15,"image":"2e852905.jpg","ts":1700000000000}`

func benchmark(b *testing.B, cfg mapping.Config, event string) {
	m, err := mapping.New(cfg, nil)
	if err != nil {
		b.Fatal(err)
	}
	r := process.Record{Source: "shop", AcceptedAt: 1700000000123, Value: []byte(event)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Map(r); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkMap(b *testing.B) { benchmark(b, typical, typicalEvent) }

func BenchmarkMapSelectOnly(b *testing.B) {
	benchmark(b, mapping.Config{Changes: []mapping.Change{{Entity: `event.id`, Text: `event.title`}}}, typicalEvent)
}

func BenchmarkMapForEach(b *testing.B) {
	event := `{"items":[`
	for i := range 10 {
		if i > 0 {
			event += ","
		}
		event += typicalEvent
	}
	benchmark(b, mapping.Config{Changes: []mapping.Change{{ForEach: `event.items`, Entity: `item.id`,
		Text: `item.title + "\n" + item.body`, Metadata: `{"price": item.price}`}}}, event+`]}`)
}
