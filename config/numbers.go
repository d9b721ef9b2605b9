package config

import (
	"fmt"
	"math"
	"reflect"
	"strings"
)

// checkNumbers refuses fractions where a whole number is wanted: the YAML library would cut them, and 0.5 would be the
// default. v is what the library makes of a file that it has read into t already.
func checkNumbers(t reflect.Type, v any, path string) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Struct:
		m, _ := v.(map[string]any)
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
			if inner, ok := m[name]; ok {
				if err := checkNumbers(t.Field(i).Type, inner, strings.TrimPrefix(path+"."+name, ".")); err != nil {
					return err
				}
			}
		}
	case reflect.Map:
		m, _ := v.(map[string]any)
		for name, inner := range m {
			if err := checkNumbers(t.Elem(), inner, path+"."+name); err != nil {
				return err
			}
		}
	case reflect.Slice:
		list, _ := v.([]any)
		for i, inner := range list {
			if err := checkNumbers(t.Elem(), inner, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		if f, ok := v.(float64); ok && f != math.Trunc(f) {
			return fmt.Errorf("%s: %v is no whole number; give one", path, f)
		}
	}
	return nil
}
