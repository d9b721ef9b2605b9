package wire_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/wire"
)

var update = flag.Bool("update", false, "write the golden bytes anew: only with a new format number")

// The bytes of every format, as data folders and clients hold them: a change of a format
// shows as a difference to testdata.
func TestGoldenBytes(t *testing.T) {
	key := freshet.Key{Collection: "docs", Namespace: "tenant-7", Entity: "a/é"}
	plain := freshet.Key{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace, Entity: "sku-1"}
	upsert := freshet.Change{Key: key, Version: freshet.Version{Order: 5, Epoch: 1, Offset: 300}, Revision: 2, Op: freshet.OpUpsert,
		Text: "red shirt", Metadata: []byte(`{"price":19.5}`), Events: 200, Source: "shop", SourceEventID: "e-1",
		EventTime: 1_700_000_000_000, AcceptedAt: 1_700_000_000_123, Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		Points:  []freshet.Point{{Model: "m", Slot: "0", Vector: []float32{1, -0.5}, Start: 0, End: 9}, {Slot: "1", Vector: []float32{0, 0.25}, Start: 4, End: 9}},
		Content: [16]byte{0xc0, 15: 0xc1}}
	upsert.Digest = wire.StateDigest(&upsert, wire.PointsDigest(upsert.Points))
	tombstone := freshet.Change{Key: plain, Version: freshet.Version{Epoch: 1, Offset: 7}, Revision: 1, Op: freshet.OpDelete,
		Events: 2, SourceEventID: "events.raw/3@7", AcceptedAt: 1_700_000_000_123}
	tombstone.Digest = wire.StateDigest(&tombstone, [16]byte{})
	letter := freshet.DeadLetter{Position: freshet.Position{Topic: freshet.TopicRaw, Partition: 3, Offset: 12}, Ordinal: 1,
		Stage: "validate", Class: freshet.CodeWrongDimension, Message: "has 2 dimensions", Attempts: 1, At: 1_700_000_000_123,
		Key: key, EventID: "e-2", Source: "shop", Value: []byte(`{"entity_id":"a"}`)}
	token := freshet.Token{Log: freshet.LogID{1, 2, 3, 4, 5, 6, 7, 8}, Spans: []freshet.Span{
		{Topic: freshet.TopicRaw, Partition: 0, First: 10, Last: 300}, {Topic: freshet.TopicRaw, Partition: 15, First: 299, Last: 299}, {Topic: "orders", Partition: 2, First: 0, Last: 1}}}
	lower, upper := wire.ShardRange(key.Shard())
	points := wire.PointsDigest(upsert.Points)
	for name, got := range map[string]string{
		"change-upsert":    hex.EncodeToString(wire.AppendChange(nil, &upsert)),
		"change-tombstone": hex.EncodeToString(wire.AppendChange(nil, &tombstone)),
		"change-json":      string(wire.AppendChangeJSON(nil, &upsert)),
		"key":              hex.EncodeToString(wire.AppendKey(nil, key)),
		"key-default":      hex.EncodeToString(wire.AppendKey(nil, plain)),
		"key-range":        hex.EncodeToString(lower) + " " + hex.EncodeToString(upper),
		"key-dead-letter":  hex.EncodeToString(wire.DeadLetterKey(12, 1)),
		"version":          hex.EncodeToString(wire.AppendVersion(nil, upsert.Version)) + " " + wire.VersionString(upsert.Version),
		"token":            wire.TokenString(token),
		"dead-letter":      string(wire.AppendDeadLetter(nil, &letter)),
		"digest-points":    hex.EncodeToString(points[:]),
		"partition":        fmt.Sprint(wire.Partition(key, 1000), wire.Partition(plain, 1000), wire.Partition(key, 16)),
	} {
		path := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(path, []byte(fold(got)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if fold(got) != string(want) {
			t.Errorf("%s is now\n%s\nit was\n%s", name, fold(got), want)
		}
	}
}

// fold breaks a text into lines that a difference can be seen in.
func fold(s string) string {
	var b strings.Builder
	for len(s) > 64 {
		b.WriteString(s[:64] + "\n")
		s = s[64:]
	}
	return b.String() + s + "\n"
}
