package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/zeebo/xxh3"

	"github.com/freshet-io/freshet"
)

// What stands in embeddings.requests and embeddings.results; docs/FORMATS.md draws it.
const embeddingFormat = 1

// Kinds of what one input became.
const (
	embeddedVector  = 0
	embeddedRefused = 1
)

// AppendEmbedRequest appends what is to be embedded by a model.
func AppendEmbedRequest(b []byte, model string, inputs []freshet.Input) []byte {
	b = appendString(append(b, embeddingFormat), model)
	b = binary.AppendUvarint(b, uint64(len(inputs)))
	for i := range inputs {
		b = appendString(b, inputs[i].Text)
	}
	return b
}

// ParseEmbedRequest is the inverse of AppendEmbedRequest.
func ParseEmbedRequest(b []byte) (model string, inputs []freshet.Input, err error) {
	d := Decoder{rest: b}
	if err := d.embedding("request"); err != nil {
		return "", nil, err
	}
	model = d.String()
	n := d.Uvarint()
	if d.bad || n > uint64(len(d.rest)) { // a text takes a byte at least
		return "", nil, errEmbedding
	}
	inputs = make([]freshet.Input, n)
	for i := range inputs {
		inputs[i].Text = d.String()
	}
	if d.bad || !d.Done() {
		return "", nil, errEmbedding
	}
	return model, inputs, nil
}

// AppendEmbedResult appends what a model made of the inputs of a request, or why it made nothing of any.
func AppendEmbedResult(b []byte, model string, made []freshet.Embedding, failed string) []byte {
	b = appendString(append(b, embeddingFormat), model)
	b = appendString(b, failed)
	b = binary.AppendUvarint(b, uint64(len(made)))
	for i := range made {
		if err := made[i].Err; err != nil {
			e := &freshet.Error{Code: freshet.CodeEmbedFailed, Message: err.Error()}
			errors.As(err, &e)
			b = append(b, embeddedRefused)
			for _, s := range []string{string(e.Code), e.Field, e.Message} {
				b = appendString(b, s)
			}
			continue
		}
		b = binary.AppendUvarint(append(b, embeddedVector), uint64(len(made[i].Vector)))
		b = appendFloats(b, made[i].Vector)
	}
	return b
}

// ParseEmbedResult is the inverse of AppendEmbedResult. The errors of inputs are *freshet.Error.
func ParseEmbedResult(b []byte) (model string, made []freshet.Embedding, failed string, err error) {
	d := Decoder{rest: b}
	if err := d.embedding("result"); err != nil {
		return "", nil, "", err
	}
	model, failed = d.String(), d.String()
	n := d.Uvarint()
	if d.bad || n > uint64(len(d.rest)) {
		return "", nil, "", errEmbedding
	}
	made = make([]freshet.Embedding, n)
	for i := range made {
		switch kind := d.Byte(); kind {
		case embeddedVector:
			dim := d.Uvarint()
			if d.bad || dim > uint64(len(d.rest))/4 {
				return "", nil, "", errEmbedding
			}
			made[i].Vector = floats(d.Take(4 * dim))
		case embeddedRefused:
			made[i].Err = &freshet.Error{Code: freshet.Code(d.String()), Field: d.String(), Message: d.String()}
		default:
			return "", nil, "", errEmbedding
		}
	}
	if d.bad || !d.Done() {
		return "", nil, "", errEmbedding
	}
	return model, made, failed, nil
}

// EmbedKey is the key of a request: the same for the same content and model.
func EmbedKey(request []byte) []byte {
	h := xxh3.Hash128(request).Bytes()
	return h[:]
}

var errEmbedding = errors.New("a record of embeddings: the bytes are malformed")

func (d *Decoder) embedding(what string) error {
	if f := d.Byte(); f != embeddingFormat {
		return fmt.Errorf("a %s to embed has format %d, this version reads %d", what, f, embeddingFormat)
	}
	return nil
}

func floats(raw []byte) []float32 {
	v := make([]float32, len(raw)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return v
}
