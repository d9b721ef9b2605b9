// Package kernel computes distances between vectors.
//
// Float vectors are padded with zeros to a multiple of Lanes components. Every implementation adds up in the same
// order and never fuses a multiplication with an addition, so that all of them return the same bits.
package kernel

// Lanes is the number of components that float vectors are padded to a multiple of.
const Lanes = 16

// Pad returns the padded length of a float vector of dim components.
func Pad(dim int) int { return (dim + Lanes - 1) / Lanes * Lanes }

// fold adds two rows of partial sums into one number, in the order in which a vector register is folded in halves.
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

// DotGo returns the inner product of a and b, which have the same padded length. Blocks of Lanes components go to two
// rows of partial sums by turns.
func DotGo(a, b []float32) float32 {
	var sums [2][Lanes]float32
	b = b[:len(a)]
	for i := 0; i+Lanes <= len(a); i += Lanes {
		x, y, s := (*[Lanes]float32)(a[i:]), (*[Lanes]float32)(b[i:]), &sums[i/Lanes&1]
		for j := range s {
			s[j] += float32(x[j] * y[j])
		}
	}
	return fold(&sums[0], &sums[1])
}

// L2Go returns the squared Euclidean distance of a and b, which have the same padded length.
func L2Go(a, b []float32) float32 {
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
