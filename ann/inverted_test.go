package ann_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/freshet-io/freshet/ann"
)

// inverted are the kinds that divide points among lists.
var inverted = []ann.Kind{ann.IVFFlat, ann.IVFPQ, ann.IVFHNSW}

// TestListsRecall has a threshold for every kind and metric, without data sets.
func TestListsRecall(t *testing.T) {
	n := 6000
	if raceEnabled || testing.Short() {
		n = 1500
	}
	for _, kind := range inverted {
		for _, metric := range []ann.Metric{ann.Cosine, ann.InnerProduct, ann.L2} {
			t.Run(kind.String()+"/"+metric.String(), func(t *testing.T) {
				m := newMixture(7, 48, 12, 50)
				ix := newIndex(t, ann.Options{Dim: 48, Metric: metric, Kind: kind, Workers: 2})
				fill(t, ix, m.vectors(n))
				queries := m.vectors(200)
				truth := exactTruth(t, ix, queries, 10, nil)
				got := recall(t, ix, queries, truth, 10, ann.SearchOptions{})
				few := recall(t, ix, queries, truth, 10, ann.SearchOptions{Probes: 1})
				st := ix.Stats()
				t.Logf("recall@10 at ef 100: %.4f, with one list %.4f; %+v", got, few, st)
				if got < 0.97 || few >= got {
					t.Errorf("recall@10 is %.4f, want at least 0.97, and less with one list: %.4f", got, few)
				}
				if st.Trainings == 0 || st.InGraph != n || st.InBuffer != 0 {
					t.Errorf("%+v", st)
				}
				if all := recall(t, ix, queries, truth, 10, ann.SearchOptions{Probes: st.Lists, Ef: 400}); all < 0.999 {
					t.Errorf("recall@10 over all lists is %.4f", all)
				}
			})
		}
	}
}

// TestListsOnGlove is the golden figure on real data.
func TestListsOnGlove(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("50,000 points: too slow here")
	}
	dir := filepath.Join(sharedDir(t), "data", "glove_50d")
	base, queries := readFvecs(t, filepath.Join(dir, "base.fvecs")), readFvecs(t, filepath.Join(dir, "query.fvecs"))
	truth := keysOf(readIvecs(t, filepath.Join(dir, "gt_cosine_100.ivecs")))
	for _, kind := range inverted {
		ix := newIndex(t, ann.Options{Dim: len(base[0]), Kind: kind, Workers: 2})
		fill(t, ix, base)
		got := recall(t, ix, queries, truth, 10, ann.SearchOptions{Ef: 200})
		t.Logf("%s: recall@10 at ef 200: %.4f; %+v", kind, got, ix.Stats())
		if got < 0.98 {
			t.Errorf("%s: recall@10 is %.4f, want at least 0.98", kind, got)
		}
	}
}

// TestListsUnderChurn replaces every vector three times by others, and compares recall with a fresh index of the same
// points. Slots must be used again.
func TestListsUnderChurn(t *testing.T) {
	n := 2000
	if raceEnabled || testing.Short() {
		n = 400
	}
	for _, kind := range inverted {
		t.Run(kind.String(), func(t *testing.T) {
			mix := newMixture(31, 32, 16, 40)
			opt := ann.Options{Dim: 32, Kind: kind, FlatBelow: -1, BufferSize: 128}
			ix := newIndex(t, opt)
			var vectors [][]float32
			for turn := range 4 {
				vectors = mix.vectors(n)
				fill(t, ix, vectors)
				if st := ix.Stats(); st.Points != n || st.Deleted+st.Free > n/4+2*opt.BufferSize+500 {
					t.Errorf("turn %d: slots are not used again: %+v", turn, st)
				}
			}
			queries := mix.vectors(200)
			truth := exactTruth(t, ix, queries, 10, nil)
			fresh := newIndex(t, opt)
			fill(t, fresh, vectors)
			so := ann.SearchOptions{Ef: 40}
			got, want := recall(t, ix, queries, truth, 10, so), recall(t, fresh, queries, truth, 10, so)
			t.Logf("recall@10 %.4f, fresh %.4f", got, want)
			if got < want-0.01 {
				t.Errorf("recall@10 is %.4f, a fresh index has %.4f", got, want)
			}
		})
	}
}

