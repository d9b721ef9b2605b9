package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/ann"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/wire"
)

// How much is applied at once while a store comes up.
const (
	loadBatch = 1024    // records
	loadBytes = 8 << 20 // bytes of records
)

// LoadReport says how a store came up.
type LoadReport struct {
	Snapshots int      // loaded
	Older     int      // of those, how many are of the generation before, because the newest could not be used
	Rejected  []string // snapshots that could not be used, and why
	Built     int      // shards that were built from the log alone
	Entities  int      // documents, tombstones included
	Tail      int      // changes after the oldest position of a snapshot, which were looked at
	Applied   int      // records that the snapshots did not have

	SnapshotTime, LogTime time.Duration // to load the snapshots, and to bring them up to the log
}

// load fills the indexes: from snapshots, then from what vector.sync has beyond them.
func (s *Store) load(ctx context.Context) error {
	end, err := s.log.End(freshet.TopicSync)
	if err != nil {
		return err
	}
	if s.part.none() {
		s.covered.Store(end)
		return nil
	}
	began := time.Now()
	found, err := s.loadSnapshots(ctx, end)
	if err != nil {
		return err
	}
	s.loaded.SnapshotTime = time.Since(began)
	began = time.Now()
	l := newLoader(ctx, s)
	s.setBackPressure(false)
	readErr := l.read()
	if err := cmp.Or(l.wait(), readErr); err != nil {
		return err
	}
	if found {
		// Not only for what was removed: a process that was killed before it had synced the folder leaves snapshots without
		// a durable name, and none of these is written again as long as its shard does not change.
		if err := s.log.FS().SyncDir(s.dir, disk.SnapshotDir); err != nil {
			return err
		}
	}
	if err := s.loadExpiries(); err != nil {
		return err
	}
	s.setBackPressure(true)
	s.covered.Store(end)
	for _, sh := range s.all() {
		sh.position = max(sh.position, end)
		if len(sh.files.sound) == 0 || len(sh.files.bad) > 0 {
			sh.dirty.Add(1) // it needs a snapshot even if nothing changes
		}
		s.loaded.Entities += sh.docs.len() - len(sh.docs.free)
	}
	s.loaded.Applied, s.loaded.LogTime = int(l.applied.Load()), time.Since(began)
	return nil
}

// setBackPressure says whether changes wait for the graphs. While the store comes up they don't: what the graph does not
// have yet is found by a scan, and is linked while the store serves.
func (s *Store) setBackPressure(on bool) {
	for _, sh := range s.all() {
		sh.vectors().SetBackPressure(on)
	}
}

