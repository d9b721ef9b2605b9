package journal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/disk"
)

var errDead = errors.New("the process is dead")

// crashRun is one seeded life of a journal over several deaths. There is one appender, so
// every file operation is reached in the same order each time a seed is run; only which folder
// entries that were not synced survive a crash is up to the order of a map inside vfs.MemFS.
type crashRun struct {
	rng   *rand.Rand
	skip  func(disk.Site) bool
	mem   *vfs.MemFS
	acked []string       // acknowledged or once read, by offset
	batch map[string]int // size of the batch of every value that was ever submitted
	torn  int64          // bytes, over all deaths
	kept  int            // records that were there though never acknowledged
}

// simulate runs a seed and says what promise was broken.
func simulate(seed uint64, skip func(disk.Site) bool) (*crashRun, error) {
	c := &crashRun{rng: rand.New(rand.NewPCG(seed, 0)), skip: skip, mem: vfs.NewCrashableMem(), batch: map[string]int{}}
	root, err := c.mem.OpenDir("/")
	if err != nil {
		return nil, err
	}
	if err := c.mem.MkdirAll("data", 0o755); err != nil {
		return nil, err
	}
	if err := root.Sync(); err != nil { // the data folder is the broker's to make durable
		return nil, err
	}
	for life := range 4 {
		if err := c.live(life); err != nil {
			return c, fmt.Errorf("seed %d, life %d: %w", seed, life, err)
		}
	}
	return c, nil
}

// live opens the journal, checks everything promised so far, and appends until it dies: of a
// crash that loses what was not synced, of a kill that loses nothing but the process, or of
// Close. Some writes and syncs fail on the way.
func (c *crashRun) live(life int) error {
	dieAt := c.rng.IntN(40)
	inSync := c.rng.IntN(2) == 0 // between the write of a frame and its sync
	crash := c.rng.IntN(3) > 0
	faulty := c.rng.IntN(3) == 0
	opened, dead := false, false
	var after *vfs.MemFS
	fs := errorfs.Wrap(c.mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !opened {
			return nil
		}
		if dead {
			return errDead
		}
		if dieAt--; dieAt < 0 && (!inSync || op.Kind == errorfs.OpFileSyncData) {
			dead = true
			if crash {
				after = c.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.rng.IntN(101), RNG: c.rng})
			}
			return errDead
		}
		if faulty && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && c.rng.IntN(8) == 0 {
			return errorfs.ErrInjected
		}
		return nil
	}))
	j, torn, err := journal.Open(disk.New(fs, c.skip), dir, 0, journal.Options{SegmentBytes: 1 + c.rng.Int64N(30_000)})
	if err != nil {
		return err
	}
	defer func() {
		j.Close()
		if after != nil {
			c.mem = after
		}
	}()
	c.torn += torn
	if err := c.check(j); err != nil {
		return err
	}
	opened = true
	for n := 0; n < 25 && !dead; n++ {
		vals := make([]string, 1+c.rng.IntN(4))
		var b journal.Batch
		for i := range vals {
			vals[i] = fmt.Sprintf("%d.%d.%d", life, n, i) + strings.Repeat(".", c.rng.IntN(1<<c.rng.IntN(14)))
			c.batch[vals[i]] = len(vals)
			b.Add(0, nil, []byte(vals[i]))
		}
		first, err := j.Append(context.Background(), &b)
		if err != nil {
			continue
		}
		if first != int64(len(c.acked)) {
			return fmt.Errorf("append acknowledged at offset %d, expected %d", first, len(c.acked))
		}
		c.acked = append(c.acked, vals...)
	}
	if !dead {
		return c.check(j)
	}
	return nil
}

