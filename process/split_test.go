package process_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/wire"
)

// Events that are taken apart are decided as they are when they stand in the log as they came: the same entities, the same dead
// letters, the same totals.
func TestSplitDecidesTheSame(t *testing.T) {
	events := []string{
		"a red", "-a", `{"each":[]}`, `{"drop":true}`,
		`{"each":[{"entity_id":"b","payload":{"text":"b1"}},{"entity_id":"c","payload":{"text":"c1"}},{"entity_id":"d","op":"delete"}]}`,
		`{"each":[{"entity_id":"b","payload":{"text":"b2"}},{"entity_id":"b","payload":{"text":"b3"}}]}`,
		`{"each":[{"entity_id":"e","order":1,"payload":{"text":"e1"}},{"entity_id":"e","order":2,"payload":{"text":"e2"}}]}`,
		`{"each":[{"entity_id":"f","collection":"nowhere","payload":{"text":"f"}},{"entity_id":"f","payload":{"text":"f2"}}]}`,
		`{"each":[{"entity_id":"g","collection":"vec","payload":{"text":"g"}},{"entity_id":"g","collection":"vec","vector":[1,2,3]}]}`,
		`{"each":[{"entity_id":"h","event_id":"1","payload":{"text":"h"}},{"entity_id":"i","event_id":"1","payload":{"text":"i"}}]}`,
		`{"each":[{"entity_id":"h","event_id":"1","payload":{"text":"again"}},{"entity_id":"j","payload":{"text":"j"}}]}`,
		`{"each":[{"entity_id":"k","payload":{"text":"bad"}},{"entity_id":"l","payload":{"text":"l"}}]}`,
		`{"each":[{"entity_id":"m","payload":{"text":"m"}},{"entity_id":"n"}]}`,
		`{"panic":true}`, `{"plain":true}`, `{"plaindraft":true}`, `{"nan":true}`, `nonsense`, `[]`, `{"payload":{}}`,
		`{"entity_id":"o","payload":5}`, `default {"entity_id":"p","payload":{"text":"p"}}`, `default {"each":[]}`,
		`default {"entity_id":"q","vector":[1,,2]}`, `default {"vector":[1,,2],"entity_id":"q"}`, `default {"vector":[1,2,"entity_id":"q"}`,
	}
	results := map[bool]string{}
	for _, split := range []bool{false, true} {
		b := newBench(t)
		for _, short := range events {
			if !split {
				b.send([]string{short})
				continue
			}
			for _, r := range pieces(t, short, b.now) {
				if _, err := b.log.Append(context.Background(), r); err != nil {
					t.Fatal(err)
				}
			}
			b.settle()
		}
		var all []string
		for name, c := range b.state() {
			all = append(all, fmt.Sprintf("%s %d %q %s %d^%d points %d", name, c.Op, c.Text, c.Metadata, c.Events, c.Version.Order, len(c.Points)))
		}
		for _, l := range b.letters() {
			message, _, _ := strings.Cut(l.Message, "\n") // behind it is a stack
			all = append(all, fmt.Sprintf("dead %s %s %s %s whole %v default %v", l.Stage, l.Class, l.Key.Entity, message, l.Whole, l.Default))
		}
		slices.Sort(all)
		results[split] = strings.Join(append(all, b.outcomes()), "\n")
		b.mustBeClean()
	}
	// What gives nothing is dropped before it gets in.
	if want := strings.Replace(results[false], "dropped 2, ", "", 1); results[true] != want {
		t.Errorf("taken apart:\n%s\n\nas they came:\n%s", results[true], want)
	}
}

// pieces are the records of an event that is taken apart.
func pieces(t *testing.T, short string, now int64) (records []journal.Record) {
	t.Helper()
	raw, _ := event(short)
	raw, marked := strings.CutPrefix(raw, "default ")
	const partitions, whole = 4, 3
	got, err := process.Split(scripted{}, process.Record{AcceptedAt: now, Default: marked, Value: []byte(raw)}, partitions, whole)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range got {
		r := journal.Record{Value: []byte(raw), Headers: p.Headers}
		if marked {
			r.Headers = append(r.Headers, journal.Header{Name: freshet.HeaderDefaultEvent, Value: []byte{1}})
		}
		records = append(records, r)
		if refused := slices.ContainsFunc(p.Headers, func(h journal.Header) bool { return h.Name == freshet.HeaderRefused }); refused && (p.Partition != whole || p.Change != 0) {
			t.Errorf("%s: refused, in partition %d, change %d", short, p.Partition, p.Change)
		}
		if p.Change > 0 && p.Change != i+1 {
			t.Errorf("%s: change %d is numbered %d", short, i+1, p.Change)
		}
	}
	return records
}

// byTime is a mapping whose entities depend on when an event was accepted.
type byTime struct{}

func (byTime) Describe() string { return "by time" }

func (byTime) Map(r process.Record) ([]process.Draft, error) {
	return []process.Draft{{Op: freshet.OpUpsert, Text: "x", Embed: "x",
		Key: freshet.Key{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace, Entity: strconv.FormatInt(r.AcceptedAt, 10)}}}, nil
}

// The time that an event was mapped with goes with it, so that it is decided in the partition that it was sent to.
func TestSplitKeepsTheTime(t *testing.T) {
	got, err := process.Split(byTime{}, process.Record{AcceptedAt: 77, Value: []byte("{}")}, 4, 0)
	key := freshet.Key{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace, Entity: "77"}
	if err != nil || len(got) != 1 || got[0].Partition != wire.Partition(key, 4) {
		t.Fatalf("%+v, %v", got, err)
	}
	b := newBench(t, func(b *bench) { b.options.Mapper = byTime{} })
	if _, err := b.log.Append(context.Background(), journal.Record{Value: []byte("{}"), Headers: got[0].Headers}); err != nil {
		t.Fatal(err)
	}
	b.settle()
	if c, ok := b.state()["77"]; !ok || c.AcceptedAt != b.now {
		t.Errorf("%+v in %v", c, b.state())
	}
	b.mustBeClean()
}

// away is a mapping that needs what does not answer.
type away struct{ byTime }

func (away) Map(process.Record) ([]process.Draft, error) {
	return nil, &freshet.Error{Code: freshet.CodeUnavailable, Message: "the registry is away"}
}

func TestSplitWaitsForWhatMappingNeeds(t *testing.T) {
	got, err := process.Split(away{}, process.Record{Value: []byte("{}")}, 4, 0)
	var e *freshet.Error
	if len(got) != 0 || !errors.As(err, &e) || e.Code != freshet.CodeUnavailable {
		t.Errorf("%+v, %v", got, err)
	}
}
