package freshet

// The topics of the log, by their default names.
const (
	TopicRaw      = "events.raw"
	TopicKeyed    = "events.keyed"
	TopicSync     = "vector.sync"
	TopicDead     = "vector.sync.dlq"
	TopicState    = "freshet.state"
	TopicRequests = "embeddings.requests" // contents to embed, where other processes do it
	TopicResults  = "embeddings.results"
	TopicControl  = "freshet.control"
)

// Headers of a record of events.raw.
const (
	HeaderSource = "source"      // the system that the event came from
	HeaderTrace  = "traceparent" // W3C trace context
	// HeaderDefaultEvent marks an event of the default mapping, whatever mapping is configured:
	// a delete through the API, a CloudEvent, a file.
	HeaderDefaultEvent = "freshet.event"
	// HeaderCommand marks a command of freshet to itself and names its kind: it alters what the
	// events behind it mean, so it has its place among them. Sources don't pass it on.
	HeaderCommand = "freshet.command"
	// HeaderChange is the number, from 1, of the one change of an event that its record in events.keyed stands for; the
	// others stand in the partitions of their own entities. As decimal digits.
	HeaderChange = "freshet.change"
	// HeaderMappedAt is the time, ms as decimal digits, that a mapping was given for an event when its changes were taken
	// apart: it gives the same ones again.
	HeaderMappedAt = "freshet.mapped_at"
	// HeaderRefused says that an event can't be mapped and why, as JSON: it is a dead letter.
	HeaderRefused = "freshet.refused"
)

// TraceBytes is the length of a W3C trace context; one of another length is left out.
const TraceBytes = 55

// Position is a place in the log.
type Position struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Version orders the changes of one entity: compared by Order, then Epoch, then Offset.
// The zero version is older than every real one.
type Version struct {
	Order  int64  // the source's own order, >= 1; 0 when the collection uses none
	Epoch  uint32 // rises when offsets start anew
	Offset int64  // offset of the event in the log
}

// Compare returns -1, 0 or +1 as v is older than, the same as, or newer than o.
func (v Version) Compare(o Version) int {
	switch {
	case v.Order != o.Order:
		return sign(v.Order < o.Order)
	case v.Epoch != o.Epoch:
		return sign(v.Epoch < o.Epoch)
	case v.Offset != o.Offset:
		return sign(v.Offset < o.Offset)
	}
	return 0
}

// After reports whether v is newer than o.
func (v Version) After(o Version) bool { return v.Compare(o) > 0 }

func sign(less bool) int {
	if less {
		return -1
	}
	return 1
}

// Token names the positions of accepted events. A search that carries it waits until all of
// them are decided. Offsets mean something only in the log that the token names.
type Token struct {
	Log   LogID
	Spans []Span // sorted by topic, then partition; at most one each
}

// LogID is the random identity of a log in an epoch: it gets a new one where offsets start anew.
type LogID [8]byte

// Span is what a token holds of one partition. First is the lowest offset that the token
// covers (it only serves to find dead letters among the token's events), Last the highest.
type Span struct {
	Topic     string
	Partition int32
	First     int64
	Last      int64
}