// TestTrainingLosesNothing grows an index from nothing by many trainings, while each point that was applied is searched
// for at once, and points that never change are searched for all the time.
func TestTrainingLosesNothing(t *testing.T) {
	const n = 1500
	for _, kind := range inverted {
		t.Run(kind.String(), func(t *testing.T) {
			const dim, fixed = 8, 40
			ix := newIndex(t, ann.Options{Dim: dim, Metric: ann.L2, Kind: kind, FlatBelow: -1, Workers: 2, BufferSize: 64})
			mix := newMixture(5, dim, 6, 20)
			anchors := mix.vectors(fixed)
			fill(t, ix, anchors)
			var done atomic.Bool
			var wg sync.WaitGroup
			look := func(key uint64, v []float32) {
				res, err := ix.Search(v, 1, ann.SearchOptions{Ef: 64}, nil)
				if err != nil || len(res) != 1 || res[0].Score < 0.9999 {
					t.Errorf("the point of key %d is not found: %v, error %v; %+v", key, res, err, ix.Stats())
					done.Store(true)
				}
			}
			for range 2 {
				wg.Go(func() {
					for !done.Load() {
						for key, v := range anchors {
							look(uint64(key), v)
							runtime.Gosched() // let changes and trainings go on
						}
					}
				})
			}
			rng := rand.New(rand.NewPCG(1, 1))
			for i := 0; i < n && !done.Load(); i++ {
				key, v := fixed+rng.Uint64N(uint64(1+i)), mix.vector()
				if err := ix.Apply([]ann.Op{{Key: key, Vector: v}}); err != nil {
					t.Fatal(err)
				}
				look(key, v)
				if i%(n/5) == 0 {
					flush(t, ix) // a training that is late would stand for several
				}
			}
			done.Store(true)
			wg.Wait()
			flush(t, ix)
			if st := ix.Stats(); st.Trainings < 3 {
				t.Errorf("%d trainings only: %+v", st.Trainings, st)
			}
		})
	}
}

// TestDriftTrainsAnew replaces all points by ones from another place, without growing.
func TestDriftTrainsAnew(t *testing.T) {
	n := 3000
	if raceEnabled {
		n = 800
	}
	ix := newIndex(t, ann.Options{Dim: 16, Metric: ann.L2, Kind: ann.IVFFlat, FlatBelow: -1})
	fill(t, ix, newMixture(1, 16, 8, 30).vectors(n))
	again := newMixture(1, 16, 8, 30)
	// The first training is of few points, which its lists fit better than those that follow: another one may be due, and
	// end late. Then it must be enough.
	before := ix.Stats().Trainings
	for round := 0; ; round++ {
		fill(t, ix, again.vectors(n))
		got := ix.Stats().Trainings
		if got == before {
			break
		}
		if before = got; round == 3 {
			t.Fatalf("%d trainings, one with each set of points from the same place", got)
		}
	}
	elsewhere := newMixture(2, 16, 8, 30).vectors(n)
	for _, v := range elsewhere {
		v[3] += 50
	}
	fill(t, ix, elsewhere)
	if got := ix.Stats().Trainings; got == before {
		t.Error("no training for points from another place")
	}
}

// TestManyResults asks for more points than the nearest lists have: all of them come, each once.
func TestManyResults(t *testing.T) {
	const n = 2000
	for _, kind := range inverted {
		mix := newMixture(5, 12, 6, 20)
		ix := newIndex(t, ann.Options{Dim: 12, Kind: kind, FlatBelow: -1})
		fill(t, ix, mix.vectors(n))
		for _, k := range []int{1, 100, 700, n - 1, n, n + 1, 5 * n} {
			for _, f := range []ann.Filter{nil, divisible(3)} {
				res, err := ix.Search(mix.vector(), k, ann.SearchOptions{Probes: 1, Filter: f}, nil)
				want := min(k, n)
				if f != nil {
					want = min(k, (n+2)/3)
				}
				if err != nil || len(res) != want {
					t.Fatalf("%s: %d results for k = %d, want %d; error %v", kind, len(res), k, want, err)
				}
				seen := map[uint64]bool{}
				for _, r := range res {
					if seen[r.Key] || f != nil && !f.Match(r.Key) {
						t.Fatalf("%s: key %d is there twice, or does not match", kind, r.Key)
					}
					seen[r.Key] = true
				}
			}
		}
	}
}

