package control

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
)

const recordFormat = 1

// Keys of records of which there is one. The record logKey says what a log is that several nodes share; who opens the
// log reads and checks it.
const (
	revisionKey = "revision"
	epochKey    = "epoch"
	logKey      = "log"
)

func collectionKey(name string) string { return "collection/" + name }

// record is a control record as stored.
type record struct {
	Format int `json:"format"`
	*Collection
	*Revision
	Index  *indexRecord `json:"index,omitempty"`
	Epochs []Epoch      `json:"epochs,omitempty"`
	Node   *Node        `json:"node,omitempty"`
}

// contents is what the records say. It is never altered once others can see it.
type contents struct {
	collections map[string]Collection
	indexes     map[indexName]Index
	epochs      []Epoch // oldest first
	revision    *Revision
	nodes       []Node // in order of id
}

func (c *contents) clone() *contents {
	return &contents{maps.Clone(c.collections), maps.Clone(c.indexes), c.epochs, c.revision, c.nodes}
}

// take takes in a record.
func (c *contents) take(r broker.Record) error {
	if r.Value == nil {
		if key := string(r.Key); strings.HasPrefix(key, nodePrefix) {
			return c.takeNode(key, nil)
		}
		return fmt.Errorf("control record %q is deleted: this version of freshet deletes none of its kind; use the one that did", r.Key)
	}
	if string(r.Key) == logKey { // whoever opens the log reads it
		return nil
	}
	rec := record{Collection: &Collection{}, Revision: &Revision{}}
	if err := json.Unmarshal(r.Value, &rec); err != nil {
		return fmt.Errorf("control record %q: %w", r.Key, err)
	}
	if rec.Format != recordFormat {
		return fmt.Errorf("control record %q has format %d, this version reads %d", r.Key, rec.Format, recordFormat)
	}
	switch key := string(r.Key); {
	case rec.Index != nil && key == indexKey(rec.Index.Collection, rec.Index.Namespace):
		c.indexes[indexName{rec.Index.Collection, rec.Index.Namespace}] = rec.Index.Index
	case key == epochKey:
		if err := checkEpochs(rec.Epochs); err != nil {
			return fmt.Errorf("control record %q is damaged: %w", key, err)
		}
		c.epochs = rec.Epochs
	case key == revisionKey:
		c.revision = rec.Revision
	case strings.HasPrefix(key, nodePrefix) && rec.Node != nil:
		return c.takeNode(key, rec.Node)
	case key == collectionKey(rec.Collection.Name):
		c.collections[rec.Collection.Name] = *rec.Collection
	case strings.HasPrefix(key, collectionKey("")):
		return fmt.Errorf("control record %q speaks of collection %q: it is damaged", key, rec.Collection.Name)
	default:
		return fmt.Errorf("control record %q is not known to this version of freshet; use the one that wrote it", key)
	}
	return nil
}

// Open reads the catalog of a log.
func Open(log Log) (*Catalog, error) {
	now := &contents{collections: map[string]Collection{}, indexes: map[indexName]Index{}}
	if err := log.Scan(freshet.TopicControl, nil, nil, now.take); err != nil {
		return nil, fmt.Errorf("read %s: %w", freshet.TopicControl, err)
	}
	c := &Catalog{log: log}
	c.now.Store(now)
	return c, nil
}

// Take takes in records that have been written, in their order: all of them, or none if one can't be read. It is called by the log,
// for one call at a time.
func (c *Catalog) Take(records []broker.Record) error {
	next := c.now.Load().clone()
	for _, r := range records {
		if err := next.take(r); err != nil {
			return err
		}
	}
	c.now.Store(next)
	return nil
}
