package keyed_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/process/mapping"
	"github.com/freshet-io/freshet/source"
	"github.com/freshet-io/freshet/source/keyed"
	"github.com/freshet-io/freshet/wire"
)

var logID = freshet.LogID{1, 2, 3}

func keyedLog(a *kafka.Appender) *keyed.Log { return keyed.NewLog(logID, partitions, a) }

func entity(id string) freshet.Key {
	return freshet.Key{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace, Entity: id}
}

// purchases re-keys: an event of a user is one change of each product.
func purchases(t *testing.T) process.Mapper {
	t.Helper()
	m, err := mapping.New(mapping.Config{Changes: []mapping.Change{{ForEach: `event.items`, Entity: `item.id`, Text: `item.title`}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Events of the default mapping stand in the partition of their entity as they came, and the token names exactly their places.
func TestIntake(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafka.Client) {
		topic := c.Options().Topics.Keyed
		in := intake(t, appender(t, c, topic), source.Options{AutoCreate: true})
		if err := in.Room(); err != nil {
			t.Fatal(err)
		}
		b := in.NewBatch()
		defer b.Release()
		var raw []string
		for i := range 100 {
			raw = append(raw, fmt.Sprintf(` {"entity_id":"e%d","payload":{"text":"x%d"}}`, i%30, i))
			if err := b.Add([]byte(raw[i]), journal.Header{Name: "h", Value: []byte("v")}); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.AddDelete(entity("e7"), "id", 0); err != nil {
			t.Fatal(err)
		}
		token, err := b.Append(deadline(t))
		if err != nil || token.Log != logID || b.Len() != 101 {
			t.Fatalf("%d events, %+v, %v", b.Len(), token, err)
		}
		all, next := readAll(t, c, topic), map[string]int{}
		for _, s := range token.Spans {
			if s.Topic != freshet.TopicKeyed || s.First != 0 || s.Last != int64(len(all[s.Partition])-1) {
				t.Errorf("the token has %+v, the partition %d records", s, len(all[s.Partition]))
			}
		}
		n := 0
		for p, records := range all {
			for _, r := range records {
				n++
				var e struct {
					Entity  string `json:"entity_id"`
					Op      string
					Payload struct{ Text string }
				}
				if err := json.Unmarshal(r.Value, &e); err != nil || wire.Partition(entity(e.Entity), partitions) != p {
					t.Fatalf("%s in partition %d, %v", r.Value, p, err)
				}
				if e.Op == "delete" {
					continue
				}
				i, _ := strconv.Atoi(e.Payload.Text[1:])
				if string(r.Value) != raw[i] || len(r.Headers) != 1 || header(r, "h") != "v" || r.Key != nil || i < next[e.Entity] {
					t.Errorf("%s is %+v, behind event %d", raw[i], r, next[e.Entity])
				}
				next[e.Entity] = i
			}
		}
		if n != 101 {
			t.Errorf("%d records", n)
		}
		// A collection is made for all events there are: they have no common order.
		if err := b.Add([]byte(`{"entity_id":"a","collection":"new"}`)); err != nil {
			t.Error(err)
		}
	})
}

// Events of a mapping are one record for each change, in the partition of its entity.
func TestIntakeMaps(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafka.Client) {
		topic := c.Options().Topics.Keyed
		now := time.UnixMilli(77)
		mapper := purchases(t)
		in := intake(t, appender(t, c, topic), source.Options{Mapped: true, Split: keyed.Split(mapper, partitions, func() time.Time { return now })})
		b := in.NewBatch()
		defer b.Release()
		for _, raw := range []string{`{"items":[{"id":"a","title":"A"},{"id":"b","title":"B"},{"id":"c","title":"C"}]}`, `{"items":[{"id":"d","title":"D"}]}`,
			`{"items":[]}`, `{"items":5}`} {
			if err := b.Add([]byte(raw), journal.Header{Name: freshet.HeaderSource, Value: []byte("shop")}); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.AddEvent([]byte(`{"entity_id":"e","payload":{"text":"E"}}`)); err != nil {
			t.Fatal(err)
		}
		if b.Len() != 5 {
			t.Errorf("%d events", b.Len())
		}
		if _, err := b.Append(deadline(t)); err != nil {
			t.Fatal(err)
		}
		found := map[string]int{}
		for p, records := range readAll(t, c, topic) {
			for _, r := range records {
				if header(r, freshet.HeaderDefaultEvent) != "" {
					found["default"]++
					continue
				}
				if header(r, freshet.HeaderSource) != "shop" {
					t.Errorf("%+v has lost its source", r)
				}
				drafts, err := mapper.Map(process.Record{Value: r.Value})
				k, _ := strconv.Atoi(header(r, freshet.HeaderChange))
				switch {
				case err != nil && header(r, freshet.HeaderRefused) != "":
					found["refused"]++
				case len(drafts) == 0 && k == 0 && header(r, freshet.HeaderMappedAt) == "77":
					found["nothing"]++
				case len(drafts) == 1 && k == 0 && wire.Partition(drafts[0].Key, partitions) == p && header(r, freshet.HeaderMappedAt) == "77":
					found[drafts[0].Key.Entity]++
				case len(drafts) == 3 && k > 0 && wire.Partition(drafts[k-1].Key, partitions) == p && header(r, freshet.HeaderMappedAt) == "77":
					found[drafts[k-1].Key.Entity]++
				default:
					t.Errorf("%+v gives %+v, %v", r, drafts, err)
				}
			}
		}
		if want := map[string]int{"a": 1, "b": 1, "c": 1, "d": 1, "nothing": 1, "refused": 1, "default": 1}; fmt.Sprint(found) != fmt.Sprint(want) {
			t.Errorf("%v, want %v", found, want)
		}
	})
}

// What waits for a cluster that does not answer is bounded, and the sender is told.
func TestIntakeBacklog(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafka.Client) {
		o := c.Options()
		o.AppendBytes = 1
		small := open(t, o)
		in := intake(t, appender(t, small, o.Topics.Keyed), source.Options{})
		refused := make(chan error, 8)
		for range 8 {
			go func() {
				b := in.NewBatch()
				defer b.Release()
				err := b.Add([]byte(`{"entity_id":"a","payload":{"text":"x"}}`))
				for n := 0; n < 200 && err == nil; n++ {
					_, err = b.Append(t.Context())
				}
				refused <- err
			}()
		}
		n := 0
		for range 8 {
			var e *freshet.Error
			if err := <-refused; errors.As(err, &e) && e.Code == freshet.CodeBacklogFull {
				n++
			} else if err != nil {
				t.Error(err)
			}
		}
		if n == 0 {
			t.Error("nothing was refused")
		}
		if err := in.Room(); err != nil {
			t.Errorf("there is no room when nothing waits: %v", err)
		}
	})
}
