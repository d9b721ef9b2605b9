package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// smallDisk names the variable that says that the test may mount file systems.
const smallDisk = "FRESHET_TEST_SMALL_DISK"

// TestRealDiskFull runs itself in a user namespace of its own, where it mounts a small file system, and fills it to the
// last byte beside the server.
func TestRealDiskFull(t *testing.T) {
	if os.Getenv(smallDisk) == "" {
		t.Parallel()
		cmd := exec.Command("unshare", "--user", "--map-root-user", "--mount", os.Args[0], "-test.run", "^TestRealDiskFull$", "-test.v")
		cmd.Env = append(os.Environ(), smallDisk+"=1", "FRESHET_BIN="+program)
		dieWithParent(cmd)
		out, err := cmd.CombinedOutput()
		switch said := string(out); {
		case strings.Contains(said, "--- PASS") && err == nil:
		case strings.Contains(said, "--- PASS"), strings.Contains(said, "--- FAIL"):
			t.Errorf("%v\n%s", err, out)
		default:
			t.Skipf("no namespace in which a file system may be mounted: %v %s", err, clip(out))
		}
		return
	}
	folder := t.TempDir()
	if err := syscall.Mount("none", folder, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(folder, syscall.MNT_DETACH) })
	s := newServer(t, "limits: {free_disk_bytes: 4096}\n")
	s.data, s.troubled = filepath.Join(folder, "data"), true
	s.start()
	a := newAPI(t, s.url)
	rival := filepath.Join(folder, "rival")
	sent := 0
	accepted := map[string]bool{}
	send := func() (ingested, int, http.Header) {
		t.Helper()
		sent++
		id := fmt.Sprintf("e%d", sent)
		var in ingested
		status, h, raw, err := a.do("POST", "/v1/events", "application/json",
			strings.NewReader(fmt.Sprintf(`{"entity_id":%q,"payload":{"text":"number %d %s"}}`, id, sent, strings.Repeat("text ", 100))))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &in); err != nil {
			t.Fatalf("status %d, answer %s: %v", status, clip(raw), err)
		}
		accepted[id] = status == http.StatusOK
		return in, status, h
	}
	checkAll := func() {
		t.Helper()
		eventually(t, "an event is accepted", func() bool { _, status, _ := send(); return status == http.StatusOK })
		a.settle()
		count := int64(0)
		for id, yes := range accepted {
			if yes {
				a.entity(id)
				count++
			}
		}
		if r := a.audit(); r.Entities != count {
			t.Errorf("%d entities, %d events were accepted", r.Entities, count)
		}
	}
	for range 100 {
		send()
	}
	a.settle()

	// Events wait to be decided when the disk becomes full, and the state is about to be written.
	a.pause()
	for range 200 {
		send()
	}
	fill(t, rival)
	a.resume()
	compacted := make(chan int, 1)
	go func() {
		var out any
		status, _ := a.call("POST", "/v1/admin/compact", nil, &out)
		compacted <- status
	}()
	eventually(t, "507", func() bool {
		in, status, h := send()
		if status == http.StatusOK {
			return false
		}
		refused(t, in.problem, status, http.StatusInsufficientStorage, "disk_full", "free")
		if h.Get("Retry-After") == "" {
			t.Error("a 507 has no Retry-After")
		}
		return true
	})
	eventually(t, "the state waits for room", func() bool { in, _, _ := send(); return strings.Contains(in.Detail, "goes on by itself") })
	for range 20 {
		if f := a.search("text", "number", "k", 3); len(f.Hits) != 3 {
			t.Errorf("on a full disk a search finds %v", f.ids())
		}
		if status, _, _, err := a.do("GET", "/readyz", "", nil); err != nil || status != http.StatusOK {
			t.Errorf("on a full disk /readyz says %d, %v", status, err)
		}
	}
	if m := a.metrics(); m["freshet_disk_full"] != 1 || m["freshet_disk_free_bytes"] > 4096 {
		t.Errorf("freshet_disk_full is %v, freshet_disk_free_bytes %v", m["freshet_disk_full"], m["freshet_disk_free_bytes"])
	}
	eventually(t, "the log says so", func() bool { return strings.Contains(s.out.tail(100), "the disk is full: events are refused") })
	remove(t, rival)
	if status := <-compacted; status != http.StatusOK {
		t.Errorf("the compaction ends with status %d", status)
	}
	checkAll()

	// It is killed on the full disk, and does not start there.
	fill(t, rival)
	for range 20 {
		send()
	}
	s.kill()
	fill(t, filepath.Join(folder, "rival2"))
	s.launch()
	select {
	case <-s.exited:
		s.cmd = nil
		if said := s.out.tail(20); s.code == nil || !strings.Contains(said, "full; free some space") && !strings.Contains(said, "no space left") && !strings.Contains(said, "is full") {
			t.Errorf("a start on a full disk ends with %v: %s", s.code, said)
		}
	case <-time.After(15 * time.Second):
		s.kill()
	}
	remove(t, rival)
	remove(t, filepath.Join(folder, "rival2"))
	s.start()
	checkAll()

	// It is stopped on the full disk.
	fill(t, rival)
	for range 20 {
		send()
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.exited:
		s.cmd = nil
	case <-time.After(30 * time.Second):
		t.Fatal("a stop on a full disk hangs")
	}
	remove(t, rival)
	s.start()
	checkAll()
}

// fill writes a file until the disk has no room for one more byte.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil && errors.Is(err, syscall.ENOSPC) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err = f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk ends with %v", err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}
