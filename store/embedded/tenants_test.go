package embedded

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/freshet-io/freshet"
)

// memory is what is in use, outside the Go heap included.
func (b *bench) memory() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	n := int64(m.HeapInuse + m.StackInuse)
	for _, st := range b.store.Stats() {
		n += st.Index.Bytes // lies outside the heap
	}
	return n
}

// tenantBytes is what a namespace of ten entities may take, all in: indexes, tables, goroutines.
const tenantBytes = 30 << 10

// Thousands of small namespaces cost memory in proportion to what is in them, and their searches don't see each other.
func TestManySmallNamespaces(t *testing.T) {
	const tenants, each = 1000, 10
	b := newBench(t, IndexOptions{})
	b.apply(b.upsert(key("warm"), 1, 1))
	before, goroutines := b.memory(), runtime.NumGoroutine()
	shard := func(i int) freshet.Shard {
		return freshet.Shard{Collection: freshet.DefaultCollection, Namespace: fmt.Sprint("tenant", i)}
	}
	for i := range tenants {
		var batch []freshet.Change
		for k := range each {
			batch = append(batch, b.upsert(in(shard(i), fmt.Sprintf("%d-%d", i, k)), k, k))
		}
		if _, err := b.store.Apply(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	per := (b.memory() - before) / tenants
	t.Logf("%d bytes a namespace of %d entities", per, each)
	if per > tenantBytes {
		t.Errorf("a namespace of %d entities takes %d bytes, want %d at most", each, per, tenantBytes)
	}
	if n := runtime.NumGoroutine() - goroutines; n > 10 {
		t.Errorf("%d namespaces have %d goroutines", tenants, n)
	}
	hits, err := b.store.Search(t.Context(), freshet.Query{Shard: shard(7), Vector: along(1), K: 100, Bare: true})
	if err != nil || len(hits) != each {
		t.Fatalf("%d hits, %v", len(hits), err)
	}
	for _, h := range hits {
		if h.Key.Namespace != "tenant7" || h.Key.Entity[:2] != "7-" {
			t.Errorf("a search of tenant7 finds %+v", h.Key)
		}
	}
}
