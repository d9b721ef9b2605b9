package files_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// inLimits names the variable that says that the test runs where few folders can be watched.
const inLimits = "FRESHET_TEST_FEW_WATCHES"

// TestWatchLimit runs itself in a user namespace of its own, where the system watches five folders.
func TestWatchLimit(t *testing.T) {
	if os.Getenv(inLimits) == "" {
		cmd := exec.Command("unshare", "--user", "--map-root-user", "sh", "-c",
			`echo 5 > /proc/sys/user/max_inotify_watches || exit 77; exec "$0" -test.run '^TestWatchLimit$' -test.v`, os.Args[0])
		cmd.Env = append(os.Environ(), inLimits+"=1")
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), "--- PASS") || strings.Contains(string(out), "--- FAIL") {
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			return
		}
		t.Skipf("no namespace of users here: %v %s", err, out)
	}
	b := newBench(t)
	said := &logged{}
	b.opts.Logger = slog.New(said)
	for i := range 20 {
		b.write(fmt.Sprintf("%d/a.txt", i), fmt.Sprint("text ", i))
	}
	b.start()
	b.await(b.onDisk())
	b.write("19/b.txt", "where nobody watches")
	b.rename("18/a.txt", "0/moved.txt")
	b.await(b.onDisk())
	b.halt()
	b.checkOnce()
	if n := said.count("fs.inotify.max_user_watches"); n != 1 {
		t.Errorf("the limit is named %d times, want once", n)
	}
}

// logged keeps the messages of warnings.
type logged struct {
	mu       sync.Mutex
	messages []string
}

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }
func (l *logged) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logged) WithGroup(string) slog.Handler            { return l }

func (l *logged) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Level >= slog.LevelWarn {
		l.messages = append(l.messages, r.Message)
	}
	return nil
}

func (l *logged) count(part string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.messages {
		if strings.Contains(m, part) {
			n++
		}
	}
	return n
}
