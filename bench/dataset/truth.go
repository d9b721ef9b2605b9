package dataset

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/freshet-io/freshet/ann"
)

// checkedQueries is how many queries of a truth are compared with a plain scan.
const checkedQueries = 8

// truthSlack is how many neighbours more than asked a flat index is asked for, so that the order in float64 has them
// all: neighbours that float32 orders differently lie next to each other.
const truthSlack = 20

// Truth returns of each query the k rows of base that are nearest, nearest first, equal ones by row. A flat index, which
// compares with every row, proposes k+truthSlack; they are ordered anew in float64.
func Truth(base, queries Matrix, metric ann.Metric, k int) ([][]int32, error) {
	ix, err := ann.New(ann.Options{Dim: base.Dim, Metric: metric, Kind: ann.Flat})
	if err != nil {
		return nil, fmt.Errorf("dataset: truth: %w", err)
	}
	defer ix.Close()
	if err := Fill(ix, base, 0); err != nil {
		return nil, fmt.Errorf("dataset: truth: %w", err)
	}
	truth := make([][]int32, queries.Rows())
	err = parallel(len(truth), func(i int) error {
		res, err := ix.Search(queries.Row(i), k+truthSlack, ann.SearchOptions{Exact: true}, nil)
		if err != nil {
			return fmt.Errorf("dataset: truth: query %d: %w", i, err)
		}
		rows := make([]int32, len(res))
		for j, r := range res {
			rows[j] = int32(r.Key)
		}
		truth[i] = nearest(base, queries.Row(i), metric, rows, k)
		return nil
	})
	return truth, err
}

// BruteForce returns the k rows of base nearest to q by comparing with each, in float64: slow, and right.
func BruteForce(base Matrix, q []float32, metric ann.Metric, k int) []int32 {
	rows := make([]int32, base.Rows())
	for i := range rows {
		rows[i] = int32(i)
	}
	return nearest(base, q, metric, rows, k)
}

// nearest returns the k of rows that are nearest to q, in order.
func nearest(base Matrix, q []float32, metric ann.Metric, rows []int32, k int) []int32 {
	type far struct {
		d   float64
		row int32
	}
	list := make([]far, len(rows))
	for i, r := range rows {
		list[i] = far{Distance(metric, q, base.Row(int(r))), r}
	}
	slices.SortFunc(list, func(a, b far) int {
		switch {
		case a.d < b.d, a.d == b.d && a.row < b.row:
			return -1
		case a == b:
			return 0
		}
		return 1
	})
	out := make([]int32, min(k, len(list)))
	for i := range out {
		out[i] = list[i].row
	}
	return out
}

// checkTruth compares the truth of n queries, spread over all, with a plain scan: every neighbour must be as near as the
// one that the scan has in its place.
func (s *Set) checkTruth(n int) error {
	for i, t := range s.Truth {
		if len(t) == 0 {
			return fmt.Errorf("dataset: the truth of query %d is empty", i)
		}
		for _, row := range t {
			if row < 0 || int(row) >= s.Base.Rows() {
				return fmt.Errorf("dataset: the truth of query %d has row %d: the base has %d", i, row, s.Base.Rows())
			}
		}
	}
	n = min(n, len(s.Truth))
	return parallel(n, func(j int) error {
		i := j * len(s.Truth) / n
		q := s.Queries.Row(i)
		want := BruteForce(s.Base, q, s.Metric, len(s.Truth[i]))
		for place, row := range s.Truth[i][:len(want)] {
			got, best := Distance(s.Metric, q, s.Base.Row(int(row))), Distance(s.Metric, q, s.Base.Row(int(want[place])))
			if !WithinTie(got, best) {
				return fmt.Errorf("dataset: the truth of query %d has row %d at place %d, at distance %v, but row %d is at %v: "+
					"is %v the metric of this truth?", i, row, place+1, got, want[place], best, s.Metric)
			}
		}
		return nil
	})
}

// fillBatch is how many vectors Fill applies at once.
const fillBatch = 500

// Fill upserts the rows of m, with firstKey plus their place as keys, and waits until all are in the graph.
func Fill(ix *ann.Index, m Matrix, firstKey uint64) error {
	ops := make([]ann.Op, 0, fillBatch)
	for i := range m.Rows() {
		ops = append(ops, ann.Op{Key: firstKey + uint64(i), Vector: m.Row(i)})
		if len(ops) == fillBatch || i == m.Rows()-1 {
			if err := ix.Apply(ops); err != nil {
				return err
			}
			ops = ops[:0]
		}
	}
	return ix.Flush(context.Background())
}

// parallel calls do for 0 to n-1 on all processors and returns one of the errors.
func parallel(n int, do func(i int) error) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	next := 0
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for {
				mu.Lock()
				i, stop := next, failed != nil
				next++
				mu.Unlock()
				if i >= n || stop {
					return
				}
				if err := do(i); err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return failed
}
