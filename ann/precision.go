package ann

import "fmt"

// Precision says how exactly an index keeps its vectors. It decides what Vector returns, what scores are computed from,
// and most of the memory. Kinds with codes have those besides, one byte per component; they steer walks.
type Precision uint8

const (
	// Float32 keeps vectors as they came, under cosine normalised: 4 bytes per component.
	Float32 Precision = iota
	// Float16 rounds every component to 11 significant bits, and small ones to a multiple of a smallest step: 2 bytes per
	// component. Under cosine, where no component is above 1, the step is 2^-24. Under the other metrics vectors have a
	// scale each, of 4 bytes, and the step is 2^-38 of the largest component or less: so vectors with components that no
	// half-precision number can have, such as 1e6 or 1e-9, are as exact as others.
	Float16
	// Int8 keeps the codes only: 1 byte per component, 1/254 of the largest component off at most. Results are ranked
	// by the vectors that the codes stand for, and an exact search is exact with respect to those.
	Int8
)

var precisionNames = [...]string{"float32", "float16", "int8"}

// String returns the name that ParsePrecision accepts.
func (p Precision) String() string {
	if int(p) < len(precisionNames) {
		return precisionNames[p]
	}
	return fmt.Sprintf("precision(%d)", uint8(p))
}

// ParsePrecision returns the precision of a name: float32, float16 or int8.
func ParsePrecision(name string) (Precision, error) {
	for i, n := range precisionNames {
		if n == name {
			return Precision(i), nil
		}
	}
	return 0, fmt.Errorf("ann: precision %q is not known: use float32, float16 or int8", name)
}
