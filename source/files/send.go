package files

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path"
	"strings"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/source"
	"github.com/freshet-io/freshet/source/files/internal/document"
)

// Limits of a batch, which is one append and one transaction, and of its retries.
const (
	maxBatchEvents = 256
	maxBatchBytes  = 1 << 20 // exceeded only by a single larger event
	firstBackoff   = 50 * time.Millisecond
	maxBackoff     = 5 * time.Second
)

// event is an event of the default mapping.
type event struct {
	EventID    string  `json:"event_id"`
	EntityID   string  `json:"entity_id"`
	Collection string  `json:"collection"`
	Namespace  string  `json:"namespace"`
	Timestamp  int64   `json:"timestamp"` // ms, of the file's last change
	Payload    payload `json:"payload"`
}

// payload is the text of a file and what filters can ask for.
type payload struct {
	Text   string `json:"text"`
	Title  string `json:"title,omitempty"` // of a document that has one
	Path   string `json:"path"`            // below the watched folder, with slashes
	Name   string `json:"name"`            // the last element of path
	Ext    string `json:"ext"`             // lower case, without the dot
	Folder string `json:"folder"`          // path without name; "" for the watched folder itself
	Bytes  int    `json:"bytes"`
}

func payloadOf(file string, doc document.Document, size int) payload {
	p := payload{Text: doc.Text, Title: doc.Title, Path: file, Name: path.Base(file), Bytes: size,
		Ext: strings.ToLower(strings.TrimPrefix(path.Ext(file), "."))}
	if dir := path.Dir(file); dir != "." {
		p.Folder = dir
	}
	return p
}

// sender appends events and then stores what was sent. The state is ahead of both by the
// batch at hand, so that nothing is added to the batch twice. It is for one goroutine.
type sender struct {
	intake  *source.Intake
	state   *state
	logger  *slog.Logger
	batch   *source.Batch
	changes []change // of the batch, and of files that changed without their content
	body    bytes.Buffer
}

func newSender(in *source.Intake, st *state, logger *slog.Logger) *sender {
	return &sender{intake: in, state: st, logger: logger, batch: in.NewBatch()}
}

func (s *sender) close() { s.batch.Release() }

// headers say where the events come from. The second is what a start trusts: no producer can send it.
func headers() []journal.Header {
	return []journal.Header{{Name: freshet.HeaderSource, Value: []byte(sourceName)}, {Name: headerOurs, Value: []byte{1}}}
}

// upsert sends what a file says.
func (s *sender) upsert(ctx context.Context, file string, says payload, f sentFile, modified int64) error {
	ev := event{EventID: s.state.eventID(s.state.sent+1, hex.EncodeToString(f.hash[:])), EntityID: file,
		Collection: s.state.owner.Collection, Namespace: s.state.owner.Namespace, Timestamp: modified,
		Payload: says}
	s.body.Reset()
	enc := json.NewEncoder(&s.body)
	enc.SetEscapeHTML(false) // it would make events of source code a good deal larger
	if err := enc.Encode(ev); err != nil {
		return fmt.Errorf("encode %s: %w", file, err)
	}
	raw := bytes.TrimRight(s.body.Bytes(), "\n")
	if s.batch.Len() > 0 && s.batch.Bytes()+len(raw) > maxBatchBytes {
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	if err := s.batch.AddEvent(raw, headers()...); err != nil {
		return err
	}
	s.state.sent++
	return s.note(ctx, change{path: file, file: f})
}

// remove sends the deletion of a file's entity.
func (s *sender) remove(ctx context.Context, file string) error {
	key := freshet.Key{Collection: s.state.owner.Collection, Namespace: s.state.owner.Namespace, Entity: file}
	id := s.state.eventID(s.state.sent+1, deletedContent)
	if err := s.batch.AddDelete(key, id, 0, headers()...); err != nil {
		return fmt.Errorf("delete %s: %w", file, err)
	}
	s.state.sent++
	return s.note(ctx, change{path: file, deleted: true})
}

// note adds what is to be stored.
func (s *sender) note(ctx context.Context, c change) error {
	s.state.apply(c)
	s.changes = append(s.changes, c)
	if len(s.changes) >= maxBatchEvents || s.batch.Bytes() >= maxBatchBytes {
		return s.flush(ctx)
	}
	return nil
}

// flush appends the batch and stores what it changed. It returns when both have succeeded;
// the error is one that no retry heals, or the end of ctx.
func (s *sender) flush(ctx context.Context) error {
	through := s.state.log.RawEnd() // everything of ours below it is in the state
	if s.batch.Len() > 0 {
		err := s.retry(ctx, "append", func() (err error) {
			through, err = s.append(ctx)
			return err
		})
		if err != nil {
			return err
		}
		s.batch.Release()
		s.batch = s.intake.NewBatch()
	}
	if len(s.changes) == 0 && through == s.state.through {
		return nil
	}
	s.state.through = through
	err := s.retry(ctx, "store what was sent", func() error { return s.state.save(s.changes) })
	s.changes = s.changes[:0]
	return err
}

// append makes the batch durable and returns the offset behind it.
func (s *sender) append(ctx context.Context) (through int64, err error) {
	if err := s.intake.Room(); err != nil {
		return 0, err
	}
	token, err := s.batch.Append(ctx)
	for _, span := range token.Spans {
		through = max(through, span.Last+1)
	}
	return through, err
}

// retry calls step until it succeeds, with backoff.
func (s *sender) retry(ctx context.Context, what string, step func() error) error {
	for backoff := firstBackoff; ; backoff = min(2*backoff, maxBackoff) {
		err := step()
		if err == nil || ctx.Err() != nil || permanent(err) {
			return err
		}
		s.logger.Warn("files wait; it is tried again", "folder", s.state.owner.Path, "step", what, "error", err, "wait", backoff)
		select {
		case <-time.After(backoff/2 + rand.N(backoff/2)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// permanent reports whether trying again is pointless.
func permanent(err error) bool {
	if e, ok := errors.AsType[*freshet.Error](err); ok {
		switch e.Code {
		case freshet.CodeBacklogFull, freshet.CodeDiskFull, freshet.CodeUnavailable, freshet.CodeInternal:
			return false
		}
		return true
	}
	return errors.Is(err, journal.ErrClosed)
}
