package gateway

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// UpkeepAdmin is what the routes that look after the data folder can do.
type UpkeepAdmin struct {
	// Verify reads everything that has a checksum.
	Verify func(ctx context.Context) (*VerifyReport, error)
	// Compact rewrites the state.
	Compact func(ctx context.Context) (CompactReport, error)
	// Drop empties a namespace of a collection, or with "" all of it, and returns once nothing of it can be found.
	Drop func(ctx context.Context, collection, namespace string) (DropReport, error)
	// Reload takes over what has changed in the configuration; a *ReloadRefused names what it can't.
	Reload func(ctx context.Context) (ReloadReport, error)
	// Doctor looks for what is wrong.
	Doctor func(ctx context.Context) ([]Finding, error)
}

// Levels of findings.
const (
	LevelOK      = "ok"
	LevelWarning = "warning"
	LevelError   = "error"
)

// Finding is something that was looked at, what is wrong with it, and what to do.
type Finding struct {
	Level  string `json:"level"`
	Check  string `json:"check"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

// Findings is what a look at the server gives.
type Findings struct {
	Findings []Finding `json:"findings"`
}

// VerifyReport says what is damaged.
type VerifyReport struct {
	Clean bool         `json:"clean"`
	Parts []VerifyPart `json:"parts"`
}

// VerifyPart is one kind of things with checksums: journal, tables, records, snapshots, model.
type VerifyPart struct {
	Part    string         `json:"part"`
	Items   int64          `json:"items"` // files, or records
	Bytes   int64          `json:"bytes,omitempty"`
	Damaged []VerifyDamage `json:"damaged"`
}

// VerifyDamage is one thing that is damaged.
type VerifyDamage struct {
	Name   string `json:"name"`
	Detail string `json:"detail"`
}

// Add adds a part.
func (r *VerifyReport) Add(p VerifyPart) {
	if p.Damaged == nil {
		p.Damaged = []VerifyDamage{}
	}
	r.Parts = append(r.Parts, p)
	r.Clean = true
	for _, p := range r.Parts {
		r.Clean = r.Clean && len(p.Damaged) == 0
	}
}

// CompactReport says what a compaction has done.
type CompactReport struct {
	BytesBefore int64   `json:"bytes_before"` // of the state on disk
	BytesAfter  int64   `json:"bytes_after"`
	Seconds     float64 `json:"seconds"`
}

// DropReport says what a drop has done.
type DropReport struct {
	Collection string `json:"collection"`
	Namespace  string `json:"namespace,omitempty"` // absent: all of the collection
	Token      string `json:"token"`               // of the drop: events before it are gone
}

// dropOf answers a request to drop; confirm names once more what is to go.
func (s *Server) dropOf(w http.ResponseWriter, r *http.Request) {
	values, err := parametersOf(r, "confirm")
	collection, namespace := r.PathValue("collection"), r.PathValue("namespace")
	if err == nil {
		err = checkID("collection", collection)
	}
	name := collection
	if err == nil && strings.Contains(r.Pattern, "{namespace}") {
		err = checkID("namespace", namespace)
		name += "/" + namespace
	}
	if confirm := values.get("confirm"); err == nil && (confirm == nil || *confirm != name) {
		err = invalid("confirm", fmt.Sprintf("must be %q: all that is in it goes, and does not come back", name))
	}
	var report DropReport
	if err == nil {
		report, err = s.opts.Admin.Upkeep.Drop(r.Context(), collection, namespace)
	}
	if err != nil {
		s.fail(w, r, err, nil)
		return
	}
	reply(w, report)
}

func (s *Server) upkeepRoutes() {
	s.route("DELETE /v1/collections/{collection}", s.unless(s.opts.Refuse.Whole, s.dropOf))
	s.route("DELETE /v1/collections/{collection}/namespaces/{namespace}", s.unless(s.opts.Refuse.Whole, s.dropOf))
	s.route("POST /v1/admin/reload", s.postReload)
	s.route("GET /v1/admin/doctor", func(w http.ResponseWriter, r *http.Request) {
		list, err := s.opts.Admin.Upkeep.Doctor(r.Context())
		if err != nil {
			s.fail(w, r, err, nil)
			return
		}
		reply(w, Findings{Findings: list})
	})
	s.mux.HandleFunc("POST /v1/admin/verify", func(w http.ResponseWriter, r *http.Request) { // not timed: it reads everything
		report, err := s.opts.Admin.Upkeep.Verify(r.Context())
		if err != nil {
			s.fail(w, r, err, nil)
			return
		}
		reply(w, report)
	})
	s.mux.HandleFunc("POST /v1/admin/compact", func(w http.ResponseWriter, r *http.Request) {
		report, err := s.opts.Admin.Upkeep.Compact(r.Context())
		if err != nil {
			s.fail(w, r, err, nil)
			return
		}
		reply(w, report)
	})
}
