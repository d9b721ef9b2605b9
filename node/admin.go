package node

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/freshet-io/freshet"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/wire"
)

func (n *Node) admin() gateway.Admin {
	return gateway.Admin{Shards: n.shards, Audit: n.Audit, Repair: n.Repair, DeadLetters: n.DeadLetters, Replay: n.ReplayLetters, Drop: n.DropLetters, Snapshot: n.Snapshot,
		Pause: n.processor.Pause, Resume: n.processor.Resume, Live: n.live, Index: n.indexAdmin(), Backup: n.Backup,
		Upkeep: gateway.UpkeepAdmin{Verify: n.Verify, Compact: n.Compact, Reload: n.Reload, Doctor: n.Doctor, Drop: n.Drop}}
}

// letterbox is that of a log in one order.
func (n *Node) letterbox() *letterbox {
	return &letterbox{partitions: 1, state: n.log.State, intake: n.intake,
		key:     func(_ int32, offset int64, ordinal int) []byte { return wire.DeadLetterKey(offset, ordinal) },
		decided: func(int32) (int64, error) { return n.tracker.Decided(), nil },
		replay: func(ctx context.Context, _ int32, run []freshet.DeadLetter) error {
			last, err := n.processor.Replay(ctx, run)
			if err != nil || last < 0 {
				return err
			}
			return n.waitDecided(ctx, last)
		},
		drop: func(ctx context.Context, _ int32, run []freshet.DeadLetter) (int, error) {
			return n.processor.Drop(ctx, run)
		}}
}

// DeadLetters lists dead letters, in order of the log or backwards.
func (n *Node) DeadLetters(q gateway.LettersQuery) ([]freshet.DeadLetter, error) {
	var upper []byte
	first, last := q.Bounds()
	if last >= 0 {
		upper = wire.DeadLetterKey(last+1, 0)
	}
	scan := n.log.Scan
	if q.Back {
		scan = n.log.ScanBack
	}
	var keep func(*freshet.DeadLetter) bool
	if q.Partition != nil {
		keep = func(l *freshet.DeadLetter) bool { return l.Position.Partition == *q.Partition }
	}
	return deadLetters(scan, wire.DeadLetterKey(first, 0), upper, keep, q.Limit)
}

// deadLettersOf returns the dead letters of records in a span.
func (n *Node) deadLettersOf(s freshet.Span, limit int) ([]freshet.DeadLetter, error) {
	return deadLetters(n.log.Scan, wire.DeadLetterKey(s.First, 0), wire.DeadLetterKey(s.Last+1, 0),
		func(l *freshet.DeadLetter) bool { return l.Position.Partition == s.Partition }, limit)
}

var errEnough = errors.New("enough")

type scan func(topic string, lower, upper []byte, yield func(broker.Record) error) error

func deadLetters(scan scan, lower, upper []byte, keep func(*freshet.DeadLetter) bool, limit int) ([]freshet.DeadLetter, error) {
	var out []freshet.DeadLetter
	if limit <= 0 {
		return nil, nil
	}
	err := scan(freshet.TopicDead, lower, upper, func(r broker.Record) error {
		l, err := wire.DecodeDeadLetter(r.Value)
		if err != nil {
			return err
		}
		if keep == nil || keep(&l) {
			out = append(out, l)
		}
		if len(out) == limit {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return out, err
}

func (n *core) shards() []gateway.ShardStat {
	out := []gateway.ShardStat{}
	for _, st := range n.store.Stats() {
		out = append(out, gateway.ShardStat{Collection: st.Shard.Collection, Namespace: st.Shard.Namespace,
			Entities: st.Entities, Tombstones: st.Tombstones, Points: st.Index.Points, InGraph: st.Index.InGraph,
			InBuffer: st.Index.InBuffer, Bytes: st.Index.Bytes + st.DocBytes + st.FilterBytes})
	}
	return out
}

// live gathers the pipeline's present figures.
func (n *Node) live() gateway.Live {
	s := &n.processor.Stats
	l := n.liveCore(outcomes(s), n.StageNs())
	l.Accepted, l.Decided, l.Paused = n.log.RawEnd(), n.tracker.Decided()+1, s.Paused.Load() || n.worker.Stats.Paused.Load()
	l.LagRecords = max(0, l.Accepted-l.Decided)
	return l
}

// liveCore are the figures of every node.
func (n *core) liveCore(outcomes, stages map[string]int64) gateway.Live {
	stages["apply"] = n.worker.Stats.ApplyNs.Load()
	l := gateway.Live{Now: time.Now().UnixMilli(), UptimeMs: time.Since(n.started).Milliseconds(), Outcomes: outcomes, StageNs: stages,
		DeadLetters: outcomes["dead_lettered"]}
	for _, sh := range n.store.Sizes() {
		l.Entities += int64(sh.Entities)
		l.Points += int64(sh.Points)
		l.InBuffer += int64(sh.InBuffer)
	}
	if q, ok := n.freshness.Quantiles(0.5, 0.99); ok {
		l.FreshnessMs = gateway.Quantiles{P50: ms(q[0]), P99: ms(q[1])}
	}
	return l
}

// StageNs is the time that batches have spent in each stage since the start.
func (n *Node) StageNs() map[string]int64 {
	stages := stageNs(&n.processor.Stats)
	stages["apply"] = n.worker.Stats.ApplyNs.Load()
	return stages
}

// outcomes are what became of changes, by the names that metrics and the page have.
func outcomes(s *process.Stats) map[string]int64 {
	return map[string]int64{"applied": s.Applied.Load(), "deleted": s.Deleted.Load(), "unchanged": s.Unchanged.Load(),
		"superseded": s.Superseded.Load(), "repeated": s.Repeated.Load(), "dropped": s.Dropped.Load(), "dead_lettered": s.Dead.Load(),
		"expired": s.Expired.Load(), "replayed": s.Replayed.Load()}
}

// stageNs is the time that a processor's batches have spent in its stages.
func stageNs(s *process.Stats) map[string]int64 {
	return map[string]int64{"map": s.MapNs.Load(), "sequence": s.SequenceNs.Load(), "embed": s.EmbedNs.Load(), "commit": s.CommitNs.Load()}
}

// counter adds a counter to the registry.
func (n *core) counter(name, help string, labels prometheus.Labels, f func() float64) {
	n.metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}, f))
}

