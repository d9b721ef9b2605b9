package node

import (
	"context"
	"fmt"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/process"
)

// decided is a log that is decided here, or a partition of one.
type decided struct {
	partition int32
	log       broker.Log
	sequencer process.SequencerOptions
	processor *process.Processor
}

func (d *decided) audit(ctx context.Context, report *freshet.AuditReport) error {
	known := len(report.Gaps)
	if err := process.Audit(ctx, d.log, d.sequencer, report); err != nil {
		return fmt.Errorf("partition %d: %w", d.partition, err)
	}
	for i := range report.Gaps[known:] {
		report.Gaps[known+i].Partition = d.partition
	}
	return nil
}

// audit folds logs anew and compares them with vector.sync, and all of vector.sync with the indexes, while traffic goes on. settled blocks
// until the store has everything that is committed now.
func (n *core) audit(ctx context.Context, logs []decided, settled func(context.Context) error) (*freshet.AuditReport, error) {
	report := &freshet.AuditReport{}
	for i := range logs {
		if err := logs[i].audit(ctx, report); err != nil {
			return nil, err
		}
	}
	return report, n.store.Audit(ctx, settled, report)
}

// maxRepairs is how many differences one repair keeps in memory; the next one finds the others.
const maxRepairs = 100_000

// repair audits and mends what differs, while traffic goes on: first vector.sync against the fold of the logs, then the indexes
// against vector.sync. It returns what an audit finds after that, and how much was written again. An entity that vector.sync
// has and no log gives is left as it is.
func (n *core) repair(ctx context.Context, logs []decided, settled func(context.Context) error) (*freshet.AuditReport, error) {
	n.repairing.Lock()
	defer n.repairing.Unlock()
	var found []freshet.Difference
	report := &freshet.AuditReport{Each: func(d freshet.Difference) {
		if len(found) < maxRepairs {
			found = append(found, d)
		}
	}}
	repaired := int64(0)
	for i := range logs {
		found = nil
		if err := logs[i].audit(ctx, report); err != nil {
			return nil, err
		}
		if len(found) == 0 {
			continue
		}
		keys := make([]freshet.Key, len(found))
		for i := range found {
			keys[i] = found[i].Key
		}
		written, err := logs[i].processor.Repair(ctx, keys)
		if err != nil {
			return nil, fmt.Errorf("partition %d: %w", logs[i].partition, err)
		}
		repaired += int64(len(written))
	}
	found = nil
	if err := n.store.Audit(ctx, settled, report); err != nil {
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
	after, err := n.audit(ctx, logs, settled)
	if err == nil {
		after.Repaired = repaired
	}
	return after, err
}
