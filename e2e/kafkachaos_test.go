package e2e_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/freshet-io/freshet/broker/kafka/kafkatest"
)

// What TestKafkaChaos takes from the environment: a seed that makes a run the same again, as far as processes allow; how long it
// lasts; of how many nodes its Kafka is, which with three of them are killed too, one at a time; and how many events there are
// beside the history of a handbook: none of both in the short form.
const (
	chaosSeed    = "FRESHET_CHAOS_SEED"
	chaosSeconds = "FRESHET_CHAOS_SECONDS"
	chaosNodes   = "FRESHET_CHAOS_NODES"
	chaosEvents  = "FRESHET_CHAOS_EVENTS"
)

// setting is a number from the environment.
func setting(t *testing.T, name string, otherwise uint64) uint64 {
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Three processes on one Kafka, of which every few seconds one is killed with -9, frozen or cut off until others have taken over, while
// writers send events to any of them, again until they are accepted, and to events.raw: at the end every one of them has every entity in its last
// state, changed by each event once, and honours every token. So has one that knows nothing but the topics, after they were compacted; and audits find nothing.
func TestKafkaChaos(t *testing.T) {
	for _, delivery := range []string{"transactional", "idempotent"} {
		t.Run(delivery, func(t *testing.T) {
			if setting(t, chaosEvents, 0) == 0 {
				t.Parallel()
			}
			startChaos(t, delivery).run()
		})
	}
}

// chaos is a run.
type chaos struct {
	t       *testing.T
	rng     *rand.Rand
	lasts   time.Duration
	k       *kafkatest.Kafka
	nodes   int
	yaml    string // of a process that is not troubled
	rest    string // what stands behind it, of all
	prefix  string
	servers []*server
	apis    []*api
	history *history // nil in the short form
	writers []*chaosWriter
	sent    atomic.Int64
	retried atomic.Int64
	done    map[string]int // what was done to it
}

func startChaos(t *testing.T, delivery string) *chaos {
	seed := setting(t, chaosSeed, rand.Uint64())
	rest := chaosCollections
	if seed%2 == 0 { // then the owners of partitions forward what comes in events.raw, in transactions
		rest += "schema_registry: {urls: ['http://127.0.0.1:1']}\n"
	}
	t.Logf("repeat with: %s=%d", chaosSeed, seed)
	c := &chaos{t: t, rest: rest, rng: rand.New(rand.NewPCG(seed, 99)), lasts: time.Duration(setting(t, chaosSeconds, 25)) * time.Second,
		nodes: int(setting(t, chaosNodes, 1)), done: map[string]int{}}
	const processes = 3
	c.k = kafkatest.Start(t, kafkatest.Options{Nodes: c.nodes, Lanes: processes})
	c.yaml, c.prefix = onKafka(t, c.k)
	c.yaml += "    delivery: " + delivery + "\n"
	for i := range processes {
		form := "binary"
		if i == 1 { // so the topic holds both, and the one form follows the other
			form = "json"
		}
		c.begin(strings.ReplaceAll(c.yaml, strings.Join(c.k.Addrs(), ", "), strings.Join(c.k.Lane(i).Addrs(), ", ")) + "    sync_format: " + form + "\n" + c.rest)
	}
	c.openWriters(int(setting(t, chaosEvents, 0)))
	return c
}

// chaosCollections has one for the history.
const chaosCollections = "collections: {history: {}}\n"

// begin starts one more process. What it says, over all its lives, is kept where `go test -artifacts` puts it.
func (c *chaos) begin(yaml string) {
	s := newServer(c.t, yaml)
	s.troubled = true
	log, err := os.Create(filepath.Join(c.t.ArtifactDir(), "process-"+strconv.Itoa(len(c.servers))+".log"))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { log.Close() })
	s.log = log
	s.start()
	c.servers, c.apis = append(c.servers, s), append(c.apis, newAPI(c.t, s.url))
}

func (c *chaos) run() {
	stop := make(chan struct{})
	var running sync.WaitGroup
	var left atomic.Int64 // writers that have a number of events to send
	for _, w := range c.writers {
		if w.total > 0 {
			left.Add(1)
		}
		running.Go(func() {
			w.run(c.t, stop)
			if w.total > 0 {
				left.Add(-1)
			}
		})
	}
	if c.nodes > 1 {
		rng := rand.New(rand.NewPCG(c.rng.Uint64(), 1))
		running.Go(func() { c.killNodes(rng, stop) })
	}
	// Each kind of trouble once, and then by chance.
	order, begun := c.rng.Perm(len(troubles)), time.Now()
	for n := 0; time.Since(begun) < c.lasts || n < len(order) || left.Load() > 0; n++ {
		if c.t.Failed() || time.Since(begun) > 3*c.lasts+deadline {
			c.t.Errorf("%d writers have not sent their events after %v", left.Load(), time.Since(begun))
			break
		}
		time.Sleep(time.Duration(1+c.rng.IntN(2500)) * time.Millisecond)
		kind := c.rng.IntN(len(troubles))
		if n < len(order) {
			kind = order[n]
		} else if c.rng.IntN(2) == 0 {
			kind = 0
		}
		troubles[kind](c)
	}
	close(stop)
	running.Wait()
	c.t.Logf("%d events accepted in %v, %d tries failed, troubles: %v", c.sent.Load(), since(begun), c.retried.Load(), c.done)
	if c.sent.Load() < 100 {
		c.t.Errorf("too little was tried")
	}
	c.check()
}

