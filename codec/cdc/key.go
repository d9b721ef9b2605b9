package cdc

import (
	"strings"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
)

// rowKey is the key of a row: the values of its columns; of several each with its slashes escaped, joined by slashes. What the row
// lacks, the key of its record may have.
func rowKey(row []Column, keys []string, record object) (string, error) {
	if len(keys) == 0 {
		return "", refuse(freshet.CodeMissingField, "key", "is not known: neither the envelope nor a record's key names its columns; name them in codec.key")
	}
	parts := make([]string, len(keys))
	for i, name := range keys {
		v := record.get(name)
		for _, c := range row {
			if c.Name == name && !isNull(c.Value) {
				v = c.Value
			}
		}
		if v == nil {
			return "", refuse(freshet.CodeMissingField, name, "is missing or null; it is a column of the key, which names the entity")
		}
		if v[0] == '[' || v[0] == '{' && name != "_id" {
			return "", refuse(freshet.CodeInvalidField, name, "must be a string, a number or a boolean, for it is a column of the key, is %s", codec.Clip(v))
		}
		if parts[i] = keyText(v); parts[i] == "" {
			return "", refuse(freshet.CodeInvalidField, name, "is empty; it is a column of the key, which names the entity")
		}
	}
	if len(parts) == 1 {
		return parts[0], nil
	}
	for i := range parts {
		parts[i] = escape(parts[i])
	}
	return strings.Join(parts, "/"), nil
}

// keyText is a value as part of a key: a string as it is, all others as JSON.
func keyText(v []byte) string {
	if s, ok := codec.StringValue(v); ok {
		return s
	}
	return string(v)
}

// escape makes a part of an id unambiguous.
func escape(s string) string {
	if !strings.ContainsAny(s, "/%") {
		return s
	}
	return strings.NewReplacer("%", "%25", "/", "%2F").Replace(s)
}
