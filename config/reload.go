package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Difference is a key that two configurations give different values.
type Difference struct {
	Key      string // as retention.age; of a list all of its elements have the same
	Old, New string // as a file has them; "" where there is none
	// Remedy says what to do where a running server can't take the new value over; "" where it can.
	Remedy string
}

const restart = "restart the server to use it"

// reloads are the keys that a running server takes over; * stands for any name, and a group for all that is below it.
var reloads = []string{"retention", "snapshot", "limits", "sources.files", "index.ef", "index.target_recall",
	"collections.*.index.ef", "collections.*.index.target_recall"}

// remedies are those of keys for which a restart alone is not the answer.
var remedies = map[string]string{
	"broker":                     "stop all processes of this log and start them with it; a running one keeps to the log that it was started with",
	"broker.kafka.delivery":      "stop all processes of this log and start them with it",
	"broker.kafka.compression":   restart,
	"broker.kafka.mixed_writers": restart,
	"broker.kafka.sync_format":   restart,
	"broker.kafka.topics":        "set it back: other topics are another log",
	"partitions":                 "set it back; `freshet epoch raise --partitions` changes it while the server is stopped",
	"embed":                      restart,
	"mapping":                    "set it back: a data folder keeps to the mapping that it was made with",
	"codec":                      "set it back: a data folder keeps to the codec that it was made with",
	"schema_registry":            "restart the server to use another address; whether there is one, a data folder keeps to",
	"splitter":                   "set it back: a data folder keeps to the splitter that it was made with",

	"collections.*":        "restart the server to forget its settings; the collection stays, `freshet drop` empties it",
	"collections.*.model":  "set it back: a collection is fixed when it is made; declare a new one",
	"collections.*.dim":    "set it back: a collection is fixed when it is made; declare a new one",
	"collections.*.source": "set it back: a collection is fixed when it is made; declare a new one",
	"collections.*.metric": "set it back: a collection is fixed when it is made; declare a new one",
	"index":                "set it back and use `freshet index rebuild`, or restart the server",
	"collections.*.index":  "set it back and use `freshet index rebuild`, or restart the server",
}

// within reports whether a key is one of a group, or the group itself.
func within(key, group string) bool { return key == group || strings.HasPrefix(key, group+".") }

// Reloads reports whether a running server takes a new value of a key over, in which * stands for any name.
func Reloads(key string) bool {
	return slices.ContainsFunc(reloads, func(group string) bool { return within(key, group) })
}

func remedy(key string) string {
	if Reloads(key) {
		return ""
	}
	best := ""
	for group := range remedies {
		if within(key, group) && len(group) > len(best) && !(group == "collections.*" && key != group) {
			best = group
		}
	}
	if best == "" {
		return restart
	}
	return remedies[best]
}

// Differences returns the keys whose values differ, in the order of the fields.
func Differences(old, new Config) []Difference {
	var d differences
	d.compare("", "", reflect.ValueOf(old), reflect.ValueOf(new))
	return d
}

type differences []Difference

// compare adds what differs in two values of a type; pattern is the key with * for names.
func (d *differences) compare(key, pattern string, old, new reflect.Value) {
	if reflect.DeepEqual(old.Interface(), new.Interface()) {
		return
	}
	switch {
	case old.Type() == reflect.TypeFor[[]Files]():
		d.folders(key, old.Interface().([]Files), new.Interface().([]Files))
	case old.Kind() == reflect.Map:
		d.names(key, pattern, old, new)
	case old.Kind() == reflect.Pointer && !old.IsNil() && !new.IsNil():
		d.compare(key, pattern, old.Elem(), new.Elem())
	case old.Kind() == reflect.Struct:
		for i := range old.NumField() {
			name, _, _ := strings.Cut(old.Type().Field(i).Tag.Get("yaml"), ",")
			d.compare(strings.TrimPrefix(key+"."+name, "."), strings.TrimPrefix(pattern+"."+name, "."), old.Field(i), new.Field(i))
		}
	default:
		*d = append(*d, Difference{key, written(old), written(new), remedy(pattern)})
	}
}

// names compares maps. What comes anew can be taken over: the only map is the one of collections.
func (d *differences) names(key, pattern string, old, new reflect.Value) {
	all := map[string]bool{}
	for _, m := range []reflect.Value{old, new} {
		for _, name := range m.MapKeys() {
			all[name.String()] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		was, is := old.MapIndex(reflect.ValueOf(name)), new.MapIndex(reflect.ValueOf(name))
		switch name = key + "." + name; {
		case !was.IsValid():
			*d = append(*d, Difference{Key: name, New: written(is)})
		case !is.IsValid():
			*d = append(*d, Difference{name, written(was), "", remedy(pattern + ".*")})
		default:
			d.compare(name, pattern+".*", was, is)
		}
	}
}

// folders compares the watched folders, whose order means nothing.
func (d *differences) folders(key string, old, new []Files) {
	for _, f := range old {
		if !slices.ContainsFunc(new, f.Equal) {
			*d = append(*d, Difference{Key: key, Old: written(reflect.ValueOf(f))})
		}
	}
	for _, f := range new {
		if !slices.ContainsFunc(old, f.Equal) {
			*d = append(*d, Difference{Key: key, New: written(reflect.ValueOf(f))})
		}
	}
}

// Equal reports whether two folders are watched in the same way.
func (f Files) Equal(g Files) bool { return reflect.DeepEqual(f, g) }

// written is a value as a file has it, in one line; "" for one that is left out.
func written(v reflect.Value) string {
	if v.IsZero() && v.Kind() != reflect.Bool {
		return ""
	}
	if v.Kind() == reflect.String {
		return v.String()
	}
	raw, err := yaml.MarshalWithOptions(v.Interface(), yaml.Flow(true))
	if err != nil {
		return fmt.Sprint(v.Interface())
	}
	return strings.Join(strings.Fields(string(raw)), " ")
}
