package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
)

// A namespace of more entities than one transaction deletes is dropped by any process, while owners of its partitions are killed. Then nothing of
// it is left on any process, what comes behind the drop counts, with the same event ids too, and the namespace beside it is whole: also
// for a process that knows only the topics.
func TestKafkaDrop(t *testing.T) {
	t.Parallel()
	k := kafkatest.Start(t, kafkatest.Options{})
	yaml, _ := onKafka(t, k)
	s, a := startServer(t, yaml)
	other, b := startServer(t, yaml)
	s.troubled, other.troubled = true, true

	const many, again = 27_000, 500
	send := func(ns, what string, n int) (token string) {
		t.Helper()
		for at := 0; at < n; at += 3000 {
			var batch []event
			for i := at; i < min(n, at+3000); i++ {
				batch = append(batch, event{EventID: fmt.Sprint(i), EntityID: fmt.Sprint("e", i), Namespace: ns, Payload: text(what)})
			}
			token = a.events(batch...)
		}
		return token
	}
	send("goes", "before the drop", many)
	a.await(send("stays", "stays", again))
	a.settle()
	b.settle()

	for kills := 0; ; kills++ {
		done := make(chan int, 1)
		go func() {
			_, _, status := command(t, nil, "drop", "default", "goes", "--confirm", "default/goes", "--server", b.url())
			done <- status
		}()
		var kill <-chan time.Time
		if kills < 2 {
			kill = time.After(time.Duration(40+100*kills) * time.Millisecond)
		}
		victim := []*server{other, s}[kills%2]
		select {
		case status := <-done:
			if status != 0 {
				t.Fatalf("the drop ends with status %d", status)
			}
		case <-kill:
			victim.kill()
			if victim == other {
				<-done
			}
			victim.start()
			if victim == s && <-done != 0 {
				t.Error("a drop fails when another process is killed")
			}
			continue
		}
		break
	}
	if f := b.search("text", "before the drop", "namespace", "goes", "k", 100); len(f.Hits) != 0 {
		t.Errorf("%d hits are left where the drop was asked for", len(f.Hits))
	}
	token := send("goes", "behind the drop", again)
	check := func(who string, x *api) {
		t.Helper()
		for i := range again {
			for ns, want := range map[string]string{"goes": "behind the drop", "stays": "stays"} {
				e, status := x.get(fmt.Sprint("e", i), "namespace", ns, "after", token)
				if status != http.StatusOK || e.Text != want || e.Events != 1 {
					t.Fatalf("%s: e%d of %s: %d %+v", who, i, ns, status, e)
				}
			}
		}
		sizes := map[string]int{}
		for _, c := range x.collections() {
			for _, n := range c.Namespaces {
				sizes[n.Name] = n.Entities
			}
		}
		if sizes["goes"] != again || sizes["stays"] != again {
			t.Errorf("%s has %v", who, sizes)
		}
	}
	check("the one", a)
	check("the other", b)
	eventually(t, "all partitions owned", func() bool {
		return a.metrics()["freshet_partitions_owned"]+b.metrics()["freshet_partitions_owned"] == 6
	})
	a.settle()
	b.settle()
	if ra, rb := a.audit(), b.audit(); ra.Entities+rb.Entities != 2*again {
		t.Errorf("%d and %d entities, want %d", ra.Entities, rb.Entities, 2*again)
	}
	s.stop()
	if err := os.RemoveAll(s.data); err != nil {
		t.Fatal(err)
	}
	s.start()
	check("an empty one", a)
	if _, errs, status := command(t, nil, "drop", "none", "--confirm", "none", "--server", b.url()); status == 0 {
		t.Error("a collection that there is not is dropped", errs)
	}
}
