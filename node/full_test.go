package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/backup"
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/node"
)

const (
	plenty   = 1 << 40
	soon     = 20 * time.Second // nothing takes longer, unless it hangs
	patience = 50 * time.Millisecond
)

// tenant is a node on a disk that becomes full, and what it has acknowledged.
type tenant struct {
	*server
	b       *budget
	rng     *rand.Rand
	sent    int
	acked   []string
	refused int
	busy    sync.WaitGroup
}

func (f *tenant) open() error {
	cfg := config.Defaults()
	cfg.Data, cfg.CacheBytes, cfg.Partitions = "/data", 1<<20, 3
	cfg.Collections["vectors"] = config.Collection{Dim: 3, Metric: "l2"}
	cfg.Limits.FreeDiskBytes = 1 + f.rng.Int64N(2000) // mostly the disk is filled before it is reached
	cfg.Retention.Bytes = 6000
	n, err := node.Open(context.Background(), node.Options{Config: cfg, FS: disk.New(f.b, nil), SegmentBytes: 2000, NoSources: true,
		Patience: patience, Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		f.Node = n
	}
	return err
}

// event sends an event, which is accepted or refused because the disk is full.
func (f *tenant) event() {
	f.sent++
	id := fmt.Sprint("e", f.sent)
	status, answer := f.call("POST", "/v1/events", fmt.Sprintf(`{"entity_id":%q,"collection":"vectors","payload":{"n":%d,"s":%q},"vector":[%d,1,0]}`,
		id, f.sent, strings.Repeat("x", f.rng.IntN(1500)), f.sent))
	switch {
	case status == http.StatusOK:
		f.acked = append(f.acked, id)
	case status == http.StatusInsufficientStorage && strings.Contains(string(answer), `"disk_full"`):
		f.refused++
	default:
		f.t.Fatalf("an event is answered with %d %s", status, answer)
	}
}

// search must be answered at any time.
func (f *tenant) search() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		status, answer := f.call("POST", "/v1/search", `{"collection":"vectors","vector":[1,1,0],"k":3}`)
		var found struct{ Hits []json.RawMessage }
		if err := json.Unmarshal(answer, &found); status != http.StatusOK || err != nil {
			f.t.Errorf("a search is answered with %d %s", status, answer)
		}
	}()
	select {
	case <-done:
	case <-time.After(soon):
		f.t.Fatal("a search hangs")
	}
}

// mayFail checks that what has failed has done so because the disk is full.
func (f *tenant) mayFail(what string, err error) {
	var e *freshet.Error
	if err != nil && !disk.IsFull(err) && !(errors.As(err, &e) && e.Code == freshet.CodeDiskFull) {
		f.t.Errorf("%s: %v", what, err)
	}
}

// inBackground is for what waits for room.
func (f *tenant) inBackground(what string, do func(*node.Node) error) {
	n := f.Node
	f.busy.Go(func() { f.mayFail(what, do(n)) })
}

func (f *tenant) step() {
	switch p := f.rng.IntN(24); {
	case p < 12:
		f.event()
	case p < 18:
		f.search()
	case p < 20:
		_, err := f.Snapshot(context.Background())
		f.mayFail("snapshot", err)
	case p < 21:
		f.inBackground("retention", func(n *node.Node) error {
			ctx, cancel := context.WithTimeout(context.Background(), soon)
			defer cancel()
			return n.Retain(ctx)
		})
	case p < 22:
		f.inBackground("compaction", func(n *node.Node) error { _, err := n.Compact(context.Background()); return err })
	case p < 23:
		f.inBackground("backup", func(n *node.Node) error {
			_, err := n.Backup(context.Background(), io.Discard, backup.Options{})
			var e *freshet.Error
			if errors.As(err, &e) && e.Code == freshet.CodeUnavailable {
				return nil // another one is being written
			}
			return err
		})
	default:
		time.Sleep(time.Duration(f.rng.IntN(3)) * time.Millisecond)
	}
}

