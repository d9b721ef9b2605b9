package codec

import (
	"fmt"
	"strconv"

	"github.com/freshet-io/freshet"
)

// State is the state of an entity as an export gives it: text, metadata and points, each as it is. It copies what it keeps.
type State struct {
	Text     string
	OwnText  bool            // see [freshet.Change]
	Metadata []byte          // a JSON object, nil when there is none
	Points   []freshet.Point // nil when there are none: the text is to be embedded
}

// ParseState reads {"text"?, "own_text"?, "metadata"?, "points"?: [{"slot"?, "model"?, "start"?, "end"?, "vector"}]}. The error is a
// *freshet.Error that names the field.
func ParseState(raw []byte) (s State, err error) {
	err = members(raw, "state", func(name, field string, v []byte) error {
		switch name {
		case "text":
			var ok bool
			if s.Text, ok = StringValue(v); !ok {
				return wrongType(field, "a string", v)
			}
		case "own_text":
			if string(v) != "true" && string(v) != "false" {
				return wrongType(field, "true or false", v)
			}
			s.OwnText = string(v) == "true"
		case "metadata":
			if v[0] != '{' {
				return wrongType(field, "an object", v)
			}
			if len(v) > len("{}") {
				s.Metadata = append([]byte(nil), v...)
			}
		case "points":
			if v[0] != '[' {
				return wrongType(field, "an array", v)
			}
			points, err := parsePoints(v)
			s.Points = points
			return err
		default:
			return &freshet.Error{Code: freshet.CodeUnknownField, Field: field, Message: "is not a field of a state (text, own_text, metadata, points)"}
		}
		return nil
	})
	return s, err
}

func wrongType(field, want string, v []byte) error {
	return &freshet.Error{Code: freshet.CodeInvalidField, Field: field, Message: fmt.Sprintf("must be %s, is %s", want, Clip(v))}
}

// members calls yield for the members of an object that are not null, with their names and their names as a part of the event.
func members(raw []byte, field string, yield func(name, field string, v []byte) error) error {
	var room [8]Member
	all, err := Members(raw, room[:0])
	if err != nil {
		return wrongType(field, "an object", raw)
	}
	for i, m := range all {
		for _, other := range all[:i] {
			if other.Name == m.Name {
				return &freshet.Error{Code: freshet.CodeInvalidField, Field: field + "." + Clip([]byte(m.Name)), Message: "stands twice"}
			}
		}
		if string(m.Value) == "null" {
			continue
		}
		if err := yield(m.Name, field+"."+Clip([]byte(m.Name)), m.Value); err != nil {
			return err
		}
	}
	return nil
}

// parsePoints reads points; an empty array is nil.
func parsePoints(raw []byte) (points []freshet.Point, err error) {
	elements, err := SplitArray(raw)
	if err != nil {
		return nil, err
	}
	slots := map[string]bool{}
	for i, e := range elements {
		field := fmt.Sprintf("state.points[%d]", i)
		p, err := parsePoint(e, field)
		if err != nil {
			return nil, err
		}
		if p.Slot == "" {
			p.Slot = strconv.Itoa(i)
		}
		if slots[p.Slot] {
			return nil, &freshet.Error{Code: freshet.CodeInvalidField, Field: field + ".slot", Message: fmt.Sprintf("is %q, as that of another point", Clip([]byte(p.Slot)))}
		}
		slots[p.Slot] = true
		points = append(points, p)
	}
	return points, nil
}

func parsePoint(raw []byte, field string) (p freshet.Point, err error) {
	err = members(raw, field, func(name, field string, v []byte) error {
		switch name {
		case "slot", "model":
			text, ok := StringValue(v)
			if !ok {
				return wrongType(field, "a string", v)
			}
			if problem := IDProblem(text); text != "" && problem != "" {
				return &freshet.Error{Code: freshet.CodeInvalidField, Field: field, Message: problem}
			}
			if name == "slot" {
				p.Slot = text
			} else {
				p.Model = text
			}
		case "start", "end":
			n, err := strconv.ParseUint(string(v), 10, 31)
			if err != nil {
				return wrongType(field, "a number of bytes", v)
			}
			if name == "start" {
				p.Start = int(n)
			} else {
				p.End = int(n)
			}
		case "vector":
			if v[0] != '[' {
				return wrongType(field, "an array of numbers", v)
			}
			p.Vector, err = ParseVector(v, field)
			return err
		default:
			return &freshet.Error{Code: freshet.CodeUnknownField, Field: field, Message: "is not a field of a point (slot, model, start, end, vector)"}
		}
		return nil
	})
	switch {
	case err != nil:
	case p.Vector == nil:
		err = &freshet.Error{Code: freshet.CodeMissingField, Field: field + ".vector", Message: "is missing; every point has one"}
	case p.Start > p.End:
		err = &freshet.Error{Code: freshet.CodeInvalidField, Field: field + ".start", Message: fmt.Sprintf("is %d, behind end, which is %d", p.Start, p.End)}
	}
	return p, err
}
