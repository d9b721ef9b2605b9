package kafka

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/freshet-io/freshet/secret"
)

// credentials gets tokens from an authorization server by the grant of client credentials, RFC 6749 section 4.4. A token is used
// again while more than a tenth of its life is left, for each connection authenticates itself.
type credentials struct {
	sasl *SASL

	mu    sync.Mutex // guards what follows, and is held while a token is got
	last  string
	until time.Time
}

// Limits of the exchange.
const (
	tokenTimeout = 10 * time.Second
	tokenBytes   = 1 << 20
)

func (c *credentials) token(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Now().Before(c.until) {
		return c.last, nil
	}
	token, life, err := c.exchange(ctx)
	if err != nil {
		return "", fmt.Errorf("sasl.token_url: %s: %w", c.sasl.TokenURL, err)
	}
	c.last, c.until = token, time.Now().Add(life-life/10)
	return token, nil
}

func (c *credentials) exchange(ctx context.Context) (token string, life time.Duration, err error) {
	password, err := secret.Line("sasl.client_secret_file", c.sasl.ClientSecretFile)
	if err != nil {
		return "", 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	form := url.Values{"grant_type": {"client_credentials"}}
	if c.sasl.Scope != "" {
		form.Set("scope", c.sasl.Scope)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.sasl.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(url.QueryEscape(c.sasl.ClientID), url.QueryEscape(password)) // section 2.3.1
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, tokenBytes))
	if err != nil {
		return "", 0, err
	}
	var answer struct {
		Token   string `json:"access_token"`
		Expires int64  `json:"expires_in"` // seconds; 0 = not told
		Error   string `json:"error"`
	}
	bad := json.Unmarshal(raw, &answer)
	switch {
	case resp.StatusCode != http.StatusOK:
		return "", 0, fmt.Errorf("the authorization server answers %s %s; see to client_id, client_secret_file and scope", resp.Status, answer.Error)
	case bad != nil || answer.Token == "":
		return "", 0, fmt.Errorf("the answer of %d bytes has no access_token; is it the token endpoint?", len(raw))
	}
	return answer.Token, time.Duration(answer.Expires) * time.Second, nil
}
