package node

import (
	"context"
	"strings"
	"time"

	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/process"
)

// routingWorthSaying is how old events of events.raw may get before they are forwarded.
const routingWorthSaying = time.Minute

// Doctor looks at what goes wrong in practice with this process and with the cluster, and says what to do about it. What is well has a
// finding too.
func (c *Cluster) Doctor(ctx context.Context) ([]gateway.Finding, error) {
	d := &checkup{n: &c.core, state: c.state, intake: c.intake, live: c.live, short: "the copy may come to a stand"}
	d.version()
	if err := d.disk(); err != nil {
		return nil, err
	}
	d.files()
	d.memory()
	d.cluster(ctx, c.client, c.opts.Config.Embed.Workers == config.EmbedByTopic)
	d.copied(c)
	d.snapshots()
	d.pipeline(0)
	d.routing(c.routing)
	d.recall()
	return d.list, d.deadLetters(ctx, c.present())
}

// present reports of which partitions the copy is as they are now, and not as they were when this process had them.
func (c *Cluster) present() func(partition int32) bool {
	owned := map[int32]bool{}
	c.owners.each(func(p *kafka.Partition, _ *process.Processor) { owned[p.Number()] = true })
	return func(partition int32) bool { return owned[partition] || c.follows(partition) }
}

// cluster looks at the brokers and the topics. That they don't answer is a finding, not an error.
func (c *checkup) cluster(ctx context.Context, client *kafka.Client, embedding bool) {
	h, err := client.Health(ctx, embedding)
	if err != nil {
		c.say(gateway.LevelError, "brokers", "see that they run and can be reached, and that the user may read the topics; events wait meanwhile, searches go on", "%s", err)
		return
	}
	c.say(gateway.LevelOK, "brokers", "", "%d answer", h.Brokers)
	some := func(list []string) string { return strings.Join(list[:min(5, len(list))], ", ") }
	switch {
	case len(h.Stuck) > 0:
		c.say(gateway.LevelError, "replicas", "start the brokers that are missing",
			"%d partitions can't be written, they have no leader or fewer copies in step than min_insync: %s", len(h.Stuck), some(h.Stuck))
	case len(h.Behind) > 0:
		c.say(gateway.LevelWarning, "replicas", "start the brokers that are missing, or wait until they have caught up",
			"%d partitions have copies that are not in step: %s", len(h.Behind), some(h.Behind))
	default:
		c.say(gateway.LevelOK, "replicas", "", "all copies of all partitions are in step")
	}
	for _, p := range h.Problems {
		c.say(gateway.LevelError, "topics", p.Remedy, "%s: %s is %s, wanted %s; the next start refuses it", p.Topic, p.Setting, p.Found, p.Wanted)
	}
	if len(h.Problems) == 0 {
		c.say(gateway.LevelOK, "topics", "", "they have the settings that they have to have")
	}
}

// copied says whether the copy has caught up, and what is decided here.
func (c *checkup) copied(of *Cluster) {
	if of.ready.Load() {
		c.say(gateway.LevelOK, "copy", "", "it has what the topics had at the start")
	} else {
		c.say(gateway.LevelWarning, "copy", "wait; the log says if it can't go on", "it does not have yet what the topics had at the start")
	}
	owned := 0
	of.owners.each(func(*kafka.Partition, *process.Processor) { owned++ })
	c.say(gateway.LevelOK, "partitions", "", "%d of %d are decided here", owned, of.client.Options().Partitions)
}

// routing says how far the routers of this process are behind.
func (c *checkup) routing(r *routing) {
	level, remedy := gateway.LevelOK, ""
	records, age := r.lag()
	if age > routingWorthSaying {
		level, remedy = gateway.LevelWarning, "it is well while it shrinks; else start more processes: each forwards the partitions that it decides"
	}
	c.say(level, "routing", remedy, "%d records of events.raw are not forwarded, the oldest came %s ago", records, age.Round(time.Second))
	if lost := r.total(routeLost); lost > 0 {
		c.say(gateway.LevelError, "routing", "have producers send them again, and raise retention.age", "%.0f records were deleted by the brokers before they were read, since the start", lost)
	}
}
