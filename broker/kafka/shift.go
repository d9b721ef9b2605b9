package kafka

// shift is what is added to Kafka's offsets of a partition of events.keyed. Everything above this package knows the sums: they
// never begin anew. A topic that was made again goes on where the one before was decided up to, and a partition that was split
// off another one where that one was split. So what is compared by offset (versions, deletions, drops, dead letters, tokens) stays right.
func (c *Client) shift(topic string, partition int32) int64 {
	if topic != c.opts.Topics.Keyed || int(partition) >= len(c.shifts) {
		return 0
	}
	return c.shifts[partition]
}
