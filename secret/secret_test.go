package secret_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/secret"
)

// Files of certificates are tested where connections are made, by packages broker/kafka and codec/registry.
func TestLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for content, want := range map[string]string{"abc": "abc", " a b \r\n\n": " a b ", "\n": "", "": ""} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := secret.Line("sasl.password_file", path)
		if got != want || (err == nil) != (want != "") || err != nil && !strings.Contains(err.Error(), "sasl.password_file") {
			t.Errorf("%q: %q, %v", content, got, err)
		}
	}
	if _, err := secret.Line("token_file", path+"x"); err == nil || !strings.HasPrefix(err.Error(), "token_file: ") {
		t.Error(err)
	}
}
