package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// server is the program on a data folder: it can be started, stopped and killed many times.
// Its methods are for the test's goroutine, except url.
type server struct {
	t      testing.TB
	data   string // data folder
	config string // configuration file, or ""
	// arguments and folder replace the usual arguments and working folder, where given.
	arguments []string
	folder    string
	// troubled says that the test causes errors that the server reports.
	troubled bool
	// log takes what all its processes say, where given.
	log    io.Writer
	cmd    *exec.Cmd
	out    *output
	exited chan struct{} // closed when the process has ended
	code   error         // how it ended, once exited is closed

	mu   sync.Mutex // guards addr
	addr string
}

// newServer prepares a server on an empty folder with a configuration in YAML, which may be
// empty. It is killed when the test ends, and what it said is shown if the test failed.
func newServer(t testing.TB, yaml string) *server {
	t.Helper()
	dir := t.TempDir()
	s := &server{t: t, data: filepath.Join(dir, "data")}
	if yaml != "" {
		s.config = filepath.Join(dir, "freshet.yaml")
		s.configure(yaml)
	}
	t.Cleanup(func() {
		s.kill()
		if t.Failed() && s.out != nil {
			t.Logf("the server's last lines:\n%s", s.out.tail(40))
		}
	})
	return s
}

// startServer is newServer, started and ready.
func startServer(t testing.TB, yaml string) (*server, *api) {
	t.Helper()
	s := newServer(t, yaml)
	s.start()
	return s, newAPI(t, s.url)
}

// configure replaces the configuration for the next start.
func (s *server) configure(yaml string) {
	s.t.Helper()
	if err := os.WriteFile(s.config, []byte(yaml), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) args() []string {
	if s.arguments != nil {
		return s.arguments
	}
	args := []string{"run", "--data", s.data, "--listen", "127.0.0.1:0"}
	if s.config != "" {
		args = append(args, "--config", s.config)
	}
	return args
}

// launch starts the process and does not wait for it.
func (s *server) launch() {
	s.t.Helper()
	if s.cmd != nil {
		s.t.Fatal("the server runs already")
	}
	s.out = newOutput()
	s.cmd = exec.Command(program, s.args()...)
	s.cmd.Stderr, s.cmd.Dir = s.out, s.folder
	if s.log != nil {
		s.cmd.Stderr = io.MultiWriter(s.out, s.log)
	}
	s.cmd.Stdout = s.cmd.Stderr // one writer for both, so their lines come one after the other
	dieWithParent(s.cmd)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("start %s: %v", program, err)
	}
	exited := make(chan struct{})
	s.exited = exited
	go func() {
		s.code = s.cmd.Wait()
		close(exited)
	}()
}

// start launches the process and waits until /readyz says that it is ready.
func (s *server) start() {
	s.t.Helper()
	s.launch()
	s.await()
	s.checkOutput()
}

// await waits until the launched process is ready.
func (s *server) await() {
	s.t.Helper()
	end := time.After(deadline)
	select {
	case addr := <-s.out.addr:
		s.mu.Lock()
		s.addr = addr
		s.mu.Unlock()
	case <-s.exited:
		s.t.Fatalf("the server ended at its start: %v\n%s", s.code, s.out.tail(20))
	case <-end:
		s.t.Fatalf("the server did not say that it serves within %v\n%s", deadline, s.out.tail(20))
	}
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	eventually(s.t, "server ready", func() bool {
		res, err := client.Get(s.url() + "/readyz")
		if err != nil {
			return false
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// refused launches a process that is to end by itself with an error, and returns what it said.
func (s *server) refused() string {
	s.t.Helper()
	s.launch()
	select {
	case <-s.exited:
	case <-time.After(deadline):
		s.t.Fatalf("the server should refuse to start, it runs:\n%s", s.out.tail(20))
	}
	s.cmd = nil
	if s.code == nil {
		s.t.Fatalf("the server should refuse to start, it ended with status 0:\n%s", s.out.tail(20))
	}
	return s.out.tail(200)
}

// url is where the server answers.
func (s *server) url() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return "http://" + s.addr
}

// kill ends the process as kill -9 does; no-op when it does not run.
func (s *server) kill() {
	s.t.Helper()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // fails only if it has ended by itself
	<-s.exited
	s.cmd = nil
	s.checkOutput()
}

// stop ends the process as an operator does, and waits until it has.
func (s *server) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatalf("stop: %v", err)
	}
	select {
	case <-s.exited:
	case <-time.After(deadline):
		s.t.Fatalf("the server did not stop within %v\n%s", deadline, s.out.tail(20))
	}
	s.cmd = nil
	if s.code != nil {
		s.t.Fatalf("the server stopped with %v:\n%s", s.code, s.out.tail(20))
	}
	s.checkOutput()
}

// checkOutput fails the test when the server has said anything about an error: few tests here
// cause one that is the server's own, and those say that it is troubled.
func (s *server) checkOutput() {
	s.t.Helper()
	for line := range strings.Lines(s.out.tail(1 << 20)) {
		if strings.Contains(line, "panic") || strings.Contains(line, "DATA RACE") || !s.troubled && strings.Contains(line, "level=ERROR") {
			s.t.Errorf("the server said: %s", line)
		}
	}
}

// command runs another command of the program and returns its standard output, what it said
// beside it, and its exit status.
func command(t testing.TB, stdin io.Reader, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errs
	dieWithParent(cmd)
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatalf("run %v: %v", args, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// output keeps what a process says, and picks the address at which it serves.
type output struct {
	addr chan string // receives the address once

	mu   sync.Mutex // guards what follows
	text bytes.Buffer
	said bool
}

func newOutput() *output { return &output{addr: make(chan string, 1)} }

var serves = regexp.MustCompile(`serves http://([0-9.:]+),`)

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(b)
	if m := serves.FindSubmatch(o.text.Bytes()); m != nil && !o.said {
		o.said = true
		o.addr <- string(m[1])
	}
	return len(b), nil
}

// tail returns the last n lines.
func (o *output) tail(n int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines := strings.SplitAfter(o.text.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-n-1):], "")
}

// memory returns a figure of /proc/PID/status, such as VmRSS, in bytes; it skips the test
// where there is none.
func (s *server) memory(name string) int64 {
	s.t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.t.Skipf("the memory of a process can't be read here: %v", err)
	}
	m := regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(raw)
	if m == nil {
		s.t.Skipf("/proc has no %s", name)
	}
	var kb int64
	if _, err := fmt.Sscan(string(m[1]), &kb); err != nil {
		s.t.Fatal(err)
	}
	return kb << 10
}
