package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/zeebo/xxh3"
)

// Source is a file to be backed up: Bytes from its beginning on are read.
type Source struct {
	Path  string
	Bytes int64
	Open  func() (io.ReadCloser, error)
}

// Options say how a backup is written.
type Options struct {
	// BytesPerSecond bounds how fast files are read; 0 does not.
	BytesPerSecond int64
	// Base is what an earlier backup has: files that are still the same are named and not written again.
	Base []File
}

// Write writes a backup of files to w. It reads each of them once, one that the base may have twice.
func Write(ctx context.Context, w io.Writer, info Info, files []Source, o Options) (*Manifest, error) {
	info.Format = formatNow
	s := &writer{ctx: ctx, pace: newPace(o.BytesPerSecond), digest: xxh3.New(), buffer: make([]byte, copyBuffer)}
	s.tar = tar.NewWriter(io.MultiWriter(s.digest, w))
	s.info = info
	raw, err := json.Marshal(info)
	if err != nil {
		return nil, err
	}
	if err := s.entry(nameInfo, append(raw, '\n')); err != nil {
		return nil, err
	}
	base := byPath(o.Base)
	m := &Manifest{Info: info}
	for _, src := range files {
		f, err := s.file(src, base)
		if err != nil {
			return nil, fmt.Errorf("back up %s: %w", src.Path, err)
		}
		m.Files = append(m.Files, f)
	}
	if raw, err = json.MarshalIndent(m, "", " "); err != nil {
		return nil, err
	}
	if err := s.entry(nameManifest, append(raw, '\n')); err != nil {
		return nil, err
	}
	return m, s.end()
}

// writer writes one archive.
type writer struct {
	ctx    context.Context
	tar    *tar.Writer
	digest *xxh3.Hasher // of what was written so far
	pace   *pace
	info   Info
	buffer []byte
}

func (s *writer) header(path string, bytes int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: path, Size: bytes, Mode: 0o644, ModTime: s.info.At.Truncate(time.Second)}
}

func (s *writer) entry(path string, content []byte) error {
	if err := s.tar.WriteHeader(s.header(path, int64(len(content)))); err != nil {
		return err
	}
	_, err := s.tar.Write(content)
	return err
}

// file writes a file, or names it if the base has it.
func (s *writer) file(src Source, base map[string]File) (File, error) {
	if err := checkPath(src.Path); err != nil {
		return File{}, err
	}
	if f, ok := base[src.Path]; ok && f.Bytes == src.Bytes {
		sum, err := s.read(src, io.Discard)
		if err != nil {
			return File{}, err
		}
		if sum == f.SHA256 {
			h := s.header(src.Path, 0)
			h.Typeflag, h.Linkname = tar.TypeLink, src.Path
			return f, s.tar.WriteHeader(h)
		}
	}
	if err := s.tar.WriteHeader(s.header(src.Path, src.Bytes)); err != nil {
		return File{}, err
	}
	sum, err := s.read(src, s.tar)
	return File{src.Path, src.Bytes, sum}, err
}

// read copies a file and returns its digest.
func (s *writer) read(src Source, to io.Writer) (string, error) {
	f, err := src.Open()
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	r := io.LimitReader(s.pace.reader(s.ctx, f), src.Bytes)
	n, err := io.CopyBuffer(io.MultiWriter(sum, to), r, s.buffer)
	if err == nil && n < src.Bytes {
		err = fmt.Errorf("it has %d bytes, %d are expected: %w", n, src.Bytes, io.ErrUnexpectedEOF)
	}
	return hex.EncodeToString(sum.Sum(nil)), err
}

// copyBuffer is how much of a file is in memory.
const copyBuffer = 256 << 10

// end writes the digest of all before it.
func (s *writer) end() error {
	if err := s.tar.WriteHeader(s.header(nameDigest, digestBytes)); err != nil {
		return err
	}
	if _, err := s.tar.Write(digestOf(s.digest)); err != nil {
		return err
	}
	return s.tar.Close()
}

// digestBytes is the length of the content of DIGEST.
const digestBytes = 33

func digestOf(h *xxh3.Hasher) []byte {
	sum := h.Sum128().Bytes()
	return append(hex.AppendEncode(nil, sum[:]), '\n')
}

// pace holds a reader to a number of bytes per second.
type pace struct {
	rate  int64 // 0: not at all
	began time.Time
	read  int64
}

func newPace(rate int64) *pace { return &pace{rate: rate, began: time.Now()} }

type pacedReader struct {
	*pace
	ctx context.Context
	r   io.Reader
}

func (p *pace) reader(ctx context.Context, r io.Reader) io.Reader { return &pacedReader{p, ctx, r} }

// Read implements io.Reader.
func (r *pacedReader) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	if r.rate > 0 { // a tenth of a second's worth at a time, so that it does not come in bursts
		b = b[:max(1, min(int64(len(b)), r.rate/10))]
	}
	n, err := r.r.Read(b)
	r.read += int64(n)
	if r.rate == 0 || n == 0 {
		return n, err
	}
	due := r.began.Add(time.Duration(float64(r.read) / float64(r.rate) * float64(time.Second)))
	if wait := time.Until(due); wait > 0 {
		select {
		case <-time.After(wait):
		case <-r.ctx.Done():
			return n, context.Cause(r.ctx)
		}
	}
	return n, err
}
