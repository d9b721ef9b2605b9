package node_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/node"
)

// Records in the wire format of a schema registry become entities, by each kind of mapping and beside JSON, and a data folder keeps to whether there is a
// registry, but not to its address.
func TestSchemaRegistry(t *testing.T) {
	fake, other := srfake.New(), srfake.New()
	defer fake.Close()
	defer other.Close()
	schemas := map[int]string{
		1: `{"type":"record","name":"Event","fields":[{"name":"event_id","type":"string"},{"name":"entity_id","type":"string"},{"name":"payload","type":{"type":"record","name":"P","fields":[{"name":"text","type":"string"}]}}]}`,
		2: `{"type":"record","name":"E","fields":[{"name":"op","type":"string"},{"name":"after","type":["null",{"type":"record","name":"V","fields":[{"name":"id","type":"long"},{"name":"text","type":"string"},{"name":"raw","type":"bytes"}]}]},{"name":"source","type":{"type":"record","name":"S","fields":[{"name":"table","type":"string"}]}}]}`,
		3: `{"type":"record","name":"K","fields":[{"name":"id","type":"long"}]}`,
	}
	for id, text := range schemas {
		for _, r := range []*srfake.Registry{fake, other} {
			r.SeedSchema(fmt.Sprint("s", id), 1, id, sr.Schema{Schema: text})
		}
	}
	encode := func(id int, v any) []byte {
		t.Helper()
		b, err := avro.MustParse(schemas[id]).Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(id)), b...)
	}
	event := encode(1, map[string]any{"event_id": "1", "entity_id": "a", "payload": map[string]any{"text": "red shoes"}})
	row := codec.AppendFrame(nil, encode(3, map[string]any{"id": 7}), encode(2, map[string]any{"op": "c", "after": map[string]any{"id": 7, "text": "red shoes", "raw": []byte{1}}, "source": map[string]any{"table": "products"}}))
	for name, c := range map[string]struct {
		yaml   string
		raw    []byte
		entity string
		json   string // of the same entity, over HTTP
	}{
		"events":  {"", event, "a", `{"entity_id":"a","payload":{"text":"blue"}}`},
		"mapping": {"mapping: {changes: [{entity: event.entity_id, text: event.payload.text}]}", event, "a", `{"entity_id":"a","payload":{"text":"blue"}}`},
		"rows":    {"codec: {format: debezium, key: [id]}", row, "products/7", `{"op":"u","after":{"id":7,"text":"blue"},"source":{"table":"products"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			fs := disk.New(vfs.NewMem(), nil)
			start := func(registry string) (*node.Node, error) {
				cfg, err := config.Parse([]byte(c.yaml+"\n"+registry), nil)
				if err != nil {
					t.Fatal(err)
				}
				cfg.Data, cfg.CacheBytes = "data", 1<<20
				return node.Open(t.Context(), node.Options{Config: cfg, FS: fs, NoSources: true, Logger: slog.New(slog.DiscardHandler)})
			}
			n, err := start("schema_registry: {urls: ['" + fake.URL() + "']}")
			if err != nil {
				t.Fatal(err)
			}
			s := &server{n, t}
			text := func() string {
				t.Helper()
				ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
				defer stop()
				if err := s.CatchUp(ctx); err != nil {
					t.Fatal(err)
				}
				change, ok, err := s.Store().Get(ctx, freshet.Key{Collection: "default", Namespace: "default", Entity: c.entity})
				if err != nil || !ok {
					letters, _ := s.DeadLetters(gateway.LettersQuery{Limit: 10})
					t.Fatalf("%s is there: %v, %v; dead letters %+v", c.entity, ok, err, letters)
				}
				return change.Text + string(change.Metadata)
			}
			var batch journal.Batch
			batch.Add(0, nil, c.raw)
			batch.Add(0, nil, []byte{0, 0, 0, 0, 9})
			if _, err := s.Log().AppendRaw(t.Context(), &batch); err != nil {
				t.Fatal(err)
			}
			if got := text(); !strings.HasPrefix(got, "red shoes") || strings.Contains(got, "raw") {
				t.Errorf("it is %s", got)
			}
			letters, err := s.DeadLetters(gateway.LettersQuery{Limit: 10})
			if err != nil || len(letters) != 1 || letters[0].Class != freshet.CodeUnknownSchema || string(letters[0].Value) != "\x00\x00\x00\x00\x09" {
				t.Errorf("%+v, %v", letters, err)
			}
			if status, body := s.call(http.MethodPost, "/v1/events", c.json); status != http.StatusOK {
				t.Fatalf("%d %s", status, body)
			}
			if got := text(); !strings.HasPrefix(got, "blue") {
				t.Errorf("it is %s", got)
			}
			if report, err := s.Audit(t.Context()); err != nil || !report.Clean() {
				t.Errorf("%+v, %v", report, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if n, err := start(""); err == nil {
				n.Kill()
				t.Error("a start without the registry is not refused")
			}
			if n, err = start("schema_registry: {urls: ['http://localhost:1', '" + other.URL() + "']}"); err != nil {
				t.Fatal(err)
			}
			if report, err := n.Audit(t.Context()); err != nil || !report.Clean() {
				t.Errorf("by the other address: %+v, %v", report, err)
			}
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	_, err := config.Parse([]byte("schema_registry: {urls: [registry]}"), nil)
	var e *freshet.Error
	if !errors.As(err, &e) || e.Field != "schema_registry.urls" {
		t.Error(err)
	}
}
