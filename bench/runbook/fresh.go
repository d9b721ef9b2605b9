package runbook

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// maxEf ends the search for an ef.
const maxEf = 4096

// chooseEf returns the smallest ef that gives the target on a fresh index of what is live.
func (r *runner) chooseEf(ctx context.Context, e Engine) (int, error) {
	if r.changed {
		fresh, err := r.freshEngine(ctx, e)
		if err != nil {
			return 0, err
		}
		defer fresh.Close()
		e = fresh
	}
	enough := func(ef int) (bool, error) {
		answers, err := e.Search(ctx, ef, r.K)
		return err == nil && r.score(answers).Recall >= r.Target, err
	}
	low, high := r.K-1, r.K // low is too small
	for {
		ok, err := enough(high)
		if err != nil {
			return 0, err
		}
		if ok {
			break
		}
		if high >= maxEf {
			return 0, fmt.Errorf("recall stays below %v up to ef %d", r.Target, high)
		}
		low, high = high, min(2*high, maxEf)
	}
	for high-low > 1 {
		middle := (low + high) / 2
		ok, err := enough(middle)
		if err != nil {
			return 0, err
		}
		if ok {
			high = middle
		} else {
			low = middle
		}
	}
	return high, nil
}

// freshEngine returns an engine that got what is live in one go, in the order of ids.
func (r *runner) freshEngine(ctx context.Context, e Engine) (Engine, error) {
	fresh, err := e.Fresh(ctx)
	if err != nil {
		return nil, err
	}
	ids := slices.Sorted(maps.Keys(r.truth.rows))
	rows := make([]int, len(ids))
	for i, id := range ids {
		rows[i], _ = r.truth.Row(id)
	}
	if err := fresh.Apply(ctx, nil, ids, rows); err != nil {
		fresh.Close()
		return nil, err
	}
	return fresh, nil
}

func (r *runner) fresh(ctx context.Context, e Engine, ef int) (float64, error) {
	fresh, err := r.freshEngine(ctx, e)
	if err != nil {
		return 0, err
	}
	defer fresh.Close()
	answers, err := fresh.Search(ctx, ef, r.K)
	if err != nil {
		return 0, err
	}
	return r.score(answers).Recall, nil
}
