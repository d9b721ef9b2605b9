package process

import (
	"encoding/binary"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/freshet-io/freshet/broker"
)

// knownTable is from which record on each collection existed when it was decided, in a log whose catalog can't say that: partitions have no
// offsets in common. It stands in the state table of processing:
//
//	'c' name of the collection → offset of the first record that was judged with it (8, big-endian)
//	'c'                        → offset from which on that is kept: a record before it was judged with all collections
//
// Records are decided in order and no collection goes, so all records behind that one were judged with it, and none before. notice is
// safe for concurrent use, the rest is for the committing goroutine.
type knownTable struct {
	since atomic.Pointer[map[string]int64] // that are committed; replaced as a whole
	from  int64
	fresh bool // from is not committed

	mu   sync.Mutex
	news map[string]int64
}

func knownKey(name string) []byte { return append([]byte{'c'}, name...) }

// openKnown reads the table; it is kept from position on where there is none.
func openKnown(log broker.Log, position int64) (*knownTable, error) {
	since, from, err := readKnown(log)
	t := &knownTable{from: from, news: map[string]int64{}}
	if from < 0 {
		t.from, t.fresh = position, true
	}
	t.since.Store(&since)
	return t, err
}

// readKnown reads the table; from is -1 where there is none.
func readKnown(log broker.Log) (since map[string]int64, from int64, err error) {
	since, from = map[string]int64{}, -1
	err = log.ScanTable(broker.TableProcess, []byte{'c'}, []byte{'c' + 1}, func(k, v []byte) error {
		if len(v) != 8 {
			return fmt.Errorf("where collection %q begins is damaged", k[1:])
		}
		at := int64(binary.BigEndian.Uint64(v))
		if len(k) == 1 {
			from = at
		} else {
			since[string(k[1:])] = at
		}
		return nil
	})
	return since, from, err
}

// notice notes that a record is judged with a collection.
func (t *knownTable) notice(name string, offset int64) {
	if _, ok := (*t.since.Load())[name]; ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, ok := t.news[name]; !ok || offset < at {
		t.news[name] = offset
	}
}

// stage adds what is new to the transaction of a batch.
func (t *knownTable) stage(tx broker.Txn) error {
	set := func(name string, at int64) error {
		return tx.SetTable(broker.TableProcess, knownKey(name), binary.BigEndian.AppendUint64(nil, uint64(at)))
	}
	if t.fresh {
		if err := set("", t.from); err != nil {
			return err
		}
	}
	for name, at := range t.news {
		if err := set(name, at); err != nil {
			return err
		}
	}
	return nil
}

// settle says that what was staged is committed.
func (t *knownTable) settle() {
	t.fresh = false
	if len(t.news) == 0 {
		return
	}
	all := maps.Clone(*t.since.Load())
	maps.Copy(all, t.news)
	t.since.Store(&all)
	clear(t.news)
}

// existed reports whether a record was judged with a collection that exists now.
func (r *recorded) existed(name string, offset int64) bool {
	if r.knownFrom < 0 || offset < r.knownFrom {
		return true
	}
	since, ok := r.known[name]
	return ok && offset >= since
}