func TestListsFiltered(t *testing.T) {
	n := 5000
	if raceEnabled {
		n = 800
	}
	for _, kind := range inverted {
		mix := newMixture(8, 32, 8, 20)
		ix := newIndex(t, ann.Options{Dim: 32, Kind: kind, FlatBelow: -1})
		fill(t, ix, mix.vectors(n))
		queries := mix.vectors(100)
		for _, d := range []divisible{1, 2, 5, 10, 30, 100, 1000} {
			truth := exactTruth(t, ix, queries, 5, d)
			if got := recall(t, ix, queries, truth, 5, ann.SearchOptions{Filter: d}); got < 0.98 {
				t.Errorf("%s: one of %d points matches: recall@5 is %.4f", kind, d, got)
			}
		}
	}
}

func TestListSearchAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, kind := range inverted {
		mix := newMixture(8, 32, 8, 20)
		ix := newIndex(t, ann.Options{Dim: 32, Kind: kind, FlatBelow: -1})
		fill(t, ix, mix.vectors(5000))
		q, dst := mix.vector(), make([]ann.Result, 0, 10)
		for name, opt := range map[string]ann.SearchOptions{"plain": {}, "filtered": {Ef: 20, Filter: divisible(3)}} {
			if n := testing.AllocsPerRun(100, func() {
				if _, err := ix.Search(q, 10, opt, dst); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%s, %s: %v allocations", kind, name, n)
			}
		}
	}
}

// TestListsPrecision has every precision: results come from what is stored, and PQ takes the least memory.
func TestListsPrecision(t *testing.T) {
	mix := newMixture(8, 64, 16, 20)
	vectors, queries := mix.vectors(3000), mix.vectors(50)
	for _, precision := range []ann.Precision{ann.Float32, ann.Float16, ann.Int8} {
		size := map[ann.Kind]int64{}
		for _, kind := range inverted {
			ix := newIndex(t, ann.Options{Dim: 64, Kind: kind, Precision: precision, FlatBelow: -1})
			fill(t, ix, vectors)
			truth := exactTruth(t, ix, queries, 10, nil)
			if got := recall(t, ix, queries, truth, 10, ann.SearchOptions{}); got < 0.97 {
				t.Errorf("%s, %s: recall@10 is %.4f", kind, precision, got)
			}
			size[kind] = ix.Stats().Bytes
		}
		if size[ann.IVFPQ] >= size[ann.IVFFlat] {
			t.Errorf("%s: products take %d bytes, bytes %d", precision, size[ann.IVFPQ], size[ann.IVFFlat])
		}
	}
}

