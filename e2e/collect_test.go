package e2e_test

import (
	"cmp"
	"maps"
	"slices"
	"sync"
)

// keys returns the keys of a map in order.
func keys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// parallel calls use for every item, on n goroutines, and returns when all calls have.
func parallel[T any](n int, items []T, use func(T)) {
	var wg sync.WaitGroup
	next := make(chan T)
	for range n {
		wg.Go(func() {
			for item := range next {
				use(item)
			}
		})
	}
	for _, item := range items {
		next <- item
	}
	close(next)
	wg.Wait()
}
