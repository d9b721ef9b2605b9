package control

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/freshet-io/freshet"
)

// MaxCollections is how many collections a log can have.
const MaxCollections = 10_000

// Order says whether the events of a collection carry an order of their source. A
// collection's first event settles it, for all of them or for none.
type Order string

// The settings of Order.
const (
	OrderUndecided Order = ""
	OrderNone      Order = "none"
	OrderSource    Order = "source"
)

// Collection is a set of entities with one schema, fixed when it is made.
type Collection struct {
	Name   string `json:"name"`
	Model  string `json:"model"` // "" when its events bring ready vectors
	Dim    int    `json:"dim"`
	Metric string `json:"metric"` // "cosine", "ip", "l2"
	// External says that others write its entities, into vector.sync in Kafka.
	External bool   `json:"external,omitempty"`
	Order    Order  `json:"order,omitempty"`
	Origin   string `json:"origin"` // "default", "config" or "auto"
	// Since is the offset of the first record of events.raw for which the collection exists: an
	// older one was judged without it, and is judged so again by every replay.
	Since int64 `json:"since"`
}

// Revision identifies the mapping and models in force.
type Revision struct {
	Number   uint32 `json:"number"`
	Mapping  string `json:"mapping"`
	Splitter string `json:"splitter"`
}

// Catalog is the current content of freshet.control. It is safe for concurrent use.
type Catalog struct {
	log Log
	now atomic.Pointer[contents] // replaced as a whole

	mu sync.Mutex // held by writers
}

// Get returns a collection by name.
func (c *Catalog) Get(name string) (Collection, bool) {
	col, ok := c.now.Load().collections[name]
	return col, ok
}

// Lookup is Get for a caller that must know: before it says that there is no such collection it asks the log, where another node
// may have made it a moment ago.
func (c *Catalog) Lookup(name string) (Collection, bool, error) {
	if col, ok := c.Get(name); ok {
		return col, true, nil
	}
	if err := c.log.CatchUp(c.Take); err != nil {
		return Collection{}, false, fmt.Errorf("look for collection %q: %w", name, err)
	}
	col, ok := c.Get(name)
	return col, ok, nil
}

// All returns the collections in order of name.
func (c *Catalog) All() []Collection {
	cur := c.now.Load().collections
	all := make([]Collection, 0, len(cur))
	for _, name := range slices.Sorted(maps.Keys(cur)) {
		all = append(all, cur[name])
	}
	return all
}

// Declare makes collections, all or none of them, and checks of those that exist that they are the same: model,
// dimension, metric and who writes can't change.
func (c *Catalog) Declare(cols ...Collection) error {
	return c.write("collections", func() ([]keyed, error) {
		var made []Collection
		for _, col := range cols {
			old, ok := c.Get(col.Name)
			if !ok {
				made = append(made, col)
			} else if old.schema() != col.schema() {
				return nil, &freshet.Error{Code: freshet.CodeInvalidField, Field: "collections." + col.Name,
					Message: fmt.Sprintf("was made with %s; the configuration now says %s. "+
						"A collection is fixed at creation: set these back, or declare a new collection and send its events again", old.schema(), col.schema())}
			}
		}
		return c.create(made...)
	})
}

// schema is what can't change.
func (col Collection) schema() string {
	writer := "freshet"
	if col.External {
		writer = "external"
	}
	return fmt.Sprintf("model %q, dim %d, metric %s, source %s", col.Model, col.Dim, col.Metric, writer)
}

// Writable is a *freshet.Error for a collection of which no events are taken: others write its entities.
func (col Collection) Writable() error {
	if !col.External {
		return nil
	}
	return &freshet.Error{Code: freshet.CodeUnsupportedOp, Field: "collection",
		Message: fmt.Sprintf("%q takes no events: others write its entities (source: external), into vector.sync; write there, or to another collection", col.Name)}
}

// CreateLike makes a collection as a copy of another one's schema, for records from offset
// since on. It is no error if the collection exists by now.
func (c *Catalog) CreateLike(name, like string, since int64) (col Collection, err error) {
	err = c.write(fmt.Sprintf("collection %q", name), func() (recs []keyed, err error) {
		var ok bool
		if col, ok = c.Get(name); ok {
			return nil, nil
		}
		if col, ok = c.Get(like); !ok {
			return nil, &freshet.Error{Code: freshet.CodeUnknownCollection, Field: "collection", Message: fmt.Sprintf("there is no collection %q to copy", like)}
		}
		col.Name, col.Order, col.Origin, col.Since, col.External = name, OrderUndecided, "auto", c.since(since), false
		return c.create(col)
	})
	return col, err
}

// create returns the records of new collections.
func (c *Catalog) create(cols ...Collection) (recs []keyed, err error) {
	known := len(c.now.Load().collections)
	for _, col := range cols {
		if known++; known > MaxCollections {
			return nil, &freshet.Error{Code: freshet.CodeTooLarge, Field: "collection",
				Message: fmt.Sprintf("%q would be collection number %d; a log has at most %d. Use namespaces for tenants", col.Name, MaxCollections+1, MaxCollections)}
		}
		col.Since = c.since(col.Since)
		recs = append(recs, col.record())
	}
	return recs, nil
}

// since is the offset that a collection exists since, if there is one.
func (c *Catalog) since(offset int64) int64 {
	if !c.log.OneSequence() {
		return 0
	}
	return offset
}

func (col Collection) record() keyed {
	return keyed{collectionKey(col.Name), record{Format: recordFormat, Collection: &col}}
}

// ErrSettled means that the order of a collection is settled, and otherwise.
var ErrSettled = errors.New("the order of the collection is settled")

// SettleOrder records what the first event of a collection says. The same first event
// settles it the same way at every replay, so this needs no transaction with its effect. It is no error if that is what it is
// settled to; else the error is ErrSettled: the first event of another partition may have been faster.
func (c *Catalog) SettleOrder(name string, order Order) error {
	return c.write(fmt.Sprintf("the order of collection %q", name), func() ([]keyed, error) {
		col, ok := c.Get(name)
		switch {
		case !ok:
			return nil, fmt.Errorf("settle order of collection %q: there is none", name)
		case col.Order == order:
			return nil, nil
		case col.Order != OrderUndecided:
			return nil, fmt.Errorf("settle order of collection %q: %w: it is %q", name, ErrSettled, col.Order)
		}
		col.Order = order
		return []keyed{col.record()}, nil
	})
}

// ErrRevision means that the configuration maps events differently from what the data was
// made with.
var ErrRevision = errors.New("the mapping or the splitter has changed")

// CheckRevision records the first revision of a log, and later refuses another one: the same
// event must never silently give another content.
func (c *Catalog) CheckRevision(want Revision) (Revision, error) {
	want.Number = 1
	err := c.write("revision", func() ([]keyed, error) {
		if c.now.Load().revision != nil {
			return nil, nil
		}
		return []keyed{{revisionKey, record{Format: recordFormat, Revision: &want}}}, nil
	})
	if err != nil {
		return want, err
	}
	have := *c.now.Load().revision
	if have.Mapping == want.Mapping && have.Splitter == want.Splitter {
		return have, nil
	}
	what, was, is := "mapping", have.Mapping, want.Mapping
	if was == is {
		what, was, is = "splitter", have.Splitter, want.Splitter
	}
	return have, fmt.Errorf("%w: the data was made under revision %d with this %s:\n  %s\nthe configuration now says:\n  %s\n"+
		"Nothing was changed. Set the %s back to continue with this data, or start on a new data folder (--data; on Kafka with another "+
		"topics.prefix and group) and send the events again", ErrRevision, have.Number, what, was, is, what)
}
