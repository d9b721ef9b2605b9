package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/freshet-io/freshet"
)

// ReloadReport says what a reload has changed.
type ReloadReport struct {
	Changed []ReloadedKey `json:"changed"`
}

// ReloadedKey is a key of the configuration with its values before and after, "" where there is none.
type ReloadedKey struct {
	Key string `json:"key"`
	Old string `json:"old"`
	New string `json:"new"`
}

// String is the key in words.
func (k ReloadedKey) String() string {
	const none = "(not set)"
	return fmt.Sprintf("%s: %s → %s", k.Key, cmp.Or(k.Old, none), cmp.Or(k.New, none))
}

// RefusedKey is a key that a running server can't take over.
type RefusedKey struct {
	Key    string `json:"key"`
	Old    string `json:"old"`
	New    string `json:"new"`
	Remedy string `json:"remedy"`
}

// ReloadRefused is the error of a reload that would change what a running server can't take over; it has changed nothing.
type ReloadRefused struct{ Keys []RefusedKey }

// Error names each key.
func (e *ReloadRefused) Error() string {
	var b strings.Builder
	b.WriteString("a running server can't take over these keys, and nothing was changed:")
	for _, k := range e.Keys {
		fmt.Fprintf(&b, "\n%s; %s", ReloadedKey{k.Key, k.Old, k.New}, k.Remedy)
	}
	return b.String()
}

func (s *Server) postReload(w http.ResponseWriter, r *http.Request) {
	report, err := s.opts.Admin.Upkeep.Reload(r.Context())
	var refused *ReloadRefused
	switch {
	case errors.As(err, &refused):
		p := s.problemOf(r, &freshet.Error{Code: freshet.CodeInvalidField, Message: refused.Error()})
		p.Refused = refused.Keys
		s.answer(w, p)
	case err != nil:
		s.fail(w, r, err, nil)
	default:
		reply(w, report)
	}
}
