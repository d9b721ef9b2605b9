package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/freshet-io/freshet"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/embed"
	"github.com/freshet-io/freshet/gateway"
)

// Verify reads everything that has a checksum and reports what is damaged, while everything goes on.
func (n *Node) Verify(ctx context.Context) (*gateway.VerifyReport, error) {
	r := &gateway.VerifyReport{}
	if err := verifyRaw(ctx, n.log.FS(), n.log.Dir(), r); err != nil {
		return nil, err
	}
	return r, n.verifyRest(ctx, n.log.State, r)
}

// Verify reads everything of the copy that has a checksum and reports what is damaged, while everything goes on. The log is the brokers' to check.
func (c *Cluster) Verify(ctx context.Context) (*gateway.VerifyReport, error) {
	r := &gateway.VerifyReport{}
	return r, c.verifyRest(ctx, c.state, r)
}

func verifyRaw(ctx context.Context, dfs disk.FS, dir string, r *gateway.VerifyReport) error {
	v, err := broker.VerifyRaw(ctx, dfs, dir)
	if err != nil {
		return err
	}
	part := gateway.VerifyPart{Part: "journal", Items: int64(v.Segments), Bytes: v.Bytes}
	for _, d := range v.Damage {
		part.Damaged = append(part.Damaged, gateway.VerifyDamage{Name: "journal/" + d.Segment, Detail: d.Detail})
	}
	r.Add(part)
	return nil
}

// verifyRest checks all but the journal.
func (n *core) verifyRest(ctx context.Context, state *broker.State, r *gateway.VerifyReport) error {
	t, err := state.VerifyTables(ctx)
	if err != nil {
		return err
	}
	r.Add(gateway.VerifyPart{Part: "tables", Items: int64(t.Files), Bytes: t.Bytes, Damaged: damages("state/", t.Damage)})
	records, bad, err := n.store.VerifyRecords(ctx)
	if err != nil && len(t.Damage) == 0 {
		return err
	}
	part := gateway.VerifyPart{Part: "records", Items: records, Damaged: damages("", bad)}
	if err != nil { // a damaged table can't be read to its end
		part.Damaged = append(part.Damaged, gateway.VerifyDamage{Name: freshet.TopicSync, Detail: err.Error()})
	}
	r.Add(part)
	files, bad, err := n.store.VerifySnapshots(ctx)
	if err != nil {
		return err
	}
	r.Add(gateway.VerifyPart{Part: "snapshots", Items: int64(files), Damaged: damages("index/", bad)})
	model := gateway.VerifyPart{Part: "model", Items: 1}
	if _, err := embed.NewBuiltin(); err != nil {
		model.Damaged = append(model.Damaged, gateway.VerifyDamage{Name: "built-in model", Detail: err.Error()})
	}
	r.Add(model)
	return nil
}

func damages(prefix string, bad map[string]string) (out []gateway.VerifyDamage) {
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		out = append(out, gateway.VerifyDamage{Name: prefix + name, Detail: bad[name]})
	}
	return out
}

// VerifyFolder is Verify for a data folder that no process has open. What keeps it from being opened is among the damage.
func VerifyFolder(ctx context.Context, o Options) (r *gateway.VerifyReport, err error) {
	dfs, dir := o.FS, o.Config.Data
	if dfs.FS == nil {
		dfs = disk.OS()
	}
	if _, err := dfs.Stat(dfs.PathJoin(dir, "FORMAT")); err != nil {
		return nil, fmt.Errorf("%s is no data folder of freshet: %w", dir, err)
	}
	r = &gateway.VerifyReport{}
	if err := verifyRaw(ctx, dfs, dir, r); err != nil {
		return nil, err
	}
	o.NoSources = true
	n, err := Open(ctx, o)
	if errors.Is(err, broker.ErrLocked) {
		return nil, err
	}
	if err != nil {
		r.Add(gateway.VerifyPart{Part: "start", Items: 1, Damaged: []gateway.VerifyDamage{{Name: dir, Detail: err.Error()}}})
		return r, nil
	}
	defer n.Kill() // nothing is saved: snapshots are looked at, not replaced
	return r, n.verifyRest(ctx, n.log.State, r)
}

// Compact rewrites the state, so that what was replaced or removed takes no space any more.
func (n *Node) Compact(ctx context.Context) (gateway.CompactReport, error) {
	return compactReport(n.log.Compact(ctx))
}

func compactReport(c broker.Compacted, err error) (gateway.CompactReport, error) {
	return gateway.CompactReport{BytesBefore: c.Before, BytesAfter: c.After, Seconds: c.Took.Seconds()}, err
}

// CompactFolder is Compact for a data folder that no process has open.
func CompactFolder(ctx context.Context, dfs disk.FS, dir string) (r gateway.CompactReport, err error) {
	log, _, err := openFolder(dfs, dir)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	return compactReport(log.Compact(ctx))
}
