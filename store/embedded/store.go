package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/ann"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/filter"
	"github.com/freshet-io/freshet/wire"
)

// Options are the settings of a store.
type Options struct {
	Log     *broker.State
	Catalog *control.Catalog
	Index   IndexOptions
	// Collections are the settings of the indexes of some collections, where they differ.
	Collections map[string]control.Index
	Logger      *slog.Logger
	// Part says which entities of Log the store is to hold; nil means all.
	Part *Part
	// Now tells what has expired; default time.Now.
	Now func() time.Time
}

// Store is the embedded store; it implements freshet.Store. All methods are safe for
// concurrent use.
type Store struct {
	log     *broker.State
	catalog *control.Catalog
	part    *part         // nil: all that the log has
	id      freshet.LogID // of the log and the part of it: what snapshots bear
	logger  *slog.Logger
	dir     string
	now     func() time.Time

	configured atomic.Pointer[configured] // replaced as a whole
	fitting    sync.Mutex                 // held while the widths of indexes follow their settings
	loaded     LoadReport

	buffers sync.Pool // of *[]byte, for records

	covered  atomic.Int64           // records of vector.sync below this offset have been applied; see Advance
	snapping sync.Mutex             // one snapshot at a time; guards files and position of every shard
	unusable map[shardHash][]uint64 // snapshots of shards that had none that could be used; for load only

	closing sync.WaitGroup // indexes of dropped shards

	mu     sync.RWMutex // guards shards
	shards map[freshet.Shard]*shard
}

// indexFolder is the store's part of the data folder.
const indexFolder = "index"

// Open brings the indexes up to what vector.sync holds: snapshots first, then the records
// that they don't have. It returns when all of it can be searched.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{log: o.Log, catalog: o.Catalog, logger: o.Logger, id: o.Log.ID(),
		dir: o.Log.FS().PathJoin(o.Log.Dir(), indexFolder), unusable: map[shardHash][]uint64{}, shards: map[freshet.Shard]*shard{}}
	s.configured.Store(&configured{o.Index, o.Collections})
	if o.Part != nil {
		s.part, s.id = newPart(*o.Part), o.Part.identity(s.id)
	}
	if s.now = o.Now; s.now == nil {
		s.now = time.Now
	}
	if err := o.Log.FS().MakeDir(s.dir, disk.SnapshotDir); err != nil {
		return nil, fmt.Errorf("open store: make snapshot folder: %w", err)
	}
	if err := s.load(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.Close())
	}
	return s, nil
}

// Loaded says how the store came up.
func (s *Store) Loaded() LoadReport { return s.loaded }

// newShard makes the empty indexes of a shard.
func (s *Store) newShard(name freshet.Shard) (*shard, error) {
	opt, err := s.annOptions(name, control.Index{})
	if err != nil {
		return nil, err
	}
	index, err := ann.New(opt)
	if err != nil {
		return nil, err
	}
	sh := &shard{name: name, metric: opt.Metric, dim: opt.Dim, filter: filter.NewIndex()}
	sh.oldest.Store(math.MaxInt64)
	sh.use(index)
	return sh, nil
}

// shard returns the indexes of a shard, nil when it has none yet.
func (s *Store) shard(name freshet.Shard) *shard {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.shards[name]
}

func (s *Store) ensureShard(name freshet.Shard) (*shard, error) {
	if sh := s.shard(name); sh != nil {
		return sh, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if sh := s.shards[name]; sh != nil {
		return sh, nil
	}
	sh, err := s.newShard(name)
	if err != nil {
		return nil, err
	}
	s.shards[name] = sh
	return sh, nil
}

// all returns the shards in order of name.
func (s *Store) all() []*shard {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]*shard, 0, len(s.shards))
	for _, sh := range s.shards {
		list = append(list, sh)
	}
	slices.SortFunc(list, func(a, b *shard) int {
		if c := strings.Compare(a.name.Collection, b.name.Collection); c != 0 {
			return c
		}
		return strings.Compare(a.name.Namespace, b.name.Namespace)
	})
	return list
}

