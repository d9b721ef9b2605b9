package freshet

// Op says what an event or a change does to its entity.
type Op uint8

// The operations. A patch alters the stored payload; what it makes of its entity is an OpUpsert.
const (
	OpUpsert Op = 1
	OpDelete Op = 2
	OpPatch  Op = 3
)

// String is the name of the operation in JSON.
func (o Op) String() string {
	switch o {
	case OpUpsert:
		return "upsert"
	case OpDelete:
		return "delete"
	case OpPatch:
		return "patch"
	}
	return "unknown"
}

// Event is what a producer sends, read from one record of events.raw by the default
// mapping. Strings and slices may alias the record's bytes and live as long as they do.
type Event struct {
	ID        string // "" when the producer gave none: such an event can't be recognised as a repeat
	Source    string // the system it came from; part of the identity of a repeat
	Key       Key
	Timestamp int64 // ms since 1970, the producer's clock; 0 when absent
	Op        Op
	Order     int64     // source order, >= 1; 0 when absent
	Vector    []float32 // a ready vector; nil when the text is to be embedded
	Payload   []byte    // a JSON value; nil when absent. Of a patch: a merge patch (RFC 7396)
	State     []byte    // a JSON value: the state as an export gives it, instead of Payload and Vector; nil when absent
	ExpiresAt int64     // ms since 1970, when the entity is to go; 0 = never
	// SetsExpiry says that ExpiresAt is given, if only as null: a patch without it alters nothing.
	SetsExpiry bool
}
