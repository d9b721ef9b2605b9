package embedded

import (
	"context"
	"errors"
	"fmt"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/wire"
)

// Drop implements freshet.Store. It takes the indexes out of the way at once; they are closed when nobody reads them any more.
func (s *Store) Drop(_ context.Context, name freshet.Shard) error {
	var gone []*shard
	s.mu.Lock()
	for n, sh := range s.shards {
		if n.Collection == name.Collection && (name.Namespace == "" || n.Namespace == name.Namespace) {
			gone = append(gone, sh)
			delete(s.shards, n)
		}
	}
	s.mu.Unlock()
	for _, sh := range gone {
		sh.dropped.Store(true)
		s.closing.Go(func() {
			sh.reading.Lock() // who writes a snapshot of it ends first; a start will not take that
			defer sh.reading.Unlock()
			if err := sh.close(); err != nil {
				s.logger.Error("the index of a dropped namespace could not be closed", "collection", sh.name.Collection, "namespace", sh.name.Namespace, "error", err)
			}
		})
	}
	s.removeSnapshots(gone)
	return nil
}

// removeSnapshots removes those of dropped shards, unless snapshots are being written: then the next start finds that they
// are older than the drop.
func (s *Store) removeSnapshots(gone []*shard) {
	if !s.snapping.TryLock() {
		return
	}
	defer s.snapping.Unlock()
	for _, sh := range gone {
		s.removeFiles(hashOf(sh.name), sh.files.all())
	}
}

// removeFiles removes snapshots that are of no use any more. The caller holds snapping, or is load.
func (s *Store) removeFiles(h shardHash, numbers []uint64) {
	for _, number := range numbers {
		if err := s.removeFile(h, number); err != nil {
			s.logger.Warn("a snapshot of what is there no more could not be removed; the next start does not use it", "file", fileName(h, number), "error", err)
		}
	}
}

// errDropped means that a snapshot is of what was dropped since. It is sound, and of no use.
var errDropped = errors.New("its namespace was dropped since")

// droppedSince returns an error, errDropped, for a snapshot with a position from before its shard was dropped.
func (s *Store) droppedSince(name freshet.Shard, position int64) error {
	for _, n := range []freshet.Shard{name, {Collection: name.Collection}} {
		offset, ok, err := s.log.Dropped(freshet.TopicSync, wire.AppendDrop(nil, n))
		if err != nil {
			return err
		}
		if ok && position <= offset {
			return fmt.Errorf("%w: at offset %d of %s, it is of offset %d", errDropped, offset, freshet.TopicSync, position)
		}
	}
	return nil
}
