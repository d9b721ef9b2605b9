package embed

import (
	"context"
	"runtime"
	"strings"
	"sync"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/embed/static"
)

// Builtin is the built-in model as a freshet.Embedder. It is safe for concurrent use.
type Builtin struct{ model *static.Model }

// parsed is the built-in model, parsed at its first use: it never changes, so all share it.
var parsed = sync.OnceValues(static.Load)

// NewBuiltin returns the built-in model; the first call parses it.
func NewBuiltin() (*Builtin, error) {
	m, err := parsed()
	if err != nil {
		return nil, err
	}
	return &Builtin{m}, nil
}

// Model describes the built-in model.
func (b *Builtin) Model() freshet.Model {
	return freshet.Model{Name: b.model.Name(), Dim: b.model.Dim()}
}

// perWorker is how many texts make another core worth waking.
const perWorker = 32

// Embed makes the vectors on as many cores as the batch is worth. A text without anything
// but white space fails alone.
func (b *Builtin) Embed(ctx context.Context, inputs []freshet.Input) ([]freshet.Embedding, error) {
	out := make([]freshet.Embedding, len(inputs))
	workers := min(runtime.GOMAXPROCS(0), (len(inputs)+perWorker-1)/perWorker)
	if workers <= 1 {
		b.embed(inputs, out)
		return out, ctx.Err()
	}
	var wg sync.WaitGroup
	share := (len(inputs) + workers - 1) / workers
	for at := 0; at < len(inputs); at += share {
		end := min(at+share, len(inputs))
		wg.Go(func() { b.embed(inputs[at:end], out[at:end]) })
	}
	wg.Wait()
	return out, ctx.Err()
}

func (b *Builtin) embed(inputs []freshet.Input, out []freshet.Embedding) {
	dim := b.model.Dim()
	slab := make([]float32, 0, dim*len(inputs))
	for i, in := range inputs {
		if strings.TrimSpace(in.Text) == "" {
			out[i].Err = &freshet.Error{Code: freshet.CodeNoContent, Field: "text",
				Message: "is empty; an entity needs text or a vector to be found by"}
			continue
		}
		at := len(slab)
		slab = b.model.Embed(slab, in.Text)
		out[i].Vector = slab[at:len(slab):len(slab)]
	}
}
