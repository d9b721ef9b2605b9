package process

import "github.com/freshet-io/freshet"

// Record is one raw record to be mapped. Value is valid during the call of Map and must be
// copied by what outlives it; drafts may alias it.
type Record struct {
	Position   freshet.Position
	AcceptedAt int64  // ms, when it became durable
	Source     string // the system it came from
	Trace      string // W3C traceparent, or ""
	Default    bool   // an event of the default mapping, whatever mapping is configured
	Command    string // the kind of command that it is; "" for an event
	Change     int    // the number, from 1, of the only change of it that counts; 0 = all of them
	MappedAt   int64  // ms, of the time that it was mapped with when it was taken apart; 0 = AcceptedAt
	Refused    error  // it could not be read or mapped when it was taken apart, and is not tried again
	Value      []byte
}

// ordinal is that of the change that counts, and of the dead letter if the record can't be mapped.
func (r *Record) ordinal() int { return max(0, r.Change-1) }

// Draft is what mapping makes of a record: the change of one entity, before it has a version.
type Draft struct {
	Key       freshet.Key
	EventID   string // "" when the producer gave none
	Timestamp int64  // ms; 0 when absent
	Order     int64  // >= 1; 0 when absent
	Op        freshet.Op
	Text      string    // what the entity says; stored as it is
	Embed     string    // what is embedded when Vector is nil; often the same as Text
	Vector    []float32 // a ready vector, or nil
	Metadata  []byte    // a JSON object, or nil
	OwnText   bool      // see [freshet.Change]
	// Points are vectors with all that belongs to them, instead of Vector; nil when the text is to be embedded.
	Points    []freshet.Point
	ExpiresAt int64 // ms; 0 = never

	// Of a patch Metadata is a merge patch (RFC 7396): of the payload where Whole is set, from which
	// text and metadata are then taken anew by the rules of the default mapping; else of the
	// metadata, and Text and Embed replace what is stored where SetsText and SetsEmbed are set.
	// So does ExpiresAt where SetsExpiry is set.
	Whole, SetsText, SetsEmbed, SetsExpiry bool
}

// vectors reports whether the draft brings its vectors.
func (d *Draft) vectors() bool { return d.Vector != nil || d.Points != nil }

// ready reports whether they are the producer's own, and not what a model once made of the text.
func (d *Draft) ready() bool { return d.Vector != nil || isReady(d.Points) }

// isReady is ready for the points of an entity.
func isReady(points []freshet.Point) bool { return len(points) > 0 && points[0].Model == "" }

// Mapper turns a record into the drafts it stands for: none when the record is dropped. It
// is safe for concurrent use. A *freshet.Error says why the record can't be mapped; the
// record then becomes a dead letter. One with freshet.CodeUnavailable is of what mapping needs, and not of the record: the batch
// is tried again. One with freshet.CodeUnknownSchema is taken by audits as it was, for they may find the schema there.
type Mapper interface {
	Map(r Record) ([]Draft, error)
	// Describe is a canonical text of the mapping: it changes if and only if what Map does may
	// change. The revision is taken from it.
	Describe() string
}
