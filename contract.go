package freshet

import "context"

// Embedder turns content into vectors. It is safe for concurrent use.
type Embedder interface {
	// Model names the model and the shape of its vectors.
	Model() Model
	// Embed returns one result per input, in their order. One bad input fails alone: its
	// result has an error with a code, the others their vectors. The error of the call is
	// for what hit all of them (a deadline, a service that is down); it may be retried.
	Embed(ctx context.Context, inputs []Input) ([]Embedding, error)
}

// Model describes an embedding model. Two models with the same name give the same vectors.
type Model struct {
	Name string
	Dim  int
}

// Input is one thing to embed.
type Input struct {
	Text string
}

// Embedding is the result of one input: Vector of Model.Dim floats, or Err.
type Embedding struct {
	Vector []float32
	Err    error
}

// Store holds the latest change of every entity and finds entities by vector.
// All methods are safe for concurrent use.
type Store interface {
	// Apply makes changes visible to searches, each if its version is newer than the stored
	// one, or if it is Anew and the stored one a tombstone, or Again and the stored one not newer. It is idempotent; the results stand in the order of the changes. An error means
	// that nothing is known of the batch and it is to be applied again.
	Apply(ctx context.Context, changes []Change) ([]Applied, error)
	// Drop removes all entities of a shard, or with an empty namespace of all shards of a collection, tombstones
	// included, from searches and from memory. The table is emptied before. It may be repeated only before changes are
	// applied to the shard again.
	Drop(ctx context.Context, name Shard) error
	// Get returns the latest change of an entity, tombstones included; ok is false when the
	// store has never seen it.
	Get(ctx context.Context, key Key) (change Change, ok bool, err error)
	// Search returns the q.K best entities, best first.
	Search(ctx context.Context, q Query) ([]Hit, error)
}

// Applied is what became of one change.
type Applied uint8

// The outcomes of applying a change.
const (
	AppliedNew        Applied = iota + 1 // visible now
	AppliedSuperseded                    // the store holds the same version or a newer one
)

// Query is a planned search in one shard.
type Query struct {
	Shard   Shard
	Vector  []float32
	K       int
	Ef      int    // search width; 0 means the index's default
	Filter  Filter // nil means no filter
	Exclude string // an entity that must not be returned, or ""
	Exact   bool   // scan instead of walking the graph
	// Bare hits carry key, score, slot and version only, which saves reading their records.
	Bare bool
}

// Filter decides by an entity's metadata whether it may be returned. Package filter
// implements it; a store may answer it from an index of its own.
type Filter interface {
	Match(metadata []byte) (bool, error)
	String() string
}
