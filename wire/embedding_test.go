package wire_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/wire"
)

// Requests and results to embed come back as they were; whatever is cut or longer is refused.
func TestEmbeddings(t *testing.T) {
	inputs := []freshet.Input{{Text: "a text"}, {}, {Text: "\xff not UTF-8"}}
	request := wire.AppendEmbedRequest(nil, "m/1", inputs)
	model, got, err := wire.ParseEmbedRequest(request)
	if err != nil || model != "m/1" || !reflect.DeepEqual(got, inputs) {
		t.Errorf("%q, %v, %v", model, got, err)
	}
	made := []freshet.Embedding{{Vector: []float32{1, -0.5}}, {Err: &freshet.Error{Code: freshet.CodeNoContent, Field: "text", Message: "is empty"}}, {Vector: []float32{}}}
	result := wire.AppendEmbedResult(nil, "m/1", made, "why")
	model, back, failed, err := wire.ParseEmbedResult(result)
	if err != nil || model != "m/1" || failed != "why" || !reflect.DeepEqual(back, made) {
		t.Errorf("%q, %+v, %q, %v", model, back, failed, err)
	}
	_, back, _, err = wire.ParseEmbedResult(wire.AppendEmbedResult(nil, "m", []freshet.Embedding{{Err: errors.New("plain")}}, ""))
	var e *freshet.Error
	if err != nil || !errors.As(back[0].Err, &e) || e.Code != freshet.CodeEmbedFailed || e.Message != "plain" {
		t.Errorf("%+v, %v", back, err)
	}
	for n := range request {
		if _, _, err := wire.ParseEmbedRequest(request[:n]); err == nil {
			t.Errorf("a request of %d bytes of %d is read", n, len(request))
		}
	}
	for n := range result {
		if _, _, _, err := wire.ParseEmbedResult(result[:n]); err == nil {
			t.Errorf("a result of %d bytes of %d is read", n, len(result))
		}
	}
	if _, _, err := wire.ParseEmbedRequest(append(request, 0)); err == nil {
		t.Error("a longer request is read")
	}
	if _, _, _, err := wire.ParseEmbedResult(append(result, 0)); err == nil {
		t.Error("a longer result is read")
	}
	if a, b := wire.EmbedKey(request), wire.EmbedKey(wire.AppendEmbedRequest(nil, "m/2", inputs)); string(a) == string(b) || string(a) != string(wire.EmbedKey(request)) {
		t.Error("the key does not follow from content and model")
	}
}

func FuzzEmbeddings(f *testing.F) {
	f.Add(wire.AppendEmbedRequest(nil, "m", []freshet.Input{{Text: "x"}}))
	f.Add(wire.AppendEmbedResult(nil, "m", []freshet.Embedding{{Vector: []float32{1}}}, ""))
	f.Fuzz(func(t *testing.T, b []byte) {
		if model, inputs, err := wire.ParseEmbedRequest(b); err == nil {
			if _, again, err := wire.ParseEmbedRequest(wire.AppendEmbedRequest(nil, model, inputs)); err != nil || !reflect.DeepEqual(again, inputs) {
				t.Errorf("%v, %v", again, err)
			}
		}
		_, _, _, _ = wire.ParseEmbedResult(b)
	})
}
