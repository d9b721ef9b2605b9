package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/freshet-io/freshet/secret"
)

// TLS encrypts connections. Certificates of brokers are always verified.
type TLS struct {
	CAFile     string // PEM; default: the system's authorities
	CertFile   string // PEM, of the client, for mutual TLS; read anew for each connection
	KeyFile    string
	ServerName string // in the brokers' certificates; default: the host that is dialed
}

// SASL authenticates connections. Secrets stand in files, without the line end, and are read anew for each session, so that they may
// be rotated. Without TLS the mechanisms plain and oauthbearer send them readable.
type SASL struct {
	Mechanism    string // plain, scram-sha-256, scram-sha-512 or oauthbearer
	User         string // of plain and scram
	PasswordFile string // of plain and scram
	// TokenFile holds the token of oauthbearer, renewed by somebody else. Else TokenURL gives it, by client credentials.
	TokenFile        string
	TokenURL         string // of an authorization server, RFC 6749 section 4.4
	ClientID         string
	ClientSecretFile string
	Scope            string // default none
}

// Mechanisms of SASL.
const (
	mechanismPlain    = "plain"
	mechanismScram256 = "scram-sha-256"
	mechanismScram512 = "scram-sha-512"
	mechanismOAuth    = "oauthbearer"
)

// Mechanisms are those that SASL knows.
var Mechanisms = []string{mechanismPlain, mechanismScram256, mechanismScram512, mechanismOAuth}

func (t *TLS) validate() error {
	if t == nil {
		return nil
	}
	if err := t.files().Validate(); err != nil {
		return fmt.Errorf("tls.%w", err)
	}
	return nil
}

func (t *TLS) files() secret.Certificates {
	return secret.Certificates{CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile}
}

func (s *SASL) validate() error {
	if s == nil {
		return nil
	}
	if !slices.Contains(Mechanisms, s.Mechanism) {
		return fmt.Errorf("sasl.mechanism: %q is not known; use one of %s", s.Mechanism, strings.Join(Mechanisms, ", "))
	}
	byToken := s.Mechanism == mechanismOAuth
	needed := func(field, value string, is bool) error {
		switch {
		case is && value == "":
			return fmt.Errorf("sasl.%s: is missing; %s needs it", field, s.Mechanism)
		case !is && value != "":
			return fmt.Errorf("sasl.%s: %q has no meaning here; leave it out", field, value)
		}
		return nil
	}
	if byToken && (s.TokenFile == "") == (s.TokenURL == "") {
		return fmt.Errorf("sasl.token_file: %q beside token_url %q; give one of the two", s.TokenFile, s.TokenURL)
	}
	byURL := byToken && s.TokenURL != ""
	for _, n := range []struct {
		field, value string
		is           bool
	}{{"user", s.User, !byToken}, {"password_file", s.PasswordFile, !byToken}, {"token_file", s.TokenFile, byToken && !byURL},
		{"token_url", s.TokenURL, byURL}, {"client_id", s.ClientID, byURL}, {"client_secret_file", s.ClientSecretFile, byURL},
		{"scope", s.Scope, byURL && s.Scope != ""}} {
		if err := needed(n.field, n.value, n.is); err != nil {
			return err
		}
	}
	if byURL && !strings.HasPrefix(s.TokenURL, "https://") && !strings.HasPrefix(s.TokenURL, "http://") {
		return fmt.Errorf("sasl.token_url: %q is no URL; write it like https://auth.example.com/oauth/token", s.TokenURL)
	}
	return nil
}

// config reads the authorities and makes sure that the client's certificate can be read.
func (t *TLS) config() (*tls.Config, error) {
	c, err := t.files().TLS()
	if err != nil {
		return nil, fmt.Errorf("tls.%w", err)
	}
	c.ServerName = t.ServerName
	return c, nil
}

// mechanism makes sure that the secrets can be read.
func (s *SASL) mechanism() (sasl.Mechanism, error) {
	password := func() (string, error) { return secret.Line("sasl.password_file", s.PasswordFile) }
	scramAuth := func(context.Context) (scram.Auth, error) {
		pass, err := password()
		return scram.Auth{User: s.User, Pass: pass}, err
	}
	switch s.Mechanism {
	case mechanismPlain:
		_, err := password()
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			pass, err := password()
			return plain.Auth{User: s.User, Pass: pass}, err
		}), err
	case mechanismScram256:
		_, err := password()
		return scram.Sha256(scramAuth), err
	case mechanismScram512:
		_, err := password()
		return scram.Sha512(scramAuth), err
	}
	give := func(context.Context) (string, error) { return secret.Line("sasl.token_file", s.TokenFile) }
	var err error
	if s.TokenURL != "" {
		give = (&credentials{sasl: s}).token
		_, err = secret.Line("sasl.client_secret_file", s.ClientSecretFile)
	} else {
		_, err = give(context.Background())
	}
	return oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
		token, err := give(ctx)
		return oauth.Auth{Token: token}, err
	}), err
}

// security are the options of a client that TLS and SASL give.
func (o Options) security() (opts []kgo.Opt, err error) {
	if o.TLS != nil {
		c, bad := o.TLS.config()
		err = errors.Join(err, bad)
		opts = append(opts, kgo.DialTLSConfig(c))
	}
	if o.SASL != nil {
		m, bad := o.SASL.mechanism()
		err = errors.Join(err, bad)
		opts = append(opts, kgo.SASL(marked{m}))
	}
	return opts, err
}

// errAuthentication marks what went wrong between this process and a mechanism.
var errAuthentication = errors.New("authentication")

// marked is a mechanism whose errors are marked: that a token is refused, franz-go says in words alone.
type marked struct{ sasl.Mechanism }

func (m marked) Authenticate(ctx context.Context, host string) (sasl.Session, []byte, error) {
	session, first, err := m.Mechanism.Authenticate(ctx, host)
	return markedSession{session}, first, mark(err)
}

type markedSession struct{ sasl.Session }

func (s markedSession) Challenge(answer []byte) (done bool, next []byte, err error) {
	done, next, err = s.Session.Challenge(answer)
	return done, next, mark(err)
}

func mark(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errAuthentication, err)
}
