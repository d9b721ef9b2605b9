package journal

// BytesFrom is about how many bytes of frames stand from an offset on: exact to the distance
// between entries of the sparse index.
func (j *Journal) BytesFrom(offset int64) int64 {
	if offset >= j.End() {
		return 0
	}
	j.mu.Lock()
	segments := append([]*segment(nil), j.segments...)
	j.mu.Unlock()
	var total int64
	for i := len(segments) - 1; i >= 0; i-- {
		s := segments[i]
		info, err := j.fs.Stat(s.path)
		if err != nil {
			continue // retention has removed it
		}
		if s.base > offset {
			total += info.Size()
			continue
		}
		return total + info.Size() - s.seek(offset).pos
	}
	return total
}