// free makes room, and checks that nothing was lost.
func (f *tenant) free() {
	f.b.leave(plenty)
	f.busy.Wait()
	for end, before := time.Now().Add(soon), len(f.acked); len(f.acked) == before; time.Sleep(10 * time.Millisecond) {
		if f.event(); time.Now().After(end) {
			f.t.Fatal("there is room, and events are refused")
		}
	}
	if err := f.CatchUpWithin(soon); err != nil {
		f.t.Fatalf("there is room, and what was accepted is not decided: %v", err)
	}
	for _, id := range f.acked {
		if status, answer := f.call("GET", "/v1/entities/"+id+"?collection=vectors", ""); status != http.StatusOK {
			f.t.Errorf("%s was acknowledged: %d %s", id, status, answer)
		}
	}
	f.mustBeClean()
	if _, err := f.Snapshot(context.Background()); err != nil {
		f.t.Errorf("there is room, and a snapshot fails: %v", err)
	}
}

// restart stops the node on the disk as it is, cleanly or not, and starts it: on a full disk it may refuse, until there is room.
func (f *tenant) restart(clean bool) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if clean {
			f.mayFail("clean stop", f.Close())
		}
		f.Kill()
	}()
	select {
	case <-ended:
	case <-time.After(soon):
		f.t.Fatal("the stop hangs")
	}
	err := f.open()
	f.mayFail("start", err)
	if err == nil {
		f.search()
		return
	}
	f.b.leave(plenty)
	if err := f.open(); err != nil {
		f.t.Fatalf("start with room: %v", err)
	}
}

const seedVariable = "FRESHET_FULL_SEED"

// TestDiskFullAtAnyMoment: the disk becomes full at a random byte of whatever the node does then. Events are refused, searches are
// answered, and when there is room everything goes on.
func TestDiskFullAtAnyMoment(t *testing.T) {
	first, seeds := uint64(0), uint64(300)
	if testing.Short() || raceEnabled {
		seeds = 30
	}
	if v, err := strconv.ParseUint(os.Getenv(seedVariable), 10, 64); err == nil {
		first, seeds = v, 1
	}
	var mu sync.Mutex
	failed := map[string]int{}
	refused, acked := 0, 0
	var workers sync.WaitGroup
	var next atomic.Uint64
	for range 8 { // mostly they wait
		workers.Go(func() {
			for seed := first + next.Add(1) - 1; seed < first+seeds; seed = first + next.Add(1) - 1 {
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					f := lifeOnFullDisk(t, seed)
					mu.Lock()
					defer mu.Unlock()
					refused, acked = refused+f.refused, acked+len(f.acked)
					for kind, n := range f.b.failed {
						failed[kind] += n
					}
				})
			}
		})
	}
	workers.Wait()
	t.Logf("%d events acknowledged, %d refused; without room: %v", acked, refused, failed)
	if seeds < 100 {
		return
	}
	for _, kind := range []string{".seg", ".log", ".sst", "MANIFEST", ".tmp"} {
		if failed[kind] == 0 {
			t.Errorf("no %s ever found the disk full: the test proves little", kind)
		}
	}
}

func lifeOnFullDisk(t *testing.T, seed uint64) *tenant {
	rng := rand.New(rand.NewPCG(seed, 7))
	f := &tenant{server: &server{t: t}, b: newBudget(plenty), rng: rng}
	if err := f.open(); err != nil {
		t.Fatal(err)
	}
	defer func() { f.Kill() }()
	for range 1 + rng.IntN(3) {
		for n := rng.IntN(20); n > 0; n-- {
			f.step()
		}
		f.b.leave(rng.Int64N(2 << rng.IntN(14))) // so much until it is full
		for n := 5 + rng.IntN(40); n > 0; n-- {
			f.step()
		}
		if rng.IntN(3) == 0 {
			f.b.leave(rng.Int64N(2 << rng.IntN(14))) // some was freed, and is used up
			for n := rng.IntN(20); n > 0; n-- {
				f.step()
			}
		}
		if rng.IntN(3) == 0 {
			f.b.leave(plenty)
			f.busy.Wait() // a command that runs in a node that stops is not what this is about
			f.b.leave(rng.Int64N(2 << rng.IntN(12)))
			for range rng.IntN(6) {
				f.event()
			}
			f.restart(rng.IntN(3) > 0)
		}
		f.free()
		if t.Failed() {
			break
		}
	}
	return f
}
