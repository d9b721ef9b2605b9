package kafka

import (
	"context"
	"fmt"
	"strconv"
)

// Health is how the cluster and the topics are at present.
type Health struct {
	Brokers  int
	Problems []Problem // settings of topics
	// Behind are the partitions of which fewer copies are in step than there are, as TOPIC/PARTITION; Stuck are those that can't be
	// written, for they have no leader or too few copies in step.
	Behind, Stuck []string
}

// Health looks at the cluster and the topics, with embedding also at those of EnsureEmbedding, and alters nothing.
func (c *Client) Health(ctx context.Context, embedding bool) (h Health, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.ConnectTimeout)
	defer cancel()
	brokers, err := c.admin.ListBrokers(ctx)
	if err != nil {
		return h, fmt.Errorf("kafka: list brokers: %w", err)
	}
	h.Brokers = len(brokers)
	want, more := c.opts.layouts()
	if embedding {
		want = append(want, more...)
	}
	names := make([]string, len(want))
	for i, l := range want {
		names[i] = l.name
	}
	have, err := c.admin.ListTopics(ctx, names...)
	if err != nil {
		return h, fmt.Errorf("kafka: list topics: %w", err)
	}
	for _, l := range want {
		if d := have[l.name]; d.Err != nil || len(d.Partitions) == 0 {
			h.Problems = append(h.Problems, Problem{Topic: l.name, Setting: "partitions", Found: "0", Wanted: strconv.Itoa(l.partitions),
				Remedy: "the topic is gone: see `freshet epoch raise --help`"})
			continue
		}
		for _, p := range have[l.name].Partitions.Sorted() {
			name := fmt.Sprintf("%s/%d", l.name, p.Partition)
			if len(p.ISR) < len(p.Replicas) {
				h.Behind = append(h.Behind, name)
			}
			if p.Leader < 0 || len(p.ISR) < c.opts.MinInSync {
				h.Stuck = append(h.Stuck, name)
			}
		}
	}
	if len(h.Problems) == 0 {
		h.Problems, err = c.problems(ctx, want, have)
	}
	return h, err
}
