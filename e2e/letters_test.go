package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

const lettersMapping = `
mapping:
  changes:
    - entity: event.id
      collection: event.?c
      event_id: event.?e
      text: event.?text
      metadata: '{?"n": event.?n}'
`

// TestDeadLettersAreReplayed: events whose collection did not exist are replayed once it does, and
// others dropped, while the server is killed at random and live events go on. Each event has its effect
// once, with its own version.
func TestDeadLettersAreReplayed(t *testing.T) {
	t.Parallel()
	const letters, entities = 6000, 400
	choices := random(seed(t), "letters")
	s, a := startServer(t, lettersMapping)
	var lines strings.Builder
	for i := range letters {
		fmt.Fprintf(&lines, `{"id":"e%d","c":"late","e":"%d","text":"the tide of %d","n":%d}`+"\n", i%entities, i, i, i)
		if i%10 == 0 {
			fmt.Fprintf(&lines, `{"id":"never%d"}`+"\n", i) // nothing to embed
		}
	}
	in, _ := a.post("application/x-ndjson", lines.String())
	if in.Accepted != letters+letters/10 {
		t.Fatalf("accepted %d: %+v", in.Accepted, in.problem)
	}
	a.settle()
	s.stop()
	s.configure(lettersMapping + "collections: {late: {}}\n")
	s.start()

	if out, _, _ := command(t, nil, "dlq", "replay", "--class", "unknown_collection", "--dry-run", "--server", s.url()); !strings.HasPrefix(out, fmt.Sprint(letters, " ")) {
		t.Errorf("a dry run says %q", out)
	}
	var live strings.Builder // newer than the letters of these entities
	for i := range 50 {
		fmt.Fprintf(&live, `{"id":"e%d","c":"late","e":"live%d","text":"newer","n":-1}`+"\n", i, i)
	}
	in, _ = a.post("application/x-ndjson", live.String())
	a.await(in.Token)
	kills := lettersUntilDone(t, s, choices, "replay", "--class", "unknown_collection", "--json")
	drops := lettersUntilDone(t, s, choices, "drop", "--stage", "map", "--until", time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	t.Logf("%d kills during the replay, %d during the drop", kills, drops)
	a.settle()
	if dead := a.deadLetters(); len(dead) > 0 {
		t.Errorf("%d dead letters are left, the first: %+v", len(dead), dead[0])
	}
	for i := range entities {
		e := a.entity(fmt.Sprint("e", i), "collection", "late")
		last := i + letters - entities
		want, events := fmt.Sprint("the tide of ", last), letters/entities
		if i < 50 {
			want, events = "newer", 1
		}
		if e.Text != want || e.Events != events {
			t.Errorf("e%d says %q after %d events, want %q after %d", i, e.Text, e.Events, want, events)
		}
	}
	if r := a.audit(); r.Entities != entities {
		t.Errorf("%d entities, want %d", r.Entities, entities)
	}
	s.kill()
	s.start()
	a.settle()
	a.audit()
	if dead := a.deadLetters(); len(dead) > 0 {
		t.Errorf("%d dead letters are back", len(dead))
	}
	if out, errs, status := command(t, nil, "dlq", "drop", "--server", s.url()); status == 0 || !strings.Contains(errs, "all") {
		t.Errorf("dropping nothing in particular: %d %s%s", status, out, errs)
	}
}

// lettersUntilDone runs a command on dead letters, with kills in between, until it has gone through.
func lettersUntilDone(t *testing.T, s *server, choices *rand.Rand, args ...string) (kills int) {
	t.Helper()
	for kills = 0; ; kills++ {
		done := make(chan string, 1)
		go func() {
			out, errs, status := command(t, nil, append(append([]string{"dlq"}, args...), "--server", s.url())...)
			done <- fmt.Sprint(status, " ", out, errs)
		}()
		var timeout <-chan time.Time
		if kills < 6 {
			timeout = time.After(time.Duration(choices.IntN(250)) * time.Millisecond)
		}
		select {
		case said := <-done:
			if strings.HasPrefix(said, "0 ") {
				return kills
			}
			t.Fatalf("dlq %v: %s", args, said)
		case <-timeout:
			s.kill()
			<-done
			s.start()
		}
	}
}
