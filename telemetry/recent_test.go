package telemetry_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-io/freshet/telemetry"
)

func TestQuantilesAreOfTheNearestRank(t *testing.T) {
	for _, c := range []struct {
		n    int // values 1 to n
		q    float64
		want time.Duration
	}{
		{1, 0, 1}, {1, 0.5, 1}, {1, 1, 1},
		{2, 0.5, 1}, {2, 0.51, 2},
		{3, 0.5, 2},
		{4, 0.25, 1}, {4, 0.75, 3}, {4, 0.76, 4},
		{100, 0, 1}, {100, 0.07, 7}, {100, 0.5, 50}, {100, 0.99, 99}, {100, 0.991, 100}, {100, 1, 100},
		{1000, 0.99, 990}, {1000, 0.999, 999},
		{10, -1, 1}, {10, 2, 10},
	} {
		r := telemetry.NewRecent(c.n, time.Minute)
		for v := c.n; v > 0; v-- {
			r.Add(time.Duration(v))
		}
		if got, ok := r.Quantiles(c.q); !ok || got[0] != c.want {
			t.Errorf("quantile %v of 1 to %d is %d, %v, want %d", c.q, c.n, got, ok, c.want)
		}
	}
}

func TestOldValuesDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := telemetry.NewRecent(100, 10*time.Second)
		if got, ok := r.Quantiles(0.5); ok {
			t.Errorf("without values: %v", got)
		}
		r.Add(1)
		time.Sleep(6 * time.Second)
		r.Add(2)
		for _, c := range []struct {
			after time.Duration
			want  []time.Duration // least and greatest
		}{
			{0, []time.Duration{1, 2}},
			{4 * time.Second, []time.Duration{1, 2}}, // the first is exactly as old as the period
			{time.Nanosecond, []time.Duration{2, 2}},
			{6 * time.Second, nil},
		} {
			time.Sleep(c.after)
			if got, ok := r.Quantiles(0, 1); !slices.Equal(got, c.want) || ok != (c.want != nil) {
				t.Errorf("after %v more: %v, %v, want %v", c.after, got, ok, c.want)
			}
		}
	})
}

func TestOnlyTheLastValuesAreKept(t *testing.T) {
	for _, keep := range []int{0, 1, 3, 10} {
		r := telemetry.NewRecent(keep, time.Minute)
		for v := range 25 {
			r.Add(time.Duration(v))
		}
		got, ok := r.Quantiles(0, 1)
		if want := []time.Duration{time.Duration(25 - max(1, keep)), 24}; !ok || !slices.Equal(got, want) {
			t.Errorf("of the last %d values least and greatest are %v, want %v", keep, got, want)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	r := telemetry.NewRecent(64, time.Minute)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for v := range 500 {
				r.Add(time.Duration(v%10 + 1))
				if got, ok := r.Quantiles(0, 1); !ok || got[0] < 1 || got[1] > 10 || got[0] > got[1] {
					t.Errorf("least and greatest are %v, %v", got, ok)
				}
			}
		})
	}
	wg.Wait()
}
