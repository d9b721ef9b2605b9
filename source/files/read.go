package files

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
	"unicode/utf8"

	"github.com/freshet-io/freshet/source/files/internal/document"
)

// verdict is why a file is passed over; the empty one means that it is not.
type verdict string

// The verdicts.
const (
	text       verdict = ""
	vanished   verdict = "gone"
	notRegular verdict = "no regular file"
	tooLarge   verdict = "larger than max_bytes"
	binary     verdict = "not UTF-8 text"
	blank      verdict = "empty"
	unread     verdict = "its text can't be read"
	unsettled  verdict = "being written"
)

// nulWithin is how far into a file a NUL byte makes it binary.
const nulWithin = 8 << 10

// settledAfter is how long before it is read a file must have been written last for its time
// to prove anything: within one tick of the file system's clock (2 s on FAT) it may be written
// again and keep time and size.
const settledAfter = 2 * time.Second

// clockSkew is how far in the future the time of a file may lie for it to count as written
// just now; beyond, it was set, or comes from another machine's clock.
const clockSkew = time.Second

// reader reads files of text. It is for one goroutine.
type reader struct {
	root     string
	maxBytes int64
	buf      bytes.Buffer
}

// read returns the content of a file, valid until the next call, what is to be remembered of
// it, and the time of its last change in ms. All that is there only if the verdict is text.
//
// Someone may be writing a file while it is read. One that was written just now, by the time
// that it has after it was read, is judged as unsettled, unless the caller knows that it has
// settled.
func (r *reader) read(path string, settled bool) (content []byte, f sentFile, modified int64, v verdict, err error) {
	begun := time.Now()
	file, err := os.Open(filepath.Join(r.root, filepath.FromSlash(path)))
	if err != nil {
		return nil, f, 0, text, err
	}
	defer file.Close()
	if v, err = r.fill(file, path); err != nil {
		return nil, f, 0, text, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, f, 0, text, err
	}
	age := begun.Sub(info.ModTime())
	if !settled && age < quietFor && age > -clockSkew {
		return nil, f, 0, unsettled, nil
	}
	f = sentFile{hash: digestOf(r.buf.Bytes()), size: info.Size()}
	if age > settledAfter {
		f.mtime = info.ModTime().UnixNano()
	}
	return r.buf.Bytes(), f, max(0, info.ModTime().UnixMilli()), v, nil
}

// fill reads a file into the buffer and judges it. Of most binary files it reads the beginning
// only: every scan comes by them again.
func (r *reader) fill(file io.Reader, path string) (verdict, error) {
	r.buf.Reset()
	if int64(r.buf.Cap()) > 4*r.maxBytes {
		r.buf = bytes.Buffer{} // it held a large document
	}
	most := r.most(path)
	if document.IsBinary(path) {
		_, err := r.buf.ReadFrom(io.LimitReader(file, most+1))
		switch {
		case int64(r.buf.Len()) > most:
			return tooLarge, err
		case r.buf.Len() == 0:
			return blank, err
		}
		return text, err
	}
	for _, upTo := range [...]int64{nulWithin, most + 1} {
		if _, err := r.buf.ReadFrom(io.LimitReader(file, upTo-int64(r.buf.Len()))); err != nil {
			return text, err
		}
		if head := r.buf.Bytes(); bytes.IndexByte(head[:min(len(head), nulWithin)], 0) >= 0 {
			return binary, nil
		}
	}
	switch content := r.buf.Bytes(); {
	case int64(len(content)) > most:
		return tooLarge, nil // it grew while it was read
	case !utf8.Valid(content):
		return binary, nil
	case len(bytes.TrimSpace(content)) == 0:
		return blank, nil
	}
	return text, nil
}

// judge decides by what is known without reading.
func (r *reader) judge(path string, info fs.FileInfo) verdict {
	switch {
	case !info.Mode().IsRegular():
		return notRegular
	case info.Size() > r.most(path):
		return tooLarge
	}
	return text
}

// documentShare is how much larger than its text a document of a binary format may be.
const documentShare = 64

// most is the size of the largest file that is read.
func (r *reader) most(path string) int64 {
	if document.IsBinary(path) {
		return documentShare * r.maxBytes
	}
	return r.maxBytes
}
