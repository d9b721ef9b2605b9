package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/control"
)

// maxPatched is the most bytes of text and metadata that patches may build up.
const maxPatched = 32 << 20

// checkPatchOrder refuses a patch in a collection that its source orders: there the log's order,
// in which patches apply, is not the order of the truth. A collection without entities may not have
// been ordered when the patch was decided first: there it just finds no entity.
func checkPatchOrder(d *mappedDraft, e *pending, col control.Collection) error {
	switch {
	case d.Order > 0:
		return patchOrder("is %d, a patch has none: it applies to what is stored at its place in the log; leave it out, or send the whole payload as an upsert", d.Order)
	case col.Order == control.OrderSource && e.head.Version.Order > 0:
		return patchOrder("decides in collection %q, and a patch can't have one; send the whole payload as an upsert", col.Name)
	}
	return nil
}

func patchOrder(format string, args ...any) error {
	return staged("sequence", &freshet.Error{Code: freshet.CodeOrderMismatch, Field: "order", Message: fmt.Sprintf(format, args...)})
}

// patch gives the upsert that a patch of the entity amounts to. keeps says that its points are
// those that the entity has. A *freshet.Error says why it can't be applied. The result is nil in
// an audit that does not know what the patch was applied to, see [Entity].
func (s *Sequencer) patch(e *pending, d *mappedDraft) (made *mappedDraft, keeps bool, err error) {
	if e.head.Op != freshet.OpUpsert {
		return nil, false, staged("patch", &freshet.Error{Code: freshet.CodeNotFound, Field: "entity_id",
			Message: fmt.Sprintf("%q is not in collection %q, namespace %q: there is nothing to patch; send the whole payload as an upsert",
				clip(d.Key.Entity), clip(d.Key.Collection), clip(d.Key.Namespace))})
	}
	if known, err := e.recall(); err != nil || !known {
		return nil, false, err
	}
	ready, err := e.ready()
	if err != nil {
		return nil, false, err
	}
	next := *d
	next.Op = freshet.OpUpsert
	if !d.SetsExpiry {
		next.ExpiresAt = e.head.ExpiresAt
	}
	if err := next.merge(&e.head, ready || d.Vector != nil); err != nil {
		return nil, false, staged("patch", err)
	}
	if size := len(next.Text) + len(next.Metadata); size > maxPatched {
		return nil, false, staged("patch", &freshet.Error{Code: freshet.CodeTooLarge, Field: "payload",
			Message: fmt.Sprintf("has %d bytes with this patch, at most %d are possible", size, maxPatched)})
	}
	if d.Vector == nil && (ready || next.Text == e.head.Text && !d.SetsEmbed) {
		next.content = e.head.Content
		return &next, true, nil
	}
	if d.Vector == nil && strings.TrimSpace(next.Embed) == "" {
		return nil, false, staged("patch", &freshet.Error{Code: freshet.CodeNoContent, Field: "payload",
			Message: "has no text left with this patch, and there is no vector; an entity needs one to be found by (delete it, if that is meant)"})
	}
	next.content = contentDigest(&next.Draft)
	return &next, false, nil
}

// merge applies what a patch says to what is stored. vector says that the outcome has a ready one.
func (d *Draft) merge(old *freshet.Change, vector bool) error {
	if !d.Whole {
		own := d.SetsText
		if !d.SetsText {
			d.Text, own = old.Text, hasOwnText(old)
		}
		if !d.SetsEmbed {
			d.Embed = d.Text
		}
		merged, err := mergeObjects(old.Metadata, d.Metadata)
		d.Metadata, d.OwnText = merged, own && IsJoined(d.Text, merged)
		return err
	}
	payload, err := mergeObjects(payloadOf(old), d.Metadata)
	if err != nil {
		return err
	}
	d.Metadata, d.Text = nil, ""
	if payload != nil {
		err = d.payload(payload, vector)
	}
	d.Embed = d.Text
	return err
}

// mergeObjects applies a merge patch; nil stands for an object without members.
func mergeObjects(target, patch []byte) ([]byte, error) {
	if patch == nil {
		return target, nil
	}
	if target == nil {
		target = []byte("{}")
	}
	merged, err := codec.MergePatch(target, patch)
	if e := (*freshet.Error)(nil); errors.As(err, &e) {
		e.Field = "payload"
	}
	if string(merged) == "{}" {
		merged = nil
	}
	return merged, err
}

// payloadOf is the payload that an entity's text and metadata were taken from, but for the
// order of its members.
func payloadOf(c *freshet.Change) []byte {
	if c.Text == "" || !hasOwnText(c) {
		return c.Metadata
	}
	text, err := json.Marshal(c.Text)
	if err != nil {
		panic(err) // a string can be encoded
	}
	b := make([]byte, 0, len(c.Metadata)+len(text)+16)
	if c.Metadata == nil {
		b = append(b, '{')
	} else {
		b = append(append(b, c.Metadata[:len(c.Metadata)-1]...), ',')
	}
	return append(append(append(b, `"text":`...), text...), '}')
}

// hasOwnText reports whether the text of an entity was given as such.
func hasOwnText(c *freshet.Change) bool { return c.OwnText || !IsJoined(c.Text, c.Metadata) }

// IsJoined reports whether text is what the default mapping would make of the strings of a
// metadata object.
func IsJoined(text string, metadata []byte) bool {
	if len(metadata) <= len(text) { // a string is no longer than its JSON
		return false
	}
	var room [16]codec.Member
	members, err := codec.Members(metadata, room[:0])
	return err == nil && joins(members, text)
}

// follow makes c the state that a patch gives: it carries what the first patch was applied to.
func follow(c, old *freshet.Change, ready bool) {
	if c.Base = old.Base; c.Base == nil {
		c.Base = &freshet.Base{Version: old.Version, Text: old.Text, Metadata: old.Metadata, OwnText: old.OwnText, Ready: ready}
	}
}
