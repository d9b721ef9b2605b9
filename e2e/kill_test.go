package e2e_test

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The kills of TestKill, by the moment that they aim at.
const (
	killsInStream   = 86
	killsInSnapshot = 9
	killsInStart    = 5
	killsShort      = 10 // share of all that a short test makes: one in so many
	streamProducers = 3  // of each of the two
)

// TestKill replays the history, live and as an ordered dump into a collection that does not
// exist yet, while the server is killed, as kill -9 does, 100 times at random moments, and
// started again on the same folder. Clients send again what was not acknowledged. At the end
// nothing is lost, nothing counts twice, and the audit is clean; and who has followed the
// changes meanwhile, over all the breaks, was told what one is told who begins now.
func TestKill(t *testing.T) {
	t.Parallel()
	h := loadHistory(t)
	k := newKiller(t, h, seed(t), "")
	start := time.Now()
	share := 1
	if testing.Short() {
		share = killsShort
	}
	following, stop := context.WithCancel(context.Background())
	defer stop()
	followers := []*follower{follow(following, k.server, "default"), follow(following, k.server, "dump")}
	k.run(share)
	t.Logf("%d kills in %v (slowest start %v): %d with events in flight, %d while a snapshot was asked for, %d into a start; %d left a snapshot unfinished",
		k.kills, since(start), k.slowest.Round(time.Millisecond), k.inStream, k.inSnapshot, k.inStart, k.unfinished)
	if !testing.Short() && (k.inStream < 80 || k.inSnapshot < 5) {
		t.Errorf("%d kills fell into the stream, want 80 at least; %d into a snapshot, want 5 at least", k.inStream, k.inSnapshot)
	}
	for _, s := range k.streams {
		k.api.await(s.token)
	}
	h.checkFinal(t, k.api, "default", "live", "", h.changes)
	h.checkFinal(t, k.api, "dump", "dump", "", newest(k.dump))
	for _, f := range followers {
		f.check(t, stop)
	}
	k.api.audit()
	k.server.stop()
	if out, errs, status := command(t, nil, "audit", "--data", k.server.data, "--config", k.server.config); status != 0 {
		t.Errorf("freshet audit ends with %d: %s%s", status, out, errs)
	}
}

// TestKillWhileEventsGo does the same, with fewer kills, while old events and deletions are let go all the time: nothing that is
// current goes with them, and audits go on being exact.
func TestKillWhileEventsGo(t *testing.T) {
	t.Parallel()
	h := loadHistory(t)
	k := newKiller(t, h, seed(t)+1, "retention: {bytes: 1048576, interval: 50ms}\n")
	k.run(3)
	for _, s := range k.streams {
		k.api.await(s.token)
	}
	// Who comes back after a deletion that is forgotten is counted anew.
	h.checkFinal(t, k.api, "default", "live", "", nil)
	h.checkFinal(t, k.api, "dump", "dump", "", nil)
	k.api.audit()
	figures := k.api.metrics()
	if got := figures["freshet_journal_bytes"]; got > 8<<20 {
		t.Errorf("%v bytes of events are kept, 1 MiB is wanted and a segment has 1 MiB", got)
	}
	if figures["freshet_purge_floor"] == 0 {
		t.Error("no deletion was forgotten")
	}
	k.server.stop()
	if out, errs, status := command(t, nil, "audit", "--data", k.server.data, "--config", k.server.config); status != 0 {
		t.Errorf("freshet audit ends with %d: %s%s", status, out, errs)
	}
}

// killer kills a server while producers send to it.
type killer struct {
	t      *testing.T
	random *rand.Rand
	server *server
	api    *api
	live   []event
	dump   []event // the same in random order, with its order

	waiting atomic.Int64  // requests sent and not answered
	started time.Time     // of the latest start
	slowest time.Duration // start

	kills, inStream, inSnapshot, inStart, unfinished int

	mu      sync.Mutex // guards what follows and the streams
	changed sync.Cond  // told of changes
	streams []*stream
	acked   int // events acknowledged
	broken  int // requests that reached a server and ended without an answer
	limit   int // no request is begun once so many events are acknowledged
}

func newKiller(t *testing.T, h *history, choices uint64, more string) *killer {
	k := &killer{t: t, random: random(choices, "kills"), live: h.events("live", "", false), dump: h.events("dump", "dump", true)}
	k.random.Shuffle(len(k.dump), func(i, j int) { k.dump[i], k.dump[j] = k.dump[j], k.dump[i] })
	k.changed.L = &k.mu
	k.server, k.api = startServer(t, "snapshot: {interval: 200ms}\nauto_create: true\n"+more)
	return k
}

