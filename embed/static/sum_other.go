//go:build !amd64

package static

// addRowsFast reports false: there is no assembly for this processor.
func addRowsFast([]float32, []byte, []float32, []int32) bool { return false }
