package node

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/backup"
	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/process"
)

// admin is what administrators can do with a process whose log is in Kafka. What is not done there yet says so.
func (c *Cluster) admin() gateway.Admin {
	return gateway.Admin{Shards: c.shards, Audit: c.Audit, DeadLetters: c.DeadLetters, Snapshot: c.Snapshot,
		Pause: func() { c.owners.pause(true) }, Resume: func() { c.owners.pause(false) }, Live: c.live, Index: c.indexAdmin(),
		Repair: func(context.Context) (*freshet.AuditReport, error) { return nil, notInKafka("repair") },
		Replay: func(context.Context, gateway.LettersRequest) (gateway.LettersResult, error) {
			return gateway.LettersResult{}, notInKafka("replay of dead letters")
		},
		Drop: func(context.Context, gateway.LettersRequest) (gateway.LettersResult, error) {
			return gateway.LettersResult{}, notInKafka("drop of dead letters")
		},
		Backup: func(context.Context, io.Writer, backup.Options) (*backup.Manifest, error) {
			return nil, notInKafka("backup: the log is in Kafka, and a copy is made from it again")
		},
		Upkeep: gateway.UpkeepAdmin{
			Verify:  func(context.Context) (*gateway.VerifyReport, error) { return nil, notInKafka("verify") },
			Compact: c.Compact,
			Drop: func(context.Context, string, string) (gateway.DropReport, error) {
				return gateway.DropReport{}, notInKafka("drop of collections and namespaces")
			},
			Reload: c.Reload,
			Doctor: func(context.Context) ([]gateway.Finding, error) { return nil, notInKafka("doctor") },
		}}
}

func notInKafka(what string) error {
	return &freshet.Error{Code: freshet.CodeUnsupportedOp, Message: what + " is not supported where the log is in Kafka"}
}

// Reload refuses: the process is to be started anew.
func (c *Cluster) Reload(context.Context) (gateway.ReloadReport, error) {
	err := notInKafka("reload of the configuration; start the process again")
	c.opts.Logger.Warn("the configuration was not reloaded", "error", err)
	return gateway.ReloadReport{}, err
}

// Compact rewrites the copy.
func (c *Cluster) Compact(ctx context.Context) (gateway.CompactReport, error) {
	return compactReport(c.state.Compact(ctx))
}

// deadLettersOf returns the dead letters of records in a span.
func (c *Cluster) deadLettersOf(s freshet.Span, limit int) ([]freshet.DeadLetter, error) {
	lower, upper := kafka.DeadLetterBounds(s.Partition, s.First, s.Last)
	return deadLetters(c.state.Scan, lower, upper, nil, limit)
}

// DeadLetters returns dead letters of all partitions with an offset of from or more, or backwards from it, at most limit, in order
// of time. A negative from means the first or the last.
func (c *Cluster) DeadLetters(from int64, back bool, limit int) ([]freshet.DeadLetter, error) {
	all, err := deadLetters(c.state.Scan, nil, nil, func(l *freshet.DeadLetter) bool {
		return from < 0 || back && l.Position.Offset <= from || !back && l.Position.Offset >= from
	}, math.MaxInt)
	slices.SortStableFunc(all, func(a, b freshet.DeadLetter) int { return cmp.Compare(a.At, b.At) })
	if back {
		slices.Reverse(all)
	}
	return all[:min(len(all), limit)], err
}

// Audit folds the partitions that are owned here anew and compares them with vector.sync, and all of vector.sync with the
// indexes, while traffic goes on.
func (c *Cluster) Audit(ctx context.Context) (*freshet.AuditReport, error) {
	report := &freshet.AuditReport{}
	var owned []*kafka.Partition
	c.owners.each(func(p *kafka.Partition, _ *process.Processor) { owned = append(owned, p) })
	for _, p := range owned {
		if err := process.Audit(ctx, p, c.sequencer, report); err != nil {
			return nil, fmt.Errorf("partition %d: %w", p.Number(), err)
		}
	}
	return report, c.store.Audit(ctx, c.settled, report)
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
}
