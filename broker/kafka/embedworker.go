package kafka

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/wire"
)

// EmbedWorker embeds what askers ask for, with the other workers of the group: each has some partitions of embeddings.requests. It says that it
// has done with a request when the answer is durable, so what a worker has begun when it dies another one does again.
type EmbedWorker struct {
	client    *Client
	embedders map[string]freshet.Embedder
	kgo       *kgo.Client
	results   *Appender
	Stats     EmbedWorkerStats
}

// EmbedWorkerStats count since the start.
type EmbedWorkerStats struct {
	Requests atomic.Int64 // answered
	Inputs   atomic.Int64 // of those
	Bad      atomic.Int64 // that can't be read
}

// workerRecords is how many requests a worker takes at once: enough for all cores.
const workerRecords = 16

// commitInterval is how often it is said what is done; what a worker has done since is done again when it dies.
const commitInterval = 500 * time.Millisecond

// NewEmbedWorker returns a worker with the models that it has, by name, as a member of the group.
func (c *Client) NewEmbedWorker(embedders map[string]freshet.Embedder) (w *EmbedWorker, err error) {
	w = &EmbedWorker{client: c, embedders: embedders}
	if w.results, err = c.NewAppender(c.opts.Topics.Results); err != nil {
		return nil, err
	}
	w.kgo, err = c.connect(
		kgo.ConsumerGroup(c.opts.Group+"-embed"),
		kgo.ConsumeTopics(c.opts.Topics.Requests),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(c.opts.SessionTimeout),
		kgo.HeartbeatInterval(min(c.opts.SessionTimeout/4, 3*time.Second)),
		kgo.RebalanceTimeout(max(c.opts.SessionTimeout, rebalanceTimeout)),
		// What was asked before the first worker came is waited for; what is not kept any more is not.
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.AutoCommitMarks(),
		kgo.AutoCommitInterval(commitInterval),
		kgo.FetchMaxBytes(int32(c.opts.FetchBytes)),
		kgo.FetchMaxWait(fetchWait),
	)
	if err != nil {
		w.results.Close()
		return nil, err
	}
	return w, nil
}

// Close says what is done, and leaves the group. Run has ended.
func (w *EmbedWorker) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), w.client.opts.SessionTimeout)
	defer cancel()
	if err := w.kgo.CommitMarkedOffsets(ctx); err != nil {
		w.client.opts.Logger.Warn("what was embedded last may be embedded again", "error", err)
	}
	w.kgo.Close()
	w.results.Close()
}

// Run answers until ctx ends.
func (w *EmbedWorker) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		fetches := w.kgo.PollRecords(ctx, workerRecords)
		if fetches.IsClientClosed() {
			return ErrClosed
		}
		fetches.EachError(func(topic string, partition int32, err error) {
			if ctx.Err() == nil {
				w.client.opts.Logger.Warn("requests to embed can't be read; it is tried again", "topic", topic, "partition", partition, "error", err)
			}
		})
		records := fetches.Records()
		if len(records) == 0 {
			if len(fetches.Errors()) > 0 {
				sleep(ctx, backoff(1))
			}
			continue
		}
		if w.serve(ctx, records) {
			w.kgo.MarkCommitRecords(records...)
		}
	}
	return nil
}

// request is one that can be read.
type request struct {
	asked
	key    []byte
	model  string
	inputs []freshet.Input
}

// serve answers requests, and tries until it has or ctx ends.
func (w *EmbedWorker) serve(ctx context.Context, records []*kgo.Record) (done bool) {
	byModel := map[string][]request{}
	for _, r := range records {
		req, err := w.parse(r)
		if err != nil {
			w.Stats.Bad.Add(1)
			w.client.opts.Logger.Warn("a request to embed can't be read; it is passed over", "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "error", err)
			continue
		}
		byModel[req.model] = append(byModel[req.model], req)
	}
	for failures := 1; ; failures++ {
		answers, inputs, err := w.answers(ctx, byModel)
		if err == nil && len(answers) > 0 {
			_, err = w.results.Append(ctx, answers)
		}
		if err == nil {
			w.Stats.Requests.Add(int64(len(answers)))
			w.Stats.Inputs.Add(int64(inputs))
			return true
		}
		if ctx.Err() == nil {
			w.client.opts.Logger.Warn("requests to embed are not answered; it is tried again", "error", err)
		}
		if !sleep(ctx, backoff(failures)) {
			return false
		}
	}
}

func (w *EmbedWorker) parse(r *kgo.Record) (req request, err error) {
	rec := read(r)
	if req.asked, err = parseAsked(&rec); err != nil {
		return req, err
	}
	if req.reply < 0 || int(req.reply) >= w.client.opts.Partitions {
		return req, fmt.Errorf("the answer is to go to partition %d of %d", req.reply, w.client.opts.Partitions)
	}
	req.key = r.Key
	req.model, req.inputs, err = wire.ParseEmbedRequest(r.Value)
	return req, err
}

// answers embeds all inputs of a model at once.
func (w *EmbedWorker) answers(ctx context.Context, byModel map[string][]request) (answers []Record, count int, err error) {
	for model, requests := range byModel {
		var inputs []freshet.Input
		for _, r := range requests {
			inputs = append(inputs, r.inputs...)
		}
		failed := ""
		made := make([]freshet.Embedding, len(inputs))
		if e := w.embedders[model]; e == nil {
			failed = fmt.Sprintf("it has no model %q", model)
		} else if made, err = e.Embed(ctx, inputs); err != nil {
			return nil, 0, fmt.Errorf("embed with %s: %w", model, err)
		} else if len(made) != len(inputs) {
			return nil, 0, fmt.Errorf("embed with %s: %d texts gave %d results", model, len(inputs), len(made))
		}
		for _, r := range requests {
			part := made[:len(r.inputs)]
			made = made[len(r.inputs):]
			if failed != "" {
				part = nil
			}
			answers = append(answers, Record{Partition: r.reply, Key: r.key, Value: wire.AppendEmbedResult(nil, model, part, failed), Headers: []Header{r.header()}})
		}
		count += len(inputs)
	}
	return answers, count, nil
}
