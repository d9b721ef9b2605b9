package freshet

// DefaultCollection and DefaultNamespace are used where an event or a request names none.
const (
	DefaultCollection = "default"
	DefaultNamespace  = "default"
)

// MaxIDBytes is the longest id (event, entity, collection, namespace, source), in bytes.
const MaxIDBytes = 1024

// Key names an entity everywhere: the log is partitioned, compacted and versioned by it.
// Each part is 1 to [MaxIDBytes] bytes of UTF-8 without control characters.
type Key struct {
	Collection string
	Namespace  string
	Entity     string
}

// Shard names the part of a key that has an index of its own on a node.
func (k Key) Shard() Shard { return Shard{Collection: k.Collection, Namespace: k.Namespace} }

// Shard is one namespace of one collection: the unit of indexing and search.
type Shard struct {
	Collection string
	Namespace  string
}
