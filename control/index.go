package control

import (
	"fmt"
	"strconv"
)

// Index is the settings of vector indexes; a zero value leaves a setting as it is elsewhere.
type Index struct {
	Kind           string  `json:"kind,omitempty"`
	Precision      string  `json:"precision,omitempty"`
	M              int     `json:"m,omitempty"`
	EfConstruction int     `json:"ef_construction,omitempty"`
	Ef             int     `json:"ef,omitempty"`
	TargetRecall   float64 `json:"target_recall,omitempty"`
}

// Over returns the settings x with those of i instead, where i has one.
func (i Index) Over(x Index) Index {
	over(&x.Kind, i.Kind)
	over(&x.Precision, i.Precision)
	over(&x.M, i.M)
	over(&x.EfConstruction, i.EfConstruction)
	over(&x.Ef, i.Ef)
	over(&x.TargetRecall, i.TargetRecall)
	return x
}

func over[T comparable](v *T, with T) {
	var zero T
	if with != zero {
		*v = with
	}
}

// indexRecord says what an index was rebuilt with: that of one namespace of a collection, or of all of them.
type indexRecord struct {
	Collection string `json:"collection"`
	Namespace  string `json:"namespace,omitempty"` // "": all
	Index      Index  `json:"index"`
}

// indexKey is the key of an index record: names are quoted, so that no two have the same key.
func indexKey(collection, namespace string) string {
	return "index/" + strconv.Quote(collection) + "/" + strconv.Quote(namespace)
}

// indexName names an index, with namespace "" all of a collection.
type indexName struct{ collection, namespace string }

// Index returns what the indexes of a namespace were rebuilt with; what is zero was never set.
func (c *Catalog) Index(collection, namespace string) Index {
	all := c.now.Load().indexes
	return all[indexName{collection, namespace}].Over(all[indexName{collection, ""}])
}

// SetIndex records what the indexes of a namespace are built with from now on, or with namespace "" those of all of a
// collection, the ones that had settings of their own included.
func (c *Catalog) SetIndex(collection, namespace string, settings Index) error {
	return c.write(fmt.Sprintf("the index of collection %q", collection), func() ([]keyed, error) {
		if _, ok := c.Get(collection); !ok {
			return nil, fmt.Errorf("record the index of collection %q: there is none", collection)
		}
		recs := []keyed{indexOf(indexName{collection, namespace}, settings)}
		for n := range c.now.Load().indexes {
			if namespace == "" && n.collection == collection && n.namespace != "" {
				recs = append(recs, indexOf(n, Index{}))
			}
		}
		return recs, nil
	})
}

// indexOf is the record of an index.
func indexOf(n indexName, settings Index) keyed {
	return keyed{indexKey(n.collection, n.namespace), record{Format: recordFormat, Index: &indexRecord{n.collection, n.namespace, settings}}}
}
