// Package dataset gives benchmarks their vectors: read from fvecs and ivecs files, or made from a seed, with the exact
// nearest neighbours of every query.
//
// A Set is a base, queries, a metric and the truth. Open makes one from a Source, which is what the flags of the
// commands fill in. Distances here are plain Go in double precision: what judges an index shares no code with it.
//
// The package does not measure anything, and it fetches nothing: the texts and the word vectors that some sets are made
// from must lie in the shared folder.
package dataset
