package kafka

import (
	"errors"
	"fmt"
	"slices"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
)

// headerWriter marks the records of vector.sync that freshet writes; its value is the group.
const headerWriter = "freshet"

// ErrMixed means that freshet and somebody else have written records of the same collection to vector.sync.
var ErrMixed = errors.New("a collection has one kind of writer")

// What is done about records of the wrong writer.
const (
	MixedRefuse = "refuse" // ErrMixed
	MixedIgnore = "ignore" // they count as if they were not there
)

// ownRecord reports whether a freshet has written a record of vector.sync.
func ownRecord(r *Record) bool {
	return slices.ContainsFunc(r.Headers, func(h Header) bool { return h.Name == headerWriter })
}

// isMark reports whether a key of vector.sync is of no entity.
func isMark(key []byte) bool { return isClaim(key) || isBatch(key) || string(key) == markerKey }

// writer is whose a record of vector.sync is.
type writer int

const (
	byFreshet writer = iota // and so is its collection
	byOthers                // likewise
	byNobody                // the record counts as if it were not there
)

// whose says who has written a record of a collection. That of the wrong writer is an error, unless such are ignored; what others
// write of a collection that is not known may count later.
func (c *Copy) whose(collection string, r *Record) (writer, error) {
	external, known := c.collections.Writer(collection)
	own := ownRecord(r)
	switch {
	case own && !(known && external):
		return byFreshet, nil
	case !own && known && external:
		return byOthers, nil
	case !known || c.ignoreMixed:
		return byNobody, nil
	case external:
		return byNobody, fmt.Errorf("%w: collection %q is written by others (source: external), and this record by freshet, of group %q; "+
			"stop that one or give it another topics.prefix, and set broker.kafka.mixed_writers to ignore to go on without what it has written",
			ErrMixed, collection, writerGroup(r))
	}
	return byNobody, fmt.Errorf("%w: collection %q is written by freshet, of group %q, and this record by another producer; stop that one, and set "+
		"broker.kafka.mixed_writers to ignore to go on without what it has written; or declare a collection of another name with source: external for it",
		ErrMixed, collection, c.group)
}

func writerGroup(r *Record) []byte {
	for _, h := range r.Headers {
		if h.Name == headerWriter {
			return h.Value
		}
	}
	return nil
}

// nobody is the case of a log whose collections freshet writes all.
type nobody struct{}

func (nobody) Writer(string) (external, ok bool) { return false, true }
func (nobody) External() []string                { return nil }
func (nobody) Epoch() uint32                     { return 0 }
func (nobody) Check(*freshet.Change) error       { return nil }

// Externals says who writes which collections, before anything is read: without it freshet writes all. o are those of [Client.Options].
func (c *Copy) Externals(collections Collections, o Options) {
	c.collections, c.group, c.ignoreMixed = collections, o.Group, o.MixedWriters == MixedIgnore
}

// isExternal reports whether others write a collection.
func (c *Copy) isExternal(collection string) bool {
	external, _ := c.collections.Writer(collection)
	return external
}

// externalMember moves the positions of what others have written of a collection. They are kept by collection, so that one
// that is declared later is read from the beginning.
func (c *Copy) externalMember(collection string) broker.Member {
	return c.state.Join(externalGroup(collection))
}

func externalGroup(collection string) string { return "external/" + collection }

// externalPosition is how far the copy has what others have written of a collection into a partition.
func (c *Copy) externalPosition(collection string, partition int32) (int64, error) {
	return c.state.Position(externalGroup(collection), c.topics.Sync, partition)
}

// externalFrom is where to read a partition from, so that nothing of these collections is left out.
func (c *Copy) externalFrom(collections []string, partition int32) (from int64, err error) {
	for i, name := range collections {
		at, err := c.externalPosition(name, partition)
		if err != nil {
			return 0, err
		}
		if i == 0 || at < from {
			from = at
		}
	}
	return from, nil
}