// loadSnapshots loads of each shard the newest snapshot that can be used, several shards at a time. found says that there
// are any.
func (s *Store) loadSnapshots(ctx context.Context, end int64) (found bool, err error) {
	files, err := s.listSnapshots()
	if err != nil {
		return false, err
	}
	positions := s.readPositions(end)
	var mu sync.Mutex // guards s.loaded and s.shards
	all := tasks{limit: make(chan struct{}, runtime.GOMAXPROCS(0))}
	for h, numbers := range files {
		all.start(func() error {
			var bad []uint64
			for i, number := range numbers {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				sh, position, err := s.readSnapshot(h, number, end)
				if err != nil {
					s.reject(&mu, h, number, err, i+1 < len(numbers))
					if errors.Is(err, ErrAhead) || errors.Is(err, errDropped) {
						// The log will pass a position that is ahead, with other records: it must not be there then.
						if err := s.removeFile(h, number); err != nil {
							return err
						}
						continue
					}
					bad = append(bad, number)
					continue
				}
				header := position
				if known, ok := positions[snapshotID{h, number}]; ok {
					position = max(position, known)
				}
				sh.position = position
				sh.files = generations{sound: slices.Sorted(slices.Values(numbers[i:])), from: map[uint64]int64{number: header}, bad: bad}
				sh.oldest.Store(sh.files.oldest())
				mu.Lock()
				defer mu.Unlock()
				s.shards[sh.name] = sh
				s.loaded.Snapshots++
				if i > 0 {
					s.loaded.Older++
				}
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			s.unusable[h] = bad
			return nil
		})
	}
	if err := all.wait(); err != nil {
		return false, err
	}
	slices.Sort(s.loaded.Rejected)
	return len(files) > 0, nil
}

// reject notes a snapshot that can't be used.
func (s *Store) reject(mu *sync.Mutex, h shardHash, number uint64, err error, older bool) {
	instead := "its shard is built anew from the log"
	if older {
		instead = "the one before it is tried"
	}
	name := fileName(h, number)
	s.logger.Warn("snapshot can't be used; "+instead, "file", name, "reason", err)
	mu.Lock()
	defer mu.Unlock()
	s.loaded.Rejected = append(s.loaded.Rejected, fmt.Sprintf("%s: %v", name, err))
}

// loader applies the records that the snapshots don't have. Of a key vector.sync has the latest record only, so each is
// met once, and the order in which records are applied does not matter: several goroutines do.
type loader struct {
	s       *Store
	ctx     context.Context
	workers tasks
	queue   chan []loadRecord
	chunk   []loadRecord
	bytes   int
	applied atomic.Int64
}

// loadRecord is a record of vector.sync; fetch says that value is still to be read.
type loadRecord struct {
	key, value []byte
	fetch      bool
}

func newLoader(ctx context.Context, s *Store) *loader {
	l := &loader{s: s, queue: make(chan []loadRecord, 2)}
	l.ctx, l.workers.failed = context.WithCancel(ctx)
	for range runtime.GOMAXPROCS(0) {
		l.workers.start(func() error {
			for chunk := range l.queue {
				if err := l.apply(chunk); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return l
}

// read hands out what is to be applied: shards without a snapshot whole, of the others the tail.
func (l *loader) read() error {
	defer close(l.queue)
	if err := l.wholeShards(); err != nil {
		return err
	}
	if err := l.tail(); err != nil {
		return err
	}
	return l.hand()
}

// wait returns the first error of the workers, which is also why read has failed.
func (l *loader) wait() error {
	defer l.workers.failed()
	return l.workers.wait()
}

// wholeShards reads the shards that have no snapshot, and leaves out those that vector.sync does not have.
func (l *loader) wholeShards() error {
	s := l.s
	names, err := s.shardsInLog()
	if err != nil {
		return err
	}
	there := map[freshet.Shard]bool{}
	for _, name := range names {
		there[name] = true
		if s.shards[name] != nil {
			continue
		}
		sh, err := s.newShard(name)
		if err != nil {
			return err
		}
		sh.files.bad = s.unusable[hashOf(name)]
		sh.vectors().SetBackPressure(false)
		sh.position, _ = s.log.End(freshet.TopicSync)
		s.mu.Lock()
		s.shards[name] = sh
		s.mu.Unlock()
		s.loaded.Built++
		lower, upper := wire.ShardRange(name)
		err = s.log.Scan(freshet.TopicSync, lower, upper, func(r broker.Record) error {
			return l.add(loadRecord{key: slices.Clone(r.Key), value: slices.Clone(r.Value)})
		})
		if err != nil {
			return err
		}
	}
	return s.leaveEmpty(there)
}

// leaveEmpty takes out the shards that vector.sync does not have, and their snapshots: should such a shard come back it begins anew, and
// nobody would keep its deletions for the sake of those.
func (s *Store) leaveEmpty(there map[freshet.Shard]bool) error {
	for name := range there {
		delete(s.unusable, hashOf(name))
	}
	for name, sh := range s.shards {
		if there[name] {
			continue
		}
		purged, err := s.log.Purged(freshet.TopicSync, broker.PurgeScope(name))
		if err != nil {
			return err
		}
		if purged.End == 0 { // else all that it had is deleted, and that is forgotten
			s.loaded.Rejected = append(s.loaded.Rejected, fmt.Sprintf("%s/%s: vector.sync has nothing of it", name.Collection, name.Namespace))
		}
		s.mu.Lock()
		delete(s.shards, name)
		s.mu.Unlock()
		s.removeFiles(hashOf(name), sh.files.all())
		if err := sh.close(); err != nil {
			return err
		}
	}
	for h, numbers := range s.unusable {
		s.removeFiles(h, numbers)
	}
	return nil
}

// shardsInLog returns the shards that vector.sync has entities of. It looks at one key of each.
func (s *Store) shardsInLog() (names []freshet.Shard, err error) {
	err = s.log.Skim(freshet.TopicSync, func(raw []byte) (next []byte, err error) {
		key, err := wire.ParseKey(raw)
		if err != nil {
			return nil, err
		}
		names = append(names, key.Shard())
		_, upper := wire.ShardRange(key.Shard())
		return upper, nil
	})
	return names, err
}

// tail reads what has changed after the positions of the snapshots.
func (l *loader) tail() error {
	from := int64(-1)
	for _, sh := range l.s.shards {
		if from < 0 || sh.position < from {
			from = sh.position
		}
	}
	if from < 0 {
		return nil
	}
	return l.s.log.Changed(freshet.TopicSync, from, func(offset int64, raw []byte) error {
		l.s.loaded.Tail++
		if _, ok := wire.ParseDrop(raw); ok {
			return nil // what was dropped has no record, and no snapshot that is loaded has it
		}
		key, err := wire.ParseKey(raw)
		if err != nil {
			return err
		}
		if sh := l.s.shard(key.Shard()); sh == nil || offset < sh.position {
			return nil
		}
		return l.add(loadRecord{key: slices.Clone(raw), fetch: true})
	})
}

func (l *loader) add(r loadRecord) error {
	l.chunk = append(l.chunk, r)
	if l.bytes += len(r.value); len(l.chunk) < loadBatch && l.bytes < loadBytes {
		return nil
	}
	return l.hand()
}

func (l *loader) hand() error {
	if len(l.chunk) == 0 {
		return l.ctx.Err()
	}
	select {
	case l.queue <- l.chunk:
		l.chunk, l.bytes = nil, 0
		return nil
	case <-l.ctx.Done():
		return context.Cause(l.ctx)
	}
}

// apply decodes and applies a chunk.
func (l *loader) apply(chunk []loadRecord) error {
	changes := make([]freshet.Change, 0, len(chunk))
	for i := range chunk {
		r := &chunk[i]
		key, err := wire.ParseKey(r.key)
		if err != nil {
			return err
		}
		if !l.s.part.holds(key) {
			continue
		}
		if r.fetch {
			latest, ok, err := l.s.log.Latest(freshet.TopicSync, r.key, nil)
			if err != nil {
				return err
			}
			if !ok {
				if err := l.s.shard(key.Shard()).forget(key.Entity); err != nil {
					return err
				}
				continue
			}
			r.value = latest.Value
		}
		c, err := wire.DecodeChange(key, r.value, wire.Points)
		if err != nil {
			return err
		}
		if !l.s.shard(key.Shard()).has(&c) {
			changes = append(changes, c)
		}
	}
	if len(changes) == 0 {
		return l.ctx.Err()
	}
	if _, err := l.s.Apply(l.ctx, changes); err != nil {
		return err
	}
	l.applied.Add(int64(len(changes)))
	return nil
}

// has reports whether the snapshot has exactly this record. Of a document whose record is another one only the points
// remain: the vectors in the snapshot may be of any version between the two, for the vector index is written after the
// documents; so they are written again even if the content is what it was (it may have changed and changed back). And a
// version that the table does not have can't come from this log: it is forgotten, so that the table's own is applied
// whatever its version.
func (s *shard) has(c *freshet.Change) bool {
	s.applying.Lock()
	defer s.applying.Unlock()
	doc, ok := s.docs.find(c.Key.Entity)
	if !ok {
		return false
	}
	info := s.docs.info[doc]
	if info.version == c.Version && info.digest == c.Digest && info.revision == c.Revision {
		return true
	}
	if !c.Version.After(info.version) {
		info.version = freshet.Version{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.docs.set(doc, docInfo{version: info.version, points: info.points})
	return false
}

// forget removes an entity that vector.sync does not have any more.
func (s *shard) forget(entity string) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	return s.forgetLocked(entity)
}

// forgetLocked is forget for the holder of applying.
func (s *shard) forgetLocked(entity string) error {
	doc, ok := s.docs.find(entity)
	if !ok {
		return nil
	}
	var ops []ann.Op
	for slot := range int(s.docs.info[doc].points) {
		ops = append(ops, ann.Op{Key: pointKey(doc, slot)})
	}
	if err := s.applyOps(ops); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.docs.set(doc, docInfo{})
	s.expires(doc, 0)
	s.filter.Delete(doc)
	s.dirty.Add(1)
	return nil
}
