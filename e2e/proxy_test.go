package e2e_test

import (
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
)

// fault is what a flaky connection does.
type fault int

const (
	faultNone     fault = iota
	faultCutBody        // the request breaks off somewhere
	faultNoAnswer       // the whole request arrives, the answer is dropped
	faultHalf           // the answer breaks off
	faultStall          // the answer never comes; the client's timeout ends it
	faults
)

// flaky forwards connections to a server and breaks about half of them in seeded ways.
type flaky struct {
	listener net.Listener
	target   func() string // host and port

	mu     sync.Mutex // guards what follows
	random *rand.Rand
	counts [faults]int
	open   map[net.Conn]bool
	closed bool
	wg     sync.WaitGroup
}

// startFlaky starts a proxy to the server at url, which ends with the test.
func startFlaky(t testing.TB, url func() string, random *rand.Rand) *flaky {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &flaky{listener: l, random: random, open: map[net.Conn]bool{},
		target: func() string { return strings.TrimPrefix(url(), "http://") }}
	f.wg.Go(f.accept)
	t.Cleanup(f.close)
	return f
}

func (f *flaky) url() string { return "http://" + f.listener.Addr().String() }

func (f *flaky) accept() {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return // closed
		}
		kind, n := f.next()
		f.wg.Go(func() { f.serve(conn, kind, n) })
	}
}

// next chooses the fault of a connection, and a number of bytes for it.
func (f *flaky) next() (kind fault, n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.random.IntN(2) == 0 {
		kind = 1 + fault(f.random.IntN(int(faults)-1))
	}
	f.counts[kind]++
	return kind, int64(f.random.IntN(12 << 10))
}

func (f *flaky) serve(client net.Conn, kind fault, n int64) {
	server, err := net.Dial("tcp", f.target())
	if err != nil {
		client.Close()
		return
	}
	defer f.track(client, server)()
	switch kind {
	case faultCutBody:
		_, _ = io.CopyN(server, client, n) // a shorter request waits for the client's timeout
	case faultNoAnswer:
		go io.Copy(server, client)
		_, _ = server.Read(make([]byte, 1))
	case faultHalf:
		go io.Copy(server, client)
		_, _ = io.CopyN(client, server, 1+n%200)
	case faultStall:
		_, _ = io.Copy(server, client)
	default:
		go io.Copy(server, client)
		_, _ = io.Copy(client, server)
	}
}

// track registers connections, so that close can end them; the result ends them.
func (f *flaky) track(conns ...net.Conn) (end func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range conns {
		f.open[c] = true
		if f.closed {
			c.Close()
		}
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, c := range conns {
			c.Close()
			delete(f.open, c)
		}
	}
}

func (f *flaky) close() {
	f.listener.Close()
	f.mu.Lock()
	f.closed = true
	for c := range f.open {
		c.Close()
	}
	f.mu.Unlock()
	f.wg.Wait()
}

// broken returns how many connections were broken.
func (f *flaky) broken() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.counts[faultNone+1:] {
		n += c
	}
	return n
}