func listSnapshot(t testing.TB, kind ann.Kind, n int) []byte {
	ix := newIndex(t, ann.Options{Dim: 6, Kind: kind, FlatBelow: -1})
	fill(t, ix, newMixture(5, 6, 4, 3).vectors(n))
	var b bytes.Buffer
	if err := ix.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestSnapshotsKeepLists loads without training, and gives the same answers.
func TestSnapshotsKeepLists(t *testing.T) {
	for _, kind := range inverted {
		mix := newMixture(9, 24, 8, 20)
		opt := ann.Options{Dim: 24, Kind: kind, FlatBelow: -1}
		ix := newIndex(t, opt)
		fill(t, ix, mix.vectors(1500))
		loaded := reload(t, ix, opt)
		if st := loaded.Stats(); st.InGraph != 1500 || st.Trainings != 0 || st.Lists != ix.Stats().Lists {
			t.Errorf("%s: the lists were not taken over: %+v", kind, st)
		}
		for _, q := range mix.vectors(50) {
			a, errA := ix.Search(q, 10, ann.SearchOptions{Ef: 20}, nil)
			b, errB := loaded.Search(q, 10, ann.SearchOptions{Ef: 20}, nil)
			if errA != nil || errB != nil || len(a) != len(b) {
				t.Fatal(a, errA, b, errB)
			}
			if kind == ann.IVFHNSW {
				continue // the graph of centroids may differ
			}
			for i := range a {
				if a[i] != b[i] {
					t.Fatalf("%s: result %d is %v, and %v after a load", kind, i, a[i], b[i])
				}
			}
		}
		for _, other := range append(inverted, ann.HNSW, ann.Flat) {
			opt.Kind = other
			again := reload(t, ix, opt)
			flush(t, again)
			if st := again.Stats(); st.Points != 1500 {
				t.Errorf("%s loaded as %s: %+v", kind, other, st)
			}
		}
	}
}

func TestLoadRefusesDamagedLists(t *testing.T) {
	good := listSnapshot(t, ann.IVFPQ, 300)
	at := bytes.Index(good, []byte("FRESHLST"))
	flip := func(i int) []byte {
		b := bytes.Clone(good)
		b[i] ^= 0x40
		return b
	}
	for _, c := range []struct {
		name, want string
		bytes      []byte
	}{
		{"head", "head of the lists", flip(at + 20)},
		{"centroids", "checksum of the lists", flip(at + 70)},
		{"numbers", "checksum of the lists", flip(len(good) - 3)},
		{"cut in the head", "ends in the lists", good[:at+10]},
		{"cut in the body", "ends in the lists", good[:len(good)-10]},
		{"size", "are needed", sealedLists(replaced(good, at+24, 7))},
		{"lists", "are needed", sealedLists(replaced(good, at+16, 200))},
		{"number of a list", "there are", sealedLists(replaced(good, len(good)-4, 250))},
		{"centroid", "the centroid of list 0", sealedLists(replaced(good, at+67, 0x7f, at+66, 0xc0))},
	} {
		for _, kind := range []ann.Kind{ann.IVFPQ, ann.HNSW} {
			ix, err := ann.Load(bytes.NewReader(c.bytes), ann.Options{Kind: kind})
			if err == nil {
				ix.Close()
			}
			if kind == ann.HNSW && strings.HasPrefix(c.want, "the") {
				continue // what is not used is not looked at
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, ann.ErrDamaged) {
				t.Errorf("%s, as %s: error %v, want one with %q", c.name, kind, err, c.want)
			}
		}
	}
}

// replaced returns b with other bytes at some places.
func replaced(b []byte, pairs ...int) []byte {
	b = bytes.Clone(b)
	for i := 0; i < len(pairs); i += 2 {
		b[pairs[i]] = byte(pairs[i+1])
	}
	return b
}

// sealedLists returns b with the checksums of the lists that fit.
func sealedLists(b []byte) []byte {
	b = sealed(b)
	at := bytes.LastIndex(b, []byte("FRESHLST"))
	if at < 0 || len(b) < at+64 {
		return b
	}
	le, table := binary.LittleEndian, crc32.MakeTable(crc32.Castagnoli)
	le.PutUint32(b[at+40:], crc32.Checksum(b[at+64:], table))
	le.PutUint32(b[at+60:], crc32.Checksum(b[at:at+60], table))
	return b
}

// FuzzLoadLists is FuzzLoad for snapshots with lists.
func FuzzLoadLists(f *testing.F) {
	for i, kind := range inverted {
		f.Add(listSnapshot(f, kind, 60), uint8(i), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, kind uint8, seal bool) {
		if seal {
			b = sealedLists(b)
		}
		ix, err := ann.Load(bytes.NewReader(b), ann.Options{Kind: inverted[int(kind)%len(inverted)], FlatBelow: -1})
		if err != nil {
			return
		}
		defer ix.Close()
		q := make([]float32, ix.Options().Dim)
		q[0] = 1
		for _, k := range []int{10, 1000} {
			if res, err := ix.Search(q, k, ann.SearchOptions{}, nil); err != nil || len(res) != min(k, ix.Len()) {
				t.Fatalf("%d results of %d points, error %v", len(res), ix.Len(), err)
			}
		}
		for _, p := range ix.Check() {
			t.Fatal(p)
		}
	})
}
