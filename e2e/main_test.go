package e2e_test

import (
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// program is the path of the built binary. TestMain sets it before any test runs.
var program string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	if program = os.Getenv("FRESHET_BIN"); program != "" {
		return m.Run()
	}
	if err := readSources(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "freshet-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "freshet")
	args := []string{"build", "-o", program}
	if os.Getenv("FRESHET_E2E_RACE") != "" {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "../cmd/freshet")...)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build cmd/freshet:", err)
		return 1
	}
	return m.Run()
}

// readSources lists the folders of the module. The go command caches a test's result until
// something changes that the test has looked at; the program's sources have to be among it.
func readSources() error {
	return filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		return err
	})
}

// seed returns the seed of a test's random choices, and says how to repeat it. What the
// machine's timing adds to them can't be repeated.
func seed(t testing.TB) uint64 {
	t.Helper()
	s := uint64(time.Now().UnixNano())
	if v := os.Getenv("FRESHET_SEED"); v != "" {
		var err error
		if s, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatalf("FRESHET_SEED: %v", err)
		}
	}
	t.Logf("FRESHET_SEED=%d", s)
	return s
}

// random returns a source of random choices for one part of a test.
func random(seed uint64, part string) *rand.Rand {
	return rand.New(rand.NewPCG(seed, hash(part)))
}

func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, s) // never fails
	return h.Sum64()
}

// shared returns a path below the shared folder, or skips the test.
func shared(t testing.TB, elem ...string) string {
	t.Helper()
	root := os.Getenv("FRESHET_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "shared") // beside the module's root
	}
	path := filepath.Join(append([]string{root}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no shared data: %v; FRESHET_SHARED names the folder", err)
	}
	return path
}

// deadline is how long a test waits for what must happen soon, on a busy machine.
const deadline = 60 * time.Second

// eventually polls until a condition holds; what says what is waited for.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	within(t, deadline, what, holds)
}

// within is eventually with a time of its own.
func within(t testing.TB, most time.Duration, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(most); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, most)
		}
	}
}
