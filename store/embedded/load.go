package embedded

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/ann"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/wire"
)

// How much is applied at once while a store comes up.
const (
	loadBatch = 2048     // records
	loadBytes = 32 << 20 // bytes of records
)

// load fills the indexes: from snapshots, then from vector.sync.
func (s *Store) load(ctx context.Context) error {
	if err := s.loadSnapshots(); err != nil {
		return err
	}
	l := loader{s: s, visited: map[*shard][]bool{}}
	for _, sh := range s.all() {
		l.visited[sh] = make([]bool, sh.docs.len())
	}
	if err := s.log.Scan(freshet.TopicSync, nil, nil, func(r broker.Record) error { return l.record(ctx, r) }); err != nil {
		return err
	}
	if err := l.flush(ctx); err != nil {
		return err
	}
	return l.sweep()
}

func (s *Store) loadSnapshots() error {
	dfs := s.log.FS()
	names, err := dfs.List(s.dir)
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, snapshotSuffix) {
			continue
		}
		sh, err := s.readSnapshot(name)
		if err == nil && snapshotName(sh.name) != name {
			err = errors.Join(errors.New("it holds another shard than its name says"), sh.close())
		}
		if err != nil {
			s.logger.Warn("snapshot can't be used; its shard is built anew from the log", "file", name, "reason", err)
			s.loaded.Rejected = append(s.loaded.Rejected, fmt.Sprintf("%s: %v", name, err))
			continue
		}
		s.shards[sh.name] = sh
		s.loaded.Snapshots++
	}
	return nil
}

// loader applies the records that the snapshots don't have.
type loader struct {
	s       *Store
	changes []freshet.Change
	bytes   int               // of the records of changes
	visited map[*shard][]bool // documents of a snapshot that vector.sync has
}

func (l *loader) record(ctx context.Context, r broker.Record) error {
	key, err := wire.ParseKey(r.Key)
	if err != nil {
		return err
	}
	head, err := wire.DecodeChange(key, r.Value, wire.Head)
	if err != nil {
		return err
	}
	l.s.loaded.Entities++
	if sh := l.s.shard(key.Shard()); sh != nil {
		known, err := l.known(sh, &head)
		if known || err != nil {
			return err
		}
	}
	whole, err := wire.DecodeChange(key, r.Value, wire.Points)
	if err != nil {
		return err
	}
	whole.Metadata = append([]byte(nil), whole.Metadata...) // r is valid during the call only
	l.changes = append(l.changes, whole)
	if l.bytes += len(r.Value); len(l.changes) < loadBatch && l.bytes < loadBytes {
		return nil
	}
	return l.flush(ctx)
}

// known reports whether the snapshot has exactly this record; its metadata then goes into
// the filter index, which snapshots don't hold.
func (l *loader) known(sh *shard, c *freshet.Change) (bool, error) {
	doc, ok := sh.docs.find(c.Key.Entity)
	if !ok {
		return false, nil
	}
	if marks := l.visited[sh]; int(doc) < len(marks) {
		marks[doc] = true
	}
	if info := sh.docs.info[doc]; info.version != c.Version || info.digest != c.Digest || info.revision != c.Revision {
		sh.docs.set(doc, l.distrust(info, c))
		return false, nil
	}
	if c.Deleted() {
		return true, nil
	}
	if err := sh.filter.Set(doc, c.Metadata); err != nil {
		return false, fmt.Errorf("filter index, entity %q: %w", c.Key.Entity, err)
	}
	return true, nil
}

// distrust is what remains of a document whose record is another one. The vectors in the
// snapshot may be of any version between the two, for the index is written after the
// documents; so they are written again even if the content is what it was (it may have
// changed and changed back). And a version that the table does not have can't come from this
// log: it is forgotten, so that the table's own is applied whatever its version.
func (l *loader) distrust(info docInfo, c *freshet.Change) docInfo {
	if !c.Version.After(info.version) {
		info.version = freshet.Version{}
	}
	return docInfo{version: info.version, points: info.points}
}

func (l *loader) flush(ctx context.Context) error {
	if len(l.changes) == 0 {
		return ctx.Err()
	}
	if _, err := l.s.Apply(ctx, l.changes); err != nil {
		return err
	}
	l.s.loaded.Applied += len(l.changes)
	l.changes, l.bytes = l.changes[:0], 0
	return nil
}

// sweep removes the entities of snapshots that vector.sync does not have.
func (l *loader) sweep() error {
	for sh, marks := range l.visited {
		var ops []ann.Op
		for doc := range marks {
			if marks[doc] {
				continue
			}
			for slot := range int(sh.docs.info[doc].points) {
				ops = append(ops, ann.Op{Key: pointKey(uint32(doc), slot)})
			}
			sh.docs.set(uint32(doc), docInfo{})
		}
		if len(ops) == 0 {
			continue
		}
		if err := sh.index.Apply(ops); err != nil {
			return err
		}
	}
	return nil
}
