package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// told is a line of the stream of changes.
type told struct {
	Token     string `json:"token"`
	Op        string `json:"op"`
	Namespace string `json:"namespace"`
	EntityID  string `json:"entity_id"`
	Version   string `json:"version"`
	Text      string `json:"text"`
	Code      string `json:"code"` // of a problem document
	Detail    string `json:"detail"`
}

// follower follows the changes of a collection over any number of servers' lives, as another system would: it keeps what
// it was told of each entity, and the last token.
type follower struct {
	server     *server
	collection string
	state      map[string]told
	after      string
	lines      int
	breaks     int   // streams that broke off
	err        error // a promise that was broken
	done       chan struct{}
}

func follow(ctx context.Context, s *server, collection string) *follower {
	f := &follower{server: s, collection: collection, state: map[string]told{}, done: make(chan struct{})}
	go func() {
		defer close(f.done)
		for ctx.Err() == nil && f.err == nil {
			f.err = f.stream(ctx, true)
			f.breaks++
			select {
			case <-time.After(20 * time.Millisecond): // the server may be down
			case <-ctx.Done():
			}
		}
	}()
	return f
}

// errBroken is a promise that was broken; other ends of a stream are the network's.
var errBroken = errors.New("follower")

func (f *follower) stream(ctx context.Context, on bool) error {
	query := url.Values{"collection": {f.collection}, "follow": {fmt.Sprint(on)}}
	if f.after != "" {
		query.Set("after", f.after)
	}
	r, err := http.NewRequestWithContext(ctx, "GET", f.server.url()+"/v1/changes?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusNotFound { // the collection may not be there yet
		raw, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("%w: %s: %s", errBroken, answer.Status, raw)
	}
	lines := bufio.NewReader(answer.Body)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil || answer.StatusCode != http.StatusOK {
			return nil // what is there of a last line is no line
		}
		var c told
		if err := json.Unmarshal(line, &c); err != nil {
			return fmt.Errorf("%w: %s: %w", errBroken, line, err)
		}
		if c.Code == "unavailable" {
			return nil // the server stops
		}
		if c.Code != "" {
			return fmt.Errorf("%w: %s: %s", errBroken, c.Code, c.Detail)
		}
		f.after = c.Token
		if c.Op == "" {
			continue
		}
		f.lines++
		key := c.Namespace + "/" + c.EntityID
		if before := f.state[key]; before.Version > c.Version {
			return fmt.Errorf("%w: %s goes back from version %s to %s", errBroken, key, before.Version, c.Version)
		}
		c.Token = ""
		f.state[key] = c
	}
}

// check compares what a follower has been told, once it has caught up, with what another is told now.
func (f *follower) check(t *testing.T, stop func()) {
	t.Helper()
	stop()
	<-f.done
	fresh := &follower{server: f.server, collection: f.collection, state: map[string]told{}}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	err := errors.Join(f.err, f.stream(ctx, false), fresh.stream(ctx, false))
	t.Logf("a follower of %s was told %d changes in %d attempts to follow, there are %d", f.collection, f.lines, f.breaks+1, fresh.lines)
	if err != nil || f.after != fresh.after || len(fresh.state) == 0 || !maps.Equal(f.state, fresh.state) {
		t.Errorf("%v; the follower of %s is at %s with %d entities, one who begins now at %s with %d", err, f.collection, f.after, len(f.state), fresh.after, len(fresh.state))
		for key, want := range fresh.state {
			if got := f.state[key]; got != want {
				t.Fatalf("of %s it has %+v, now it is %+v", key, got, want)
			}
		}
	}
}
