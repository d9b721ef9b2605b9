package process

import (
	"errors"
	"fmt"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/control"
)

// MaxDim is the largest dimension of a vector.
const MaxDim = 4096

// maxNormSquared is where distances of float32 vectors overflow.
const maxNormSquared = 1e37

// errUnknown stands for a collection that does not exist for a record.
var errUnknown = errors.New("unknown collection")

// collection returns the collection of a draft if it exists for the record at offset.
func (s *Sequencer) collection(name string, offset int64) (control.Collection, error) {
	col, ok := s.collections.Get(name)
	if !ok || offset < col.Since || s.recorded != nil && !s.recorded.existed(name, offset) {
		return col, errUnknown
	}
	if s.known != nil {
		s.known.notice(name, offset)
	}
	return col, nil
}

// admit checks a draft again that named an unknown collection, which may exist by now, or be
// made. It runs in the order of the log.
func (s *Sequencer) admit(d *mappedDraft, offset int64) error {
	_, err := s.collection(d.Key.Collection, offset)
	switch {
	case err != nil && s.autoCreate:
		_, err = s.collections.CreateLike(d.Key.Collection, freshet.DefaultCollection, offset)
	case err != nil: // perhaps another node has made it
		_, _, err = s.collections.Lookup(d.Key.Collection)
	}
	if err != nil {
		return err
	}
	err = s.validate(d, offset)
	if errors.Is(err, errUnknown) {
		return &freshet.Error{Code: freshet.CodeUnknownCollection, Field: "collection",
			Message: fmt.Sprintf("%q does not exist; declare it in the configuration, or set auto_create", clip(d.Key.Collection))}
	}
	return err
}

// validate checks what can be known of a draft alone.
func (s *Sequencer) validate(d *mappedDraft, offset int64) error {
	col, err := s.collection(d.Key.Collection, offset)
	if err != nil {
		return err
	}
	if err := col.Writable(); err != nil {
		return err
	}
	if d.Op == freshet.OpDelete {
		return nil
	}
	if d.Points != nil {
		return checkPoints(d, "state.", col)
	}
	if d.Vector == nil {
		if col.Model == "" && d.Op == freshet.OpUpsert { // what is patched has one
			return &freshet.Error{Code: freshet.CodeNoContent, Field: "vector",
				Message: fmt.Sprintf("is missing; collection %q has no model, its events bring vectors of %d dimensions", col.Name, col.Dim)}
		}
		return nil
	}
	return checkVector(d.Vector, col)
}

// checkPoints reports, as a *freshet.Error, why a collection can't take the points of a draft; before stands before the names of fields. A point that names no model is the
// producer's own, as a ready vector is.
func checkPoints(d *mappedDraft, before string, col control.Collection) error {
	for i := range d.Points {
		p := &d.Points[i]
		field := fmt.Sprintf("%spoints[%d]", before, i)
		if p.Model != "" && p.Model != col.Model {
			has := "takes ready vectors: leave the model out if these are of the kind that its others are"
			if col.Model != "" {
				has = fmt.Sprintf("has model %q, and vectors of different models can't be compared: leave the points out to have the text embedded", col.Model)
			}
			return &freshet.Error{Code: freshet.CodeInvalidField, Field: field + ".model", Message: fmt.Sprintf("is %q, collection %q %s", clip(p.Model), col.Name, has)}
		}
		if p.End > len(d.Text) {
			return &freshet.Error{Code: freshet.CodeInvalidField, Field: field + ".end", Message: fmt.Sprintf("is %d, the text has %d bytes", p.End, len(d.Text))}
		}
		if err := checkVector(p.Vector, col); err != nil {
			e := *err.(*freshet.Error)
			e.Field = field + ".vector"
			return &e
		}
	}
	return nil
}

// CheckExternal reports, as a *freshet.Error, why a collection can't take a state that others have written.
func CheckExternal(c *freshet.Change, col control.Collection) error {
	return checkPoints(&mappedDraft{Draft: Draft{Text: c.Text, Points: c.Points}}, "", col)
}

// checkVector reports, as a *freshet.Error, why a collection can't take a vector.
func checkVector(v []float32, col control.Collection) error {
	if len(v) != col.Dim {
		return &freshet.Error{Code: freshet.CodeWrongDimension, Field: "vector",
			Message: fmt.Sprintf("has %d dimensions, collection %q has %d", len(v), col.Name, col.Dim)}
	}
	var norm float64
	for i, f := range v {
		if f != f || f-f != 0 {
			return &freshet.Error{Code: freshet.CodeBadVector, Field: "vector", Message: fmt.Sprintf("element %d is %v; every element must be finite", i, f)}
		}
		norm += float64(f) * float64(f)
	}
	if norm > maxNormSquared && col.Metric != "cosine" {
		return &freshet.Error{Code: freshet.CodeBadVector, Field: "vector", Message: fmt.Sprintf("has the squared length %g, at most %g is possible; scale the vectors of the collection down", norm, maxNormSquared)}
	}
	if norm == 0 && col.Metric == "cosine" {
		return &freshet.Error{Code: freshet.CodeBadVector, Field: "vector", Message: "is all zeros, which has no direction; cosine can't compare it"}
	}
	return nil
}
