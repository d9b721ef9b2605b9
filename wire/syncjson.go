package wire

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

// The members of a value of vector.sync in JSON; docs/FORMATS.md draws it.
const (
	jsonEntity        = "entity_id"
	jsonVector        = "vector"
	jsonTimestamp     = "timestamp"
	jsonText          = "text"
	jsonMetadata      = "metadata"
	jsonSourceEventID = "source_event_id" // of metadata
	jsonOwn           = "freshet"
)

const ownFormat = 1

// own is what freshet knows of a change beyond what others write.
type own struct {
	Format     int        `json:"format"`
	Op         string     `json:"op"`
	Version    string     `json:"version"`
	Revision   uint32     `json:"revision"`
	Content    string     `json:"content"`
	Digest     string     `json:"digest"`
	Events     uint64     `json:"events"`
	AcceptedAt int64      `json:"accepted_at"`
	ExpiresAt  int64      `json:"expires_at"`
	Source     string     `json:"source"`
	Trace      string     `json:"traceparent"`
	OwnText    bool       `json:"own_text"`
	Metadata   *string    `json:"metadata"` // the text of it, "" for none, where it can't be taken from that beside it
	Points     []ownPoint `json:"points"`
	Base       *ownBase   `json:"base"`
}

type ownPoint struct {
	Model  string    `json:"model"`
	Slot   string    `json:"slot"`
	Start  int       `json:"start"`
	End    int       `json:"end"`
	Vector []float32 `json:"vector"` // nil: that of the change
}

type ownBase struct {
	Version  string  `json:"version"`
	OwnText  bool    `json:"own_text"`
	Ready    bool    `json:"ready"`
	Metadata string  `json:"metadata"` // the text of it, "" for none
	Text     *string `json:"text"`     // nil: that of the change
}

// AppendChangeJSON appends a change as the JSON value of vector.sync. It says all that AppendChange says, so what DecodeChangeJSON reads
// of it is the same, provided that its strings are valid UTF-8 and its vectors finite: JSON has nothing else. Consumers that know nothing of
// freshet find the entity, its first vector (null of a deletion), its time, its text and its metadata.
func AppendChangeJSON(b []byte, c *freshet.Change) []byte {
	b = appendMember(b, '{', jsonEntity)
	b = codec.AppendString(b, c.Key.Entity)
	b = appendMember(b, ',', jsonVector)
	if len(c.Points) > 0 {
		b = codec.AppendVector(b, c.Points[0].Vector)
	} else {
		b = append(b, "null"...)
	}
	b = appendInt(b, jsonTimestamp, c.EventTime)
	b = appendText(b, jsonText, c.Text)
	shown := syncMetadata(c)
	b = append(appendMember(b, ',', jsonMetadata), shown...)
	b = appendMember(b, ',', jsonOwn)
	b = appendMember(b, '{', "format")
	b = strconv.AppendInt(b, ownFormat, 10)
	b = appendText(b, "op", c.Op.String())
	b = appendText(b, "version", VersionString(c.Version))
	b = appendInt(b, "revision", int64(c.Revision))
	b = appendText(b, "content", hex.EncodeToString(c.Content[:]))
	b = appendText(b, "digest", hex.EncodeToString(c.Digest[:]))
	if c.Events != 0 {
		b = strconv.AppendUint(appendMember(b, ',', "events"), c.Events, 10)
	}
	b = appendInt(b, "accepted_at", c.AcceptedAt)
	b = appendInt(b, "expires_at", c.ExpiresAt)
	b = appendText(b, "source", c.Source)
	b = appendText(b, "traceparent", c.Trace)
	b = appendTrue(b, "own_text", c.OwnText)
	if id, meta, err := splitMetadata(shown); err != nil || id != c.SourceEventID || string(meta) != string(c.Metadata) {
		b = codec.AppendString(appendMember(b, ',', "metadata"), string(c.Metadata))
	}
	b = appendOwnPoints(b, c.Points)
	if c.Base != nil {
		b = appendOwnBase(appendMember(b, ',', "base"), c)
	}
	return append(b, '}', '}')
}

func appendMember(b []byte, before byte, name string) []byte {
	return append(codec.AppendString(append(b, before), name), ':')
}

// appendInt appends a member that is not 0.
func appendInt(b []byte, name string, n int64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(appendMember(b, ',', name), n, 10)
}

// appendText appends a member that is not "".
func appendText(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	return codec.AppendString(appendMember(b, ',', name), s)
}

func appendTrue(b []byte, name string, is bool) []byte {
	if !is {
		return b
	}
	return append(appendMember(b, ',', name), "true"...)
}

