package kernel

// Lanes is the number of components that float vectors are padded to a multiple of.
const Lanes = 16

// Pad returns the padded length of a float vector of dim components.
func Pad(dim int) int { return (dim + Lanes - 1) / Lanes * Lanes }

// dotGo adds up blocks of Lanes products by turns in two rows of partial sums.
func dotGo(a, b []float32) float32 {
	var sums [2][Lanes]float32
	b = b[:len(a)]
	for i := 0; i+Lanes <= len(a); i += Lanes {
		x, y, s := (*[Lanes]float32)(a[i:]), (*[Lanes]float32)(b[i:]), &sums[i/Lanes&1]
		for j := range s {
			s[j] += float32(x[j] * y[j]) // the conversion forbids a fused multiply-add
		}
	}
	return fold(&sums[0], &sums[1])
}

// l2Go adds up like dotGo.
func l2Go(a, b []float32) float32 {
	var sums [2][Lanes]float32
	b = b[:len(a)]
	for i := 0; i+Lanes <= len(a); i += Lanes {
		x, y, s := (*[Lanes]float32)(a[i:]), (*[Lanes]float32)(b[i:]), &sums[i/Lanes&1]
		for j := range s {
			d := x[j] - y[j]
			s[j] += float32(d * d)
		}
	}
	return fold(&sums[0], &sums[1])
}

// fold adds two rows of partial sums into one number: row to row, then the upper half of the row to the lower, as a
// vector register is folded.
func fold(even, odd *[Lanes]float32) float32 {
	for i := range even {
		even[i] += odd[i]
	}
	for half := Lanes / 2; half > 0; half /= 2 {
		for i := range half {
			even[i] += even[i+half]
		}
	}
	return even[0]
}
