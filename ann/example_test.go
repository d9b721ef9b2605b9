package ann_test

import (
	"context"
	"fmt"

	"github.com/freshet-io/freshet/ann"
)

func Example() {
	ix, err := ann.New(ann.Options{Dim: 3})
	if err != nil {
		panic(err)
	}
	defer ix.Close()

	// A batch appears at once; the next search finds it.
	err = ix.Apply([]ann.Op{
		{Key: 1, Vector: []float32{1, 0, 0}},
		{Key: 2, Vector: []float32{0, 1, 0}},
		{Key: 3, Vector: []float32{0.9, 0.1, 0}},
	})
	if err != nil {
		panic(err)
	}
	if err := ix.Apply([]ann.Op{{Key: 1}}); err != nil { // a delete
		panic(err)
	}
	hits, err := ix.Search([]float32{1, 0, 0}, 2, ann.SearchOptions{}, nil)
	if err != nil {
		panic(err)
	}
	for _, h := range hits {
		fmt.Printf("%d %.2f\n", h.Key, h.Score)
	}
	if err := ix.Flush(context.Background()); err != nil { // waits for links, which searches never do
		panic(err)
	}
	// Output:
	// 3 0.99
	// 2 0.00
}
