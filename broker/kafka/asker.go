package kafka

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/wire"
)

// headerAsked names a request to embed, and the same of its result:
//
//	id of the process that asks 16, number of the request 8, partition of embeddings.results that the result goes to 4; big-endian
const headerAsked = "freshet.asked"

// asked is what stands in that header.
type asked struct {
	process [16]byte
	number  uint64
	reply   int32
}

const askedBytes = 28

func (a asked) header() Header {
	b := binary.BigEndian.AppendUint64(a.process[:], a.number)
	return Header{Name: headerAsked, Value: binary.BigEndian.AppendUint32(b, uint32(a.reply))}
}

func parseAsked(r *Record) (a asked, err error) {
	for _, h := range r.Headers {
		if h.Name != headerAsked {
			continue
		}
		if len(h.Value) != askedBytes {
			return a, fmt.Errorf("header %s has %d bytes, not %d", headerAsked, len(h.Value), askedBytes)
		}
		return asked{[16]byte(h.Value), binary.BigEndian.Uint64(h.Value[16:]), int32(binary.BigEndian.Uint32(h.Value[24:]))}, nil
	}
	return a, fmt.Errorf("it has no header %s", headerAsked)
}

// Bounds of requests to embed.
const (
	askInputs   = 64        // of a request
	askBytes    = 256 << 10 // of its texts; one that is longer is alone
	askInFlight = 64        // requests of a process at once
)

// AskerOptions are the times of an asker. The zero value means the defaults.
type AskerOptions struct {
	// Again is after how long without an answer a request is sent again, twice as long each further time. Default 15 s: more than
	// a worker that has died keeps its partitions.
	Again time.Duration
	// Stalled is how long nothing is answered at all until a call fails. Default 60 s.
	Stalled time.Duration
}

// maxAgain is the longest wait before a request is sent again.
const maxAgain = 5 * time.Minute

// Asker has contents embedded by workers of any process: it writes them to embeddings.requests, and waits for what an [EmbedWorker] writes to
// embeddings.results. A request may be answered twice, by two workers: a vector follows from content and model alone, so it does not matter which
// one is taken. It implements [freshet.Embedder], and is safe for concurrent use. Calls beyond what may be in flight wait.
type Asker struct {
	client   *Client
	model    freshet.Model
	opts     AskerOptions
	id       [16]byte
	reply    int32 // the partition of the results
	requests *Appender
	Stats    AskerStats

	slots chan struct{} // one for each request in flight
	last  atomic.Int64  // when something was answered, ns

	mu      sync.Mutex // guards what follows
	number  uint64
	waiting map[uint64]chan result
	missed  chan struct{} // closed when answers may have been missed
}

// AskerStats count since the start.
type AskerStats struct {
	InFlight atomic.Int64 // requests that wait for an answer, at present
	Inputs   atomic.Int64 // that were answered
	Again    atomic.Int64 // requests that were sent again
	// Waited is called with how long each request waited, if it is set before the first.
	Waited func(time.Duration)
}

type result struct {
	model  string
	made   []freshet.Embedding
	failed string
}

// NewAsker returns an asker for a model. It gets no answers until [Asker.Run] runs.
func (c *Client) NewAsker(model freshet.Model, o AskerOptions) (*Asker, error) {
	if o.Again == 0 {
		o.Again = 15 * time.Second
	}
	if o.Stalled == 0 {
		o.Stalled = time.Minute
	}
	a := &Asker{client: c, model: model, opts: o, reply: mathrand.Int32N(int32(c.opts.Partitions)), slots: make(chan struct{}, askInFlight),
		waiting: map[uint64]chan result{}, missed: make(chan struct{})}
	_, _ = rand.Read(a.id[:]) // it never fails
	var err error
	a.requests, err = c.NewAppender(c.opts.Topics.Requests)
	return a, err
}

// Close ends the connection.
func (a *Asker) Close() { a.requests.Close() }

// Model implements [freshet.Embedder].
func (a *Asker) Model() freshet.Model { return a.model }

// Run takes in answers until ctx ends. What it misses while Kafka is away is asked for again.
func (a *Asker) Run(ctx context.Context) error {
	for failures := 0; ctx.Err() == nil; failures++ {
		if failures > 0 && !sleep(ctx, backoff(failures)) {
			break
		}
		began := time.Now()
		if err := a.listen(ctx); err != nil && ctx.Err() == nil {
			a.client.opts.Logger.Warn("answers of embed workers can't be read; it is tried again", "error", err)
		}
		if time.Since(began) > maxBackoff {
			failures = 0
		}
	}
	return nil
}

// listen takes in answers from now on.
func (a *Asker) listen(ctx context.Context) error {
	topic := a.client.opts.Topics.Results
	ends, err := a.client.Ends(ctx, topic)
	if err != nil {
		return err
	}
	reader, err := a.client.NewReader(freshet.Position{Topic: topic, Partition: a.reply, Offset: ends[a.reply]})
	if err != nil {
		return err
	}
	defer reader.Close()
	a.mu.Lock()
	close(a.missed)
	a.missed = make(chan struct{})
	a.mu.Unlock()
	for {
		fetched, err := reader.Read(ctx)
		if err != nil {
			return err
		}
		for _, f := range fetched {
			for i := range f.Records {
				a.take(&f.Records[i])
			}
		}
	}
}

