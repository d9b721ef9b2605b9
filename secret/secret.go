// Package secret reads what proves who a client is, and whom it trusts: passwords, tokens and certificates, each in a file.
package secret

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// Line reads a file that holds one line, without its end. Field names the setting in errors.
func Line(field, path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", field, err)
	}
	line := string(bytes.TrimRight(raw, "\r\n"))
	if line == "" {
		return "", fmt.Errorf("%s: %q is empty; write the secret into it", field, path)
	}
	return line, nil
}

// Certificates names files in PEM: of authorities (default: the system's), and of the client's own certificate and key, for
// mutual TLS. Errors begin with the name of the setting: ca_file, cert_file or key_file.
type Certificates struct{ CAFile, CertFile, KeyFile string }

// Validate opens no files.
func (c Certificates) Validate() error {
	switch {
	case c.CertFile == "" && c.KeyFile != "":
		return fmt.Errorf("cert_file: is missing beside key_file %q; give both, or none", c.KeyFile)
	case c.CertFile != "" && c.KeyFile == "":
		return fmt.Errorf("key_file: is missing beside cert_file %q; give both, or none", c.CertFile)
	}
	return nil
}

// TLS reads the authorities and makes sure that the client's certificate can be read; it is read anew for each connection, so that it
// may be renewed.
func (c Certificates) TLS() (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: %q has no certificate; give a file in PEM", c.CAFile)
		}
	}
	if c.CertFile == "" {
		return out, nil
	}
	load := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("cert_file: %w", err)
		}
		return &pair, nil
	}
	if _, err := load(nil); err != nil {
		return nil, err
	}
	out.GetClientCertificate = load
	return out, nil
}
