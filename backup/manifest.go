package backup

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"
)

const formatNow = 1

// Names of the entries that are no files of the data folder.
const (
	nameInfo     = "BACKUP"
	nameManifest = "MANIFEST"
	nameDigest   = "DIGEST"
)

// Info says what a backup is of.
type Info struct {
	Format  int       `json:"format"`
	Log     string    `json:"log"`     // identity of the log
	Epoch   uint32    `json:"epoch"`   // the newest
	RawEnd  int64     `json:"raw_end"` // offset behind the last record of events.raw in it
	At      time.Time `json:"at"`      // when it was begun
	Version string    `json:"version"` // of freshet
}

// File is a file of a backup.
type File struct {
	Path   string `json:"path"` // as in the data folder, with slashes
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Manifest lists a backup.
type Manifest struct {
	Info  Info   `json:"-"`
	Files []File `json:"files"`
}

// Bytes is the size of all files.
func (m *Manifest) Bytes() (n int64) {
	for _, f := range m.Files {
		n += f.Bytes
	}
	return n
}

// byPath gives files their paths as names.
func byPath(files []File) map[string]File {
	m := make(map[string]File, len(files))
	for _, f := range files {
		m[f.Path] = f
	}
	return m
}

// paths that a backup may have: nothing that leads out of the folder that it is restored to.
var paths = regexp.MustCompile(`^(FORMAT|(journal|state|index)/[A-Za-z0-9][A-Za-z0-9._-]*)$`)

func checkPath(path string) error {
	if !paths.MatchString(path) {
		return fmt.Errorf("it names a file %q, which is none of a data folder", path)
	}
	return nil
}

// DamageError says that a backup is not what was written.
type DamageError struct {
	// Files are those that are damaged, as far as it can be said.
	Files  []string
	Reason string
}

// Error implements error.
func (e *DamageError) Error() string {
	return "the backup is damaged and was not used: " + e.Reason
}

func damaged(file, format string, args ...any) error {
	return &DamageError{Files: []string{file}, Reason: file + " " + fmt.Sprintf(format, args...)}
}

// cutOff reports the end of a stream within a file.
func cutOff(file string) error {
	return damaged(file, "is cut off: the backup ends there")
}

// IsDamage reports whether an error says that a backup is damaged.
func IsDamage(err error) bool {
	var d *DamageError
	return errors.As(err, &d)
}

func parseInfo(raw []byte) (info Info, err error) {
	if err := json.Unmarshal(raw, &info); err != nil {
		return info, damaged(nameInfo, "can't be read: %v", err)
	}
	if info.Format != formatNow {
		return info, fmt.Errorf("the backup has format %d, this version of freshet reads format %d; use the one that wrote it, or a newer one", info.Format, formatNow)
	}
	return info, nil
}
