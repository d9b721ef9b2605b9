package kafka_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/freshet-io/freshet/broker/kafka"
)

// works makes sure that the cluster does what it is told.
func works(t *testing.T, o kafka.Options) {
	t.Helper()
	if _, err := open(t, o).Ensure(deadline(t)); err != nil {
		t.Error(err)
	}
}

// refused makes sure that Open fails at once and says why.
func refused(t *testing.T, o kafka.Options, why ...string) {
	t.Helper()
	start := time.Now()
	fails(t, o, why...)
	if took := time.Since(start); took > o.ConnectTimeout/2 {
		t.Errorf("it took %v", took)
	}
}

// unanswered makes sure that Open fails and names the address: a broker of kfake hangs up on a wrong password and says nothing.
func unanswered(t *testing.T, o kafka.Options, addr string) {
	t.Helper()
	o.ConnectTimeout = 500 * time.Millisecond
	fails(t, o, "no answer from "+addr, "sasl")
}

func fails(t *testing.T, o kafka.Options, why ...string) {
	t.Helper()
	c, err := kafka.Open(deadline(t), o)
	if err == nil {
		c.Close()
		t.Fatalf("open, wanted an error with %q", why)
	}
	for _, part := range why {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %s", part, err)
		}
	}
}

// file writes a file and returns its path.
func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSASL(t *testing.T) {
	for mechanism, name := range map[string]string{"plain": "PLAIN", "scram-sha-256": "SCRAM-SHA-256", "scram-sha-512": "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			addrs := fake(t, 1, kfake.EnableSASL(), kfake.Superuser(name, "anna", "right")).ListenAddrs()
			with := func(password string) kafka.Options {
				return options(addrs, func(o *kafka.Options) {
					o.SASL = &kafka.SASL{Mechanism: mechanism, User: "anna", PasswordFile: file(t, "password", password)}
				})
			}
			works(t, with("right\n"))
			unanswered(t, with("wrong"), addrs[0])
			refused(t, with("\n"), "sasl.password_file", "is empty")
			gone := with("right")
			gone.SASL.PasswordFile += ".gone"
			refused(t, gone, "sasl.password_file", "no such file")
		})
	}
}

// A password that is altered counts from the next session on.
func TestPasswordIsReadAnew(t *testing.T) {
	addrs := fake(t, 1, kfake.EnableSASL(), kfake.Superuser("PLAIN", "anna", "old"), kfake.Superuser("PLAIN", "bert", "x")).ListenAddrs()
	path := file(t, "password", "wrong")
	o := options(addrs, func(o *kafka.Options) {
		o.SASL = &kafka.SASL{Mechanism: "plain", User: "anna", PasswordFile: path}
	})
	unanswered(t, o, addrs[0])
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	works(t, o)
}

func TestTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	server := ca.issue(t, "server")
	pair, err := tls.LoadX509KeyPair(server.cert, server.key)
	if err != nil {
		t.Fatal(err)
	}
	addrs := fake(t, 1, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}})).ListenAddrs()
	with := func(c kafka.TLS) kafka.Options {
		return options(addrs, func(o *kafka.Options) { o.TLS = &c })
	}
	works(t, with(kafka.TLS{CAFile: ca.cert}))
	works(t, with(kafka.TLS{CAFile: ca.cert, ServerName: "localhost"}))
	refused(t, with(kafka.TLS{CAFile: other.cert}), "x509")
	refused(t, with(kafka.TLS{}), "x509")
	refused(t, with(kafka.TLS{CAFile: ca.cert, ServerName: "example.com"}), "x509", "example.com")
	refused(t, with(kafka.TLS{CAFile: file(t, "ca", "x")}), "tls.ca_file", "PEM")
	refused(t, with(kafka.TLS{CAFile: "gone"}), "tls.ca_file", "no such file")
}

func TestMutualTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	server, client, stranger := ca.issue(t, "server"), ca.issue(t, "client"), other.issue(t, "client")
	pair, err := tls.LoadX509KeyPair(server.cert, server.key)
	if err != nil {
		t.Fatal(err)
	}
	addrs := fake(t, 1, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: ca.pool, ClientAuth: tls.RequireAndVerifyClientCert})).ListenAddrs()
	with := func(cert, key string) kafka.Options {
		return options(addrs, func(o *kafka.Options) { o.TLS = &kafka.TLS{CAFile: ca.cert, CertFile: cert, KeyFile: key} })
	}
	works(t, with(client.cert, client.key))
	refused(t, with("", ""), "tls: ")
	refused(t, with(stranger.cert, stranger.key), "tls: ")
	refused(t, with(client.cert, stranger.key), "tls.cert_file", "private key")
}

// authority issues certificates for this machine.
type authority struct {
	cert string // path
	pool *x509.CertPool
	x509 *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issued are the paths of a certificate and its key.
type issued struct{ cert, key string }

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{file(t, "ca.pem", inPEM("CERTIFICATE", der)), pool, cert, key}
}

func (a *authority) issue(t *testing.T, name string) issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.x509, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return issued{file(t, "cert.pem", inPEM("CERTIFICATE", der)), file(t, "key.pem", inPEM("PRIVATE KEY", raw))}
}

func inPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
