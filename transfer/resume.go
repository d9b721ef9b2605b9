package transfer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// resumeFormat is the number of the format of a resume file.
const resumeFormat = 1

// Resume says how far a file was sent. It is kept in a small file of its own, replaced as a whole and made durable, at
// most four times a second; what was sent after that is sent again and recognised by the ids of its events. The file is removed once everything
// was sent.
//
// Sending goes on from there only if nothing speaks against it: the same file, of the same size, whose bytes up to that place have the
// same digest, made into events in the same way, for a log that has the events that were acknowledged. Otherwise it starts over.
type Resume struct {
	Format   int    `json:"format"`
	File     string `json:"file"`
	How      string `json:"how"` // the form, and what decides how records become events
	Size     int64  `json:"size"`
	Digest   string `json:"digest"` // of the bytes before Offset; of a Parquet file all of it
	Offset   int64  `json:"offset"` // bytes of the unpacked file; rows of a Parquet file
	Accepted int64  `json:"accepted"`
	Rejected int64  `json:"rejected"`
	Rejects  int64  `json:"rejects"` // bytes of the file that collects what was rejected
	Token    string `json:"token"`   // of the last events that were acknowledged
}

// ResumePath is where the resume file of a file is kept unless something else is said: beside it.
func ResumePath(file string) string {
	return filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".freshet-resume")
}

// loadResume reads a resume file; nil when there is none.
func loadResume(path string) (*Resume, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &Resume{}
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, fmt.Errorf("%s is no resume file: %w", path, err)
	}
	if r.Format != resumeFormat {
		return nil, fmt.Errorf("%s has format %d, this version reads %d", path, r.Format, resumeFormat)
	}
	return r, nil
}

// save replaces a resume file.
func (r *Resume) save(path string) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return replaceFile(path, func(f *os.File) error {
		_, err := f.Write(append(raw, '\n'))
		return err
	})
}

// replaceFile writes a file under another name and gives it its own once it is whole and durable.
func replaceFile(path string, write func(*os.File) error) error {
	f, err := os.OpenFile(fmt.Sprintf("%s.%d.part", path, os.Getpid()), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// differs says what of a resume file is not as it is now, "" if everything is.
func (r *Resume) differs(in *Input, how string) string {
	switch {
	case r.File != in.Name:
		return fmt.Sprintf("it was of %s", r.File)
	case r.How != how:
		return "the records were made into events in another way"
	case r.Size != in.Size:
		return fmt.Sprintf("the file has %d bytes, it had %d", in.Size, r.Size)
	}
	return ""
}
