package process_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/process"
)

// randomEvents is a stream that meets every outcome: few entities, texts and ids, so that
// they meet each other. Its texts are never refused by the embedder: which of those are
// asked for depends on the batches.
func randomEvents(r *rand.Rand, n int) []string {
	events := make([]string, n)
	for i := range events {
		events[i] = randomEvent(r)
	}
	return events
}

func randomEvent(r *rand.Rand) string {
	entity := fmt.Sprintf("e%d", r.IntN(5))
	id, order := "", ""
	if r.IntN(2) == 0 {
		id = fmt.Sprintf(` #%d`, r.IntN(12))
	}
	where := ""
	if r.IntN(3) == 0 {
		where = " @other"
		if r.IntN(20) > 0 {
			order = fmt.Sprintf(` ^%d`, 1+r.IntN(30))
		}
	}
	switch k := r.IntN(27); {
	case k >= 24:
		return fmt.Sprintf(`{"entity_id":%q,"state":{"text":"text %d","own_text":%v,"metadata":%s%s}}`, entity, r.IntN(3), r.IntN(2) == 0,
			[]string{`{}`, `{"n":1}`, `{"title":"text 1"}`}[r.IntN(3)],
			[]string{``, `,"points":[{"model":"fake","vector":[1,2,3,4],"end":6}]`, `,"points":[{"vector":[1,2,3,4]}]`,
				`,"points":[{"model":"fake","vector":[1,2,3,4],"end":2},{"slot":"b","model":"fake","vector":[4,3,2,1],"start":3,"end":6}]`,
				`,"points":[{"model":"another","vector":[1,2,3,4]}]`}[r.IntN(5)])
	case k >= 20:
		field := "collection"
		if where == "" {
			field = "namespace"
		}
		return fmt.Sprintf(`{"entity_id":%q,"op":"patch",%q:%q,"payload":{%s}}`, entity, field, map[string]string{"collection": "other", "namespace": "default"}[field],
			[]string{`"n":2`, `"n":null`, `"text":"text 3"`, `"text":null`, `"title":"text 4","text":null`, `"title":null`}[r.IntN(6)])
	case k < 10:
		return fmt.Sprintf("%s text %d%s%s%s", entity, r.IntN(3), id, order, where)
	case k < 14:
		return fmt.Sprintf("-%s%s%s%s", entity, id, order, where)
	case k < 16:
		return fmt.Sprintf(`{"entity_id":%q,"payload":{"text":"text %d","n":%d}}`, entity, r.IntN(3), r.IntN(2))
	}
	return []string{
		`{"drop":true}`,
		fmt.Sprintf(`{"entity_id":%q,"vector":[1,2,3,%d]}`, entity, r.IntN(2)),
		fmt.Sprintf(`{"entity_id":%q,"vector":[1,2]}`, entity),
		fmt.Sprintf(`{"each":[{"entity_id":"e1","payload":{"text":"x"}},{"entity_id":%q,"payload":{"text":"y"}}]}`, entity),
		fmt.Sprintf(`{"embed":"text %d","event":{"entity_id":%q,"payload":{"text":"text 1"}}}`, r.IntN(3), entity),
		fmt.Sprintf(`{"entity_id":%q,"collection":"new%d","payload":{"text":"x"}}`, entity, r.IntN(2)),
	}[r.IntN(6)]
}

// split cuts a stream into groups at random places.
func split(r *rand.Rand, events []string, most int) (groups [][]string) {
	for len(events) > 0 {
		n := min(1+r.IntN(most), len(events))
		groups = append(groups, events[:n])
		events = events[n:]
	}
	return groups
}

// everything is all that processing leaves behind, byte for byte: vector.sync and the dead
// letters without their offsets, and the table of event ids.
func (b *bench) everything() map[string][]byte {
	b.t.Helper()
	all := map[string][]byte{}
	for _, topic := range []string{freshet.TopicSync, freshet.TopicDead, freshet.TopicControl} {
		if err := b.log.Scan(topic, nil, nil, func(r broker.Record) error {
			all[topic+" "+string(r.Key)] = bytes.Clone(r.Value)
			return nil
		}); err != nil {
			b.t.Fatal(err)
		}
	}
	return all
}

func (b *bench) mustEqual(want map[string][]byte, what string) {
	b.t.Helper()
	got := b.everything()
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if !bytes.Equal(got[key], want[key]) {
			b.t.Errorf("%s: %q holds\n%q\nwant\n%q", what, key, got[key], want[key])
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			b.t.Errorf("%s: %q is there, which must not be", what, key)
		}
	}
}

var streamWindow = withWindow(process.Window{MaxAgeMs: 1e12, MaxIDs: 9})

// However a stream is cut into batches, the same bytes follow from it.
func TestBatchesDoNotMatter(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			events := randomEvents(r, 200)
			single := newBench(t, streamWindow, withAutoCreate)
			single.send(oneByOne(events)...)
			want, outcomes := single.everything(), single.outcomes()
			single.mustBeClean()
			for _, most := range []int{3, 40, len(events)} {
				b := newBench(t, streamWindow, withAutoCreate)
				b.send(split(r, events, most)...)
				b.mustEqual(want, fmt.Sprintf("batches of up to %d", most))
				if got := b.outcomes(); got != outcomes {
					t.Errorf("batches of up to %d have the outcomes %s, want %s", most, got, outcomes)
				}
				b.mustBeClean()
			}
		})
	}
}

// After a crash processing starts again from an earlier position, with what was not synced
// lost, all or in part; the same bytes follow.
func TestCrashesDoNotMatter(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 2))
			events := randomEvents(r, 200)
			calm := newBench(t, streamWindow, withAutoCreate)
			calm.send(split(r, events, 20)...)
			want := calm.everything()

			b := newBench(t, streamWindow, withAutoCreate, withFS(vfs.NewCrashableMem()))
			for _, g := range split(r, events, 20) {
				b.append(g...)
				if r.IntN(3) > 0 {
					b.settle()
				}
				if r.IntN(4) == 0 {
					b.crash(r)
				}
			}
			b.settle()
			b.mustEqual(want, "after crashes")
			b.mustBeClean()
		})
	}
}

// crash loses some of what was not synced and opens what is left.
func (b *bench) crash(r *rand.Rand) {
	b.t.Helper()
	left := b.fs.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(2) * 50, RNG: r})
	b.close()
	b.fs = left
	b.open()
}

// Random traffic with texts that the embedder refuses: which of them are dead letters depends
// on the batches, yet the audit, whose batches are others, finds nothing.
func TestAuditIsCleanWhateverTheBatches(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			events := randomEvents(r, 300)
			for i := range events {
				if r.IntN(5) == 0 {
					events[i] = fmt.Sprintf("e%d bad %d #%d", r.IntN(5), r.IntN(3), r.IntN(12))
				}
			}
			b := newBench(t, streamWindow)
			b.send(split(r, events, 30)...)
			if b.proc.Stats.Dead.Load() == 0 {
				t.Fatal("no event was refused")
			}
			b.mustBeClean()
		})
	}
}
