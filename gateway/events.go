package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/source"
	"github.com/freshet-io/freshet/wire"
)

// Limits of POST /v1/events.
const (
	// MaxArrayBytes is the largest body that is not newline-delimited, which has no limit.
	MaxArrayBytes = 64 << 20
	// maxRejected is how many rejected events an answer names; as many close a chunk, so an answer that is a line per chunk
	// names all of them.
	maxRejected = 1000
	// chunkBytes and chunkEvents close a chunk: what becomes durable at once.
	chunkBytes  = 1 << 20
	chunkEvents = 16384
	// chunksAhead is how many chunks of one request are read ahead of the one that becomes durable.
	chunksAhead = 2
)

// rejected is an event that was refused before it became durable.
type rejected struct {
	Index   int64        `json:"index"`
	Code    freshet.Code `json:"code"`
	Message string       `json:"message"`
}

// ingestResult is what became of the events of a request, or of one chunk of it.
type ingestResult struct {
	Accepted      int64      `json:"accepted"`
	Rejected      []rejected `json:"rejected"`
	RejectedCount int64      `json:"rejected_count"`
	Token         string     `json:"token"`
}

func (s *Server) postEvents(w http.ResponseWriter, r *http.Request) {
	if err := s.opts.Intake.Room(); err != nil {
		s.fail(w, r, err, nil)
		return
	}
	ev, err := s.eventsOf(w, r)
	if err != nil {
		s.fail(w, r, err, nil)
		return
	}
	s.ingest(w, r, ev)
}

// eventsOf returns the events of a request: lines as they come in, or all of the body.
func (s *Server) eventsOf(w http.ResponseWriter, r *http.Request) (events, error) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	cloud := isCloud(r, kind)
	if !cloud {
		switch kind {
		case defaultEvents:
			return defaultLines{codec.NewLines(r.Body, s.opts.Intake.EventBytes())}, nil
		case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines":
			return lineEvents{codec.NewLines(r.Body, s.opts.Intake.EventBytes())}, nil
		case "text/csv", "text/tab-separated-values":
			return csvEvents{codec.NewCSV(r.Body, codec.CSVOptions{MaxRecord: s.opts.Intake.EventBytes(), Flat: s.opts.Intake.Mapped()})}, nil
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxArrayBytes))
	if err != nil {
		return nil, bodyError(err)
	}
	if cloud {
		return cloudEventsOf(r, kind, body)
	}
	list, err := codec.SplitArray(body)
	return &arrayEvents{events: list}, err
}

func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &freshet.Error{Code: freshet.CodeTooLarge,
			Message: "the body is larger than 64 MiB; send newline-delimited JSON (Content-Type: application/x-ndjson), which has no limit"}
	}
	return &freshet.Error{Code: freshet.CodeInvalidJSON, Message: "the body could not be read: " + err.Error()}
}

// events is a sequence of raw events. next returns io.EOF behind the last, and a *freshet.Error for one that can't be read;
// more reports whether another can be had without waiting for the peer; add takes one to a batch.
type events interface {
	next() ([]byte, error)
	more() bool
	add(b *source.Batch, raw []byte, headers []journal.Header) error
}

type lineEvents struct{ *codec.Lines }

func (l lineEvents) next() ([]byte, error) { return l.Next() }
func (l lineEvents) more() bool            { return l.Buffered() }

func (lineEvents) add(b *source.Batch, raw []byte, headers []journal.Header) error {
	return b.Add(raw, headers...)
}

// defaultEvents is the media type of lines of events of the default mapping, whatever mapping is configured.
const defaultEvents = "application/vnd.freshet.events+x-ndjson"

type defaultLines struct{ *codec.Lines }

func (l defaultLines) next() ([]byte, error) { return l.Next() }
func (l defaultLines) more() bool            { return l.Buffered() }

func (defaultLines) add(b *source.Batch, raw []byte, headers []journal.Header) error {
	return b.AddEvent(raw, headers...)
}

// csvEvents are records of comma-separated values. A refusal names the line, for records may span some.
type csvEvents struct{ *codec.CSV }

func (c csvEvents) next() ([]byte, error) { return c.Next() }
func (c csvEvents) more() bool            { return c.Buffered() }

func (c csvEvents) add(b *source.Batch, raw []byte, headers []journal.Header) error {
	return c.AtLine(b.Add(raw, headers...))
}

type arrayEvents struct{ events [][]byte }

func (a *arrayEvents) more() bool { return len(a.events) > 0 }

func (*arrayEvents) add(b *source.Batch, raw []byte, headers []journal.Header) error {
	return b.Add(raw, headers...)
}

func (a *arrayEvents) next() ([]byte, error) {
	if len(a.events) == 0 {
		return nil, io.EOF
	}
	raw := a.events[0]
	a.events = a.events[1:]
	return raw, nil
}

func isRefusal(err error) bool {
	var e *freshet.Error
	return errors.As(err, &e)
}

// chunk is a part of a request on its way to the disk.
type chunk struct {
	ingestResult
	batch *source.Batch
	token freshet.Token
	err   error // why the request ends with this chunk
}

// ingest takes events in chunks: while one becomes durable the next ones are read and
// checked. Chunks become durable one after another, because events of one entity must keep
// their order, and what is accepted is always a beginning of what was sent.
func (s *Server) ingest(w http.ResponseWriter, r *http.Request, ev events) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	// The reader may wait for a peer that waits for the answer, or for nothing. When ctx ends,
	// because a chunk failed or the server stops, so does its read.
	disarm := context.AfterFunc(ctx, func() { _ = http.NewResponseController(w).SetReadDeadline(s.now()) })
	answer := newAnswer(w, r)
	chunks := make(chan *chunk, chunksAhead)
	go s.readChunks(ctx, ev, headersOf(r), chunks)
	var failure error
	for c := range chunks {
		if failure == nil {
			s.appendChunk(ctx, c)
			answer.add(c)
			failure = c.err
		}
		c.batch.Release()
		if failure != nil {
			cancel()
		}
	}
	if !disarm() {
		// What is left of the body, and the read that failed, spoil the connection for the next
		// request.
		w.Header().Set("Connection", "close")
	}
	s.finish(w, r, answer, failure)
}

