package registry_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/codec"
	"github.com/freshet-io/freshet/codec/registry"
)

// The shapes that records are read as.
var (
	objects = registry.Shape{Form: codec.FormObjects}
	events  = registry.Shape{Form: codec.FormEvents}
	rows    = registry.Shape{Form: codec.FormRows, Typed: true}
)

// server is a registry. Each schema gets an id and a subject of its own.
type server struct {
	*srfake.Registry
	ids atomic.Int64
}

func newServer(t testing.TB) *server {
	s := &server{Registry: srfake.New()}
	t.Cleanup(s.Close)
	return s
}

// add registers a schema and returns its id; its subject is sN, its version 1.
func (s *server) add(kind sr.SchemaType, text string, refs ...sr.SchemaReference) int {
	id := int(s.ids.Add(1))
	s.SeedSchema(fmt.Sprintf("s%d", id), 1, id, sr.Schema{Schema: text, Type: kind, References: refs})
	return id
}

// refer is a reference to the schema of an id.
func refer(name string, id int) sr.SchemaReference {
	return sr.SchemaReference{Name: name, Subject: fmt.Sprintf("s%d", id), Version: 1}
}

func (s *server) open(t testing.TB, shape registry.Shape) *registry.Decoder {
	t.Helper()
	d, err := registry.New(registry.Options{URLs: []string{s.URL()}}, shape)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// framed is a value in the wire format.
func framed(id int, data ...byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(id)), data...)
}

// same reports whether two texts are the same JSON, numbers as they are written.
func same(t testing.TB, got, want string) bool {
	t.Helper()
	return reflect.DeepEqual(parse(t, got), parse(t, want))
}

func parse(t testing.TB, text string) (v any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// mustFail checks that an error has a code and names a field.
func mustFail(t testing.TB, what string, err error, code freshet.Code, field string) {
	t.Helper()
	var e *freshet.Error
	if !errors.As(err, &e) || e.Code != code || e.Field != field || e.Message == "" {
		t.Errorf("%s: %#v, want %s of %q", what, err, code, field)
	}
}