// Apply implements freshet.Store. A change of an entity that is not of the store's part is passed over, as one that the store has.
func (s *Store) Apply(ctx context.Context, changes []freshet.Change) ([]freshet.Applied, error) {
	results := make([]freshet.Applied, len(changes))
	byShard := map[freshet.Shard][]int{}
	for i := range changes {
		if !s.part.holds(changes[i].Key) {
			results[i] = freshet.AppliedSuperseded
			continue
		}
		name := changes[i].Key.Shard()
		byShard[name] = append(byShard[name], i)
	}
	for name, mine := range byShard {
		sh, err := s.ensureShard(name)
		if err == nil {
			err = sh.apply(changes, mine, results)
		}
		if err != nil {
			return nil, err
		}
	}
	return results, ctx.Err()
}

// Get implements freshet.Store. The change has its points.
func (s *Store) Get(_ context.Context, key freshet.Key) (freshet.Change, bool, error) {
	return s.record(key, wire.Points)
}

func (s *Store) record(key freshet.Key, parts wire.Parts) (freshet.Change, bool, error) {
	var room [256]byte
	buf, _ := s.buffers.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	defer s.buffers.Put(buf)
	r, ok, err := s.log.Latest(freshet.TopicSync, wire.AppendKey(room[:0], key), *buf)
	if err != nil || !ok {
		return freshet.Change{}, false, err
	}
	*buf = r.Value[:0]
	c, err := wire.DecodeChange(key, r.Value, parts)
	c.Metadata = bytes.Clone(c.Metadata) // all else is a copy
	return c, err == nil, err
}

// ShardStats are the figures of one shard.
type ShardStats struct {
	Shard       freshet.Shard
	Entities    int // live
	Tombstones  int
	Index       ann.Stats
	DocBytes    int64
	FilterBytes int64
}

// Stats returns the figures of every shard.
func (s *Store) Stats() []ShardStats {
	var out []ShardStats
	for _, sh := range s.all() {
		st := ShardStats{Shard: sh.name, Index: sh.vectors().Stats(), FilterBytes: sh.filter.Stats().Bytes}
		sh.mu.RLock()
		st.Entities, st.Tombstones, st.DocBytes = sh.docs.live, sh.docs.tombstones(), sh.docs.bytes()
		sh.mu.RUnlock()
		out = append(out, st)
	}
	return out
}

// Size is how many entities and vectors a shard has.
type Size struct {
	Shard            freshet.Shard
	Entities, Points int
	InBuffer         int
}

// Sizes returns the sizes of all shards. It is cheap enough to be asked all the time.
func (s *Store) Sizes() []Size {
	var out []Size
	for _, sh := range s.all() {
		st := sh.vectors().Stats()
		sh.mu.RLock()
		out = append(out, Size{sh.name, sh.docs.live, st.Points, st.InBuffer})
		sh.mu.RUnlock()
	}
	return out
}

// SizesOf returns the sizes of all shards, of the entities that in accepts. It takes time in proportion to all of them.
func (s *Store) SizesOf(ctx context.Context, in func(freshet.Key) bool) ([]Size, error) {
	var out []Size
	for _, sh := range s.all() {
		size := Size{Shard: sh.name}
		for from := 0; from >= 0; {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			from = sh.count(from, in, &size)
		}
		out = append(out, size)
	}
	return out, nil
}

// countAtOnce is how many documents are counted before changes may go on.
const countAtOnce = 4096

// count adds the entities of some documents that in accepts, and returns the next document, −1 at the end.
func (s *shard) count(from int, in func(freshet.Key) bool, size *Size) (next int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	end := min(from+countAtOnce, s.docs.len())
	for doc := from; doc < end; doc++ {
		if n := int(s.docs.info[doc].points); n > 0 && in(freshet.Key{Collection: s.name.Collection, Namespace: s.name.Namespace, Entity: string(s.docs.id(uint32(doc)))}) {
			size.Entities++
			size.Points += n
		}
	}
	if end == s.docs.len() {
		return -1
	}
	return end
}

// Flush waits until every vector is linked into its graph.
func (s *Store) Flush(ctx context.Context) error {
	for _, sh := range s.all() {
		if err := sh.vectors().Flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Close stops the indexes. Snapshots are not written; see Snapshot.
func (s *Store) Close() error {
	s.closing.Wait()
	var errs []error
	for _, sh := range s.all() {
		errs = append(errs, sh.close())
	}
	return errors.Join(errs...)
}
