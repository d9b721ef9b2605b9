package kafkatest

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"testing"
	"time"
)

// TestProxyKeepsOrderAndEnds sends 4 MB each way through a proxy that is cut now and then, and closes
// each direction by itself.
func TestProxyKeepsOrderAndEnds(t *testing.T) {
	upstream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer upstream.Close()
	go func() { // echoes when it has everything
		c, err := upstream.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		all, _ := io.ReadAll(c) // what is missing, the test sees
		_, _ = c.Write(all)
	}()
	p, err := newProxy(upstream.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			p.requests.close()
			p.answers.close()
			time.Sleep(time.Millisecond)
			p.requests.open()
			p.answers.open()
		}
	}()
	c, err := net.Dial("tcp", p.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent := make([]byte, 4<<20)
	_, _ = rand.Read(sent) // never fails
	go func() {
		_, _ = c.Write(sent) // what is missing, the test sees
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d of %d bytes came back, or others: %v", len(got), len(sent), err)
	}
}

// TestProxyOfNobody closes connections whose upstream does not listen, and those that it holds back
// when it is closed.
func TestProxyOfNobody(t *testing.T) {
	free, err := freeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProxy(free[0])
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", p.addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	if n, err := dial().Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read %d bytes of nobody: %v", n, err)
	}
	p.requests.close()
	held := dial()
	p.close()
	if n, err := held.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes of a proxy that is closed", n)
	} else if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		t.Error("a proxy that is closed keeps a connection open")
	}
}
