//go:build !amd64

package static

// There is no assembly for this processor: these report false.

func addRowsFast([]float32, []byte, []float32, []int32) bool { return false }

func squaresFast(*[squareLanes]float32, []float32) bool { return false }

func scaleFast([]float32, float32) bool { return false }
