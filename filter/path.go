package filter

import (
	"errors"
	"strings"
)

// splitPath splits a field as a filter writes it into the keys that it steps
// through, resolving the escapes \. and \\.
func splitPath(field string) ([]string, error) {
	if !strings.ContainsAny(field, `.\`) {
		return []string{field}, nil
	}
	var path []string
	var key strings.Builder
	for i := 0; i < len(field); i++ {
		switch c := field[i]; c {
		case '.':
			path = append(path, key.String())
			key.Reset()
		case '\\':
			i++
			if i == len(field) || field[i] != '.' && field[i] != '\\' {
				return nil, errors.New(`a backslash in a field stands before a dot or a backslash of the key; write \\ for a backslash (in JSON "\\\\")`)
			}
			key.WriteByte(field[i])
		default:
			key.WriteByte(c)
		}
	}
	return append(path, key.String()), nil
}