// run sends all events and kills meanwhile, one in share of the usual kills.
func (k *killer) run(share int) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	var producers sync.WaitGroup
	defer producers.Wait()
	total := len(k.live) + len(k.dump)
	defer k.allow(total + 1)
	defer cancel()
	parts := slices.Concat(byEntity(k.live, streamProducers), byEntity(k.dump, streamProducers))
	for _, part := range parts {
		s := &stream{}
		k.streams = append(k.streams, s)
		seed := k.random.Uint64()
		producers.Go(func() { k.produce(ctx, s, part, rand.New(rand.NewPCG(seed, 0))) })
	}
	kinds := slices.Concat(slices.Repeat([]string{"stream"}, killsInStream),
		slices.Repeat([]string{"snapshot"}, killsInSnapshot), slices.Repeat([]string{"start"}, killsInStart))
	k.random.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	kinds = kinds[:len(kinds)/share]
	moments := make([]int, len(kinds)) // in events acknowledged
	for i := range moments {
		moments[i] = k.random.IntN(total * 95 / 100)
	}
	slices.Sort(moments)
	for i, kind := range kinds {
		k.strike(kind, moments[i])
		if k.t.Failed() {
			return
		}
		k.started = time.Now()
		k.server.start()
		k.slowest = max(k.slowest, time.Since(k.started))
		k.checkAcked()
		if i%25 == 24 {
			k.api.audit() // while the stream goes on
		}
	}
	k.allow(total + 1)
	producers.Wait()
}

// ahead is how many events may be acknowledged beyond the moment of a kill.
const ahead = 60

// strike waits until so many events are acknowledged and kills the server.
func (k *killer) strike(kind string, moment int) {
	k.t.Helper()
	k.allow(moment + ahead)
	if !k.reach(moment) {
		k.t.Fatalf("%d events are not acknowledged within %v", moment, deadline)
	}
	stopAsking := func() bool { return false }
	switch kind {
	case "snapshot":
		stopAsking = k.askForSnapshots()
		time.Sleep(time.Duration(k.random.IntN(int(20 * time.Millisecond)))) // where the kill falls, not a wait for anything
	case "start":
		k.server.kill()
		k.started = time.Now()
		k.server.launch()
		time.Sleep(time.Duration(k.random.IntN(int(300 * time.Millisecond))))
	}
	if kind != "start" {
		k.allowUntilWaiting()
	}
	before := k.brokenOff()
	k.server.kill()
	k.kills++
	switch {
	case kind == "start":
		k.inStart++
		return
	case stopAsking():
		k.inSnapshot++
	}
	// A request that was in flight has failed by now, or does at once.
	if kind == "stream" && k.brokeOff(before) {
		k.inStream++
	}
	if k.leftUnfinished() {
		k.unfinished++
	}
}

// checkAcked checks, right after a start, that the last acknowledged event of every producer
// counts, or a later one of the same entity.
func (k *killer) checkAcked() {
	k.t.Helper()
	for _, s := range k.streams {
		k.mu.Lock()
		last, token := s.last, s.token
		k.mu.Unlock()
		if token == "" {
			continue
		}
		collection := cmp.Or(last.Collection, "default")
		e, status := k.api.get(last.EntityID, "collection", collection, "after", token)
		acked, now := sequenceOf(k.t, last.EventID), int64(-1)
		if status == http.StatusOK {
			now = sequenceOf(k.t, e.SourceEventID)
		}
		switch {
		case status == http.StatusNotFound && e.Code == "not_found" && k.mayBeGone(last.EntityID, acked):
		case status != http.StatusOK:
			k.t.Errorf("%s, acknowledged with %s, is lost: status %d %s: %s", last.EntityID, last.EventID, status, e.Code, e.Detail)
		case now < acked:
			k.t.Errorf("%s stands at event %d, %d was acknowledged", last.EntityID, now, acked)
		}
	}
}

// mayBeGone reports whether an entity is deleted by an event of the history, or by a later one.
func (k *killer) mayBeGone(id string, from int64) bool {
	return slices.ContainsFunc(k.live[from:], func(e event) bool { return e.EntityID == id && e.Op == "delete" })
}

// sequenceOf reads the place in the history from an event's id.
func sequenceOf(t testing.TB, eventID string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(eventID[strings.LastIndexByte(eventID, '-')+1:], 10, 64)
	if err != nil {
		t.Fatalf("event id %q: %v", eventID, err)
	}
	return n
}
