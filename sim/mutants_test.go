package sim_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// seedsOfMutant is within how many seeds a planted bug must be found. The rarest is found in one of 80, from a random one on.
const seedsOfMutant = 2000

// mutants are bugs, each as a change of one place in the source.
var mutants = []struct{ name, file, old, new string }{
	{"an older event replaces a newer state", "process/sequence.go",
		"case c < 0:\n", "case c < -1:\n"},
	{"a repeat counts", "process/sequence.go",
		"	if repeated {\n", "	if repeated && d.Op == freshet.OpPatch {\n"},
	{"an event id counts one id too long", "process/seen.go",
		"next-n <= w.MaxIDs", "next-n <= w.MaxIDs+1"},
	{"the position does not move with its batch", "process/processor.go",
		"tx.Move(p.member, freshet.TopicRaw, 0, position)", "tx.Move(p.member, freshet.TopicRaw, 0, position-1)"},
	{"a shrunken document keeps its last point", "store/embedded/shard.go",
		"slot < int(old.points); slot++ {\n			ops = append(ops, ann.Op{Key: pointKey(doc, slot)})\n		}\n	}\n	return ops",
		"slot < int(old.points)-1; slot++ {\n			ops = append(ops, ann.Op{Key: pointKey(doc, slot)})\n		}\n	}\n	return ops"},
	{"a snapshot claims a change too many", "store/embedded/snapshot.go",
		"position: g.s.covered.Load(), number:", "position: g.s.covered.Load() + 1, number:"},
	{"a batch counts as searchable before it is", "vsync/worker.go",
		"		results, err := w.takeIn(ctx, b)\n", "		w.decided(b)\n		time.Sleep(time.Millisecond)\n		results, err := w.takeIn(ctx, b)\n"},
	{"the audit base skips the last event of a batch", "process/base.go",
		"	d, err := b.seq.Decide(ctx, batch, &t)\n", "	d, err := b.seq.Decide(ctx, batch[:max(1, len(batch)-1)], &t)\n"},
	{"a deletion is forgotten before all snapshots have it", "node/retention.go",
		"		if offset < n.store.Covered(name) {\n", "		if n.store.Covered(name) > 0 {\n"},
	{"a patch replaces", "process/patch.go",
		"merged, err := codec.MergePatch(target, patch)", "merged, err := patch, error(nil)"},
	{"a drop leaves the event ids", "process/drop.go",
		"number < f.dropped(key.Shard()).Number", "number+1 < f.dropped(key.Shard()).Number"},
	{"a snapshot outlives a drop", "store/embedded/drop.go",
		"if ok && position <= offset {", "if ok && position < 0 {"},
	{"a token of what a restore has taken away counts", "control/epoch.go",
		"if s.Last >= until {", "if s.Last >= until+4 {"},
	{"a repeat counts that is decided with the first", "process/sequence.go",
		"p.inBatch[d.id]; ok && !p", "p.inBatch[d.id]; ok && n < 0 && !p"},
	{"filters find what is deleted", "store/embedded/shard.go",
		"			s.filter.Delete(documents[i])\n", "			_ = s.filter\n"},
}

// TestPlantedBugs: each of the mutants is found within some seeds. The source is not touched: the compiler gets the changed file
// in an overlay.
func TestPlantedBugs(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("it compiles the simulation once for each bug")
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			out := runMutant(t, root, filepath.Join(t.TempDir(), strconv.Itoa(i)+".test"), m.file, m.old, m.new)
			found := regexp.MustCompile(`seed (\d+)[,:][^\n]*`).FindString(out)
			if found == "" {
				t.Fatalf("none of %d seeds found it:\n%.2000s", seedsOfMutant, out)
			}
			t.Logf("%.200s", found)
		})
	}
}

// runMutant compiles the simulation with a change, and returns what its run says; it must fail.
func runMutant(t *testing.T, root, program, file, before, after string) string {
	t.Helper()
	path := filepath.Join(root, filepath.FromSlash(file))
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), before); n != 1 {
		t.Fatalf("%s has %q %d times, want it once", file, before, n)
	}
	changed := program + ".go"
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, changed, []byte(strings.Replace(string(source), before, after, 1)))
	write(t, program+".json", overlay)
	build := exec.Command("go", "test", "-c", "-overlay", program+".json", "-o", program, "./sim")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := exec.Command(program, "-test.run", "TestCrash$", "-test.v")
	run.Dir = filepath.Join(root, "sim")
	run.Env = append(os.Environ(), seedsVariable+"="+strconv.Itoa(seedsOfMutant))
	out, err := run.CombinedOutput()
	if err == nil {
		t.Fatalf("none of %d seeds found it", seedsOfMutant)
	}
	return string(out)
}

func write(t *testing.T, path string, raw []byte) {
	t.Helper()
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
}
