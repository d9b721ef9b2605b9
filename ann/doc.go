// Package ann is an in-memory vector index that stays true while it changes: points are searchable by the very next
// search after Apply returns, batches appear at once or not at all, deleted points are never returned, and recall holds
// when every vector has been replaced many times. It is written in Go and assembly, without cgo, and can be used by itself.
//
// An Index maps uint64 keys to vectors of one dimension. Apply upserts and deletes, Search finds the nearest, Snapshot
// and Load keep an index over a restart. All methods may be called by any number of goroutines at the same time.
//
// There are several kinds, with the same promises. HNSW links points into a navigable graph, in the background; until a
// point is linked, searches find it in a buffer that they scan exactly. HNSWDisk is the same with the vectors in a file.
// Flat compares the query with every point: it is exact, and what the others are measured against. IVFFlat, IVFPQ and IVFHNSW
// divide the points among lists of near ones, four times the square root of the points (IVFHNSW: one list for 48 points
// when that is more). They are exact until lists are trained in the background, above Options.FlatBelow points, and train
// them anew when the index has grown by 2.5 or its points have drifted away. A search looks at the nearest
// ef × √lists / 64 lists, or at SearchOptions.Probes of them.
//
// A search says how hard it tries (Ef, Probes), asks for a recall (Recall), or for all there is (Exact).
//
// The package does not embed text, keep metadata, log its operations or own files: a caller that needs durability
// writes the operations to a log of its own and repeats those after the last snapshot.
//
// DESIGN.md in this folder says how it works and why.
package ann
