package e2e_test

import "encoding/json"

// event is an event of the default mapping.
type event struct {
	EventID    string    `json:"event_id,omitempty"`
	EntityID   string    `json:"entity_id"`
	Timestamp  int64     `json:"timestamp,omitempty"`
	Payload    any       `json:"payload,omitempty"`
	Op         string    `json:"op,omitempty"`
	Order      int64     `json:"order,omitempty"`
	ExpiresAt  int64     `json:"expires_at,omitempty"`
	Vector     []float32 `json:"vector,omitempty"`
	Collection string    `json:"collection,omitempty"`
	Namespace  string    `json:"namespace,omitempty"`
}

// text is a payload with a text and, as pairs of name and value, metadata.
func text(s string, pairs ...any) map[string]any {
	p := map[string]any{"text": s}
	for i := 0; i < len(pairs); i += 2 {
		p[pairs[i].(string)] = pairs[i+1]
	}
	return p
}

// problem is the part of any answer that says what is wrong.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	Field  string `json:"field"`
}

type ingested struct {
	problem
	Accepted int64 `json:"accepted"`
	Rejected []struct {
		Index   int64  `json:"index"`
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"rejected"`
	RejectedCount int64  `json:"rejected_count"`
	Token         string `json:"token"`
}

type hit struct {
	EntityID      string          `json:"entity_id"`
	Score         float64         `json:"score"`
	Metadata      json.RawMessage `json:"metadata"`
	Text          *string         `json:"text"`
	Version       string          `json:"version"`
	AgeMs         *int64          `json:"age_ms"`
	SourceEventID string          `json:"source_event_id"`
}

type found struct {
	problem
	Hits     []hit    `json:"hits"`
	Applied  string   `json:"applied"`
	Warnings []string `json:"warnings"`
	TookMs   *float64 `json:"took_ms"`
}

// ids returns the entities of the hits, best first.
func (f *found) ids() []string {
	ids := make([]string, len(f.Hits))
	for i, h := range f.Hits {
		ids[i] = h.EntityID
	}
	return ids
}

type entity struct {
	problem
	EntityID      string          `json:"entity_id"`
	Collection    string          `json:"collection"`
	Namespace     string          `json:"namespace"`
	Version       string          `json:"version"`
	Text          string          `json:"text"`
	Metadata      json.RawMessage `json:"metadata"`
	SourceEventID string          `json:"source_event_id"`
	UpdatedAt     string          `json:"updated_at"`
	Timestamp     int64           `json:"timestamp"`
	ExpiresAt     int64           `json:"expires_at"`
	Events        int             `json:"events"`
	Points        int             `json:"points"`
	Warnings      []string        `json:"warnings"`
}

type audited struct {
	problem
	Clean       bool  `json:"clean"`
	Records     int64 `json:"records"`
	Entities    int64 `json:"entities"`
	Tombstones  int64 `json:"tombstones"`
	Points      int64 `json:"points"`
	DeadLetters int64 `json:"dead_letters"`
	Found       int64 `json:"found"`
	Differences []struct {
		Part, Kind, Collection, Namespace, Detail string
		EntityID                                  string `json:"entity_id"`
	} `json:"differences"`
}

type deadLetter struct {
	Topic     string          `json:"topic"`
	Partition int             `json:"partition"`
	Offset    int64           `json:"offset"`
	Stage     string          `json:"stage"`
	Class     string          `json:"class"`
	Message   string          `json:"message"`
	At        string          `json:"at"`
	EntityID  string          `json:"entity_id"`
	EventID   string          `json:"event_id"`
	Event     json.RawMessage `json:"event"`
}

// stats is the part of /v1/admin/stats that tests read.
type stats struct {
	problem
	Accepted   int64            `json:"accepted"`
	Decided    int64            `json:"decided"`
	LagRecords int64            `json:"lag_records"`
	Outcomes   map[string]int64 `json:"outcomes"`
	Entities   int64            `json:"entities"`
	InBuffer   int64            `json:"in_buffer"`
	StageNs    map[string]int64 `json:"stage_ns"`
}

// decisions is how many changes have been decided since the start.
func (s *stats) decisions() (n int64) {
	for _, count := range s.Outcomes {
		n += count
	}
	return n
}
