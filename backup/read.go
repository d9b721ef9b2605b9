package backup

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/zeebo/xxh3"
)

// What is kept in memory of a backup on its own word, at most.
const (
	maxInfo     = 64 << 10
	maxManifest = 256 << 20
)

// readAhead is how much of a stream is asked for at a time.
const readAhead = 64 << 10

// target takes the files of a backup.
type target interface {
	// create makes a file; its Close makes it durable.
	create(path string) (io.WriteCloser, error)
	// link takes a file over from the earlier backup that this one builds on, and returns what that says of it.
	link(path string) (File, error)
}

// readStream reads a backup to its end and hands its files to t. Nothing of them is to be used unless it returns no error.
func readStream(ctx context.Context, r io.Reader, t target) (*Manifest, error) {
	digest := xxh3.New()
	raw := io.TeeReader(&contextReader{ctx, bufio.NewReaderSize(r, readAhead)}, digest)
	s := &reader{t: t, raw: raw, tar: tar.NewReader(raw), digest: digest, last: "its beginning", seen: map[string]bool{}, buffer: make([]byte, copyBuffer)}
	m, err := s.read()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return m, err
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (r *contextReader) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(b)
}

// reader reads one archive.
type reader struct {
	t      target
	raw    io.Reader
	tar    *tar.Reader
	digest *xxh3.Hasher // of what was read so far
	last   string       // entry that was read last
	files  []File
	seen   map[string]bool // paths of files
	buffer []byte
}

func (s *reader) read() (*Manifest, error) {
	h, err := s.next()
	if err != nil {
		return nil, err
	}
	if h.Name != nameInfo {
		return nil, fmt.Errorf("this is no backup of freshet: it begins with %q", h.Name)
	}
	raw, err := s.content(h, maxInfo)
	if err != nil {
		return nil, err
	}
	info, err := parseInfo(raw)
	if err != nil {
		return nil, err
	}
	for {
		if h, err = s.next(); err != nil {
			return nil, err
		}
		if h.Name == nameManifest {
			break
		}
		if err := s.file(h); err != nil {
			return nil, err
		}
	}
	m := &Manifest{Info: info}
	raw, err = s.content(h, maxManifest)
	if err != nil {
		return nil, err
	}
	unread := json.Unmarshal(raw, m)
	whole, err := s.end()
	if err != nil {
		return nil, err
	}
	return m, s.judge(m, unread, whole)
}

// next returns the next entry.
func (s *reader) next() (*tar.Header, error) {
	h, err := s.tar.Next()
	switch {
	case err == nil:
		s.last = h.Name
		return h, nil
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, damaged("what follows "+s.last, "is missing: the backup is cut off")
	case errors.Is(err, tar.ErrHeader):
		return nil, damaged("the header behind "+s.last, "is no header of a tar archive")
	}
	return nil, fmt.Errorf("read the backup: %w", err)
}

// content returns the content of a small entry.
func (s *reader) content(h *tar.Header, most int64) ([]byte, error) {
	if h.Size > most || h.Typeflag != tar.TypeReg {
		return nil, damaged(h.Name, "claims %d bytes", h.Size)
	}
	raw, err := io.ReadAll(s.tar)
	if err != nil {
		return nil, s.failed(h.Name, err)
	}
	return raw, nil
}

// failed is the error of reading an entry.
func (s *reader) failed(name string, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return cutOff(name)
	}
	return fmt.Errorf("read %s of the backup: %w", name, err)
}

// file hands one file on.
func (s *reader) file(h *tar.Header) error {
	if err := checkPath(h.Name); err != nil {
		return damaged(h.Name, "is no file of a data folder")
	}
	if s.seen[h.Name] {
		return damaged(h.Name, "is there twice")
	}
	s.seen[h.Name] = true
	switch h.Typeflag {
	case tar.TypeLink:
		if h.Linkname != h.Name {
			return damaged(h.Name, "is a link to %q", h.Linkname)
		}
		f, err := s.t.link(h.Name)
		if err != nil {
			return err
		}
		s.files = append(s.files, f)
		return nil
	case tar.TypeReg:
	default:
		return damaged(h.Name, "is no regular file")
	}
	w, err := s.t.create(h.Name)
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(sum, &writeFailure{w: w}), s.tar, s.buffer)
	var failure *writeError
	switch {
	case errors.As(err, &failure):
		return errors.Join(failure.error, w.Close())
	case err != nil:
		return errors.Join(s.failed(h.Name, err), w.Close())
	}
	s.files = append(s.files, File{h.Name, n, hex.EncodeToString(sum.Sum(nil))})
	return w.Close()
}

// writeFailure tells an error of writing from one of reading.
type writeFailure struct{ w io.Writer }

type writeError struct{ error }

// Write implements io.Writer.
func (w *writeFailure) Write(b []byte) (int, error) {
	n, err := w.w.Write(b)
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}

// end reads what follows MANIFEST, and reports whether every byte of the archive is as it was written.
func (s *reader) end() (whole bool, err error) {
	h, err := s.next()
	if err != nil {
		return false, err
	}
	want := digestOf(s.digest)
	if h.Name != nameDigest || h.Size != digestBytes || h.Typeflag != tar.TypeReg {
		return false, damaged(h.Name, "stands where DIGEST is expected")
	}
	rest, err := io.ReadAll(io.LimitReader(s.raw, tail+1))
	if err != nil {
		return false, fmt.Errorf("read the end of the backup: %w", err)
	}
	if len(rest) < tail {
		return false, cutOff(nameDigest)
	}
	if len(rest) > tail {
		return false, damaged("its end", "is followed by other bytes")
	}
	return bytes.Equal(rest[:digestBytes], want) && len(bytes.Trim(rest[digestBytes:], "\x00")) == 0, nil
}

// tail is what stands behind the header of DIGEST: its content, filled up, and the end of the archive.
const tail = 512 + 1024

// judge compares what was read with the manifest.
func (s *reader) judge(m *Manifest, unread error, whole bool) error {
	if unread != nil {
		return damaged(nameManifest, "can't be read: %v", unread)
	}
	var bad []string
	for i, f := range s.files {
		if i >= len(m.Files) || f != m.Files[i] {
			bad = append(bad, f.Path)
		}
	}
	switch {
	case len(bad) > 0:
		return &DamageError{Files: bad, Reason: fmt.Sprintf("%s is not as it was written", strings.Join(bad, ", "))}
	case len(s.files) != len(m.Files):
		return damaged(nameManifest, "lists %d files, the backup holds %d", len(m.Files), len(s.files))
	case !whole:
		return damaged("a header or filler between its files, or DIGEST,", "is not as it was written")
	}
	return nil
}
