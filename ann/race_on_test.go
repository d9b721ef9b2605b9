//go:build race

package ann_test

// raceEnabled says that the race detector slows the tests down tenfold: they use smaller sizes then.
const raceEnabled = true
