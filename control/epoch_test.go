package control_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/wire"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func TestEpochs(t *testing.T) {
	fs := vfs.NewMem()
	log := openLog(t, fs)
	c := openCatalog(t, log)
	if got := c.EpochOf(0, 7); got != 1 {
		t.Errorf("the epoch of a log without a record is %d", got)
	}
	for range 2 { // the second finds what the first has written
		if err := c.CheckEpoch(noon); err != nil {
			t.Fatal(err)
		}
	}
	first := c.Epochs()
	if len(first) != 1 || first[0].Number != 1 || first[0].Log != wire.LogIDString(log.ID()) || first[0].Reason != control.EpochCreated {
		t.Fatalf("the first epoch is %+v", first)
	}
	second, err := c.RaiseEpoch(freshet.LogID{2}, 100, 50, noon, control.EpochRestored)
	if err != nil {
		t.Fatal(err)
	}
	if want := uint32(noon.Unix()); second.Number != want {
		t.Errorf("the second epoch is %d, the time is %d", second.Number, want)
	}
	// A clock that has been set back, and a second one in the same second.
	third, err := c.RaiseEpoch(freshet.LogID{3}, 100, 60, noon.Add(-time.Hour), control.EpochRaised)
	if err != nil || third.Number != second.Number+1 {
		t.Errorf("the third epoch is %d behind %d: %v", third.Number, second.Number, err)
	}
	if _, err := c.RaiseEpoch(freshet.LogID{4}, 200, 60, time.Unix(-5, 0), control.EpochRaised); err != nil {
		t.Error(err)
	}
	c = openCatalog(t, log) // what is recorded
	for offset, want := range map[int64]uint32{0: 1, 99: 1, 100: third.Number, 199: third.Number, 200: third.Number + 1, math.MaxInt64: third.Number + 1} {
		if got := c.EpochOf(3, offset); got != want {
			t.Errorf("the epoch of offset %d is %d, want %d", offset, got, want)
		}
	}
	err = c.CheckEpoch(noon)
	if !errors.Is(err, control.ErrEpoch) || !strings.Contains(err.Error(), wire.LogIDString(freshet.LogID{4})) {
		t.Errorf("FORMAT of the first epoch is accepted: %v", err)
	}
}

// TestAdopt: a token of an earlier epoch counts where what it names was not lost.
func TestAdopt(t *testing.T) {
	log := openLog(t, vfs.NewMem())
	c := openCatalog(t, log)
	old := freshet.LogID{1}
	for i, id := range []freshet.LogID{old, {2}, log.ID()} { // the log that is open is of the newest
		if _, err := c.RaiseEpoch(id, int64(100*i), int64(10*i), noon, control.EpochRestored); err != nil {
			t.Fatal(err)
		}
	}
	span := func(topic string, last int64) []freshet.Span {
		return []freshet.Span{{Topic: topic, First: 0, Last: last}}
	}
	for _, x := range []struct {
		token freshet.Token
		is    string // "" honoured, "foreign", or "unknown"
	}{
		{freshet.Token{Log: old, Spans: span(freshet.TopicRaw, 99)}, ""},
		{freshet.Token{Log: old, Spans: span(freshet.TopicRaw, 100)}, "foreign"},
		{freshet.Token{Log: old, Spans: span(freshet.TopicSync, 9)}, ""},
		{freshet.Token{Log: old, Spans: span(freshet.TopicSync, 10)}, "foreign"},
		{freshet.Token{Log: old}, ""},
		{freshet.Token{Log: freshet.LogID{2}, Spans: span(freshet.TopicRaw, 199)}, ""},
		{freshet.Token{Log: freshet.LogID{2}, Spans: span(freshet.TopicRaw, 200)}, "foreign"},
		{freshet.Token{Log: log.ID(), Spans: span(freshet.TopicRaw, 1<<40)}, ""}, // the tracker's business
		{freshet.Token{Log: freshet.LogID{9}, Spans: span(freshet.TopicRaw, 1)}, "unknown"},
	} {
		got, err := c.Adopt(x.token)
		var e *freshet.Error
		switch {
		case x.is == "foreign":
			if !errors.As(err, &e) || e.Code != freshet.CodeForeignToken {
				t.Errorf("%+v: %v, %v", x.token, got, err)
			}
		case err != nil:
			t.Errorf("%+v: %v", x.token, err)
		case x.is == "" && got.Log != log.ID() || x.is == "unknown" && got.Log != x.token.Log:
			t.Errorf("%+v became one of log %x", x.token, got.Log)
		}
	}
}

