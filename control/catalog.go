package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/disk"
)

const recordFormat = 1

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
	Order  Order  `json:"order,omitempty"`
	Origin string `json:"origin"` // "default", "config" or "auto"
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

// record is a control record as stored.
type record struct {
	Format int `json:"format"`
	*Collection
	*Revision
	Index  *indexRecord `json:"index,omitempty"`
	Epochs []Epoch      `json:"epochs,omitempty"`
}

// Catalog is the current content of freshet.control. It is safe for concurrent use, and is
// the topic's one writer.
type Catalog struct {
	log *embedded.Log

	current atomic.Pointer[map[string]Collection] // replaced as a whole, never altered
	indexes atomic.Pointer[map[indexName]Index]   // likewise
	epochs  atomic.Pointer[[]Epoch]               // likewise, oldest first

	mu       sync.Mutex // held by writers
	revision *Revision
}

// Open reads the catalog of a log.
func Open(log *embedded.Log) (*Catalog, error) {
	c := &Catalog{log: log}
	all, indexes := map[string]Collection{}, map[indexName]Index{}
	err := log.Scan(freshet.TopicControl, nil, nil, func(r embedded.Record) error {
		rec := record{Collection: &Collection{}, Revision: &Revision{}}
		if err := json.Unmarshal(r.Value, &rec); err != nil {
			return fmt.Errorf("control record %q: %w", r.Key, err)
		}
		if rec.Format != recordFormat {
			return fmt.Errorf("control record %q has format %d, this version reads %d", r.Key, rec.Format, recordFormat)
		}
		switch key := string(r.Key); {
		case rec.Index != nil && key == indexKey(rec.Index.Collection, rec.Index.Namespace):
			indexes[indexName{rec.Index.Collection, rec.Index.Namespace}] = rec.Index.Index
		case key == epochKey:
			if err := checkEpochs(rec.Epochs); err != nil {
				return fmt.Errorf("control record %q is damaged: %w", key, err)
			}
			c.epochs.Store(&rec.Epochs)
		case key == "revision":
			c.revision = rec.Revision
		case key == "collection/"+rec.Collection.Name:
			all[rec.Collection.Name] = *rec.Collection
		case strings.HasPrefix(key, "collection/"):
			return fmt.Errorf("control record %q speaks of collection %q: it is damaged", key, rec.Collection.Name)
		default:
			return fmt.Errorf("control record %q is not known to this version of freshet; use the one that wrote it", key)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", freshet.TopicControl, err)
	}
	c.current.Store(&all)
	c.indexes.Store(&indexes)
	return c, nil
}

// Get returns a collection by name.
func (c *Catalog) Get(name string) (Collection, bool) {
	col, ok := (*c.current.Load())[name]
	return col, ok
}

// All returns the collections in order of name.
func (c *Catalog) All() []Collection {
	cur := *c.current.Load()
	all := make([]Collection, 0, len(cur))
	for _, name := range slices.Sorted(maps.Keys(cur)) {
		all = append(all, cur[name])
	}
	return all
}

// Declare makes collections, all or none of them, and checks of those that exist that they are the same: model,
// dimension and metric can't change.
func (c *Catalog) Declare(cols ...Collection) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var made []Collection
	for _, col := range cols {
		old, ok := c.Get(col.Name)
		if !ok {
			made = append(made, col)
		} else if old.Model != col.Model || old.Dim != col.Dim || old.Metric != col.Metric {
			return &freshet.Error{Code: freshet.CodeInvalidField, Field: "collections." + col.Name,
				Message: fmt.Sprintf("was made with model %q, dim %d, metric %s; the configuration now says model %q, dim %d, metric %s. "+
					"A collection is fixed at creation: set these back, or declare a new collection and send its events again",
					old.Model, old.Dim, old.Metric, col.Model, col.Dim, col.Metric)}
		}
	}
	return c.put(made...)
}

// CreateLike makes a collection as a copy of another one's schema, for records from offset
// since on. It is no error if the collection exists by now.
func (c *Catalog) CreateLike(name, like string, since int64) (Collection, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.Get(name); ok {
		return old, nil
	}
	col, ok := c.Get(like)
	if !ok {
		return col, &freshet.Error{Code: freshet.CodeUnknownCollection, Field: "collection", Message: fmt.Sprintf("there is no collection %q to copy", like)}
	}
	col.Name, col.Order, col.Origin, col.Since = name, OrderUndecided, "auto", since
	return col, c.put(col)
}

// SettleOrder records what the first event of a collection says. The same first event
// settles it the same way at every replay, so this needs no transaction with its effect.
func (c *Catalog) SettleOrder(name string, order Order) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	col, ok := c.Get(name)
	if !ok || col.Order != OrderUndecided {
		return fmt.Errorf("settle order of collection %q: it is %q", name, col.Order)
	}
	col.Order = order
	return c.put(col)
}

// put writes collections in one transaction.
func (c *Catalog) put(cols ...Collection) error {
	next := maps.Clone(*c.current.Load())
	var recs []keyed
	for i, col := range cols {
		if _, known := next[col.Name]; !known && len(next) >= MaxCollections {
			return &freshet.Error{Code: freshet.CodeTooLarge, Field: "collection",
				Message: fmt.Sprintf("%q would be collection number %d; a log has at most %d. Use namespaces for tenants", col.Name, MaxCollections+1, MaxCollections)}
		}
		next[col.Name] = col
		recs = append(recs, keyed{"collection/" + col.Name, record{Format: recordFormat, Collection: &cols[i]}})
	}
	if len(recs) == 0 {
		return nil
	}
	if err := c.writeAll(recs); err != nil {
		return fmt.Errorf("record collection %q: %w", cols[0].Name, err)
	}
	c.current.Store(&next)
	return nil
}

// keyed is a record with its key.
type keyed struct {
	key string
	rec record
}

func (c *Catalog) write(key string, rec record) error { return c.writeAll([]keyed{{key, rec}}) }

// writeAll writes records, all or none of them.
func (c *Catalog) writeAll(recs []keyed) error {
	tx := c.log.Begin()
	for _, r := range recs {
		value, err := json.Marshal(r.rec)
		if err == nil {
			err = tx.Put(freshet.TopicControl, []byte(r.key), value)
		}
		if err != nil {
			tx.Abort()
			return err
		}
	}
	return tx.CommitDurable(disk.ControlRecord)
}

// ErrRevision means that the configuration maps events differently from what the data was
// made with.
var ErrRevision = errors.New("the mapping or the splitter has changed")

// CheckRevision records the first revision of a log, and later refuses another one: the same
// event must never silently give another content.
func (c *Catalog) CheckRevision(want Revision) (Revision, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.revision == nil {
		want.Number = 1
		if err := c.write("revision", record{Format: recordFormat, Revision: &want}); err != nil {
			return want, fmt.Errorf("record revision: %w", err)
		}
		c.revision = &want
		return want, nil
	}
	have := *c.revision
	if have.Mapping == want.Mapping && have.Splitter == want.Splitter {
		return have, nil
	}
	what, was, is := "mapping", have.Mapping, want.Mapping
	if was == is {
		what, was, is = "splitter", have.Splitter, want.Splitter
	}
	return have, fmt.Errorf("%w: the data was made under revision %d with this %s:\n  %s\nthe configuration now says:\n  %s\n"+
		"Nothing was changed. Set the %s back to continue with this data, or start on a new data folder (--data) and "+
		"send the events again", ErrRevision, have.Number, what, was, is, what)
}
