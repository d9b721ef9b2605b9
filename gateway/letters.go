package gateway

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/freshet-io/freshet"
)

// LettersQuery says which dead letters to list.
type LettersQuery struct {
	From      *int64 // first offset, or with Back the last
	Offset    *int64 // only those of records at this offset
	Partition *int32 // only those of records of this partition
	Back      bool   // the latest first
	Limit     int
}

// Bounds are the offsets that are listed, from first to last. Without a bound last is below 0.
func (q *LettersQuery) Bounds() (first, last int64) {
	switch {
	case q.Offset != nil:
		return *q.Offset, *q.Offset
	case q.From != nil && q.Back:
		return 0, *q.From
	case q.From != nil:
		return *q.From, -1
	}
	return 0, -1
}

// LettersRequest says which dead letters to replay or to drop: those that have everything that is
// named, or all. Long runs go in several requests, each with the place that the one before gave.
type LettersRequest struct {
	Stage      string       `json:"stage,omitempty"`
	Class      freshet.Code `json:"class,omitempty"`
	Collection string       `json:"collection,omitempty"`
	Namespace  string       `json:"namespace,omitempty"`
	EntityID   string       `json:"entity_id,omitempty"`
	Since      string       `json:"since,omitempty"` // RFC 3339, when the event became durable
	Until      string       `json:"until,omitempty"` // up to before this time
	All        bool         `json:"all,omitempty"`
	DryRun     bool         `json:"dry_run,omitempty"` // only count
	After      *LetterPlace `json:"after,omitempty"`   // go on behind this one
	Through    *int64       `json:"through,omitempty"` // last offset that is looked at, in the partition of After where there is one; default: what is decided now
	Limit      int          `json:"limit,omitempty"`   // how many are taken at most; default and most 1000
}

// LetterPlace names a dead letter. Partition counts where each partition of the log is decided by itself, and is 0 elsewhere.
type LetterPlace struct {
	Partition int32 `json:"partition,omitempty"`
	Offset    int64 `json:"offset"`
	Ordinal   int   `json:"ordinal"`
}

// LettersResult is what became of them.
type LettersResult struct {
	Matched  int          `json:"matched"`
	Replayed int          `json:"replayed"` // they are gone: had their effect, or something newer has had one
	Failed   int          `json:"failed"`   // they are dead letters still
	Dropped  int          `json:"dropped"`
	Next     *LetterPlace `json:"next,omitempty"` // the last that was looked at, where more may follow: after of the next request
	Through  int64        `json:"through"`        // of the partition of Next
}

// Selects reports whether a dead letter is one of those that are meant.
func (q *LettersRequest) Selects(l *freshet.DeadLetter) bool {
	since, until, err := q.times()
	return err == nil && (q.Stage == "" || q.Stage == l.Stage) && (q.Class == "" || q.Class == l.Class) &&
		(q.Collection == "" || q.Collection == l.Key.Collection) && (q.Namespace == "" || q.Namespace == l.Key.Namespace) &&
		(q.EntityID == "" || q.EntityID == l.Key.Entity) && (since == 0 || l.At >= since) && (until == 0 || l.At < until)
}

// times are the bounds in ms, 0 = none.
func (q *LettersRequest) times() (since, until int64, err error) {
	for _, v := range []struct {
		field, text string
		ms          *int64
	}{{"since", q.Since, &since}, {"until", q.Until, &until}} {
		if v.text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, v.text)
		if err != nil {
			return 0, 0, invalid(v.field, fmt.Sprintf("is %.40q, must be a time of RFC 3339 like 2026-01-31T12:00:00Z", v.text))
		}
		*v.ms = t.UnixMilli()
	}
	return since, until, nil
}

// check refuses what names nothing, and fills in the limit.
func (q *LettersRequest) check() error {
	named := q.Stage != "" || q.Class != "" || q.Collection != "" || q.Namespace != "" || q.EntityID != "" || q.Since != "" || q.Until != ""
	switch {
	case !named && !q.All:
		return &freshet.Error{Code: freshet.CodeMissingField, Field: "all",
			Message: "is not set, and nothing is named: say which dead letters are meant with stage, class, collection, namespace, entity_id, since or until, or all: true"}
	case named && q.All:
		return invalid("all", "stands beside what names some; give one of the two")
	case q.Limit < 0 || q.Limit > maxDeadLetters:
		return invalid("limit", fmt.Sprintf("is %d, must be 1 to %d", q.Limit, maxDeadLetters))
	case q.Limit == 0:
		q.Limit = maxDeadLetters
	}
	_, _, err := q.times()
	return err
}

// postLetters is a route that takes dead letters.
func (s *Server) postLetters(take func(context.Context, LettersRequest) (LettersResult, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q LettersRequest
		err := readJSON(w, r, &q)
		if err == nil {
			err = q.check()
		}
		var out LettersResult
		if err == nil {
			out, err = take(r.Context(), q)
		}
		if err != nil {
			s.fail(w, r, err, nil)
			return
		}
		reply(w, out)
	}
}
