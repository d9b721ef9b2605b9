package process

import (
	"bytes"
	"slices"
	"strings"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

// Default is the default mapping: an event is {"event_id"?, "entity_id", "timestamp"?,
// "payload", "op"?, "order"?, "vector"?, "expires_at"?, "collection"?, "namespace"?}. The text is
// payload.text if that is a string, else the non-empty top-level strings of payload in byte
// order of their names, joined by a line feed; an event with a vector has no text but
// payload.text. The metadata is the payload without text. The payload of a patch is merged into
// the one that the entity has, and text and metadata are taken from what that gives.
// With a state instead of payload and vector they are as that says.
type Default struct{}

// Describe names the mapping; the number rises when its rules change.
func (Default) Describe() string { return "default/1" }

// Map gives one draft. It copies nothing but ids.
func (Default) Map(r Record) ([]Draft, error) {
	ev, err := codec.ParseEvent(r.Value, codec.Full)
	d := Draft{EventID: strings.Clone(ev.ID), Timestamp: ev.Timestamp, Order: ev.Order, Op: ev.Op, Key: freshet.Key{
		Collection: strings.Clone(ev.Key.Collection), Namespace: strings.Clone(ev.Key.Namespace), Entity: strings.Clone(ev.Key.Entity)}}
	switch {
	case err != nil && d.Key.Entity == "":
		return nil, err
	case err != nil: // the dead letter names the entity
		return []Draft{d}, err
	}
	if d.Op == freshet.OpDelete {
		return []Draft{d}, nil
	}
	d.Vector, d.ExpiresAt = ev.Vector, ev.ExpiresAt
	if d.Op == freshet.OpPatch {
		d.SetsExpiry = ev.SetsExpiry
		return []Draft{d}, d.patch(ev.Payload)
	}
	if ev.State != nil {
		state, err := codec.ParseState(ev.State)
		if err != nil {
			return []Draft{d}, err
		}
		d.Text, d.Metadata, d.Points = state.Text, state.Metadata, state.Points
		d.OwnText = state.OwnText && IsJoined(d.Text, d.Metadata)
	}
	if ev.Payload != nil && string(ev.Payload) != "null" {
		if err := d.payload(ev.Payload, d.Vector != nil); err != nil {
			return []Draft{d}, err
		}
	}
	if !d.vectors() && strings.TrimSpace(d.Text) == "" {
		return []Draft{d}, &freshet.Error{Code: freshet.CodeNoContent, Field: "payload",
			Message: "has neither text nor any non-empty string, and the event has no vector; an entity needs one to be found by"}
	}
	d.Embed = d.Text
	return []Draft{d}, nil
}

// patch takes the merge patch of the payload.
func (d *Draft) patch(raw []byte) error {
	d.Whole = true
	if raw == nil || string(raw) == "null" {
		return nil
	}
	d.Metadata = raw
	var room [16]codec.Member
	_, err := payloadMembers(raw, room[:0])
	return err
}

func payloadMembers(raw []byte, room []codec.Member) ([]codec.Member, error) {
	members, err := codec.Members(raw, room)
	if e, ok := err.(*freshet.Error); ok {
		e.Field = "payload"
	}
	return members, err
}

// payload takes text and metadata from the payload of an entity; vector says that it has a ready
// one.
func (d *Draft) payload(raw []byte, vector bool) error {
	var room [16]codec.Member
	members, err := payloadMembers(raw, room[:0])
	if err != nil {
		return err
	}
	text, hasText := "", false
	size := 2
	for _, m := range members {
		if m.Name == "text" {
			if s, ok := codec.StringValue(m.Value); ok {
				text, hasText = s, true
			}
		}
		size += len(m.Raw) + 1
	}
	meta := append(make([]byte, 0, size), '{')
	for _, m := range members {
		if hasText && m.Name == "text" {
			continue
		}
		if len(meta) > 1 {
			meta = append(meta, ',')
		}
		meta = append(meta, m.Raw...)
	}
	if len(meta) > 1 {
		d.Metadata = append(meta, '}')
	}
	switch {
	case hasText:
		d.Text = text
		others := slices.DeleteFunc(members, func(m codec.Member) bool { return m.Name == "text" })
		d.OwnText = text != "" && joins(others, text)
	case !vector:
		d.Text = joinStrings(members)
	}
	return nil
}

// joins reports whether joinStrings gives text. It says no at once where lengths differ.
func joins(members []codec.Member, text string) bool {
	size, found := 0, false
	for _, m := range members {
		switch {
		case m.Value[0] != '"' || len(m.Value) == 2:
		case bytes.IndexByte(m.Value, '\\') >= 0:
			return joinStrings(members) == text // its length is not known from its bytes
		default:
			size, found = size+len(m.Value)-1, true
		}
	}
	return found && size-1 == len(text) && joinStrings(members) == text
}

// joinStrings is the text of a payload that has no text field.
func joinStrings(members []codec.Member) string {
	var texts []namedText
	for _, m := range members {
		if s, ok := codec.StringValue(m.Value); ok && s != "" {
			texts = append(texts, namedText{m.Name, s})
		}
	}
	return joinTexts(texts)
}

type namedText struct{ name, value string }

// joinTexts joins texts in byte order of their names, one a line.
func joinTexts(texts []namedText) string {
	slices.SortStableFunc(texts, func(a, b namedText) int { return strings.Compare(a.name, b.name) })
	var sb strings.Builder
	for i, t := range texts {
		if i > 0 {
			sb.WriteByte('\n')
		}
		sb.WriteString(t.value)
	}
	return sb.String()
}
