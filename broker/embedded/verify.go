package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/disk"
)

// VerifyRaw checks every checksum of events.raw in a data folder, whether or not a process has it open.
func VerifyRaw(ctx context.Context, dfs disk.FS, dir string) (journal.Verified, error) {
	return journal.Verify(ctx, dfs, dfs.PathJoin(dir, "journal"))
}

// VerifiedTables says what VerifyTables has read, and what is wrong with it: by the name of the file.
type VerifiedTables struct {
	Files  int
	Bytes  int64
	Damage map[string]string
}

// VerifyTables reads every block of the tables on disk and checks its checksum. What is in memory, or in the write-ahead
// log only, is not among it: that was checked when it was read, at the start.
func (l *State) VerifyTables(ctx context.Context) (v VerifiedTables, err error) {
	v.Damage = map[string]string{}
	levels, err := l.db.SSTables()
	if err != nil {
		return v, fmt.Errorf("list tables: %w", err)
	}
	o := pebble.Options{Filters: map[string]pebble.FilterPolicy{}, Logger: quiet{}}
	policy := bloom.FilterPolicy(10)
	o.Filters[policy.Name()] = policy
	o.EnsureDefaults()
	seen := map[string]bool{}
	for _, level := range levels {
		for _, t := range level {
			name := t.BackingSSTNum.String() + ".sst"
			if seen[name] {
				continue
			}
			seen[name] = true
			if ctx.Err() != nil {
				return v, context.Cause(ctx)
			}
			size, bad, err := verifyTable(ctx, l.opts.FS, l.opts.FS.PathJoin(l.dir, stateFolder, name), o.MakeReaderOptions())
			switch {
			case errors.Is(err, fs.ErrNotExist): // a compaction has replaced it
				continue
			case err != nil:
				return v, fmt.Errorf("verify %s: %w", name, err)
			case bad != nil:
				v.Damage[name] = bad.Error()
			}
			v.Files++
			v.Bytes += size
		}
	}
	return v, nil
}

// verifyTable returns as bad what is wrong with a table, as err that it could not be read.
func verifyTable(ctx context.Context, dfs disk.FS, path string, o sstable.ReaderOptions) (size int64, bad, err error) {
	f, err := dfs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return 0, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, nil, errors.Join(err, f.Close())
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return 0, nil, errors.Join(err, f.Close())
	}
	r, err := sstable.NewReader(ctx, readable, o)
	if err != nil {
		return info.Size(), err, nil // it has closed the file
	}
	return info.Size(), errors.Join(r.ValidateBlockChecksums(), r.Close()), nil
}

// Compacted says what a compaction has done.
type Compacted struct {
	Before, After int64 // bytes of the state on disk
	Took          time.Duration
}

// Compact rewrites the whole state, so that what was replaced or removed takes no space any more. Reads and commits go on.
func (l *State) Compact(ctx context.Context) (c Compacted, err error) {
	began := time.Now()
	c.Before = int64(l.db.Metrics().DiskSpaceUsage())
	if err := l.db.Compact(ctx, []byte{0}, []byte{0xff}, true); err != nil {
		return c, fmt.Errorf("compact the state: %w", err)
	}
	c.After, c.Took = int64(l.db.Metrics().DiskSpaceUsage()), time.Since(began)
	return c, nil
}
