package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/freshet-io/freshet"
)

// Options say where the registry is.
type Options struct {
	URLs     []string `yaml:"urls"`               // tried in order
	Username string   `yaml:"username,omitempty"` // of basic authentication
	Password string   `yaml:"password,omitempty"`
	Token    string   `yaml:"token,omitempty"` // a bearer token, instead of them
	CA       string   `yaml:"ca,omitempty"`    // a file of certificates that sign the registry's; default those of the system
	Cert     string   `yaml:"cert,omitempty"`  // files of the certificate and the key that the registry knows its client by
	Key      string   `yaml:"key,omitempty"`
}

// timeout is how long one answer of the registry may take.
const timeout = 5 * time.Second

// Validate names the first option that is wrong. It opens no files.
func (o Options) Validate() error {
	invalid := func(field, format string, args ...any) error {
		return &freshet.Error{Code: freshet.CodeInvalidField, Field: "schema_registry." + field, Message: fmt.Sprintf(format, args...)}
	}
	if len(o.URLs) == 0 {
		return invalid("urls", "is missing; give the registry's addresses, like [http://registry:8081]")
	}
	for _, text := range o.URLs {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return invalid("urls", "%q is no URL of http or https; write it like http://registry:8081", text)
		}
		if u.User != nil {
			return invalid("urls", "the URL of %s holds a name or a password; write them as username and password", u.Host)
		}
	}
	switch {
	case o.Token != "" && o.Username+o.Password != "":
		return invalid("token", "stands beside username or password; leave one of the two out")
	case (o.Username == "") != (o.Password == ""):
		return invalid("username", "and password belong together; give both or neither")
	case (o.Cert == "") != (o.Key == ""):
		return invalid("cert", "and key belong together; give both or neither")
	}
	return nil
}

// clients returns a client for each address: the library goes to the next address only where the connection fails.
func (o Options) clients() ([]*sr.Client, error) {
	var opts []sr.ClientOpt
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("schema_registry.ca: %w", err)
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("schema_registry.ca: %s holds no certificate in PEM", o.CA)
		}
	}
	if o.Cert != "" {
		cert, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, fmt.Errorf("schema_registry.cert: %w", err)
		}
		transport.TLSClientConfig.Certificates = []tls.Certificate{cert}
	}
	opts = append(opts, sr.UserAgent("freshet"), sr.HTTPClient(&http.Client{Transport: transport, Timeout: timeout}))
	switch {
	case o.Token != "":
		opts = append(opts, sr.BearerToken(o.Token))
	case o.Username != "":
		opts = append(opts, sr.BasicAuth(o.Username, o.Password))
	}
	var out []*sr.Client
	for _, u := range o.URLs {
		c, err := sr.NewClient(append(opts[:len(opts):len(opts)], sr.URLs(u))...)
		if err != nil {
			return nil, fmt.Errorf("schema_registry.urls: %w", err)
		}
		out = append(out, c)
	}
	return out, nil
}

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
