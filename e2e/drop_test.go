package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestDropKilled drops a namespace while events come, and kills the server at a random moment: afterwards the namespace has
// either all or nothing of what was there before, the one beside it is whole, and the audit is clean.
func TestDropKilled(t *testing.T) {
	t.Parallel()
	s, a := startServer(t, "snapshot: {interval: 500ms}\n")
	rng := rand.New(rand.NewPCG(3, 4))
	name := func(ns string, i int) string { return fmt.Sprintf("%s%d", ns, i) }
	const many = 300
	fill := func(ns string) {
		var all []event
		for i := range many {
			all = append(all, event{EventID: fmt.Sprint(i), EntityID: name(ns, i), Namespace: ns, Payload: text(fmt.Sprintf("text number %d", i))})
		}
		a.await(a.events(all...))
	}
	fill("stays")
	for range 8 {
		fill("goes")
		done := make(chan int)
		go func() {
			_, _, status := command(t, nil, "drop", "default", "goes", "--confirm", "default/goes", "--server", s.url())
			done <- status
		}()
		time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
		s.kill()
		status := <-done
		s.start()
		a = newAPI(t, s.url)
		a.audit()
		sizes := map[string]int{}
		for _, c := range a.collections() {
			for _, n := range c.Namespaces {
				sizes[n.Name] = n.Entities
			}
		}
		if n := sizes["goes"]; n != 0 && (n != many || status == 0) {
			t.Fatalf("%d entities are left of %d; the drop ended with status %d", n, many, status)
		}
		if sizes["stays"] != many {
			t.Fatalf("the namespace beside it has %d entities of %d", sizes["stays"], many)
		}
	}
	if _, errs, status := command(t, nil, "drop", "default", "goes", "--confirm", "default", "--server", s.url()); status == 0 {
		t.Error("a drop that is not confirmed by its name goes through", errs)
	}
	if _, errs, status := command(t, nil, "drop", "default", "--confirm", "default", "--server", s.url()); status != 0 {
		t.Error(errs)
	}
	a.audit()
	fill("goes") // the same ids
	a.audit()
}
