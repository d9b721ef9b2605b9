package embedded

import (
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/filter"
	"github.com/freshet-io/freshet/store/storetest"
)

func TestConformance(t *testing.T) {
	for name, index := range map[string]IndexOptions{"flat": flat, "graph": graph} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Harness {
				b := newBench(t, index)
				t.Cleanup(b.wantClean)
				return storetest.Harness{
					Store:  b.store,
					Commit: func(changes []freshet.Change) error { return b.commit(changes...) },
					Filter: func(text string) (freshet.Filter, error) { return filter.Parse([]byte(text)) },
				}
			})
		})
	}
}
