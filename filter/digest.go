package filter

import (
	"slices"

	"github.com/zeebo/xxh3"
)

// Digest returns the digest of a document's index entries, computed from its
// metadata alone: what Index.Each yields for a document that the index holds
// rightly. It does not depend on the order of keys or elements, nor on the
// spelling of numbers, nor on what an index does not keep of long strings. It is
// not meant to be stored: it may change between versions of freshet. For many
// documents use a Digester.
func Digest(metadata []byte) (uint64, error) {
	return NewDigester().Digest(metadata)
}

// Digester computes digests as the function Digest does, and keeps its scratch
// memory between calls. It is for one goroutine at a time.
type Digester struct {
	fields fields
	walker walker
	hashes []uint64
}

// digesterFields is how many distinct fields a Digester remembers before it
// begins anew.
const digesterFields = 4096

// NewDigester returns a Digester.
func NewDigester() *Digester {
	d := &Digester{fields: newFields()}
	d.walker.fields = &d.fields
	return d
}

// Digest returns the digest of metadata, a JSON object or zero bytes for {}.
func (d *Digester) Digest(metadata []byte) (uint64, error) {
	if d.fields.count() > digesterFields {
		d.fields = newFields()
	}
	err := d.walker.walk(metadata)
	d.fields.fresh = d.fields.fresh[:0]
	d.hashes = d.hashes[:0]
	for i := range d.walker.entries {
		if e := &d.walker.entries[i]; e.kind != dropped {
			d.hashes = append(d.hashes, entryHash(d.fields.all[e.field].hash, e.kind, e.key))
		}
	}
	d.walker.forget()
	if err != nil {
		return 0, err
	}
	slices.Sort(d.hashes) // an element that an array holds twice counts once
	sum := uint64(0)
	for _, h := range slices.Compact(d.hashes) {
		sum += h
	}
	return sum, nil
}

func entryHash(path uint64, k kind, key []byte) uint64 {
	return xxh3.HashSeed(key, path+uint64(k)*0xD6E8FEB86659FD93)
}
