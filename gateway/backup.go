package gateway

import (
	"net/http"
	"time"

	"github.com/freshet-io/freshet/backup"
)

// backupStall is how long the peer of a backup may take nothing: what is pinned for it keeps disk space from being freed.
const backupStall = time.Minute

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
	out := &backupStream{w: w, control: http.NewResponseController(w)}
	defer func() { _ = out.control.SetWriteDeadline(time.Time{}) }() // the connection may go on
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

// backupStream sends a backup to a peer that has to take it.
type backupStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

// Write implements io.Writer.
func (b *backupStream) Write(p []byte) (int, error) {
	if !b.begun {
		b.begun = true
		b.w.Header().Set("Content-Type", "application/x-tar")
		b.w.Header().Set("Cache-Control", "no-store")
	}
	_ = b.control.SetWriteDeadline(time.Now().Add(backupStall)) // a writer without deadlines never stalls
	return b.w.Write(p)
}
