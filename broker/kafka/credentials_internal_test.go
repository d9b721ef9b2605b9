package kafka

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// server is an authorization server that counts the tokens that it gives.
func server(t *testing.T, life string) (url string, given *int) {
	given = new(int)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, password, _ := r.BasicAuth()
		if r.Method != http.MethodPost || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "kafka" || id != "me%3A" || password != "s%26" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"invalid_client"}`))
			return
		}
		*given++
		_, _ = w.Write([]byte(`{"access_token":"` + strings.Repeat("t", *given) + `","token_type":"Bearer"` + life + `}`))
	}))
	t.Cleanup(s.Close)
	return s.URL, given
}

func secretFile(t *testing.T, content string) string {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCredentials(t *testing.T) {
	url, given := server(t, `,"expires_in":3600`)
	c := &credentials{sasl: &SASL{TokenURL: url, ClientID: "me:", ClientSecretFile: secretFile(t, "s&\n"), Scope: "kafka"}}
	for range 3 {
		if token, err := c.token(t.Context()); err != nil || token != "t" {
			t.Fatalf("%q, %v", token, err)
		}
	}
	if left := time.Until(c.until); *given != 1 || left < 50*time.Minute || left > 54*time.Minute {
		t.Errorf("%d tokens, used again for %v", *given, left)
	}
	c.until = time.Now()
	if token, err := c.token(t.Context()); err != nil || token != "tt" {
		t.Errorf("after its time: %q, %v", token, err)
	}
}

// A token whose life is not told is used once.
func TestCredentialsWithoutLife(t *testing.T) {
	url, given := server(t, "")
	c := &credentials{sasl: &SASL{TokenURL: url, ClientID: "me:", ClientSecretFile: secretFile(t, "s&"), Scope: "kafka"}}
	for range 2 {
		if _, err := c.token(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if *given != 2 {
		t.Errorf("%d tokens", *given)
	}
}

func TestCredentialsRefused(t *testing.T) {
	url, _ := server(t, "")
	blank := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer blank.Close()
	for _, c := range []struct {
		sasl SASL
		want string
	}{
		{SASL{TokenURL: url, ClientID: "me:", ClientSecretFile: secretFile(t, "wrong"), Scope: "kafka"}, "401 Unauthorized invalid_client"},
		{SASL{TokenURL: blank.URL, ClientID: "me:", ClientSecretFile: secretFile(t, "s")}, "access_token"},
		{SASL{TokenURL: url, ClientSecretFile: "gone"}, "sasl.client_secret_file"},
	} {
		if token, err := (&credentials{sasl: &c.sasl}).token(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.sasl.TokenURL) {
			t.Errorf("%q, %v, want %s", token, err, c.want)
		}
	}
}
