package sim_test

import (
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/sim"
)

// Without any one of our own syncs a promise is broken, and the simulation notices. Each call
// of one is taken out by itself, for a site may stand for several.
func TestEverySyncIsNeeded(t *testing.T) {
	places := allPlaces(t)
	for _, site := range disk.Sites() {
		_, exempt := elsewhere[site]
		if found := slices.ContainsFunc(places, func(p place) bool { return p.site == site }); found == exempt {
			t.Errorf("site %s: reached by a simulated node: %v, listed as reached elsewhere only: %v", site, found, exempt)
		}
	}
	for _, p := range places {
		t.Run(p.String(), func(t *testing.T) {
			if reason, ok := harmless[p]; ok {
				t.Skip(reason)
			}
			n, err := seedsUntilBroken(func(s disk.Site) bool { return s == p.site && placeOf(s) == p })
			if err == nil {
				t.Fatalf("it does nothing, and none of %d seeds noticed", n)
			}
			t.Logf("found after %d seeds: %.200v", n, err)
		})
	}
}

// elsewhere are the sites that a simulated node does not reach, and where they are proved.
var elsewhere = map[disk.Site]string{
	disk.SourceFilesDone: "the files source reads a real folder; source/files has such a test of its own",
	disk.RestoreFile:     "a simulation interrupts restores with all their syncs; package node has such a test of its own",
	disk.RestoreDir:      "likewise",
	disk.BackupFile:      "a simulated node streams its backups; package backup has such a test of its own",
	disk.BackupDir:       "likewise",
	disk.FeedState:       "nobody follows the changes of a simulated node; package feed has such a test of its own",
}

// harmless are the places whose sync nothing of a whole node depends on, and why it is there.
var harmless = map[place]string{
	{disk.ControlRecord, "control: write < CheckEpoch"}: "the first epoch of a log is followed by other records before the " +
		"node comes up, and a start that does not find it records it again; it is synced because all control records are",
	{disk.ControlRecord, "control: write < CheckRevision"}: "the first revision of a log is followed by the record of the default " +
		"collection before the node comes up, and that sync is theirs together; it is synced because all control records are",
	{disk.ControlRecord, "control: write < Declare"}: "what is written to the tables later goes with it, and the next start declares " +
		"the collection again, from the position of then; it is synced because all control records are",
	{disk.JournalDir, "journal: Open"}: "the opening of the state syncs the same folder before the first append; " +
		"a journal by itself needs it, see broker/journal",
	{disk.ControlRecord, "control: write < SettleOrder"}: "every replay settles the order again, by the same first event; " +
		"it is synced because all control records are",
}

// rarely is how many seeds may pass until a missing sync shows: that of the snapshots' folder at a start is missed by some 300 of them,
// more or less with the load of the machine.
const rarely = 5 * seeds

// seedsUntilBroken runs seeds with syncs taken out until one fails.
func seedsUntilBroken(skip func(disk.Site) bool) (ran int, broken error) {
	var mu sync.Mutex
	each(0, rarely, func(seed uint64) bool {
		_, err := sim.Run(seed, sim.Options{Skip: skip})
		mu.Lock()
		defer mu.Unlock()
		ran++
		if broken == nil {
			broken = err
		}
		return broken == nil
	})
	return ran, broken
}

// allPlaces runs some seeds and returns where they asked for syncs.
func allPlaces(t *testing.T) []place {
	var mu sync.Mutex
	places := map[place]bool{}
	each(0, seedsShort, func(seed uint64) bool {
		_, err := sim.Run(seed, sim.Options{Skip: func(s disk.Site) bool {
			p := placeOf(s)
			mu.Lock()
			defer mu.Unlock()
			places[p] = true
			return false
		}})
		if err != nil {
			t.Errorf("nothing is taken out: %v", err)
		}
		return err == nil
	})
	return slices.SortedFunc(maps.Keys(places), func(a, b place) int { return strings.Compare(a.String(), b.String()) })
}

// place is where the code asks for a sync: its site, and the functions of the package that
// asks, innermost first.
type place struct {
	site  disk.Site
	chain string
}

func (p place) String() string { return string(p.site) + " in " + p.chain }

const module = "github.com/freshet-io/freshet/"

// carriers pass a site on for others.
var carriers = []string{"disk.", "broker/embedded.(*Txn).CommitDurable", "broker/embedded.(*Log).WriteControl", "broker/embedded.(*State).Sync"}

// placeOf finds its place; it is called by the hook that package disk calls.
func placeOf(s disk.Site) place {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(0, pcs[:])])
	pkg, chain := "", []string(nil)
	for more, inDisk := true, false; more; {
		var f runtime.Frame
		f, more = frames.Next()
		name, ours := strings.CutPrefix(f.Function, module)
		inDisk = inDisk || strings.HasPrefix(name, "disk.")
		if !inDisk || !ours || slices.ContainsFunc(carriers, func(c string) bool { return strings.HasPrefix(name, c) }) {
			continue
		}
		p, function, _ := strings.Cut(name[strings.LastIndexByte(name, '/')+1:], ".")
		if pkg == "" {
			pkg = p
		}
		if p != pkg {
			break
		}
		function = function[strings.LastIndexByte(function, '.')+1:]
		if !strings.HasPrefix(function, "func") { // a closure within the next
			chain = append(chain, function)
		}
	}
	return place{s, pkg + ": " + strings.Join(chain, " < ")}
}
