package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/gateway"
)

// rebuilds runs one rebuild at a time, and remembers the last.
type rebuilds struct {
	mu      sync.Mutex // guards status
	status  *gateway.IndexRebuild
	current freshet.Shard
	began   time.Time
}

func (n *core) indexAdmin() gateway.IndexAdmin {
	return gateway.IndexAdmin{List: n.indexes, Rebuild: n.Rebuild, Status: n.rebuildStatus}
}

// Rebuild begins to build the indexes of a collection anew, of one namespace or with "" of all, beside those in use. It
// goes on in the background until it is done or the node stops.
func (n *core) Rebuild(collection, namespace string, settings control.Index) (gateway.IndexRebuild, error) {
	if err := n.store.CheckRebuild(collection, namespace, settings); err != nil {
		return gateway.IndexRebuild{}, err
	}
	b := &n.rebuilds
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.status != nil && b.status.State == "running" {
		return gateway.IndexRebuild{}, &freshet.Error{Code: freshet.CodeUnavailable,
			Message: fmt.Sprintf("indexes of collection %q are being rebuilt; try again when that is done", b.status.Collection)}
	}
	b.began = time.Now()
	b.status = &gateway.IndexRebuild{Collection: collection, Namespace: namespace, State: "running",
		BeganAt: b.began.UTC().Format("2006-01-02T15:04:05.000Z07:00")}
	n.run(n.ctx, "rebuild", func(ctx context.Context) error {
		err := n.store.RebuildIndexes(ctx, collection, namespace, settings, func(done, total int, name freshet.Shard) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.status.Done, b.status.Indexes, b.current = done, total, name
		})
		if err == nil {
			_, err = n.Snapshot(ctx) // so that a start has what was built
		}
		n.rebuilt(err)
		return nil
	})
	return *b.status, nil
}

// rebuilt notes the end of a rebuild.
func (n *core) rebuilt(err error) {
	b := &n.rebuilds
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status.Seconds = time.Since(b.began).Seconds()
	if err != nil {
		b.status.State, b.status.Error = "failed", err.Error()
		n.opts.Logger.Error("indexes could not be rebuilt; those in use stay", "collection", b.status.Collection, "error", err)
		return
	}
	b.status.State, b.status.Done = "done", b.status.Indexes
	n.opts.Logger.Info("indexes were rebuilt", "collection", b.status.Collection, "indexes", b.status.Indexes, "seconds", b.status.Seconds)
}

// rebuildStatus is how far the rebuild is.
func (n *core) rebuildStatus() *gateway.IndexRebuild {
	b := &n.rebuilds
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.status == nil {
		return nil
	}
	s := *b.status
	if s.State == "running" {
		s.Seconds, s.Current = time.Since(b.began).Seconds(), b.current.Namespace
		if r, ok := n.store.Rebuilding(b.current); ok {
			s.Step, s.Entities, s.Copied, s.Unlinked = r.State, r.Entities, r.Copied, r.Unlinked
		}
	}
	return &s
}

// indexes are the vector indexes of all namespaces.
func (n *core) indexes() []gateway.IndexStat {
	out := []gateway.IndexStat{}
	for _, x := range n.store.Indexes() {
		s := gateway.IndexStat{Collection: x.Shard.Collection, Namespace: x.Shard.Namespace, Kind: x.Options.Kind.String(),
			Precision: x.Options.Precision.String(), M: x.Options.M, EfConstruction: x.Options.EfConstruction, Ef: x.Options.Ef,
			Points: x.Stats.Points, InGraph: x.Stats.InGraph, InBuffer: x.Stats.InBuffer, Bytes: x.Stats.Bytes}
		if q := x.Recall; q != nil {
			s.Recall = &gateway.IndexRecall{Target: q.Target, Recall: q.Recall, Low: q.Low, High: q.High, Queries: q.Queries, Ef: q.Ef, Alert: q.Alert}
		}
		out = append(out, s)
	}
	return out
}

// recallMetrics gives the measured recall of indexes to Prometheus.
type recallMetrics struct {
	n                            *core
	recall, low, high, ef, unmet *prometheus.Desc
}

func newRecallMetrics(n *core) *recallMetrics {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"collection", "namespace"}, nil)
	}
	return &recallMetrics{n: n,
		recall: desc("freshet_index_recall", "Share of the true ten nearest that searches find, measured with recent queries."),
		low:    desc("freshet_index_recall_low", "Lower end of the 95 % interval of freshet_index_recall."),
		high:   desc("freshet_index_recall_high", "Upper end of the 95 % interval of freshet_index_recall."),
		ef:     desc("freshet_index_ef", "Candidates that a search keeps; raised where recall is below the target."),
		unmet:  desc("freshet_index_recall_alert", "1 while the target recall can't be reached.")}
}

// Describe implements prometheus.Collector.
func (m *recallMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.recall, m.low, m.high, m.ef, m.unmet} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *recallMetrics) Collect(out chan<- prometheus.Metric) {
	for _, r := range m.n.store.Recalls() {
		alert := 0.0
		if r.Alert {
			alert = 1
		}
		for d, v := range map[*prometheus.Desc]float64{m.recall: r.Recall, m.low: r.Low, m.high: r.High, m.ef: float64(r.Ef), m.unmet: alert} {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, r.Shard.Collection, r.Shard.Namespace)
		}
	}
}
