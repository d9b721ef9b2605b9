package mapping

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// object is a JSON object as a CEL map. Its members are sorted by name: that finds them
// without a hash table and, unlike Go's maps, gives a loop the same order each time.
type object struct {
	members []member
}

type member struct {
	name  string
	value ref.Val
}

var _ traits.Mapper = (*object)(nil)

// sortByInsertion is the number of members up to which sorting by insertion is fastest.
const sortByInsertion = 32

// newObject copies members, which may stand in any order; of those with the same name the
// last one counts.
func newObject(read []member) *object {
	members := make([]member, len(read))
	if len(read) <= sortByInsertion {
		// Sorting places instead of members moves no pointers.
		var order [sortByInsertion]uint8
		for i := range read {
			j := i
			for ; j > 0 && read[order[j-1]].name > read[i].name; j-- {
				order[j] = order[j-1]
			}
			order[j] = uint8(i)
		}
		for i := range members {
			members[i] = read[order[i]]
		}
	} else {
		copy(members, read)
		slices.SortStableFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	}
	kept := 0
	for i, m := range members {
		if i+1 < len(members) && members[i+1].name == m.name {
			continue
		}
		if kept != i {
			members[kept] = m
		}
		kept++
	}
	return &object{members[:kept]}
}

func (o *object) lookup(name string) (ref.Val, bool) {
	low, high := 0, len(o.members)
	for low < high {
		mid := int(uint(low+high) >> 1)
		if o.members[mid].name < name {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low < len(o.members) && o.members[low].name == name {
		return o.members[low].value, true
	}
	return nil, false
}

func (o *object) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	return o.lookup(string(name))
}

func (o *object) Get(key ref.Val) ref.Val {
	if v, ok := o.Find(key); ok {
		return v
	}
	return types.NewErr("no such key: %v", key)
}

func (o *object) Contains(key ref.Val) ref.Val {
	_, ok := o.Find(key)
	return types.Bool(ok)
}

func (o *object) Size() ref.Val     { return types.Int(len(o.members)) }
func (o *object) IsZeroValue() bool { return len(o.members) == 0 }
func (o *object) Type() ref.Type    { return types.MapType }
func (o *object) Value() any        { return o }

func (o *object) Iterator() traits.Iterator {
	names := make([]string, len(o.members))
	for i, m := range o.members {
		names[i] = m.name
	}
	return types.NewStringList(types.DefaultTypeAdapter, names).Iterator()
}

func (o *object) Equal(other ref.Val) ref.Val {
	m, ok := other.(traits.Mapper)
	if !ok || m.Size() != o.Size() {
		return types.False
	}
	for _, f := range o.members {
		v, ok := m.Find(types.String(f.name))
		if !ok || types.Equal(f.value, v) != types.True {
			return types.False
		}
	}
	return types.True
}

func (o *object) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case types.MapType:
		return o
	case types.TypeType:
		return types.MapType
	}
	return types.NewErr("type conversion error from '%s' to '%s'", types.MapType, t)
}

func (o *object) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("a JSON object can't become a Go %v", t)
}

// sortedKeys returns the keys of any CEL map in an order that depends on nothing but them:
// by type, then by value.
func sortedKeys(m traits.Mapper) []ref.Val {
	keys := make([]ref.Val, 0, int(m.Size().(types.Int)))
	for it := m.Iterator(); it.HasNext() == types.True; {
		keys = append(keys, it.Next())
	}
	slices.SortFunc(keys, func(a, b ref.Val) int {
		if c := strings.Compare(a.Type().TypeName(), b.Type().TypeName()); c != 0 {
			return c
		}
		if c, ok := a.(traits.Comparer); ok {
			if order, ok := c.Compare(b).(types.Int); ok {
				return int(order)
			}
		}
		return 0
	})
	return keys
}

// sortedMap gives a map written in an expression, which is a Go map in cel-go, a fixed order.
type sortedMap struct{ traits.Mapper }

func (m sortedMap) Iterator() traits.Iterator {
	return types.NewRefValList(types.DefaultTypeAdapter, sortedKeys(m.Mapper)).Iterator()
}

func (m sortedMap) IsZeroValue() bool { return m.Size() == types.IntZero }

// mapLiteral is the plan of a map written in an expression.
type mapLiteral struct {
	interpreter.InterpretableConstructor
}

// sortMapLiterals is an interpreter.InterpretableDecoratorV2.
func sortMapLiterals(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	if c, ok := i.(interpreter.InterpretableConstructor); ok && c.Type() == types.MapType {
		return mapLiteral{c}, nil
	}
	return i, nil
}

func (l mapLiteral) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	v := l.InterpretableConstructor.Exec(frame)
	if m, ok := v.(traits.Mapper); ok {
		return sortedMap{m}
	}
	return v
}

func (l mapLiteral) Eval(vars interpreter.Activation) ref.Val {
	return l.Exec(interpreter.AsFrame(vars))
}
