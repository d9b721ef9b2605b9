package wire

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// AllPartitions is the text that stands for all partitions of a log, as the empty one does.
const AllPartitions = "all"

// ParsePartitions reads numbers and ranges such as "0-3,7", of a log with n partitions, and returns them in order, each once.
func ParsePartitions(text string, n int) ([]int32, error) {
	held := make([]bool, n)
	if text == "" || text == AllPartitions {
		text = fmt.Sprintf("0-%d", n-1)
	}
	for part := range strings.SplitSeq(text, ",") {
		low, high, ranged := strings.Cut(part, "-")
		if !ranged {
			high = low
		}
		first, err := strconv.Atoi(strings.TrimSpace(low))
		last, err2 := strconv.Atoi(strings.TrimSpace(high))
		if errors.Join(err, err2) != nil || first > last {
			return nil, fmt.Errorf(`%q is no partition and no range of them; write numbers and ranges like "0-3,7", or all`, strings.TrimSpace(part))
		}
		if first < 0 || last >= n {
			return nil, fmt.Errorf("%q is out of range: the log has the partitions 0 to %d", strings.TrimSpace(part), n-1)
		}
		for p := first; p <= last; p++ {
			held[p] = true
		}
	}
	var list []int32
	for p, yes := range held {
		if yes {
			list = append(list, int32(p))
		}
	}
	return list, nil
}

// PartitionsString writes partitions, which are in order, as ParsePartitions reads them.
func PartitionsString(list []int32) string {
	var b strings.Builder
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, list[i])
		if j > i {
			fmt.Fprintf(&b, "-%d", list[j])
		}
		i = j + 1
	}
	return b.String()
}
