package ann

import "slices"

// topK keeps the k best results.
type topK struct {
	k    int
	heap []Result // binary heap, the worst first
}

func (t *topK) reset(k int) { t.k, t.heap = k, t.heap[:0] }

// better orders results: by score, then by key.
func better(a, b Result) bool { return a.Score > b.Score || a.Score == b.Score && a.Key < b.Key }

// push adds r when it is among the best.
func (t *topK) push(r Result) {
	if len(t.heap) < t.k {
		t.heap = append(t.heap, r)
		for i := len(t.heap) - 1; i > 0; {
			parent := (i - 1) / 2
			if !better(t.heap[parent], t.heap[i]) {
				break
			}
			t.heap[parent], t.heap[i] = t.heap[i], t.heap[parent]
			i = parent
		}
		return
	}
	if !better(r, t.heap[0]) {
		return
	}
	t.heap[0] = r
	for i := 0; ; {
		child := 2*i + 1
		if child >= len(t.heap) {
			return
		}
		if child+1 < len(t.heap) && better(t.heap[child], t.heap[child+1]) {
			child++
		}
		if !better(t.heap[i], t.heap[child]) {
			return
		}
		t.heap[i], t.heap[child] = t.heap[child], t.heap[i]
		i = child
	}
}

// appendTo appends the results to dst, best first.
func (t *topK) appendTo(dst []Result) []Result {
	slices.SortFunc(t.heap, func(a, b Result) int {
		if better(a, b) {
			return -1
		}
		if a == b {
			return 0
		}
		return 1
	})
	return append(dst, t.heap...)
}
