package kafka

import (
	"fmt"
	"unicode/utf8"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/wire"
)

// The forms of the values of vector.sync.
const (
	SyncBinary = "binary"
	SyncJSON   = "json"
)

// recordRoom is what a batch of one record needs beside its key and value, and more.
const recordRoom = 1 << 10

// syncValue is the value that stands in the cluster for one of vector.sync as the copy has it, which is binary. In JSON it is
// unless JSON can't say it, or it would be larger than a record may be: the log goes before its foreign readers.
func (c *Client) syncValue(key, value []byte) ([]byte, error) {
	if c.opts.SyncFormat != SyncJSON {
		return value, nil
	}
	change, err := parseSync(key, value)
	if err != nil {
		return nil, err
	}
	inJSON := wire.AppendChangeJSON(nil, &change)
	if !sayable(&change) || len(key)+len(inJSON)+recordRoom > c.opts.MaxRecordBytes {
		return value, nil
	}
	return inJSON, nil
}

func parseSync(rawKey, value []byte) (c freshet.Change, err error) {
	key, err := wire.ParseKey(rawKey)
	if err != nil {
		return c, err
	}
	return wire.DecodeChange(key, value, wire.Points)
}

// sayable reports whether JSON has words for all of a change. Vectors are finite, and what came in JSON is UTF-8.
func sayable(c *freshet.Change) bool {
	for _, s := range []string{c.Key.Entity, c.Text, string(c.Metadata), c.Source, c.SourceEventID, c.Trace} {
		if !utf8.ValidString(s) {
			return false
		}
	}
	return c.Base == nil || utf8.ValidString(c.Base.Text) && utf8.Valid(c.Base.Metadata)
}

// readSync reads a value of vector.sync that freshet has written, in any form, and returns it also as the copy has it.
func readSync(key freshet.Key, value []byte) (c freshet.Change, binary []byte, err error) {
	c, foreign, err := wire.DecodeSync(key, value, wire.Points)
	if err != nil {
		return c, nil, err
	}
	if foreign {
		return c, nil, fmt.Errorf("the value is not one that freshet writes: it was written by another producer")
	}
	if wire.Binary(value) {
		return c, value, nil
	}
	return c, wire.AppendChange(nil, &c), nil
}
