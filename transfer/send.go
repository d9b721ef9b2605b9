package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/freshet-io/freshet"
)

// saveEvery is how often a resume file is written while events are acknowledged.
const saveEvery = 250 * time.Millisecond

// Options say how a file is sent.
type Options struct {
	Server  *Server
	Form    string // "" for what the file's name says
	Resume  string // path of the resume file; "" for none
	Rejects string // path of a file that collects the records that were rejected; "" for none
	// Rejected is called for each rejected record, with its line or row; Note with messages; Progress at the start and after each
	// request.
	Rejected func(line int64, e *freshet.Error)
	Note     func(format string, args ...any)
	Progress func(in *Input, r Result)
}

// Result is what became of a file, what an earlier call sent included.
type Result struct {
	Accepted, Rejected int64
	Token              string // of the last events that were acknowledged; "" if there are none
}

// maker makes the event of a record, valid until the next call.
type maker interface {
	// how describes what decides how records become events: a file is not gone on with in another way.
	how() string
	// make returns nil when the record is no event but part of its form.
	make(r *Record) ([]byte, *freshet.Error)
	// begin is called once the first record is known and before make; an error refuses the file.
	begin(in *Input) error
}

// job is a file being sent.
type job struct {
	Options
	path    string
	maker   maker
	in      *Input
	state   Resume
	saved   time.Time
	rejects *os.File
	begun   bool
}

// send sends the records of a file as events. After an error the result says what was acknowledged.
func send(ctx context.Context, path string, o Options, m maker) (r Result, err error) {
	j := &job{Options: o, path: path, maker: m, saved: time.Now()}
	if path == "-" {
		j.Resume = ""
	}
	defer func() {
		if j.in != nil {
			err = errors.Join(err, j.in.Close())
		}
		r = j.result()
	}()
	if err := j.open(ctx); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, j.closeRejects()) }()
	j.Progress(j.in, j.result())
	err = j.run(ctx)
	return r, errors.Join(err, j.finish(err == nil))
}

func (j *job) result() Result {
	return Result{j.state.Accepted, j.state.Rejected, j.state.Token}
}

// open opens the file where it is to be gone on with.
func (j *job) open(ctx context.Context) (err error) {
	if j.in, err = OpenInput(j.path, j.Form); err != nil {
		return err
	}
	fresh := Resume{Format: resumeFormat, File: j.in.Name, How: string(j.in.Form) + " " + j.maker.how(), Size: j.in.Size}
	j.state = fresh
	if j.Resume != "" {
		old, err := loadResume(j.Resume)
		why := ""
		switch {
		case err != nil:
			why = err.Error()
		case old != nil:
			if why, err = j.goesOn(ctx, old); err != nil {
				return err
			}
		}
		switch {
		case why != "":
			j.Note("starting over with %s: %s", j.path, why)
			if err := j.in.Close(); err != nil {
				return err
			}
			if j.in, err = OpenInput(j.path, j.Form); err != nil {
				return err
			}
		case old != nil:
			j.state = *old
			j.Note("going on with %s behind %d records that were sent before", j.path, old.Accepted+old.Rejected)
		}
	}
	return j.openRejects()
}

// goesOn moves the input to where a resume file says, or says why it can't.
func (j *job) goesOn(ctx context.Context, old *Resume) (why string, err error) {
	if why := old.differs(j.in, j.state.How); why != "" {
		return why, nil
	}
	if old.Token != "" {
		known, err := j.Server.knows(ctx, old.Token)
		if err != nil {
			return "", err
		}
		if !known {
			return "the server's log is not the one that the events were sent to, or was set back", nil
		}
	}
	if j.in.parquet == nil { // its digest is read with its records
		if err := j.in.skipTo(old.Offset); err != nil {
			return "the file can't be read up to where it was sent: " + err.Error(), nil
		}
	}
	digest, err := j.in.digest(old.Offset)
	switch {
	case err != nil:
		return "", err
	case digest != old.Digest:
		return "what was sent of it has changed", nil
	case j.in.parquet != nil:
		return "", j.in.skipTo(old.Offset)
	}
	return "", nil
}

func (j *job) openRejects() (err error) {
	if j.Rejects == "" {
		return nil
	}
	if j.rejects, err = os.OpenFile(j.Rejects, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return err
	}
	// What was collected after the resume file was written is collected again.
	if err := j.rejects.Truncate(j.state.Rejects); err != nil {
		return err
	}
	_, err = j.rejects.Seek(j.state.Rejects, io.SeekStart)
	return err
}

func (j *job) closeRejects() error {
	if j.rejects == nil {
		return nil
	}
	return j.rejects.Close()
}

