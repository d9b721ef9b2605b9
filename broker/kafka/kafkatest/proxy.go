package kafkatest

import (
	"io"
	"net"
	"sync"
)

// proxy forwards TCP connections to one address, and can hold back what flows in a direction. Held
// bytes are not lost: they arrive when the gate opens, as after a partition that TCP outlived.
type proxy struct {
	listener          net.Listener
	upstream          string
	requests, answers gate

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool

	running sync.WaitGroup
}

func newProxy(upstream string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, upstream: upstream, conns: map[net.Conn]struct{}{}}
	p.running.Go(p.accept)
	return p, nil
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		if p.track(client) {
			p.running.Go(func() { p.forward(client) })
		}
	}
}

// forward serves one connection until both directions are at their ends.
func (p *proxy) forward(client net.Conn) {
	defer p.untrack(client)
	p.requests.wait() // who is cut off does not even connect
	server, err := net.Dial("tcp", p.upstream)
	if err != nil || !p.track(server) {
		return // the client meets a connection that is closed at once
	}
	defer p.untrack(server)
	var both sync.WaitGroup
	both.Go(func() { pass(server, client, &p.requests) })
	both.Go(func() { pass(client, server, &p.answers) })
	both.Wait()
}

// pass copies one direction, and its end. Where it breaks off, the other direction ends as well.
func pass(to, from net.Conn, g *gate) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		g.wait() // the end of a stream is held back as well
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				_ = from.Close() // it is broken
				return
			}
		}
		if err == io.EOF {
			_ = to.(*net.TCPConn).CloseWrite() // fails when it is closed already
			return
		}
		if err != nil {
			_ = to.Close() // it has no further use
			return
		}
	}
}

// track notes a connection, or closes it when the proxy is closed.
func (p *proxy) track(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = c.Close() // nobody is told more
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *proxy) untrack(c net.Conn) {
	_ = c.Close() // may be closed already
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// drop resets all connections: bytes that are on the way, or held back, are lost.
func (p *proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.(*net.TCPConn).SetLinger(0) // a reset, which needs no answer; fails when it is closed
		_ = c.Close()
	}
}

func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close() // may be closed already
	p.drop()
	p.requests.open()
	p.answers.open()
	p.running.Wait()
}

// gate is open or shut; the zero value is open.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // closed when the gate is opened; nil while it is open
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.shut = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

// wait returns when the gate is open.
func (g *gate) wait() {
	for {
		g.mu.Lock()
		shut := g.shut
		g.mu.Unlock()
		if shut == nil {
			return
		}
		<-shut
	}
}
