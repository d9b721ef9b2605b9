package fanout

import (
	"context"
	"encoding/json"

	"github.com/freshet-io/freshet"
)

// Peer answers for the partitions that it holds. What the caller got wrong is a *freshet.Error. It is safe for concurrent use.
type Peer interface {
	Search(ctx context.Context, q *Search) (*Answer, error)
	Entity(ctx context.Context, q *Lookup) (*Entity, error)
	Counts(ctx context.Context, q *Count) (*Counts, error)
	// Ready is nil if the peer is there, and has caught up.
	Ready(ctx context.Context) error
}

// Search asks for the best entities of some partitions.
type Search struct {
	Node       string          `json:"node"`       // that is asked
	Partitions string          `json:"partitions"` // as wire.ParsePartitions reads them
	Collection string          `json:"collection"`
	Namespace  string          `json:"namespace"`
	Vector     []float32       `json:"vector,omitempty"` // without one nothing is searched: what After names is waited for
	K          int             `json:"k,omitempty"`
	Ef         int             `json:"ef,omitempty"`
	Exact      bool            `json:"exact,omitempty"`
	Filter     json.RawMessage `json:"filter,omitempty"`
	Exclude    string          `json:"exclude,omitempty"` // an entity
	Bare       bool            `json:"bare,omitempty"`    // hits have entity, score, slot and version only
	Text       bool            `json:"text,omitempty"`    // hits have their text
	After      string          `json:"after,omitempty"`   // a token; its places in other partitions don't count
	TimeoutMs  int64           `json:"timeout_ms"`
}

// Answer is what a search found in the partitions that were asked for.
type Answer struct {
	Hits     []Hit    `json:"hits"`    // best first
	Applied  string   `json:"applied"` // a token
	Warnings []string `json:"warnings,omitempty"`
}

// Hit is a freshet.Hit without its collection and namespace, which are those of the search.
type Hit struct {
	EntityID      string          `json:"entity_id"`
	Score         float32         `json:"score"`
	Slot          string          `json:"slot"`
	Version       freshet.Version `json:"version"`
	Revision      uint32          `json:"revision,omitempty"`
	AcceptedAt    int64           `json:"accepted_at,omitempty"` // ms
	SourceEventID string          `json:"source_event_id,omitempty"`
	Text          string          `json:"text,omitempty"`
	Metadata      json.RawMessage `json:"metadata,omitempty"`
}

// Lookup asks for the latest state of an entity.
type Lookup struct {
	Node       string `json:"node"`
	Collection string `json:"collection"`
	Namespace  string `json:"namespace"`
	EntityID   string `json:"entity_id"`
	After      string `json:"after,omitempty"` // a token; its places in other partitions don't count
	TimeoutMs  int64  `json:"timeout_ms"`
}

// Key is the entity that is looked up.
func (q *Lookup) Key() freshet.Key {
	return freshet.Key{Collection: q.Collection, Namespace: q.Namespace, Entity: q.EntityID}
}

// Entity is the latest change of an entity, as vector.sync has it; nil if there was none.
type Entity struct {
	Change   []byte   `json:"change,omitempty"` // as wire.AppendChange makes it
	Warnings []string `json:"warnings,omitempty"`
}

// Count asks how many entities some partitions have.
type Count struct {
	Node       string `json:"node"`
	Partitions string `json:"partitions"`
	TimeoutMs  int64  `json:"timeout_ms"`
}

// Counts are the sizes of namespaces in the partitions that were asked for.
type Counts struct {
	Namespaces []Size `json:"namespaces"`
}

// Size is how many entities and vectors a namespace has.
type Size struct {
	Collection string `json:"collection"`
	Namespace  string `json:"namespace"`
	Entities   int    `json:"entities"`
	Points     int    `json:"points"`
}
