package node

import (
	"context"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/process"
)

// maxRepairs is how many differences one repair keeps in memory; the next one finds the others.
const maxRepairs = 100_000

// Repair audits and mends what differs, while traffic goes on: first vector.sync against the fold of the log, then the indexes
// against vector.sync. It returns what an audit finds after that, and how much was written again. An entity that vector.sync
// has and the log does not give is left as it is.
func (n *Node) Repair(ctx context.Context) (*freshet.AuditReport, error) {
	n.repairing.Lock()
	defer n.repairing.Unlock()
	var found []freshet.Difference
	report := &freshet.AuditReport{Each: func(d freshet.Difference) {
		if len(found) < maxRepairs {
			found = append(found, d)
		}
	}}
	if err := process.Audit(ctx, n.log, n.sequencer, report); err != nil {
		return nil, err
	}
	repaired := int64(0)
	if len(found) > 0 {
		keys := make([]freshet.Key, len(found))
		for i := range found {
			keys[i] = found[i].Key
		}
		written, err := n.processor.Repair(ctx, keys)
		if err != nil {
			return nil, err
		}
		repaired = int64(len(written))
	}
	found = nil
	if err := n.store.Audit(ctx, n.settled, report); err != nil {
		return nil, err
	}
	if len(found) > 0 {
		mended, err := n.store.Repair(ctx, found)
		if err != nil {
			return nil, err
		}
		repaired += mended
	}
	if repaired == 0 {
		report.Each = nil
		return report, nil
	}
	n.opts.Logger.Warn("repaired what an audit found", "written", repaired)
	after, err := n.Audit(ctx)
	if err == nil {
		after.Repaired = repaired
	}
	return after, err
}
