package process

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/wire"
)

// folded is what a fold keeps of an entity: enough to sequence its next event, and to
// compare it. It holds no vectors, and text and metadata only of a state that patches made.
type folded struct {
	version  freshet.Version
	revision uint32
	op       freshet.Op
	events   uint64
	content  [16]byte
	points   [16]byte
	digest   [16]byte
	accepted int64         // ms
	expires  int64         // ms, 0 = never
	patched  *freshet.Base // nil unless patches made the state
	base     [16]byte      // digest of what the first of those patches was applied to
	blank    bool          // patches made the state, and nobody knows what of
}

// latest reads a record of a compacted topic, now or at an instant.
type latest func(topic string, key []byte) (broker.Record, bool, error)

// change is what is known of the entity's state.
func (e *folded) change() *freshet.Change {
	return &freshet.Change{Version: e.version, Revision: e.revision, Op: e.op, Events: e.events,
		Content: e.content, Digest: e.digest, AcceptedAt: e.accepted, ExpiresAt: e.expires}
}

// entity is what sequencing gets to know.
func (e folded) entity(key freshet.Key, read latest) *Entity {
	out := &Entity{PointsDigest: e.points, Change: *e.change()}
	out.Change.Key = key
	base := e.patched
	out.Ready = func() (bool, error) { return base != nil && base.Ready, nil }
	out.Recall = func(c *freshet.Change) (known bool, err error) {
		if base == nil && !e.blank {
			if base, err = e.patchedFrom(key, read); err != nil {
				return false, err
			}
		}
		if base != nil {
			c.Text, c.Metadata, c.OwnText = base.Text, base.Metadata, base.OwnText
		}
		return base != nil, nil
	}
	return out
}

// patchedFrom returns what the patches of an entity were applied to, if that is e: vector.sync has it with
// what the patches gave, and its digest proves it. It is nil when later events have replaced that.
func (e *folded) patchedFrom(key freshet.Key, read latest) (*freshet.Base, error) {
	r, ok, err := read(freshet.TopicSync, wire.AppendKey(nil, key))
	if err != nil || !ok {
		return nil, err
	}
	c, err := wire.DecodeChange(key, r.Value, wire.Head)
	if err != nil || c.Base == nil || c.Base.Version != e.version {
		return nil, nil // damage is found when the outcome is compared
	}
	was := freshet.Change{Op: e.op, ExpiresAt: e.expires, Text: c.Base.Text, Metadata: c.Base.Metadata, OwnText: c.Base.OwnText}
	if wire.StateDigest(&was, e.points) != e.digest {
		return nil, nil
	}
	return c.Base, nil
}

// next is what a decision makes of the entity.
func (e *folded) next(d *Decision) folded {
	c := &d.Change
	n := folded{version: c.Version, revision: c.Revision, op: c.Op, events: c.Events, content: c.Content,
		points: d.PointsDigest, digest: c.Digest, accepted: c.AcceptedAt, expires: c.ExpiresAt, blank: d.blank}
	if c.Base != nil {
		if n.base = wire.BaseDigest(c.Base); e.patched != nil && c.Base.Version == e.version {
			n.base = e.base // that was no base, but a state that patches had made
		}
		n.patched = &freshet.Base{Version: c.Version, Text: c.Text, Metadata: bytes.Clone(c.Metadata), OwnText: c.OwnText, Ready: d.ready}
	}
	return n
}

// Flags of an encoded entity.
const (
	foldedBlank   = 1
	foldedPatched = 2
	foldedOwnText = 4
	foldedReady   = 8
)

// append encodes what the fold keeps; [Base] draws the bytes.
func (e *folded) append(b []byte) []byte {
	b = wire.AppendVersion(b, e.version)
	b = binary.LittleEndian.AppendUint32(b, e.revision)
	b = append(b, byte(e.op))
	b = binary.AppendUvarint(b, e.events)
	b = append(append(append(b, e.content[:]...), e.points[:]...), e.digest[:]...)
	b = binary.AppendVarint(binary.AppendVarint(b, e.accepted), e.expires)
	var flags byte
	if e.blank {
		flags |= foldedBlank
	}
	if e.patched == nil {
		return append(b, flags)
	}
	flags |= foldedPatched
	if e.patched.OwnText {
		flags |= foldedOwnText
	}
	if e.patched.Ready {
		flags |= foldedReady
	}
	b = append(append(b, flags), e.base[:]...)
	b = append(binary.AppendUvarint(b, uint64(len(e.patched.Text))), e.patched.Text...)
	return append(binary.AppendUvarint(b, uint64(len(e.patched.Metadata))), e.patched.Metadata...)
}

func parseFolded(v []byte) (e folded, err error) {
	d := wire.NewDecoder(v)
	e.version, e.revision, e.op, e.events = d.Version(), d.Uint32(), freshet.Op(d.Byte()), d.Uvarint()
	digests := d.Take(48)
	e.accepted, e.expires = d.Varint(), d.Varint()
	flags := d.Byte()
	var base, metadata []byte
	var text string
	if flags&foldedPatched != 0 {
		base, text, metadata = d.Take(16), d.String(), bytes.Clone(d.Bytes())
	}
	if d.Bad() || !d.Done() || flags > foldedBlank|foldedPatched|foldedOwnText|foldedReady {
		return e, fmt.Errorf("an entity of the audit base has %d bytes: damaged", len(v))
	}
	e.content, e.points, e.digest = [16]byte(digests), [16]byte(digests[16:]), [16]byte(digests[32:])
	e.blank = flags&foldedBlank != 0
	if flags&foldedPatched != 0 {
		if len(metadata) == 0 {
			metadata = nil
		}
		e.base = [16]byte(base)
		e.patched = &freshet.Base{Version: e.version, Text: text, Metadata: metadata, OwnText: flags&foldedOwnText != 0, Ready: flags&foldedReady != 0}
	}
	return e, nil
}