// run reads requests ahead and sends them one after another.
func (j *job) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	requests, free := make(chan *request), make(chan *request, 2)
	free <- &request{}
	free <- &request{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(requests)
		for end := false; !end; {
			select {
			case r := <-free:
				end = j.fill(r)
				select {
				case requests <- r:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	defer func() { cancel(); <-done }()
	for r := range requests {
		if err := j.sendRequest(ctx, r); err != nil {
			return err
		}
		if r.err != nil && r.err != io.EOF {
			return j.at(r.err)
		}
		free <- r
	}
	return context.Cause(ctx)
}

// at names the file in an error that reading it gave.
func (j *job) at(err error) error {
	var line *lineError
	if errors.As(err, &line) {
		return fmt.Errorf("%s:%d: %w", j.path, line.line, line.err)
	}
	return fmt.Errorf("read %s: %w", j.path, err)
}

// fill reads the records of one request; end says that no more come.
func (j *job) fill(r *request) (end bool) {
	r.body.Reset()
	r.records = r.records[:0]
	r.marks = r.marks[:0]
	r.err = nil
	var at int64
	for r.body.Len() < requestBytes && len(r.records) < requestLines && r.err == nil {
		rec, err := j.in.next()
		if err == nil && !j.begun {
			j.begun = true
			err = j.maker.begin(j.in)
		}
		if err != nil {
			r.err = err
			break
		}
		s := sent{line: rec.Line, from: r.body.Len(), refusal: rec.Err}
		var event []byte
		if s.refusal == nil {
			event, s.refusal = j.maker.make(&rec)
		}
		at = rec.End
		switch {
		case s.refusal != nil:
		case event == nil:
			continue
		default:
			r.err = appendLine(&r.body, event)
		}
		if j.rejects != nil {
			s.raw = bytes.Clone(rec.Raw)
		}
		if r.records = append(r.records, s); len(r.records)%markEvery == 0 {
			j.mark(r, at)
		}
	}
	if at > 0 {
		j.mark(r, at)
	}
	return r.err != nil
}

// mark notes the place behind the records of a request.
func (j *job) mark(r *request, offset int64) {
	digest, err := j.in.digest(offset)
	if err != nil {
		r.err = err
		return
	}
	r.marks = append(r.marks, mark{len(r.records), offset, digest})
}

// appendLine appends an event on a line of its own.
func appendLine(b *bytes.Buffer, event []byte) error {
	event = bytes.TrimSpace(event)
	if bytes.IndexByte(event, '\n') < 0 && bytes.IndexByte(event, '\r') < 0 {
		b.Write(event)
	} else if err := json.Compact(b, event); err != nil { // elements of an array have been checked
		return err
	}
	return b.WriteByte('\n')
}

// sendRequest sends the records of a request and keeps what became of them.
func (j *job) sendRequest(ctx context.Context, r *request) error {
	var failed error
	marks := r.marks
	err := j.Server.postAll(ctx, r, func(i int, refusal *freshet.Error) {
		if refusal == nil {
			j.state.Accepted++
		} else {
			j.state.Rejected++
			j.Rejected(r.records[i].line, refusal)
			failed = errors.Join(failed, j.collect(&r.records[i]))
		}
		for len(marks) > 0 && i+1 >= marks[0].records {
			j.state.Digest, j.state.Offset = marks[0].digest, marks[0].offset
			marks = marks[1:]
			j.Progress(j.in, j.result())
			if time.Since(j.saved) >= saveEvery {
				failed = errors.Join(failed, j.save())
			}
		}
	}, &j.state.Token)
	return errors.Join(err, failed)
}

// collect keeps a rejected record: as it stands in the file, with the header of its file before the first; of JSON and Parquet as a
// line of JSON.
func (j *job) collect(s *sent) error {
	if j.rejects == nil || len(s.raw) == 0 {
		return nil
	}
	var b bytes.Buffer
	switch j.in.Form {
	case CSV:
		if j.state.Rejects == 0 {
			b.Write(j.in.records.(csvRecords).Header())
			b.WriteByte('\n')
		}
		b.Write(s.raw)
		b.WriteByte('\n')
	case JSON:
		if err := appendLine(&b, s.raw); err != nil {
			return err
		}
	default:
		b.Write(s.raw)
		b.WriteByte('\n')
	}
	n, err := j.rejects.Write(b.Bytes())
	j.state.Rejects += int64(n)
	return err
}

// save writes the resume file. One that can't be written costs no more than the ability to go on.
func (j *job) save() error {
	j.saved = time.Now()
	if j.Resume == "" || j.state.Offset == 0 {
		return nil
	}
	if j.rejects != nil {
		if err := j.rejects.Sync(); err != nil {
			return err
		}
	}
	if err := j.state.save(j.Resume); err != nil {
		j.Note("this can't be gone on with after an interruption: %v; name another place with --state", err)
		j.Resume = ""
	}
	return nil
}

// finish removes the resume file of a file that was sent, and writes that of one that was not.
func (j *job) finish(whole bool) error {
	if !whole {
		if err := j.save(); err != nil {
			return err
		}
		if j.Resume != "" && j.state.Offset > 0 {
			j.Note("the same command goes on behind the %d records that were sent", j.state.Accepted+j.state.Rejected)
		}
		return nil
	}
	if j.Resume == "" {
		return nil
	}
	if err := os.Remove(j.Resume); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Ingest sends the records of a file, "-" for standard input, as events. name is what the ids of events that bring none begin
// with; "" means the file's absolute path, and of standard input that they get none.
func Ingest(ctx context.Context, path, name string, shape Shape, o Options) (Result, error) {
	if err := shape.Validate(); err != nil {
		return Result{}, err
	}
	return send(ctx, path, o, &shaper{Shape: shape, id: name})
}

// how implements maker.
func (s *shaper) how() string {
	return strings.TrimSpace(fmt.Sprintf("%+v %s", s.Shape, s.id))
}

// begin implements maker.
func (s *shaper) begin(in *Input) error {
	s.events = (in.Form == NDJSON || in.Form == JSON) && !s.named()
	if s.id == "" && in.Name != "-" {
		s.id = in.Name
	}
	if s.Flat {
		return nil
	}
	return s.checkColumns(in)
}
