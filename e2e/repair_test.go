package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/wire"
)

// TestRepair: records of the table are altered and removed on disk. Repairs, under traffic and killed at
// random, end in exactly the state that the events gave.
func TestRepair(t *testing.T) {
	t.Parallel()
	const entities = 600
	choices := random(seed(t), "repair")
	s, a := startServer(t, "")
	var all []event
	for i := range entities {
		all = append(all, event{EntityID: fmt.Sprint("e", i), Payload: text(fmt.Sprint("the weir of ", i), "n", i)})
	}
	for i := range entities / 2 {
		all = append(all, event{EntityID: fmt.Sprint("e", i), Op: "patch", Payload: map[string]any{"more": i}})
	}
	for i := range entities / 10 {
		all = append(all, event{EntityID: fmt.Sprint("e", 10*i+9), Op: "delete"})
	}
	a.await(a.events(all...))
	state := func() map[string]string {
		out := map[string]string{}
		for i := range entities {
			id := fmt.Sprint("e", i)
			e, status := a.get(id)
			out[id] = fmt.Sprint(status, e.Version, e.Text, string(e.Metadata), e.Events, e.Points)
		}
		return out
	}
	before := state()
	s.stop()

	log, err := embedded.Open(s.data, embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	damage(t, log.State, choices.Perm(entities)[:entities/4])
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	s.start()
	if out, _, status := command(t, nil, "audit", "--server", s.url()); status != 1 || !strings.Contains(out, "differences") {
		t.Fatalf("an audit of the damage ends with %d: %s", status, out)
	}

	stop := make(chan struct{})
	sending := make(chan struct{})
	go func() { // live traffic, on entities of its own and on nobody's time
		defer close(sending)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_, _ = a.call("POST", "/v1/events", event{EntityID: fmt.Sprint("live", i%50), Payload: text(fmt.Sprint("live ", i))}, nil)
			}
		}
	}()
	kills := 0
	for ; kills < 5; kills++ {
		done := make(chan int, 1)
		go func() {
			_, _, status := command(t, nil, "audit", "--repair", "--server", s.url())
			done <- status
		}()
		time.Sleep(time.Duration(choices.IntN(150)) * time.Millisecond) // where the kill falls
		s.kill()
		<-done
		s.start()
	}
	out, errs, status := command(t, nil, "audit", "--repair", "--server", s.url())
	if status != 0 {
		t.Errorf("the last repair ends with %d: %s%s", status, out, errs)
	}
	close(stop)
	<-sending
	a.settle()
	a.audit()
	for id, now := range state() {
		if now != before[id] {
			t.Errorf("%s is %s, was %s", id, now, before[id])
		}
	}
	s.kill()
	s.start()
	a.audit()
}

// damage alters or removes the records of some entities in vector.sync.
func damage(t *testing.T, log *embedded.State, entities []int) {
	t.Helper()
	tx := log.Begin()
	for i, n := range entities {
		key := freshet.Key{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace, Entity: fmt.Sprint("e", n)}
		raw := wire.AppendKey(nil, key)
		r, ok, err := log.Latest(freshet.TopicSync, raw, nil)
		if err != nil || !ok {
			t.Fatal(key, ok, err)
		}
		c, err := wire.DecodeChange(key, r.Value, wire.Points)
		if err != nil {
			t.Fatal(err)
		}
		switch i % 4 {
		case 0:
			err = tx.Remove(freshet.TopicSync, raw)
		case 1:
			c.Text += " and more"
		case 2:
			c.Version.Offset = 0
		case 3:
			c.Metadata = []byte(`{"n":-1}`)
			c.Digest = wire.StateDigest(&c, wire.PointsDigest(c.Points))
		}
		if i%4 > 0 {
			err = tx.Put(freshet.TopicSync, raw, wire.AppendChange(nil, &c))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}