// gauge adds a gauge to the registry.
func (n *core) gauge(name, help string, f func() float64) {
	n.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
}

// registerCore adds the metrics that every node has to its registry; live gives the present figures.
func (n *core) registerCore(live func() gateway.Live) {
	n.metrics.MustRegister(newRecallMetrics(n), n.ages, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, name := range []string{"applied", "deleted", "unchanged", "superseded", "repeated", "dropped", "dead_lettered", "expired", "replayed"} {
		n.counter("freshet_process_events_total", "Changes decided since start, by outcome.", prometheus.Labels{"outcome": name},
			func() float64 { return float64(live().Outcomes[name]) })
	}
	for _, name := range []string{"map", "sequence", "embed", "commit", "apply"} {
		n.counter("freshet_stage_seconds_total", "Time that batches spent in a stage since start.", prometheus.Labels{"stage": name},
			func() float64 { return float64(live().StageNs[name]) / 1e9 })
	}
	n.gauge("freshet_lag_records", "Records of events.raw that are not decided.", func() float64 { return float64(live().LagRecords) })
	n.gauge("freshet_entities", "Entities that can be searched.", func() float64 { return float64(live().Entities) })
	n.gauge("freshet_expiring_entities", "Entities that have a time to expire.", func() float64 { return float64(n.store.Expiring()) })
	n.gauge("freshet_points", "Vectors that can be searched.", func() float64 { return float64(live().Points) })
	n.gauge("freshet_points_unlinked", "Vectors that searches scan because the graph does not have them yet.",
		func() float64 { return float64(live().InBuffer) })
	n.gauge("freshet_unsaved_changes", "Entities changed since the last snapshots: what the next start applies.",
		func() float64 { return float64(n.store.Unsaved()) })
	loaded := n.store.Loaded()
	n.gauge("freshet_snapshots_rejected", "Snapshots that the last start could not use.", func() float64 { return float64(len(loaded.Rejected)) })
	n.gauge("freshet_snapshots_older", "Indexes that the last start loaded from the snapshot before the newest.", func() float64 { return float64(loaded.Older) })
	n.gauge("freshet_paused", "1 while processing or applying is paused or retries.", func() float64 { return oneIf(live().Paused) })
}

// register adds the node's metrics to its registry.
func (n *Node) register() {
	n.registerCore(n.live)
	n.counter("freshet_journal_written_bytes_total", "Bytes written to events.raw since start.", nil,
		func() float64 { return float64(n.log.RawWritten()) })
	n.counter("freshet_journal_cut_bytes_total", "Bytes of events.raw that were let go since start.", nil,
		func() float64 { return float64(n.retention.cutBytes.Load()) })
	n.gauge("freshet_journal_bytes", "Bytes of events.raw that are kept.", func() float64 { return float64(n.log.RawBytesFrom(n.log.RawFirst())) })
	n.counter("freshet_tombstones_purged_total", "Deletions that were forgotten since start.", nil,
		func() float64 { return float64(n.processor.Stats.Purged.Load()) })
	n.gauge("freshet_purge_floor", "The offset of events.raw below which deletions are forgotten.", func() float64 { return float64(n.retention.floor.Load()) })
	n.gauge("freshet_disk_free_bytes", "What the file system of the data folder has left; -1 where that is not known.", func() float64 {
		_, free := n.diskLow()
		return float64(free)
	})
	n.gauge("freshet_disk_full", "1 while events are refused because the disk is full, or has less than limits.free_disk_bytes.", func() float64 {
		low, _ := n.diskLow()
		return oneIf(low)
	})
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// CatchUpWithin is CatchUp with a limit.
func (n *Node) CatchUpWithin(d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return n.CatchUp(ctx)
}
