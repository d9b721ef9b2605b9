package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/freshet-io/freshet"
)

// How long answers that may change are kept. Without that a batch of thousands of records would ask for each.
const (
	unknownFor = 10 * time.Second // that there is no schema of an id
	downFor    = time.Second      // that the registry does not answer
	maxUnknown = 10_000
)

// The types of schemas, as the registry names them.
const (
	kindAvro     = "AVRO"
	kindProtobuf = "PROTOBUF"
	kindJSON     = "JSON"
)

// schemas keeps those that were asked for.
type schemas struct {
	clients []*sr.Client
	now     func() time.Time

	mu      sync.RWMutex // guards the fields below
	known   map[int]answer
	unknown map[int]verdict
	down    verdict
	asking  map[int]*question
}

// answer is a schema, or why it can't be used, which is for ever too.
type answer struct {
	schema *schema
	err    error
}

// verdict is an error that holds for a while.
type verdict struct {
	err   error
	until time.Time
}

// question is one that is under way; done is closed when the answer is there.
type question struct {
	done chan struct{}
	answer
}

func newSchemas(o Options) (*schemas, error) {
	clients, err := o.clients()
	return &schemas{clients: clients, now: time.Now, known: map[int]answer{}, unknown: map[int]verdict{}, asking: map[int]*question{}}, err
}

// get returns the schema of an id. Whoever asks while it is being fetched waits for the same answer.
func (s *schemas) get(id int) (*schema, error) {
	if id <= 0 {
		return nil, refuse(freshet.CodeUnknownSchema, "", "names the schema %d; ids are above 0", id)
	}
	s.mu.RLock()
	a, ok := s.known[id]
	s.mu.RUnlock()
	if ok {
		return a.schema, a.err
	}
	s.mu.Lock()
	now := s.now()
	if a, ok := s.known[id]; ok {
		s.mu.Unlock()
		return a.schema, a.err
	}
	for _, v := range []verdict{s.unknown[id], s.down} {
		if v.err != nil && now.Before(v.until) {
			s.mu.Unlock()
			return nil, v.err
		}
	}
	if q, ok := s.asking[id]; ok {
		s.mu.Unlock()
		<-q.done
		return q.schema, q.err
	}
	q := &question{done: make(chan struct{})}
	s.asking[id] = q
	s.mu.Unlock()
	q.schema, q.err = s.fetch(id)
	s.keep(id, q.answer)
	close(q.done)
	return q.schema, q.err
}

// keep notes an answer for as long as it holds.
func (s *schemas) keep(id int, a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.asking, id)
	var missing *missingError
	var e *freshet.Error
	switch now := s.now(); {
	case errors.As(a.err, &missing):
		if len(s.unknown) >= maxUnknown {
			clear(s.unknown)
		}
		s.unknown[id] = verdict{a.err, now.Add(unknownFor)}
	case errors.As(a.err, &e) && e.Code == freshet.CodeUnavailable:
		s.down = verdict{a.err, now.Add(downFor)}
	default:
		s.known[id] = a
	}
}

// missingError is of a schema that the registry does not have, today.
type missingError struct{ err *freshet.Error }

func (e *missingError) Error() string { return e.err.Error() }
func (e *missingError) Unwrap() error { return e.err }

// reference is a schema that others refer to, by the name that they use.
type reference struct{ name, text string }

// maxReferences is how many schemas one refers to, all that those refer to included.
const maxReferences = 1000

// fetch asks for a schema and all that it refers to.
func (s *schemas) fetch(id int) (*schema, error) {
	ctx, stop := context.WithTimeout(context.Background(), 4*timeout)
	defer stop()
	unusable := func(err error) error {
		return refuse(freshet.CodeUnknownSchema, "", "names the schema %d, which can't be used: %v", id, err)
	}
	var text sr.Schema
	err := s.ask(func(c *sr.Client) (err error) {
		text, err = c.SchemaByID(ctx, id)
		return err
	})
	if err != nil {
		return nil, s.explain(err, fmt.Sprintf("names the schema %d", id))
	}
	var referred []reference
	seen := map[sr.SchemaReference]bool{}
	var follow func(list []sr.SchemaReference) error
	follow = func(list []sr.SchemaReference) error {
		for _, r := range list {
			if seen[r] {
				continue
			}
			if seen[r] = true; len(seen) > maxReferences {
				return unusable(fmt.Errorf("it refers to more than %d others", maxReferences))
			}
			var of sr.SubjectSchema
			err := s.ask(func(c *sr.Client) (err error) {
				of, err = c.SchemaByVersion(sr.WithParams(ctx, sr.ShowDeleted), r.Subject, r.Version)
				return err
			})
			if err != nil {
				return s.explain(err, fmt.Sprintf("names the schema %d, which refers to version %d of %q", id, r.Version, r.Subject))
			}
			if err := follow(of.References); err != nil {
				return err
			}
			referred = append(referred, reference{r.Name, of.Schema.Schema})
		}
		return nil
	}
	if err := follow(text.References); err != nil {
		return nil, err
	}
	out, err := newSchemaSafe(text.Schema, referred, text.Type.String())
	if err != nil {
		return nil, unusable(err)
	}
	return out, nil
}

// newSchemaSafe is newSchema, with a panic of a compiler as an error: others wait for the answer.
func newSchemaSafe(text string, referred []reference, kind string) (s *schema, err error) {
	defer func() {
		if r := recover(); r != nil {
			s, err = nil, fmt.Errorf("reading it panicked: %v", r)
		}
	}()
	return newSchema(text, referred, kind)
}

// ask tries one address after the other until one answers, if only that there is no such thing.
func (s *schemas) ask(question func(*sr.Client) error) error {
	var errs []error
	for _, c := range s.clients {
		err := question(c)
		if err == nil || isMissing(err) {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// isMissing reports whether a registry says that it has no such schema. A status of 404 alone may be that of a wrong address.
func isMissing(err error) bool {
	var e *sr.ResponseError
	return errors.As(err, &e) && (e.ErrorCode == sr.ErrSchemaNotFound.Code || e.ErrorCode == sr.ErrSubjectNotFound.Code || e.ErrorCode == sr.ErrVersionNotFound.Code)
}

func (s *schemas) explain(err error, what string) error {
	if isMissing(err) {
		return &missingError{&freshet.Error{Code: freshet.CodeUnknownSchema, Message: what + ", but the registry has none such; was it written with another registry?"}}
	}
	return &freshet.Error{Code: freshet.CodeUnavailable, Message: "the schema registry does not answer, the record " + what + ": " + strings.ReplaceAll(describe(err), "\n", "; ")}
}

// describe says what went wrong, with the status where there was one.
func describe(err error) string {
	var e *sr.ResponseError
	if errors.As(err, &e) {
		return fmt.Sprintf("%s %s: status %d: %v", e.Method, e.URL, e.StatusCode, err)
	}
	return err.Error()
}
