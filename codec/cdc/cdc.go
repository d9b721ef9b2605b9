package cdc

import (
	"fmt"
	"slices"
	"strings"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

// The formats.
const (
	Debezium = "debezium"
	Canal    = "canal"
	Aliyun   = "aliyun"
)

// Formats are the names of all formats.
var Formats = []string{Debezium, Canal, Aliyun}

// version counts the changes of what events are read as. It is part of Describe.
const version = 1

// Options say what the events of a stream are.
type Options struct {
	Format string `yaml:"format"`
	// Key names the columns of the key, in its order. Default: as the envelope, or the key of its record, says.
	Key []string `yaml:"key,omitempty"`
	// Table is the one whose rows are read; those of others are dropped. NAME, SCHEMA.NAME or DATABASE.SCHEMA.NAME. Default: all.
	Table string `yaml:"table,omitempty"`
	// Flat says that the events are rows, as Debezium's ExtractNewRecordState makes them.
	Flat bool `yaml:"flat,omitempty"`
	// Order makes the source's own order that of the events.
	Order bool `yaml:"order,omitempty"`
}

// Validate names the first option that is wrong.
func (o Options) Validate() error {
	refuse := func(field, format string, args ...any) error {
		return &freshet.Error{Code: freshet.CodeInvalidField, Field: "codec." + field, Message: fmt.Sprintf(format, args...)}
	}
	switch {
	case o.Format == "":
		return refuse("format", "is missing; use one of %s", strings.Join(Formats, ", "))
	case !slices.Contains(Formats, o.Format):
		return refuse("format", "%q is not known; use one of %s", o.Format, strings.Join(Formats, ", "))
	case o.Flat && o.Format != Debezium:
		return refuse("flat", "is true, but only events of debezium come flat; leave it out")
	case o.Flat && o.Table != "":
		return refuse("table", "is %q, but flat events are rows of one table and don't say which; leave it out", o.Table)
	case o.Flat && o.Order:
		return refuse("order", "is true, but flat events have no place in their source's log; leave it out")
	}
	for i, name := range o.Key {
		if name == "" || slices.Contains(o.Key[:i], name) {
			return refuse("key", "%q is empty or stands twice; name each column of the key once", name)
		}
	}
	return nil
}

// The operations of a row.
const (
	Create = "c"
	Read   = "r" // of a snapshot
	Update = "u"
	Delete = "d"
)

// Row is the change of one row. It aliases the event.
type Row struct {
	Op     string
	Key    string   // its values, see Options.Key; never ""
	After  []Column // of a deletion the row before, or at least its key
	Before []Column // nil where it is not known
	// Place of the table. "" for what the source has not.
	Database, Schema, Table string
	Timestamp               int64  // ms since 1970, of the change in the source; 0 when absent
	EventID                 string // its place in the source's log, "" where that names no single change
	Order                   int64  // >= 1 where Options.Order asks for it; else 0
	Source                  []byte // what the envelope says of the source, a JSON object; nil when absent
	Prefixed                bool   // rows of several tables may come: Entity names the table too
}

// Column is one value of a row.
type Column struct {
	Name  string
	Value []byte // JSON
	Text  bool   // a string of the source, where its type is known: no date, no UUID
	// Binary values are base64 in a string, or text that is none. They serve as parts of a key and are left out of objects.
	Binary bool
}

// AppendObject appends the columns as a JSON object, without binary ones.
func AppendObject(dst []byte, columns []Column) []byte {
	dst = append(dst, '{')
	first := true
	for _, c := range columns {
		if c.Binary {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(append(codec.AppendString(dst, c.Name), ':'), c.Value...)
	}
	return append(dst, '}')
}

// Path is the name of the table with all that it is in.
func (r *Row) Path() string {
	var parts []string
	for _, s := range []string{r.Database, r.Schema, r.Table} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ".")
}

// Entity is the id of the row's entity: its key, and before it the path of the table where rows of several may come.
func (r *Row) Entity() string {
	if !r.Prefixed || r.Table == "" {
		return r.Key
	}
	return escape(r.Path()) + "/" + r.Key
}

// Decoder reads the events of a stream. It is safe for concurrent use.
type Decoder struct {
	opts    Options
	schemas schemaCache
}

// New returns a decoder.
func New(o Options) (*Decoder, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &Decoder{opts: o}, nil
}

// Describe is a canonical text of what events are read as.
func (d *Decoder) Describe() string {
	return fmt.Sprintf("cdc/%d %s key=%q table=%q flat=%t order=%t", version, d.opts.Format, d.opts.Key, d.opts.Table, d.opts.Flat, d.opts.Order)
}

// Decode returns the rows of an event, in their order; none when it has no effect. The error is a *freshet.Error that names
// the field.
func (d *Decoder) Decode(raw []byte) ([]Row, error) {
	if isNull(raw) {
		return nil, nil // a tombstone of we don't know what
	}
	top, err := parse(raw, "")
	if err != nil {
		return nil, err
	}
	var key object
	if k, value, is := top.record(d.opts.Flat); is {
		if k[0] == '{' {
			if key, err = parse(k, "key"); err != nil {
				return nil, err
			}
		}
		if isNull(value) {
			return d.tombstone(key)
		}
		if top, err = parse(value, "value"); err != nil {
			return nil, err
		}
	}
	var rows []Row
	switch {
	case d.opts.Format == Canal:
		rows, err = d.canal(top)
	case d.opts.Format == Aliyun:
		rows, err = d.aliyun(top)
	case d.opts.Flat:
		rows, err = d.flat(top, key)
	default:
		rows, err = d.debezium(top, key)
	}
	if err != nil {
		return nil, err
	}
	for i := range rows {
		rows[i].Prefixed = d.opts.Table == ""
	}
	return rows, nil
}

// wanted reports whether rows of the table are read.
func (d *Decoder) wanted(r *Row) bool {
	path := r.Path()
	return d.opts.Table == "" || path == d.opts.Table || strings.HasSuffix(path, "."+d.opts.Table)
}

// split appends a change to rows: two of them for an update that changes the key.
func (d *Decoder) split(rows []Row, r Row, keys []string, key object) ([]Row, error) {
	var err error
	if r.Key, err = rowKey(r.After, keys, key); err != nil {
		return nil, err
	}
	if r.Op != Update || r.Before == nil {
		return append(rows, r), nil
	}
	before, err := rowKey(r.Before, keys, nil)
	if err != nil || before == r.Key { // a row before that lacks its key has the same
		return append(rows, r), nil
	}
	old := r
	old.Op, old.Key, old.After = Delete, before, r.Before
	return append(rows, old, r), nil
}

// object is the members of a JSON object. Of those with the same name the last one counts.
type object []codec.Member

// parse reads an object, which is not nil then; field names it in the error.
func parse(raw []byte, field string) (object, error) {
	members, err := codec.Members(raw, object{})
	if err != nil {
		if e, ok := err.(*freshet.Error); ok {
			e.Field = field
		}
		return nil, err
	}
	return members, nil
}

// get returns a member's value; nil when it is absent or null.
func (o object) get(name string) []byte {
	for i := len(o) - 1; i >= 0; i-- {
		if o[i].Name == name {
			if isNull(o[i].Value) {
				return nil
			}
			return o[i].Value
		}
	}
	return nil
}

// has reports whether there is a member, null or not.
func (o object) has(name string) bool {
	return slices.ContainsFunc(o, func(m codec.Member) bool { return m.Name == name })
}

// text returns a member that is a string, "" when it is absent or something else.
func (o object) text(name string) string {
	s, _ := codec.StringValue(o.get(name))
	return s
}

// child returns a member that is an object; nil when it is absent. The error names it by path.
func (o object) child(name, path string) (object, error) {
	v := o.get(name)
	if v == nil {
		return nil, nil
	}
	return parse(v, path)
}

// record returns key and value if the object is a record of Kafka. A flat row may have columns of these names: there the key of a
// record has to be an object, as Debezium's are.
func (o object) record(flat bool) (key, value []byte, is bool) {
	for _, m := range o {
		switch m.Name {
		case "key":
			key = m.Value
		case "value":
			value = m.Value
		case "topic", "partition", "offset", "timestamp", "headers":
		default:
			return nil, nil, false
		}
	}
	isObject := func(v []byte) bool { return v[0] == '{' || v[0] == 'n' }
	return key, value, key != nil && value != nil && isObject(value) && (!flat || isObject(key))
}

// columns are the members of a row whose types are not known.
func (o object) columns() []Column {
	out := make([]Column, len(o))
	for i, m := range o {
		out[i] = Column{Name: m.Name, Value: m.Value, Text: m.Value[0] == '"'}
	}
	return out
}

func isNull(v []byte) bool { return string(v) == "null" }

func refuse(code freshet.Code, field, format string, args ...any) error {
	return &freshet.Error{Code: code, Field: field, Message: fmt.Sprintf(format, args...)}
}