func TestDamagedEpochsAreRefused(t *testing.T) {
	for _, value := range []string{
		`{"format":1}`,
		`{"format":1,"epochs":[{"epoch":1,"log":"short"}]}`,
		`{"format":1,"epochs":[{"epoch":2,"log":"0102030405060708"},{"epoch":2,"log":"0102030405060708"}]}`,
		`{"format":1,"epochs":[{"epoch":1,"log":"0102030405060708","since":5},{"epoch":2,"log":"0102030405060708","since":4}]}`,
		`{"format":1,"epochs":[{"epoch":1,"log":"0102030405060708","since":-5}]}`,
	} {
		log := openLog(t, vfs.NewMem())
		tx := log.Begin()
		if err := tx.Put(freshet.TopicControl, []byte("epoch"), []byte(value)); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if _, err := control.Open(log); err == nil {
			t.Errorf("%s is accepted", value)
		}
	}
}

// Where partitions have offsets of their own an epoch begins at another one in each; a partition that came later has the history of
// the one that it was split off. A token of before a move has nothing to wait for.
func TestEpochsOfPartitions(t *testing.T) {
	c := openCatalog(t, openLog(t, vfs.NewMem()))
	if err := c.CheckEpoch(noon); err != nil {
		t.Fatal(err)
	}
	moved, err := c.RaiseEpochAt(freshet.LogID{2}, []int64{100, 100}, noon, control.EpochMoved)
	if err != nil {
		t.Fatal(err)
	}
	raised, err := c.RaiseEpochAt(freshet.LogID{3}, []int64{150, 90, 150, 120}, noon, control.EpochRaised)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.RaiseEpochAt(freshet.LogID{3}, nil, noon, control.EpochRaised); err != nil || again.Number != raised.Number || len(c.Epochs()) != 3 {
		t.Errorf("raised again it is %+v, %v", again, err)
	}
	for _, x := range []struct {
		partition int32
		offset    int64
		want      uint32
	}{{0, 99, 1}, {0, 100, moved.Number}, {0, 149, moved.Number}, {0, 150, raised.Number}, {1, 95, raised.Number}, {3, 119, moved.Number}, {3, 120, raised.Number}, {7, 119, moved.Number}} {
		if got := c.EpochOf(x.partition, x.offset); got != x.want {
			t.Errorf("the epoch of %d@%d is %d, want %d", x.partition, x.offset, got, x.want)
		}
	}
	token := freshet.Token{Log: freshet.LogID{2}, Spans: []freshet.Span{{Topic: freshet.TopicKeyed, Partition: 3, Last: 119}}}
	if got, err := c.Adopt(token); err != nil || len(got.Spans) != 1 {
		t.Errorf("adopted: %+v, %v", got, err)
	}
	token.Spans[0].Last = 120
	if _, err := c.Adopt(token); err == nil {
		t.Error("a token of what was lost is adopted")
	}
	c = openCatalog(t, openLog(t, vfs.NewMem()))
	if _, err := c.RaiseEpoch(freshet.LogID{7}, 0, 0, noon, control.EpochRestored); err != nil {
		t.Fatal(err)
	}
	if _, err := c.RaiseEpochAt(freshet.LogID{2}, []int64{100}, noon, control.EpochMoved); err != nil {
		t.Fatal(err)
	}
	old := freshet.Token{Log: freshet.LogID{7}, Spans: []freshet.Span{{Topic: freshet.TopicRaw, Partition: 5, Last: 99}}}
	if got, err := c.Adopt(old); err != nil || len(got.Spans) != 0 {
		t.Errorf("a token of before the move became %+v, %v", got, err)
	}
}