// take hands an answer to who waits for it. Those of others, and second ones, are passed over.
func (a *Asker) take(r *Record) {
	of, err := parseAsked(r)
	if err != nil || of.process != a.id {
		return
	}
	a.mu.Lock()
	waits := a.waiting[of.number]
	delete(a.waiting, of.number)
	a.mu.Unlock()
	if waits == nil {
		return
	}
	a.last.Store(time.Now().UnixNano())
	var res result
	if res.model, res.made, res.failed, err = wire.ParseEmbedResult(r.Value); err != nil {
		res = result{failed: err.Error()}
	}
	waits <- res
}

// Embed implements [freshet.Embedder]. Its error is for workers that don't answer, or don't know the model.
func (a *Asker) Embed(ctx context.Context, inputs []freshet.Input) ([]freshet.Embedding, error) {
	out := make([]freshet.Embedding, len(inputs))
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var running sync.WaitGroup
	for from := 0; from < len(inputs) && ctx.Err() == nil; {
		to := portion(inputs, from)
		select {
		case a.slots <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		a.Stats.InFlight.Add(1)
		part, into := inputs[from:to], out[from:to]
		running.Go(func() {
			defer func() {
				a.Stats.InFlight.Add(-1)
				<-a.slots
			}()
			if err := a.ask(ctx, part, into); err != nil {
				fail(err)
			}
		})
		from = to
	}
	running.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return out, nil
}

// portion is where a request ends that begins with an input.
func portion(inputs []freshet.Input, from int) (to int) {
	size := len(inputs[from].Text)
	for to = from + 1; to < len(inputs) && to-from < askInputs; to++ {
		if size += len(inputs[to].Text); size > askBytes {
			break
		}
	}
	return to
}

// ask has a few inputs embedded.
func (a *Asker) ask(ctx context.Context, inputs []freshet.Input, into []freshet.Embedding) error {
	value := wire.AppendEmbedRequest(nil, a.model.Name, inputs)
	waits := make(chan result, 1)
	a.mu.Lock()
	a.number++
	number := a.number
	a.waiting[number] = waits
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.waiting, number)
	}()
	request := Record{Partition: AnyPartition, Key: wire.EmbedKey(value), Value: value, Headers: []Header{asked{a.id, number, a.reply}.header()}}
	began := time.Now()
	for again := a.opts.Again; ; again = min(2*again, maxAgain) {
		a.mu.Lock()
		missed := a.missed
		a.mu.Unlock()
		if _, err := a.requests.Append(ctx, []Record{request}); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if errors.Is(err, kerr.MessageTooLarge) {
				return err
			}
			a.client.opts.Logger.Warn("what is to be embedded can't be sent; it is tried again", "error", err)
		}
		res, answered, err := a.await(ctx, waits, missed, began, jitter(again))
		if err != nil {
			return err
		}
		if answered {
			if a.Stats.Waited != nil {
				a.Stats.Waited(time.Since(began))
			}
			return a.deliver(res, into)
		}
		a.Stats.Again.Add(1)
	}
}

// await waits for an answer; without one it is to be asked again.
func (a *Asker) await(ctx context.Context, waits <-chan result, missed <-chan struct{}, began time.Time, again time.Duration) (res result, answered bool, err error) {
	asking := time.NewTimer(again)
	defer asking.Stop()
	look := time.NewTicker(min(time.Second, a.opts.Stalled))
	defer look.Stop()
	for {
		select {
		case res := <-waits:
			return res, true, nil
		case <-missed:
			return res, false, nil
		case <-asking.C:
			return res, false, nil
		case <-look.C:
			if last := time.Unix(0, max(a.last.Load(), began.UnixNano())); time.Since(last) > a.opts.Stalled {
				return res, false, &freshet.Error{Code: freshet.CodeUnavailable, Message: fmt.Sprintf("no embed worker has answered for %v; "+
					"see that processes with the role embed run", a.opts.Stalled)}
			}
		case <-ctx.Done():
			return res, false, ctx.Err()
		}
	}
}

func (a *Asker) deliver(res result, into []freshet.Embedding) error {
	if res.failed != "" {
		return &freshet.Error{Code: freshet.CodeUnavailable, Message: "an embed worker could not embed: " + res.failed}
	}
	if res.model != a.model.Name || len(res.made) != len(into) {
		return fmt.Errorf("an embed worker answered %d results of model %q for %d texts and model %q", len(res.made), res.model, len(into), a.model.Name)
	}
	copy(into, res.made)
	a.Stats.Inputs.Add(int64(len(into)))
	return nil
}

// jitter is a time within a fifth of another one.
func jitter(d time.Duration) time.Duration {
	return time.Duration(math.Round(float64(d) * (0.8 + 0.4*mathrand.Float64())))
}
