package registry

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/secret"
)

// Options say where the registry is and how it knows its client. Secrets stand in files, without the line end, and are read anew for
// each request, so that they may be rotated.
type Options struct {
	URLs         []string `yaml:"urls"`           // tried in order
	User         string   `yaml:"user,omitempty"` // of basic authentication
	PasswordFile string   `yaml:"password_file,omitempty"`
	TokenFile    string   `yaml:"token_file,omitempty"` // of a bearer token, instead of them
	TLS          TLS      `yaml:"tls,omitempty"`
}

// TLS says which certificates count where a URL is one of https.
type TLS struct {
	CAFile   string `yaml:"ca_file,omitempty"`   // PEM; default: the system's authorities
	CertFile string `yaml:"cert_file,omitempty"` // PEM, of the client, for mutual TLS; read anew for each connection
	KeyFile  string `yaml:"key_file,omitempty"`
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
		switch {
		case err == nil && u.User != nil:
			return invalid("urls", "the URL of %q holds a name or a password; give them as user and password_file", u.Host)
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
			return invalid("urls", "%q is no URL of http or https; write it like http://registry:8081", text)
		}
	}
	switch {
	case o.TokenFile != "" && o.User+o.PasswordFile != "":
		return invalid("token_file", "%q stands beside user or password_file; give one of the two", o.TokenFile)
	case o.User == "" && o.PasswordFile != "":
		return invalid("user", "is missing beside password_file %q; give both, or none", o.PasswordFile)
	case o.User != "" && o.PasswordFile == "":
		return invalid("password_file", "is missing beside user %q; give both, or none", o.User)
	}
	if err := secret.Certificates(o.TLS).Validate(); err != nil {
		return fmt.Errorf("schema_registry.tls.%w", err)
	}
	return nil
}

// clients returns a client for each address: the library goes to the next address only where the connection fails. All files must be
// there.
func (o Options) clients() ([]*sr.Client, error) {
	secure, err := secret.Certificates(o.TLS).TLS()
	if err != nil {
		err = fmt.Errorf("schema_registry.tls.%w", err)
	}
	if _, bad := o.authorization(); bad != nil {
		err = errors.Join(err, bad)
	}
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = secure
	opts := []sr.ClientOpt{sr.UserAgent("freshet"), sr.HTTPClient(&http.Client{Transport: transport, Timeout: timeout}),
		sr.PreReq(func(r *http.Request) error {
			set, err := o.authorization()
			if err == nil {
				set(r)
			}
			return err
		})}
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

// authorization returns what tells the registry who asks.
func (o Options) authorization() (set func(*http.Request), err error) {
	switch {
	case o.TokenFile != "":
		token, err := secret.Line("schema_registry.token_file", o.TokenFile)
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }, err
	case o.User != "":
		password, err := secret.Line("schema_registry.password_file", o.PasswordFile)
		return func(r *http.Request) { r.SetBasicAuth(o.User, password) }, err
	}
	return func(*http.Request) {}, nil
}