// check reads everything. All that was acknowledged must be there. Behind it a whole batch may
// stand whose append failed; once it has been seen it must stay like any other.
func (c *crashRun) check(j *journal.Journal) error {
	recs, err := readTo(j, 0, 10_000)
	if err != nil {
		return err
	}
	for i, r := range recs {
		if i < len(c.acked) {
			if string(r.Value) != c.acked[i] || r.Offset != int64(i) {
				return fmt.Errorf("record %d is %.20q at %d, acknowledged was %.20q", i, r.Value, r.Offset, c.acked[i])
			}
			continue
		}
		size := c.batch[string(r.Value)]
		if size == 0 {
			return fmt.Errorf("record %d was never submitted: %.20q", i, r.Value)
		}
		if size != len(recs)-len(c.acked) {
			return fmt.Errorf("%d records are there unacknowledged, their batch has %d", len(recs)-len(c.acked), size)
		}
	}
	if len(recs) < len(c.acked) || j.End() != int64(len(recs)) {
		return fmt.Errorf("%d records are there, End is %d, %d were acknowledged", len(recs), j.End(), len(c.acked))
	}
	for _, r := range recs[len(c.acked):] {
		c.acked = append(c.acked, string(r.Value))
		c.kept++
	}
	return nil
}

const crashSeeds = 500

func TestCrash(t *testing.T) {
	var acked, kept, torn int
	for seed := range uint64(crashSeeds) {
		c, err := simulate(seed, nil)
		if err != nil {
			t.Fatal(err)
		}
		acked += len(c.acked)
		kept += c.kept
		if c.torn > 0 {
			torn++
		}
	}
	t.Logf("%d records, %d of them never acknowledged; %d of %d seeds had a torn frame", acked, kept, torn, crashSeeds)
	if acked < 10*crashSeeds || kept < crashSeeds/20 || torn < crashSeeds/20 {
		t.Errorf("the simulation has grown too tame to prove anything")
	}
}

// Without any one of its syncs the journal loses what it acknowledged.
func TestCrashNeedsEverySync(t *testing.T) {
	for _, site := range []disk.Site{disk.JournalFrame, disk.JournalDir} {
		broken := 0
		for seed := range uint64(60) {
			if _, err := simulate(seed, func(s disk.Site) bool { return s == site }); err != nil {
				broken++
			}
		}
		if broken == 0 {
			t.Errorf("%s did nothing, and no seed of 60 noticed", site)
		}
		t.Logf("%s skipped: %d of 60 seeds broken", site, broken)
	}
}

// A crash while many append: a clone of the disk taken at any moment holds all that had been
// acknowledged by then.
func TestCrashConcurrent(t *testing.T) {
	for seed := range uint64(25) {
		mem := vfs.NewCrashableMem()
		j := open(t, mem, 0, journal.Options{SegmentBytes: 3000, GroupBytes: 500})
		if root, err := mem.OpenDir("/"); err != nil || root.Sync() != nil {
			t.Fatal("sync of the root failed")
		}
		type ack struct {
			first int64
			vals  []string
		}
		acks := make(chan ack)
		stop := make(chan struct{})
		done := make(chan struct{})
		const appenders = 6
		for a := range appenders {
			go func() {
				defer func() { done <- struct{}{} }()
				for n := 0; ; n++ {
					vals := numbered(n, n+1+(a+n)%4)
					first, err := j.Append(context.Background(), batchOf(vals...))
					if err != nil {
						t.Error(err)
						return
					}
					select {
					case acks <- ack{first, vals}:
					case <-stop:
						return
					}
				}
			}()
		}
		var seen []ack
		rng := rand.New(rand.NewPCG(seed, 1))
		for range 20 + rng.IntN(100) {
			seen = append(seen, <-acks)
		}
		after := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		close(stop)
		for range appenders {
			<-done
		}
		j = open(t, after, 0, journal.Options{})
		recs, err := readTo(j, 0, 1<<20)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		got := values(t, recs, 0)
		for _, a := range seen {
			for i, v := range a.vals {
				if at := a.first + int64(i); at >= int64(len(got)) || got[at] != v {
					t.Fatalf("seed %d: acknowledged record %d is not there after the crash", seed, at)
				}
			}
		}
	}
}
