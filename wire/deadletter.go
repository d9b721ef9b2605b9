package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/freshet-io/freshet"
)

const deadFormat = 1

// dead is the JSON of a dead letter on disk.
type dead struct {
	Format     int          `json:"format"`
	Topic      string       `json:"topic"`
	Partition  int32        `json:"partition"`
	Offset     int64        `json:"offset"`
	Ordinal    int          `json:"ordinal"`
	Stage      string       `json:"stage"`
	Class      freshet.Code `json:"class"`
	Message    string       `json:"message"`
	Attempts   int          `json:"attempts"`
	At         int64        `json:"at"`
	Collection string       `json:"collection,omitempty"`
	Namespace  string       `json:"namespace,omitempty"`
	Entity     string       `json:"entity_id,omitempty"`
	EventID    string       `json:"event_id,omitempty"`
	Source     string       `json:"source,omitempty"`
	Trace      string       `json:"trace,omitempty"`
	Default    bool         `json:"default,omitempty"`
	MappedAt   int64        `json:"mapped_at,omitempty"`
	Whole      bool         `json:"whole,omitempty"`
	KeyID      uint32       `json:"key_id,omitempty"` // of encryption; 0 = not encrypted
	Value      []byte       `json:"value"`
}

// AppendDeadLetter appends the bytes of a dead letter.
func AppendDeadLetter(b []byte, l *freshet.DeadLetter) []byte {
	v, err := json.Marshal(dead{Format: deadFormat, Topic: l.Position.Topic, Partition: l.Position.Partition,
		Offset: l.Position.Offset, Ordinal: l.Ordinal, Stage: l.Stage, Class: l.Class, Message: l.Message,
		Attempts: l.Attempts, At: l.At, Collection: l.Key.Collection, Namespace: l.Key.Namespace,
		Entity: l.Key.Entity, EventID: l.EventID, Source: l.Source, Trace: l.Trace, Default: l.Default, MappedAt: l.MappedAt, Whole: l.Whole, Value: l.Value})
	if err != nil {
		panic(err) // every field is a plain string, number or byte slice
	}
	return append(b, v...)
}

// DecodeDeadLetter reads a dead letter.
func DecodeDeadLetter(b []byte) (freshet.DeadLetter, error) {
	var v dead
	if err := json.Unmarshal(b, &v); err != nil {
		return freshet.DeadLetter{}, fmt.Errorf("dead letter: %w", err)
	}
	if v.Format != deadFormat {
		return freshet.DeadLetter{}, fmt.Errorf("dead letter has format %d, this version reads %d", v.Format, deadFormat)
	}
	if v.KeyID != 0 {
		return freshet.DeadLetter{}, fmt.Errorf("dead letter is encrypted with key %d, which this version can't read", v.KeyID)
	}
	return freshet.DeadLetter{
		Position: freshet.Position{Topic: v.Topic, Partition: v.Partition, Offset: v.Offset}, Ordinal: v.Ordinal,
		Stage: v.Stage, Class: v.Class, Message: v.Message, Attempts: v.Attempts, At: v.At,
		Key:     freshet.Key{Collection: v.Collection, Namespace: v.Namespace, Entity: v.Entity},
		EventID: v.EventID, Source: v.Source, Trace: v.Trace, Default: v.Default, MappedAt: v.MappedAt, Whole: v.Whole, Value: v.Value}, nil
}

// DeadLetterKey is the key of a dead letter: keys sort by offset, then ordinal.
func DeadLetterKey(offset int64, ordinal int) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(offset))
	return binary.BigEndian.AppendUint32(b, uint32(ordinal))
}
