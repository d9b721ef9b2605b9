package wire

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestPartitionsAreReadAsWritten(t *testing.T) {
	for text, want := range map[string][]int32{"3": {3}, "0-2": {0, 1, 2}, "0-1,3,5-7": {0, 1, 3, 5, 6, 7}} {
		got, err := ParsePartitions(text, 8)
		if err != nil || !slices.Equal(got, want) || PartitionsString(want) != text {
			t.Errorf("%q is read as %v, %v, and written as %q", text, got, err, PartitionsString(want))
		}
	}
	if PartitionsString(nil) != "" {
		t.Error("no partitions are", PartitionsString(nil))
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		n := 1 + r.IntN(40)
		var list []int32
		for p := range int32(n) {
			if r.IntN(3) > 0 {
				list = append(list, p)
			}
		}
		if len(list) == 0 {
			continue // no text: all
		}
		if got, err := ParsePartitions(PartitionsString(list), n); err != nil || !slices.Equal(got, list) {
			t.Errorf("%v of %d is read back as %v, %v", list, n, got, err)
		}
	}
	for _, text := range []string{"8", "-1", "1-", "-", ",", "2-1", "x", "all,1", "1.5", "99999999999999999999"} {
		if got, err := ParsePartitions(text, 8); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}
