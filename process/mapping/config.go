package mapping

import (
	"fmt"
	"strings"

	"github.com/freshet-io/freshet"
)

// The limits of a mapping.
const (
	MaxChanges         = 64        // entries of changes
	MaxExpressionBytes = 16 << 10  // length of one expression
	MaxElements        = 10_000    // elements of a for_each list
	DefaultMaxCost     = 5_000_000 // cost of all expressions for one event; 0.5 to 1.5 s of a core
)

// Config is a mapping as configured. All fields of a [Change] are CEL expressions; package
// mapping explains them.
type Config struct {
	Changes []Change `yaml:"changes"`
	// MaxCost limits what the expressions may cost for one event; 0 means DefaultMaxCost.
	MaxCost uint64 `yaml:"max_cost,omitempty"`
}

// Change says how one change, or one per element of a list, is made from an event. Entity is
// required; at most one of Op and Delete may be given.
type Change struct {
	When       string `yaml:"when,omitempty"`       // bool; default true
	ForEach    string `yaml:"for_each,omitempty"`   // list
	Collection string `yaml:"collection,omitempty"` // string or int; default freshet.DefaultCollection
	Namespace  string `yaml:"namespace,omitempty"`  // string or int; default freshet.DefaultNamespace
	Entity     string `yaml:"entity"`               // string or int
	EventID    string `yaml:"event_id,omitempty"`   // string or int
	Op         string `yaml:"op,omitempty"`         // "upsert" (the default), "patch" or "delete"
	Delete     string `yaml:"delete,omitempty"`     // bool
	Text       string `yaml:"text,omitempty"`       // string
	Embed      string `yaml:"embed,omitempty"`      // string; default the text
	Vector     string `yaml:"vector,omitempty"`     // list of numbers
	Metadata   string `yaml:"metadata,omitempty"`   // map with string keys; default none
	Timestamp  string `yaml:"timestamp,omitempty"`  // ms since 1970 >= 0, RFC 3339 string, timestamp
	ExpiresAt  string `yaml:"expires_at,omitempty"` // as timestamp; default never
	Order      string `yaml:"order,omitempty"`      // int >= 1
}

// Validate checks all but the expressions, which New compiles. The error is a *freshet.Error.
func (c Config) Validate() error {
	refuse := func(field, format string, args ...any) error {
		return &freshet.Error{Code: freshet.CodeInvalidField, Field: field, Message: fmt.Sprintf(format, args...)}
	}
	if n := len(c.Changes); n == 0 || n > MaxChanges {
		return refuse("mapping.changes", "has %d entries; give 1 to %d, or no mapping at all for the default one", n, MaxChanges)
	}
	for i, ch := range c.Changes {
		at := fmt.Sprintf("mapping.changes[%d]", i)
		if strings.TrimSpace(ch.Entity) == "" {
			return refuse(at+".entity", "is missing; say which entity is changed, for instance event.id")
		}
		if ch.Op != "" && ch.Delete != "" {
			return refuse(at+".delete", "stands next to op; give one of the two")
		}
	}
	return nil
}

func (c Config) maxCost() uint64 {
	if c.MaxCost == 0 {
		return DefaultMaxCost
	}
	return c.MaxCost
}
