package node

import (
	"cmp"
	"context"
	"io"
	"slices"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/backup"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/process"
)

// admin is what administrators can do with a process whose log is in Kafka. What is not done there yet says so.
func (c *Cluster) admin() gateway.Admin {
	return gateway.Admin{Shards: c.shards, Audit: c.Audit, Repair: c.Repair, DeadLetters: c.DeadLetters, Snapshot: c.Snapshot,
		Pause: func() { c.owners.pause(true) }, Resume: func() { c.owners.pause(false) }, Live: c.live, Index: c.indexAdmin(),
		Replay: c.ReplayLetters, Drop: c.DropLetters,
		Backup: func(context.Context, io.Writer, backup.Options) (*backup.Manifest, error) {
			return nil, notInKafka("backup: the log is in Kafka, and a copy is made from it again")
		},
		Upkeep: gateway.UpkeepAdmin{
			Verify:  c.Verify,
			Compact: c.Compact,
			Drop:    c.Drop,
			Reload:  c.Reload,
			Doctor:  c.Doctor,
		}}
}

func notInKafka(what string) error {
	return &freshet.Error{Code: freshet.CodeUnsupportedOp, Message: what + " is not supported where the log is in Kafka"}
}

// Compact rewrites the copy.
func (c *Cluster) Compact(ctx context.Context) (gateway.CompactReport, error) {
	return compactReport(c.state.Compact(ctx))
}

// Audit folds the partitions that are owned here anew and compares them with vector.sync, and all of vector.sync with the
// indexes, while traffic goes on. The report says which partitions those are.
func (c *Cluster) Audit(ctx context.Context) (*freshet.AuditReport, error) {
	logs := c.logs()
	report, err := c.audit(ctx, logs, c.settled)
	return c.covering(report, logs), described(err)
}

// Repair is Audit, and mends what differs; see [core.repair].
func (c *Cluster) Repair(ctx context.Context) (*freshet.AuditReport, error) {
	logs := c.logs()
	report, err := c.repair(ctx, logs, c.settled)
	return c.covering(report, logs), described(err)
}

// logs are the partitions that are owned here, in order.
func (c *Cluster) logs() (list []decided) {
	c.owners.each(func(p *kafka.Partition, w *process.Processor) {
		list = append(list, decided{p.Number(), p, c.sequencerOf(p), w})
	})
	slices.SortFunc(list, func(a, b decided) int { return cmp.Compare(a.partition, b.partition) })
	return list
}

// covering notes in a report which partitions it is of.
func (c *Cluster) covering(r *freshet.AuditReport, logs []decided) *freshet.AuditReport {
	if r == nil {
		return nil
	}
	r.Covers, r.Partitions = []int32{}, c.client.Options().Partitions
	for _, l := range logs {
		r.Covers = append(r.Covers, l.partition)
	}
	for _, n := range c.catalog.Nodes() {
		if !r.Whole() && n.ID != c.nodeID() && n.Address != "" && slices.Contains(n.Roles, config.RoleProcess) {
			r.Others = append(r.Others, n.Address)
		}
	}
	return r
}

// settled blocks until the store has everything that the copy has now.
func (c *Cluster) settled(ctx context.Context) error {
	end, err := c.state.End(freshet.TopicSync)
	if err != nil || end == 0 {
		return err
	}
	_, err = c.changes.Past(ctx, end-2)
	return err
}

// lag is how many records of the partitions that are owned here are not decided.
func (c *Cluster) lag() (lag int64) {
	c.owners.each(func(p *kafka.Partition, w *process.Processor) {
		lag += max(0, p.RawEnd()-w.Stats.Position.Load())
	})
	return lag
}

// live gathers the present figures.
func (c *Cluster) live() gateway.Live {
	l := c.liveCore(c.owners.totals(outcomes), c.owners.totals(stageNs))
	l.Paused = c.worker.Stats.Paused.Load()
	c.owners.each(func(p *kafka.Partition, w *process.Processor) {
		l.Accepted += p.RawEnd()
		l.Decided += min(w.Stats.Position.Load(), p.RawEnd())
		l.Paused = l.Paused || w.Stats.Paused.Load()
	})
	l.LagRecords = l.Accepted - l.Decided
	return l
}

// register adds the metrics to the registry.
func (c *Cluster) register() {
	c.registerCore(c.live)
	c.gauge("freshet_partitions_owned", "Partitions that this process decides.", func() float64 {
		n := 0
		c.owners.each(func(*kafka.Partition, *process.Processor) { n++ })
		return float64(n)
	})
	c.registerRouting()
	c.registerExpiry()
	c.registerExternal()
	c.registerEmbedding()
}