func appendOwnPoints(b []byte, points []freshet.Point) []byte {
	if len(points) == 0 {
		return b
	}
	b = append(appendMember(b, ',', "points"), '[')
	for i := range points {
		p := &points[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = codec.AppendString(appendMember(b, '{', "slot"), p.Slot)
		b = appendText(b, "model", p.Model)
		b = appendInt(b, "start", int64(p.Start))
		b = appendInt(b, "end", int64(p.End))
		if i > 0 {
			b = codec.AppendVector(appendMember(b, ',', "vector"), p.Vector)
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

func appendOwnBase(b []byte, c *freshet.Change) []byte {
	b = codec.AppendString(appendMember(b, '{', "version"), VersionString(c.Base.Version))
	b = appendTrue(b, "own_text", c.Base.OwnText)
	b = appendTrue(b, "ready", c.Base.Ready)
	b = appendText(b, "metadata", string(c.Base.Metadata))
	if c.Base.Text != c.Text {
		b = codec.AppendString(appendMember(b, ',', "text"), c.Base.Text)
	}
	return append(b, '}')
}

// syncMetadata is the metadata of a change with the id of its event in front. It leaves out a member of the metadata that has the name of that.
func syncMetadata(c *freshet.Change) []byte {
	out := []byte{'{'}
	if c.SourceEventID != "" {
		out = codec.AppendString(appendMember(nil, '{', jsonSourceEventID), c.SourceEventID)
	}
	var room [16]codec.Member
	members, err := codec.Members(c.Metadata, room[:0])
	if err != nil {
		members = nil // there is none, and if it were no object it would stand elsewhere
	}
	return append(appendOthers(out, members), '}')
}

// appendOthers appends the members of metadata that are not the id of the event.
func appendOthers(b []byte, members []codec.Member) []byte {
	for _, m := range members {
		if m.Name == jsonSourceEventID {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, m.Raw...)
	}
	return b
}

// splitMetadata is the inverse of syncMetadata; without other members there is no metadata.
func splitMetadata(raw []byte) (sourceEventID string, metadata []byte, err error) {
	var room [16]codec.Member
	members, err := codec.Members(raw, room[:0])
	if err != nil {
		return "", nil, badValue(jsonMetadata, "must be a JSON object, is %s", codec.Clip(raw))
	}
	for _, m := range members {
		if m.Name != jsonSourceEventID || string(m.Value) == "null" {
			continue
		}
		id, isText := codec.StringValue(m.Value)
		if problem := codec.IDProblem(id); !isText || problem != "" {
			return "", nil, badValue(jsonMetadata+"."+jsonSourceEventID, "must be a string of 1 to %d bytes without control characters, is %s", freshet.MaxIDBytes, codec.Clip(m.Value))
		}
		sourceEventID = id
	}
	if metadata = append(appendOthers([]byte{'{'}, members), '}'); len(metadata) == len("{}") {
		metadata = nil
	}
	return sourceEventID, metadata, nil
}

func badValue(field, format string, args ...any) error {
	return &freshet.Error{Code: freshet.CodeInvalidField, Field: field, Message: fmt.Sprintf(format, args...)}
}

// Binary reports whether a value of vector.sync is of the form of AppendChange, of whatever number: no JSON begins like that.
func Binary(b []byte) bool {
	return len(b) > 0 && b[0] < ' ' && b[0] != '\n' && b[0] != '\r' && b[0] != '\t'
}

// DecodeSync reads a value of vector.sync in any form: that of AppendChange, which begins with its format number, or JSON. An empty one, and
// JSON's null, is a deletion. Foreign reports that somebody else has written it: then the change has no version, no digests, no slot's model, and
// the caller gives it what it lacks. The key is that of the record. Of JSON the error is a *freshet.Error that names the field. Metadata
// may alias b.
func DecodeSync(key freshet.Key, b []byte, parts Parts) (c freshet.Change, foreign bool, err error) {
	if Binary(b) {
		c, err = DecodeChange(key, b, parts)
		return c, false, err
	}
	if len(b) == 0 || string(b) == "null" {
		return freshet.Change{Key: key, Op: freshet.OpDelete}, true, nil
	}
	c, foreign, err = decodeChangeJSON(key, b)
	if parts == Head {
		c.Points = nil
	}
	return c, foreign, err
}

func decodeChangeJSON(key freshet.Key, b []byte) (c freshet.Change, foreign bool, err error) {
	c = freshet.Change{Key: key, Op: freshet.OpUpsert}
	var room [8]codec.Member
	members, err := codec.Members(b, room[:0])
	if err != nil {
		return c, false, err
	}
	var vector []float32
	var o *own
	for i, m := range members {
		if slices.ContainsFunc(members[:i], func(other codec.Member) bool { return other.Name == m.Name }) {
			return c, false, badValue(codec.Clip([]byte(m.Name)), "stands twice in the value")
		}
		if string(m.Value) == "null" {
			continue
		}
		switch m.Name {
		case jsonEntity:
			if entity, isText := codec.StringValue(m.Value); !isText || entity != key.Entity {
				return c, false, badValue(jsonEntity, "must be %q as the record's key says, is %s", codec.Clip([]byte(key.Entity)), codec.Clip(m.Value))
			}
		case jsonVector:
			if m.Value[0] != '[' {
				return c, false, badValue(jsonVector, "must be an array of numbers, or null for a deletion, is %s", codec.Clip(m.Value))
			}
			if vector, err = codec.ParseVector(m.Value, jsonVector); err != nil {
				return c, false, err
			}
		case jsonTimestamp:
			if c.EventTime, err = strconv.ParseInt(string(m.Value), 10, 64); err != nil {
				return c, false, badValue(jsonTimestamp, "must be an integer (ms since 1970), is %s", codec.Clip(m.Value))
			}
		case jsonText:
			var isText bool
			if c.Text, isText = codec.StringValue(m.Value); !isText {
				return c, false, badValue(jsonText, "must be a string, is %s", codec.Clip(m.Value))
			}
		case jsonMetadata:
			if c.SourceEventID, c.Metadata, err = splitMetadata(m.Value); err != nil {
				return c, false, err
			}
		case jsonOwn:
			o = &own{}
			if err := json.Unmarshal(m.Value, o); err != nil {
				return c, false, badValue(jsonOwn, "can't be read: %v", err)
			}
		default:
			return c, false, &freshet.Error{Code: freshet.CodeUnknownField, Field: codec.Clip([]byte(m.Name)),
				Message: "is not a field of vector.sync (entity_id, vector, timestamp, text, metadata); your own data belongs into metadata"}
		}
	}
	if o != nil {
		return c, false, o.complete(&c, vector)
	}
	if !slices.ContainsFunc(members, func(m codec.Member) bool { return m.Name == jsonVector }) {
		return c, false, &freshet.Error{Code: freshet.CodeMissingField, Field: jsonVector, Message: "is missing; a value of vector.sync has one, or null for a deletion"}
	}
	if vector == nil {
		c.Op, c.Text, c.Metadata = freshet.OpDelete, "", nil
		return c, true, nil
	}
	c.Points = []freshet.Point{{Slot: "0", Vector: vector}}
	return c, true, nil
}

// complete gives a change what freshet has written of it; vector is that of the first point.
func (o *own) complete(c *freshet.Change, vector []float32) error {
	if o.Format != ownFormat {
		return badValue(jsonOwn+".format", "must be %d in this version, is %d", ownFormat, o.Format)
	}
	switch o.Op {
	case freshet.OpUpsert.String():
	case freshet.OpDelete.String():
		c.Op = freshet.OpDelete
	default:
		return badValue(jsonOwn+".op", `must be "upsert" or "delete", is %q`, codec.Clip([]byte(o.Op)))
	}
	var err error
	if c.Version, err = versionOf(o.Version); err != nil {
		return badValue(jsonOwn+".version", "%v", err)
	}
	for _, d := range []struct {
		name, text string
		dst        *[16]byte
	}{{"content", o.Content, &c.Content}, {"digest", o.Digest, &c.Digest}} {
		if n, err := hex.Decode(d.dst[:], []byte(d.text)[:min(len(d.text), 2*len(d.dst))]); err != nil || n != len(d.dst) || len(d.text) != 2*n {
			return badValue(jsonOwn+"."+d.name, "must be 32 hexadecimal digits, is %q", codec.Clip([]byte(d.text)))
		}
	}
	c.Revision, c.Events, c.AcceptedAt, c.ExpiresAt = o.Revision, o.Events, o.AcceptedAt, o.ExpiresAt
	c.Source, c.Trace, c.OwnText = o.Source, o.Trace, o.OwnText
	if o.Metadata != nil {
		c.Metadata = orNil(*o.Metadata)
	}
	if (vector != nil) != (len(o.Points) > 0) {
		return badValue(jsonOwn+".points", "has %d points, and the value a vector: %t", len(o.Points), vector != nil)
	}
	for i, p := range o.Points {
		if i == 0 {
			p.Vector = vector
		}
		if p.Start < 0 || p.Start > p.End || p.Vector == nil {
			return badValue(fmt.Sprintf(jsonOwn+".points[%d]", i), "must have a vector, and a place in the text, is from %d to %d", p.Start, p.End)
		}
		c.Points = append(c.Points, freshet.Point{Model: p.Model, Slot: p.Slot, Start: p.Start, End: p.End, Vector: p.Vector})
	}
	if o.Base == nil {
		return nil
	}
	base := &freshet.Base{OwnText: o.Base.OwnText, Ready: o.Base.Ready, Text: c.Text, Metadata: orNil(o.Base.Metadata)}
	if o.Base.Text != nil {
		base.Text = *o.Base.Text
	}
	if base.Version, err = versionOf(o.Base.Version); err != nil {
		return badValue(jsonOwn+".base.version", "%v", err)
	}
	c.Base = base
	return nil
}

// orNil returns metadata, nil for none.
func orNil(text string) []byte {
	if text == "" {
		return nil
	}
	return []byte(text)
}

// versionOf is the inverse of VersionString.
func versionOf(s string) (freshet.Version, error) {
	raw, err := sortable.DecodeString(s)
	if err != nil || len(raw) != versionBytes || len(s) != sortable.EncodedLen(versionBytes) {
		return freshet.Version{}, fmt.Errorf("must be the 32 characters of a version, is %q", codec.Clip([]byte(s)))
	}
	return parseVersion(raw), nil
}
