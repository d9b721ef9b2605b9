package mapping

import (
	"strconv"

	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/codec/cdc"
	"github.com/freshet-io/freshet/process"
)

// mapRows evaluates the mapping on each row of a record. The cost is that of the record: an event may hold many rows.
func (m *Mapper) mapRows(r process.Record) ([]process.Draft, error) {
	rows, err := m.rows.Decode(r.Value)
	if err != nil {
		return nil, err
	}
	run := m.begin(r)
	var drafts []process.Draft
	for i := range rows {
		if run.vars.event, err = m.decode(string(cdc.AppendObject(nil, rows[i].After))); err != nil {
			return nil, err
		}
		if run.vars.facts, err = m.decode(string(appendFacts(nil, &rows[i]))); err != nil {
			return nil, err
		}
		run.row, run.drafts = &rows[i], nil
		if at, err := m.make(run); err != nil {
			return at, err
		}
		drafts = process.Supersede(drafts, run.drafts...)
	}
	return drafts, nil
}

// appendFacts appends what is known of a row beside its columns, as a JSON object.
func appendFacts(dst []byte, r *cdc.Row) []byte {
	text := func(name, value string) {
		if value != "" {
			dst = codec.AppendString(append(codec.AppendString(dst, name), ':'), value)
			dst = append(dst, ',')
		}
	}
	dst = append(dst, '{')
	text("op", r.Op)
	text("key", r.Key)
	text("entity", r.Entity())
	text("database", r.Database)
	text("schema", r.Schema)
	text("table", r.Table)
	text("event_id", r.EventID)
	if r.Timestamp > 0 {
		dst = append(strconv.AppendInt(append(dst, `"timestamp":`...), r.Timestamp, 10), ',')
	}
	if r.Order > 0 {
		dst = append(strconv.AppendInt(append(dst, `"order":`...), r.Order, 10), ',')
	}
	if r.Source != nil {
		dst = append(append(append(dst, `"source":`...), r.Source...), ',')
	}
	if r.Before != nil {
		dst = append(cdc.AppendObject(append(dst, `"before":`...), r.Before), ',')
	}
	dst[len(dst)-1] = '}' // op is always there
	return dst
}
