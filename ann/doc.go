// Package ann is an in-memory vector index that stays true while it changes: points are searchable by the very next
// search after Apply returns, batches appear at once or not at all, deleted points are never returned, and recall holds
// when every vector has been replaced many times. It is written in Go and assembly, without cgo, and can be used by itself.
//
// An Index maps uint64 keys to vectors of one dimension. Apply upserts and deletes, Search finds the nearest, Snapshot
// and Load keep an index over a restart. All methods may be called by any number of goroutines at the same time.
//
// There are two kinds. HNSW links points into a navigable graph, in the background; until a point is linked, searches
// find it in a buffer that they scan exactly. Flat compares the query with every point: it is exact, and what HNSW is
// measured against.
//
// The package does not embed text, keep metadata, log its operations or own files: a caller that needs durability
// writes the operations to a log of its own and repeats those after the last snapshot.
//
// DESIGN.md in this folder says how it works and why.
package ann
