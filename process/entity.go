package process

import (
	"encoding/binary"
	"math"

	"github.com/zeebo/xxh3"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/wire"
)

// Entity is the latest state of an entity as the sequencer knows it. Change has no points;
// Points gives them, and is nil where only digests are kept (the audit).
type Entity struct {
	Change       freshet.Change
	PointsDigest [16]byte
	Offset       int64 // of its record in vector.sync
	Points       func() ([]freshet.Point, error)
	// Ready reports whether its vector came ready from the producer.
	Ready func() (bool, error)
	// Recall is nil where Change has text and metadata. In an audit it adds them, if they are known:
	// of what an entity was before its last upsert they need not be.
	Recall func(*freshet.Change) (known bool, err error)
}

// State is what the sequencer knows from before the batch.
type State interface {
	// Latest returns the latest state of an entity, nil when it never had one.
	Latest(key freshet.Key) (*Entity, error)
	// Seen returns the number under which an event id was remembered last, and the time (ms) of
	// the dedupe window then.
	Seen(id EventID) (number uint64, at int64, ok bool, err error)
	// NextID is the number that the next remembered event id gets.
	NextID() uint64
	// LastAt is the time of the event id that was remembered last, 0 before the first.
	LastAt() int64
	// Dead reports whether there is a dead letter, and what an audit takes of it as it is.
	Dead(offset int64, ordinal int) (there bool, refused Refusal, err error)
	// Facts is what commands have said.
	Facts() Facts
}

// EventID is the digest of what identifies an event: source, entity and event id.
type EventID [16]byte

func eventID(source string, key freshet.Key, id string) EventID {
	var room [512]byte
	b := room[:0]
	for _, s := range [...]string{source, key.Collection, key.Namespace, key.Entity} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return xxh3.Hash128(append(b, id...)).Bytes()
}

// contentDigest is the digest of what the points of a draft are made of.
func contentDigest(d *Draft) [16]byte {
	if d.Points != nil {
		digest := wire.PointsDigest(d.Points)
		digest[7] ^= 8
		return digest
	}
	if d.Vector == nil {
		h := xxh3.HashString128(d.Embed)
		h.Hi ^= 1
		if d.Embed != d.Text { // such points stand for no part of the text
			h.Hi ^= 2
		}
		return h.Bytes()
	}
	b := make([]byte, 0, 4*len(d.Vector))
	for _, f := range d.Vector {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	h := xxh3.Hash128(b)
	h.Hi ^= 4
	return h.Bytes()
}
