package static

// hashed overwrites v with the direction of a text that has no known piece: the sum of a ±1 vector per unknown word, or
// that of the empty word when there is none, scaled to length 1. Unrelated words meet at about a right angle.
func hashed(v []float32, words []uint64) {
	clear(v)
	for _, word := range words {
		addSigns(v, word)
	}
	if !normalize(v) {
		clear(v)
		addSigns(v, hashWord(nil))
		normalize(v)
	}
}

// addSigns adds 1 or -1 to every element of v, as the bits of a random sequence that begins at seed say.
func addSigns(v []float32, seed uint64) {
	var bits uint64
	for i := range v {
		if i%64 == 0 {
			seed += 0x9E3779B97F4A7C15
			bits = mix(seed)
		}
		v[i] += 1 - 2*float32(bits&1)
		bits >>= 1
	}
}

// mix is the finaliser of splitmix64 (Steele et al. 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// hashWord is FNV-1a, mixed. It must never change: stored vectors depend on it.
func hashWord(word []byte) uint64 {
	h := uint64(0xCBF29CE484222325)
	for _, c := range word {
		h = (h ^ uint64(c)) * 0x100000001B3
	}
	return mix(h)
}
