package transfer

import (
	"encoding/json"
)

// Entity is a line of an export, or of the changes: the whole state of an entity. Where everything is told, a line has a token and
// nothing else.
type Entity struct {
	Token         string          `json:"token,omitempty"`
	Op            string          `json:"op,omitempty"`
	Collection    string          `json:"collection,omitempty"`
	Namespace     string          `json:"namespace,omitempty"`
	EntityID      string          `json:"entity_id,omitempty"`
	Version       string          `json:"version,omitempty"`
	Order         int64           `json:"order,omitempty"`
	Revision      uint32          `json:"revision,omitempty"`
	Text          string          `json:"text,omitempty"`
	OwnText       bool            `json:"own_text,omitempty"`
	Metadata      json.RawMessage `json:"metadata,omitempty"`
	Source        string          `json:"source,omitempty"`
	SourceEventID string          `json:"source_event_id,omitempty"`
	Timestamp     int64           `json:"timestamp,omitempty"`
	ExpiresAt     int64           `json:"expires_at,omitempty"`
	UpdatedAt     string          `json:"updated_at,omitempty"`
	Events        uint64          `json:"events,omitempty"`
	Points        []Point         `json:"points,omitempty"`
}

// Point is a vector of an entity, as it is written.
type Point struct {
	Slot   string          `json:"slot"`
	Start  int             `json:"start,omitempty"`
	End    int             `json:"end,omitempty"`
	Model  string          `json:"model,omitempty"`
	Vector json.RawMessage `json:"vector"`
}

// place reports whether the line is a place in the changes and no entity.
func (e *Entity) place() bool { return e.Token != "" && e.Op == "" && e.EntityID == "" }

// entityRow is an Entity in Parquet.
type entityRow struct {
	EntityID      string     `parquet:"entity_id"`
	Collection    string     `parquet:"collection,dict"`
	Namespace     string     `parquet:"namespace,dict"`
	Text          string     `parquet:"text"`
	OwnText       bool       `parquet:"own_text"`
	Metadata      string     `parquet:"metadata,json"`
	Points        []pointRow `parquet:"points,list"`
	Timestamp     *int64     `parquet:"timestamp,optional"`
	ExpiresAt     *int64     `parquet:"expires_at,optional"`
	Order         *int64     `parquet:"order,optional"`
	Version       string     `parquet:"version"`
	UpdatedAt     string     `parquet:"updated_at"`
	Source        string     `parquet:"source,dict"`
	SourceEventID string     `parquet:"source_event_id"`
	Revision      uint32     `parquet:"revision"`
	Events        uint64     `parquet:"events"`
}

type pointRow struct {
	Slot   string    `parquet:"slot"`
	Model  string    `parquet:"model,dict"`
	Start  int32     `parquet:"start"`
	End    int32     `parquet:"end"`
	Vector []float32 `parquet:"vector,list"`
}

// row gives an entity the form of Parquet.
func (e *Entity) row() (entityRow, error) {
	r := entityRow{EntityID: e.EntityID, Collection: e.Collection, Namespace: e.Namespace, Text: e.Text, OwnText: e.OwnText, Metadata: string(e.Metadata),
		Version: e.Version, UpdatedAt: e.UpdatedAt, Source: e.Source, SourceEventID: e.SourceEventID, Revision: e.Revision, Events: e.Events}
	if r.Metadata == "" {
		r.Metadata = "{}"
	}
	if e.Timestamp != 0 {
		r.Timestamp = &e.Timestamp
	}
	if e.ExpiresAt != 0 {
		r.ExpiresAt = &e.ExpiresAt
	}
	if e.Order != 0 {
		r.Order = &e.Order
	}
	for _, p := range e.Points {
		row := pointRow{Slot: p.Slot, Model: p.Model, Start: int32(p.Start), End: int32(p.End)}
		if err := json.Unmarshal(p.Vector, &row.Vector); err != nil {
			return r, err
		}
		r.Points = append(r.Points, row)
	}
	return r, nil
}
