package gateway

import (
	"net/http"

	"github.com/freshet-io/freshet/backup"
)

// BackupRequest is the body of a request for a backup.
type BackupRequest struct {
	// BytesPerSecond bounds how fast files are read; 0 does not.
	BytesPerSecond int64 `json:"bytes_per_second,omitempty"`
	// Base is what the peer has of an earlier backup: files that are still the same are named and not sent again.
	Base []backup.File `json:"base,omitempty"`
}

// postBackup answers with a backup as a stream. One that fails in the middle is cut off, which whoever reads it notices.
func (s *Server) postBackup(w http.ResponseWriter, r *http.Request) {
	var body BackupRequest
	if err := readJSON(w, r, &body); err != nil {
		s.fail(w, r, err, nil)
		return
	}
	if body.BytesPerSecond < 0 {
		s.fail(w, r, invalid("bytes_per_second", "is negative; leave it out for as fast as it goes"), nil)
		return
	}
	out := newSteadyStream(w, r, "application/x-tar")
	defer out.close()
	m, err := s.opts.Admin.Backup(r.Context(), out, backup.Options{BytesPerSecond: body.BytesPerSecond, Base: body.Base})
	switch {
	case err == nil:
		s.opts.Logger.Info("a backup was written", "files", len(m.Files), "bytes", m.Bytes(), "raw_end", m.Info.RawEnd)
	case out.begun:
		s.opts.Logger.Warn("a backup was cut off", "error", err)
		panic(http.ErrAbortHandler)
	default:
		s.fail(w, r, err, nil)
	}
}
