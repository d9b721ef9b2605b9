package transfer

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/freshet-io/freshet/codec"
)

// Entity is a line of an export, or of the changes: the whole state of an entity. Where everything is told, a line has a token and
// nothing else.
type Entity struct {
	Token                                         string
	Op, Collection, Namespace, EntityID, Version  string
	Text, Source, SourceEventID, UpdatedAt        string
	OwnText                                       bool
	Metadata                                      []byte // a JSON object, nil when absent
	Order, Timestamp, ExpiresAt, Revision, Events int64
	Points                                        []Point
}

// Point is a vector of an entity.
type Point struct {
	Slot, Model string
	Start, End  int
	Vector      []byte // a JSON array
}

// parseEntity reads a line. Vectors and metadata alias it; null counts as absent.
func parseEntity(line []byte) (e Entity, err error) {
	var room [20]codec.Member
	members, err := codec.Members(line, room[:0])
	if err != nil {
		return e, err
	}
	for _, m := range members {
		text, isString := "", false
		if m.Value[0] == '"' {
			text, isString = codec.StringValue(m.Value)
		}
		fine := true
		switch {
		case string(m.Value) == "null":
		case m.Name == "metadata":
			e.Metadata, fine = m.Value, m.Value[0] == '{'
		case m.Name == "points":
			e.Points, err = parsePoints(m.Value)
		case m.Name == "own_text":
			e.OwnText, fine = string(m.Value) == "true", m.Value[0] == 't' || m.Value[0] == 'f'
		case e.text(m.Name) != nil:
			*e.text(m.Name), fine = text, isString
		case e.number(m.Name) != nil:
			*e.number(m.Name), err = strconv.ParseInt(string(m.Value), 10, 64)
		}
		if !fine {
			err = errors.New("it is of another type")
		}
		if err != nil {
			return e, fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	return e, nil
}

// text returns the part of an entity that is a string of that name, nil if there is none.
func (e *Entity) text(name string) *string {
	switch name {
	case "token":
		return &e.Token
	case "op":
		return &e.Op
	case "collection":
		return &e.Collection
	case "namespace":
		return &e.Namespace
	case "entity_id":
		return &e.EntityID
	case "version":
		return &e.Version
	case "text":
		return &e.Text
	case "source":
		return &e.Source
	case "source_event_id":
		return &e.SourceEventID
	case "updated_at":
		return &e.UpdatedAt
	}
	return nil
}

// number is text for the whole numbers.
func (e *Entity) number(name string) *int64 {
	switch name {
	case "order":
		return &e.Order
	case "timestamp":
		return &e.Timestamp
	case "expires_at":
		return &e.ExpiresAt
	case "revision":
		return &e.Revision
	case "events":
		return &e.Events
	}
	return nil
}

func parsePoints(raw []byte) ([]Point, error) {
	elements, err := codec.SplitArray(raw)
	if err != nil {
		return nil, err
	}
	points := make([]Point, len(elements))
	for i, element := range elements {
		var room [6]codec.Member
		members, err := codec.Members(element, room[:0])
		if err != nil {
			return nil, err
		}
		p := &points[i]
		for _, m := range members {
			fine := true
			switch m.Name {
			case "slot":
				p.Slot, fine = codec.StringValue(m.Value)
			case "model":
				p.Model, fine = codec.StringValue(m.Value)
			case "start":
				p.Start, err = strconv.Atoi(string(m.Value))
			case "end":
				p.End, err = strconv.Atoi(string(m.Value))
			case "vector":
				p.Vector, fine = m.Value, m.Value[0] == '['
			}
			if !fine || err != nil {
				return nil, fmt.Errorf("the %s of point %d can't be read", m.Name, i)
			}
		}
		if p.Vector == nil {
			return nil, fmt.Errorf("point %d has no vector", i)
		}
	}
	return points, nil
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
		Version: e.Version, UpdatedAt: e.UpdatedAt, Source: e.Source, SourceEventID: e.SourceEventID, Revision: uint32(e.Revision), Events: uint64(e.Events)}
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
		var err error
		if row.Vector, err = codec.ParseVector(p.Vector, "vector"); err != nil {
			return r, err
		}
		r.Points = append(r.Points, row)
	}
	return r, nil
}
