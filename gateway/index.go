package gateway

import (
	"net/http"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/control"
)

// IndexAdmin is what the routes of indexes can do.
type IndexAdmin struct {
	// List returns the indexes of all namespaces.
	List func() []IndexStat
	// Rebuild begins to build the indexes of a collection anew, of one namespace or with "" of all, and returns at once.
	Rebuild func(collection, namespace string, settings control.Index) (IndexRebuild, error)
	// Status is the rebuild that runs, or the last one; nil when there was none.
	Status func() *IndexRebuild
}

// IndexStat is the vector index of one namespace.
type IndexStat struct {
	Collection     string       `json:"collection"`
	Namespace      string       `json:"namespace"`
	Kind           string       `json:"kind"`
	Precision      string       `json:"precision"`
	M              int          `json:"m"`
	EfConstruction int          `json:"ef_construction"`
	Ef             int          `json:"ef"` // as it was set
	Points         int          `json:"points"`
	InGraph        int          `json:"in_graph"`
	InBuffer       int          `json:"in_buffer"`
	Bytes          int64        `json:"bytes"`
	Recall         *IndexRecall `json:"recall,omitempty"` // absent: not measured
}

// IndexRecall is what the index finds of the true ten nearest of recent queries.
type IndexRecall struct {
	Target  float64 `json:"target"`
	Recall  float64 `json:"recall"`
	Low     float64 `json:"low"` // of the interval that has the true value with 95 %
	High    float64 `json:"high"`
	Queries int     `json:"queries"`
	Ef      int     `json:"ef"`    // in use, raised where it had to be
	Alert   bool    `json:"alert"` // the target can't be reached
}

// IndexRebuild is a rebuild of one or more indexes.
type IndexRebuild struct {
	Collection string  `json:"collection"`
	Namespace  string  `json:"namespace"` // "": all
	State      string  `json:"state"`     // running, done or failed
	Indexes    int     `json:"indexes"`
	Done       int     `json:"done"`     // of the indexes
	Current    string  `json:"current"`  // namespace of the index at hand
	Step       string  `json:"step"`     // copying, linking or switching
	Entities   int     `json:"entities"` // of the index at hand
	Copied     int     `json:"copied"`
	Unlinked   int     `json:"unlinked"` // points of the new index that wait for their links
	BeganAt    string  `json:"began_at"`
	Seconds    float64 `json:"seconds"`
	Error      string  `json:"error"`
}

// IndexList is the indexes, and the rebuild that runs or was the last.
type IndexList struct {
	Indexes []IndexStat   `json:"indexes"`
	Rebuild *IndexRebuild `json:"rebuild,omitempty"`
}

// RebuildRequest is the body of a request to rebuild. What is not given stays as it is.
type RebuildRequest struct {
	Collection     *string `json:"collection,omitempty"`
	Namespace      string  `json:"namespace,omitempty"`
	Kind           string  `json:"kind,omitempty"`
	Precision      string  `json:"precision,omitempty"`
	M              int     `json:"m,omitempty"`
	EfConstruction int     `json:"ef_construction,omitempty"`
	Ef             int     `json:"ef,omitempty"`
	TargetRecall   float64 `json:"target_recall,omitempty"`
}

func (s *Server) indexRoutes() {
	s.route("GET /v1/admin/index", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, IndexList{Indexes: s.opts.Admin.Index.List(), Rebuild: s.opts.Admin.Index.Status()})
	})
	s.route("POST /v1/admin/index/rebuild", s.unless(s.opts.Refuse.Indexes, s.postRebuild))
}

func (s *Server) postRebuild(w http.ResponseWriter, r *http.Request) {
	var body RebuildRequest
	if err := readJSON(w, r, &body); err != nil {
		s.fail(w, r, err, nil)
		return
	}
	collection := freshet.DefaultCollection
	if body.Collection != nil {
		collection = *body.Collection
	}
	status, err := s.opts.Admin.Index.Rebuild(collection, body.Namespace, control.Index{Kind: body.Kind, Precision: body.Precision,
		M: body.M, EfConstruction: body.EfConstruction, Ef: body.Ef, TargetRecall: body.TargetRecall})
	if err != nil {
		s.fail(w, r, err, nil)
		return
	}
	reply(w, status)
}
