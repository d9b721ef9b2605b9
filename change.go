package freshet

// Point is one vector of an entity. Slot is a chunk number ("0", "1", …) or a name.
type Point struct {
	Model  string    // the model that made the vector; "" when the producer sent it
	Slot   string    // unique within the entity
	Vector []float32 // as the model or the producer gave it
	Start  int       // the text it stands for is Text[Start:End], bytes; 0,0 when it stands for no text
	End    int
}

// Change is the whole state of an entity at a version: what vector.sync carries and a store
// applies. Applying it replaces all points of the entity as one. A deletion is a Change with
// OpDelete and neither points, text nor metadata: the versioned tombstone.
type Change struct {
	Key      Key
	Version  Version
	Revision uint32 // mapping and models in force
	Op       Op     // OpUpsert or OpDelete
	Points   []Point
	Text     string // byte for byte as it came
	Metadata []byte // a JSON object, or nil
	// OwnText says that the text was given as such although it is what the strings of Metadata
	// joined give, which is where a text comes from that was not given: a patch must know.
	OwnText bool
	Base    *Base // of a state that a patch made

	Events        uint64 // events that changed the entity so far, this one included, deletions too
	Source        string
	SourceEventID string
	ExpiresAt     int64 // ms since 1970: from then on it is hidden, and deleted soon; 0 = never
	EventTime     int64 // ms, the producer's timestamp; 0 when absent
	AcceptedAt    int64 // ms, when the event became durable in the log
	Trace         string

	// Anew says that what the entity was before counts no more: the change is applied to a tombstone whatever its version.
	// It is not written down, for vector.sync holds nothing but the change then.
	Anew bool
	// Again says that what the index has of the entity may be wrong: the change is applied unless a newer one has been. It is
	// not written down either.
	Again bool

	Content [16]byte // digest of what the points were made of: equal means no embedding is needed
	Digest  [16]byte // digest of the whole state (op, text, metadata, points); the audit compares it
}

// Base is what the first patch since the last upsert of an entity was applied to. A state that
// patches made carries it, so that an audit, which keeps no payloads, can apply them again.
type Base struct {
	Version  Version
	Text     string
	Metadata []byte
	OwnText  bool
	Ready    bool // its vector came ready from the producer
}

// Deleted reports whether the change is a tombstone.
func (c *Change) Deleted() bool { return c.Op == OpDelete }

// Due reports whether the entity has expired at a time, ms.
func (c *Change) Due(now int64) bool { return c.ExpiresAt != 0 && c.ExpiresAt <= now }

// DeadLetter is an event, or one change it maps to, that could not be applied.
type DeadLetter struct {
	Position Position
	Ordinal  int    // which change of the event, when a mapping yields several
	Stage    string // "decode", "map", "validate", "sequence", "patch", "embed", "apply"
	Class    Code
	Message  string
	Attempts int
	At       int64 // ms, when the event became durable: the same at every replay
	Key      Key   // as far as known
	EventID  string
	Source   string
	Trace    string // W3C traceparent, or ""
	Default  bool   // an event of the default mapping, whatever mapping is configured
	MappedAt int64  // ms, the time that the event was mapped with when it was taken apart; 0 = At
	Whole    bool   // of the whole event, which gave no change at all
	Value    []byte // the record's bytes as they came
}

// Hit is one entity that a search found.
type Hit struct {
	Key           Key
	Score         float32 // similarity, higher is better
	Slot          string  // the best point
	Model         string
	Metadata      []byte
	Text          string
	Version       Version
	Revision      uint32
	AcceptedAt    int64 // ms
	SourceEventID string
}