// troubles are what is done to processes, one after the other.
var troubles = []func(*chaos){(*chaos).killProcess, (*chaos).freezeProcess, (*chaos).cutProcess}

func (c *chaos) pause(most int) { time.Sleep(time.Duration(c.rng.IntN(most)) * time.Millisecond) }

func (c *chaos) killProcess() {
	c.done["killed"]++
	s := c.servers[c.rng.IntN(len(c.servers))]
	s.kill()
	c.pause(1500)
	s.start()
}

// overdue is longer than others wait for a process before they take its partitions, most of the time.
func (c *chaos) overdue() {
	time.Sleep(6*time.Second + time.Duration(c.rng.IntN(3000))*time.Millisecond)
}

// freezeProcess has one go on later with what it was about to do, when others have its partitions.
func (c *chaos) freezeProcess() {
	c.done["frozen"]++
	s := c.servers[c.rng.IntN(len(c.servers))]
	signal := func(sig syscall.Signal) {
		if err := s.cmd.Process.Signal(sig); err != nil {
			c.t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	c.overdue()
	signal(syscall.SIGCONT)
}

// cutProcess holds back what one sends to the nodes and is told by them, or only what it is told.
func (c *chaos) cutProcess() {
	c.done["cut"]++
	lane := c.k.Lane(c.rng.IntN(len(c.servers)))
	if c.rng.IntN(2) == 0 {
		lane.Cut()
	} else {
		lane.CutAnswers()
	}
	c.overdue()
	if c.rng.IntN(2) == 0 {
		lane.Drop()
	}
	lane.Heal()
}

// killNodes kills one node after the other, whatever is done to processes meanwhile, and starts it again.
func (c *chaos) killNodes(rng *rand.Rand, stop <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			c.t.Logf("%d nodes killed", n)
			return
		case <-time.After(time.Duration(rng.IntN(8000)) * time.Millisecond):
		}
		node := rng.IntN(c.nodes)
		c.k.Kill(node)
		time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
		if err := c.k.Start(node); err != nil {
			c.t.Error(err)
			return
		}
	}
}

// settled is how long processes may take with what has piled up.
const settled = 5 * time.Minute

// check holds all processes to what was accepted, and then one that has only the topics and is alone.
func (c *chaos) check() {
	begun := time.Now()
	for i := range c.apis {
		c.checkProcess(i)
	}
	c.t.Logf("all processes are right after %v", since(begun))
	// While partitions move some may be audited twice, or not at all.
	within(c.t, settled, "audits that together see every entity once", func() bool { return c.audited(c.apis) == c.entities() })
	for _, s := range c.servers {
		s.stop()
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), settled) // a transaction that was left open would hold it up for ever
	defer cancel()
	for _, topic := range []string{"vector.sync", "freshet.state"} {
		if err := c.k.Compact(ctx, c.prefix+topic); err != nil {
			c.t.Fatal(err)
		}
	}
	c.begin(c.yaml + c.rest)
	last := len(c.apis) - 1
	c.checkProcess(last)
	within(c.t, deadline, "all partitions owned", func() bool { return c.apis[last].metrics()["freshet_partitions_owned"] == 6 })
	if got, want := c.audited(c.apis[last:]), c.entities(); got != want {
		c.t.Errorf("the audit of a process that has only the topics is over %d entities, want %d", got, want)
	}
}

func (c *chaos) checkProcess(process int) {
	for _, w := range c.writers {
		w.check(c.t, process, c.apis[process])
	}
	if c.history != nil {
		c.history.checkFinal(c.t, c.apis[process], "history", historyPrefix, "", c.history.changes)
	}
}

// entities is how many there are, and how many tombstones.
func (c *chaos) entities() (n int64) {
	for _, w := range c.writers {
		n += int64(len(w.state))
	}
	if c.history != nil {
		n += int64(len(c.history.last))
	}
	return n
}

// audited is how many entities and tombstones some processes audit, which must find nothing.
func (c *chaos) audited(apis []*api) (n int64) {
	for _, a := range apis {
		r := a.audit()
		if r.DeadLetters != 0 {
			c.t.Fatalf("%d dead letters", r.DeadLetters)
		}
		n += r.Entities + r.Tombstones
	}
	return n
}
