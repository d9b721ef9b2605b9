package process

import (
	"slices"
	"strings"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/codec/cdc"
)

// Rows is the default mapping of change data capture: a row is an entity, named by its key (see cdc.Row.Entity). Its text is the
// column text if that is one, else the non-empty text columns in byte order of their names, joined by a line feed; its metadata is the other
// columns, without binary ones.
type Rows struct{ Decoder *cdc.Decoder }

// Describe names the mapping and what it reads; the number rises when its rules change.
func (m Rows) Describe() string { return "rows/1 " + m.Decoder.Describe() }

// Map gives a draft per entity.
func (m Rows) Map(r Record) ([]Draft, error) {
	rows, err := m.Decoder.Decode(r.Value)
	if err != nil {
		return nil, err
	}
	var drafts []Draft
	for i := range rows {
		d, err := rowDraft(&rows[i])
		if err != nil {
			return []Draft{d}, err
		}
		drafts = Supersede(drafts, d)
	}
	return drafts, nil
}

// Supersede appends the drafts of a row to those of the rows before it in the same event, of which the last one of an entity counts.
func Supersede(drafts []Draft, of ...Draft) []Draft {
	if len(drafts) == 0 {
		return append(drafts, of...)
	}
	drafts = slices.DeleteFunc(drafts, func(old Draft) bool {
		return slices.ContainsFunc(of, func(d Draft) bool { return d.Key == old.Key })
	})
	return append(drafts, of...)
}

// RowOp is what the operation of a row does to its entity.
func RowOp(r *cdc.Row) freshet.Op {
	if r.Op == cdc.Delete {
		return freshet.OpDelete
	}
	return freshet.OpUpsert
}

func rowDraft(r *cdc.Row) (Draft, error) {
	d := Draft{Key: freshet.Key{Collection: freshet.DefaultCollection, Namespace: freshet.DefaultNamespace, Entity: r.Entity()},
		EventID: r.EventID, Timestamp: r.Timestamp, Order: r.Order, Op: RowOp(r)}
	if problem := codec.IDProblem(d.Key.Entity); problem != "" {
		return d, &freshet.Error{Code: freshet.CodeInvalidField, Field: "key", Message: problem}
	}
	if d.EventID != "" && codec.IDProblem(d.EventID) != "" {
		d.EventID = "" // the place of the record names it as well
	}
	if d.Op == freshet.OpDelete {
		return d, nil
	}
	text, rest := rowText(r.After)
	if d.Text = text; strings.TrimSpace(text) == "" {
		return d, &freshet.Error{Code: freshet.CodeNoContent, Field: "after",
			Message: "has no text in any column; an entity needs some to be found by (with a mapping you can say what its text is)"}
	}
	d.Embed = d.Text
	if meta := cdc.AppendObject(nil, rest); len(meta) > len("{}") {
		if err := codec.Check(meta); err != nil { // what was nested in strings of JSON may be too deep
			return d, err
		}
		d.Metadata = meta
	}
	return d, nil
}

// rowText returns the text of a row, and the columns that are metadata.
func rowText(row []cdc.Column) (text string, rest []cdc.Column) {
	for i, c := range row {
		if c.Name == "text" && c.Text {
			text, _ = codec.StringValue(c.Value)
			return text, append(slices.Clone(row[:i]), row[i+1:]...)
		}
	}
	var strs []namedText
	for _, c := range row {
		if s, _ := codec.StringValue(c.Value); c.Text && s != "" {
			strs = append(strs, namedText{c.Name, s})
		}
	}
	return joinTexts(strs), row
}