// headersOf are the headers that travel with every event of a request.
func headersOf(r *http.Request) []journal.Header {
	if v := r.Header.Get("traceparent"); len(v) == freshet.TraceBytes {
		return []journal.Header{{Name: freshet.HeaderTrace, Value: []byte(v)}}
	}
	return nil
}

// readChunks reads all events, sends each chunk on, and closes the channel.
func (s *Server) readChunks(ctx context.Context, ev events, headers []journal.Header, out chan<- *chunk) {
	defer close(out)
	var index int64
	for end := false; !end; {
		c := &chunk{batch: s.opts.Intake.NewBatch(), err: ctx.Err()}
		end = c.err != nil || s.fillChunk(ctx, c, ev, headers, &index)
		out <- c
	}
}

// fillChunk reads and checks the events of one chunk; end says that no more come.
func (s *Server) fillChunk(ctx context.Context, c *chunk, ev events, headers []journal.Header, index *int64) (end bool) {
	b := c.batch
	for b.Bytes() < chunkBytes && b.Len() < chunkEvents && c.RejectedCount < maxRejected {
		if (b.Len() > 0 || c.RejectedCount > 0) && !ev.more() {
			return false
		}
		raw, err := ev.next()
		switch {
		case err == io.EOF:
			return true
		case errors.Is(err, codec.ErrLineTooLong):
			err = &freshet.Error{Code: freshet.CodeTooLarge, Message: "the event is longer than the limit event_bytes"}
		case err != nil && ctx.Err() != nil:
			c.err = ctx.Err()
			return true
		case isRefusal(err): // of this event alone
		case err != nil: // the events before it stand; the one that broke off is refused
			end, err = true, bodyError(err)
		default:
			err = ev.add(b, raw, headers)
		}
		var e *freshet.Error
		if errors.As(err, &e) {
			c.RejectedCount++
			s.metrics.rejected.WithLabelValues(string(e.Code)).Inc()
			if len(c.Rejected) < maxRejected {
				c.Rejected = append(c.Rejected, rejected{*index, e.Code, e.Error()})
			}
		} else if err != nil {
			c.err = err
			return true
		}
		if *index++; end {
			return true
		}
	}
	return false
}

// appendChunk makes what a chunk accepted durable. A body that broke off behind them does
// not undo the events that were whole.
func (s *Server) appendChunk(ctx context.Context, c *chunk) {
	if c.batch.Len() == 0 {
		return
	}
	if err := s.opts.Intake.Room(); err != nil {
		c.err = err
		return
	}
	token, err := c.batch.Append(ctx)
	if err != nil {
		c.err = err
		return
	}
	c.token, c.Accepted = token, int64(c.batch.Len())
	s.metrics.accepted.Add(float64(c.Accepted))
}

// answer gathers the chunks of a request: into one document, or line by line when the peer
// asked for that.
type answer struct {
	total   ingestResult
	token   freshet.Token
	lines   *json.Encoder
	flush   func() error
	started bool
}

func newAnswer(w http.ResponseWriter, r *http.Request) *answer {
	a := &answer{total: ingestResult{Rejected: []rejected{}}}
	if strings.Contains(r.Header.Get("Accept"), "application/x-ndjson") {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()             // HTTP/2 has it anyway
		w.Header().Set("Connection", "close") // it may end before its body does
		a.lines = json.NewEncoder(w)
		a.flush = rc.Flush
	}
	return a
}

func (a *answer) add(c *chunk) {
	merged, err := wire.MergeTokens(a.token, c.token)
	if err != nil && c.err == nil {
		c.err = err
	}
	a.token = merged
	a.total.Accepted += c.Accepted
	a.total.RejectedCount += c.RejectedCount
	a.total.Rejected = append(a.total.Rejected, c.Rejected[:min(len(c.Rejected), maxRejected-len(a.total.Rejected))]...)
	if a.lines == nil || c.Accepted+c.RejectedCount == 0 {
		return
	}
	a.started = true
	if c.Rejected == nil {
		c.Rejected = []rejected{}
	}
	c.Token = wire.TokenString(c.token)
	_ = a.lines.Encode(c.ingestResult)
	_ = a.flush()
}

// finish answers what add has not answered yet.
func (s *Server) finish(w http.ResponseWriter, r *http.Request, a *answer, failure error) {
	a.total.Token = wire.TokenString(a.token)
	switch {
	case a.started && failure != nil: // the status is gone, the last line is the problem document
		_ = a.lines.Encode(s.problemOf(r, failure))
	case a.started:
	case failure != nil:
		s.fail(w, r, failure, &a.total)
	case a.total.Accepted == 0 && a.total.RejectedCount == 0:
		s.fail(w, r, &freshet.Error{Code: freshet.CodeMissingField, Message: "the body holds no event"}, nil)
	case a.total.Accepted == 0:
		first := a.total.Rejected[0]
		p := s.problemOf(r, &freshet.Error{Code: first.Code, Message: "no event was accepted; the first: " + first.Message})
		if p.Status != http.StatusRequestEntityTooLarge { // 404 would speak of the route
			p.Status, p.Title = http.StatusBadRequest, http.StatusText(http.StatusBadRequest)
		}
		p.ingestResult = &a.total
		s.answer(w, p)
	default:
		reply(w, a.total)
	}
}
