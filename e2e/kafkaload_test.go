package e2e_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/bench/dataset"
	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
)

// figureOf is the number that a variable of the environment has, for a run of another size.
func figureOf(t *testing.T, variable string, usual int) int {
	v := os.Getenv(variable)
	if v == "" {
		return usual
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q: it must be a number above 0", variable, v)
	}
	return n
}

// openData makes vectors of length 1, of real sentences where the shared data is there, and queries.
func openData(t *testing.T, rows, dim, queries int) *dataset.Set {
	t.Helper()
	s := dataset.Source{Data: "hard", N: rows, Dim: dim, NQ: queries, Seed: 1, Metric: ann.Cosine, NoTruth: true}
	if _, err := dataset.SharedDir(); err != nil {
		s.Data = "easy"
	}
	set, err := dataset.Open(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []dataset.Matrix{set.Base, set.Queries} {
		if err := dataset.Normalise(m); err != nil {
			t.Fatal(err)
		}
	}
	return set
}

// fact is an event as a foreign producer writes it: keyed by entity, in the JSON of the seed.
type fact struct{ key, value []byte }

func factOf(t *testing.T, e event) fact {
	t.Helper()
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return fact{[]byte(e.EntityID), raw}
}

// phase is a part of a stream of events, timed by itself.
type phase struct {
	name  string
	facts []fact
}

// live says which row of the data an entity has at the end of a phase; -1 = it is deleted.
type live []int

// phasesOf makes a stream of events about so many entities: all of them new; then a tenth deleted and the others with other vectors; those
// once more with the same content; and at last the very events that brought the other vectors. state is what all that leaves.
func phasesOf(t *testing.T, set *dataset.Set, entities int) (phases []phase, state live) {
	t.Helper()
	at := time.Now().UnixMilli()
	upsert := func(part string, entity, row int) fact {
		return factOf(t, event{EventID: fmt.Sprintf("%s-%d", part, entity), EntityID: strconv.Itoa(entity), Timestamp: at,
			Payload: map[string]any{"row": row, "part": "of the catalogue"}, Vector: set.Base.Row(row)})
	}
	state = make(live, entities)
	var first, other, same []fact
	for i := range entities {
		first = append(first, upsert("new", i, i))
		if i%10 == 9 {
			state[i] = -1
			other = append(other, factOf(t, event{EventID: fmt.Sprintf("other-%d", i), EntityID: strconv.Itoa(i), Timestamp: at, Op: "delete"}))
			continue
		}
		state[i] = entities + i
		other = append(other, upsert("other", i, entities+i))
		same = append(same, upsert("same", i, entities+i))
	}
	rng := rand.New(rand.NewPCG(2, 3))
	for _, facts := range [][]fact{other, same} {
		rng.Shuffle(len(facts), func(i, j int) { facts[i], facts[j] = facts[j], facts[i] })
	}
	return []phase{{"new", first}, {"changed", other}, {"unchanged", same}, {"repeated", other}}, state
}

// inTransaction writes events to a topic in a transaction, and returns what commits it: all of them can be read at once then, so that what is
// timed is who reads them.
func inTransaction(t *testing.T, k *kafkatest.Kafka, topic string, facts []fact) (publish func()) {
	t.Helper()
	client := k.Client(t, kgo.TransactionalID(kafkatest.Name(t)), kgo.TransactionTimeout(10*time.Minute), kgo.DefaultProduceTopic(topic),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(1<<16))
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for _, f := range facts {
		client.Produce(t.Context(), &kgo.Record{Key: f.key, Value: f.value}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := client.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
		client.Close()
	}
}

// median of some figures, rounded to three digits.
func median(figures []float64) float64 {
	sorted := slices.Sorted(slices.Values(figures))
	n := len(sorted)
	return digits((sorted[(n-1)/2] + sorted[n/2]) / 2)
}

// digits rounds to three of them.
func digits(v float64) float64 {
	r, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64) // it is one
	return r
}

func allDigits(figures []float64) []float64 {
	out := make([]float64, len(figures))
	for i, v := range figures {
		out[i] = digits(v)
	}
	return out
}
