package transfer

import (
	"bytes"
	"encoding/hex"
	"io"
	"sync/atomic"

	"github.com/zeebo/xxh3"
)

// prefix passes a stream on and gives the digest of any beginning of it that ends behind the last one asked for. It keeps what was read
// beyond that: the read-ahead of a reader and one request's records.
type prefix struct {
	r      io.Reader
	hash   xxh3.Hasher
	hashed int64
	ahead  bytes.Buffer
}

// Read implements io.Reader.
func (p *prefix) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.ahead.Write(b[:n])
	return n, err
}

// digest returns the digest of the first n bytes, which have been read.
func (p *prefix) digest(n int64) string {
	_, _ = p.hash.Write(p.ahead.Next(int(n - p.hashed))) // never fails
	p.hashed = n
	sum := p.hash.Sum128().Bytes()
	return hex.EncodeToString(sum[:])
}

// counter counts what was read, for who shows progress.
type counter struct {
	r io.Reader
	n *atomic.Int64
}

// Read implements io.Reader.
func (c counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n.Add(int64(n))
	return n, err
}
