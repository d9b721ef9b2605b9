package sim_test

import (
	"testing"

	"github.com/freshet-io/freshet/sim"
)

func TestCrash(t *testing.T) {
	for seed := range uint64(20) {
		r, err := sim.Run(seed, sim.Options{})
		t.Logf("%+v", r)
		if err != nil {
			t.Error(err)
		}
	}
}
