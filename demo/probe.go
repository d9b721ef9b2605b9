package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	probeEntity = "p-edition" // a product of the probe's own
	probeHits   = 3
	// probeTimeout is when a change counts as missed.
	probeTimeout = 10 * time.Second
)

// probe changes a product of its own and looks for the change as a customer would: by
// searching, without a token, until a hit comes from the event that made the change.
type probe struct {
	api   *api
	run   string
	rng   *rand.Rand
	count int
}

// once makes a change and returns the time from sending it to the end of the first search
// that returns it. found is false if none did in time.
func (p *probe) once(ctx context.Context) (took time.Duration, found bool, err error) {
	p.count++
	e, text := p.edition()
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	sent := make(chan error, 1)
	start := time.Now()
	go func() {
		_, err := p.api.send(ctx, []Event{e})
		sent <- err
	}()
	for ctx.Err() == nil {
		hits, err := p.api.search(ctx, Products, text, probeHits, "")
		if err != nil {
			break
		}
		for _, h := range hits {
			if h.EntityID == probeEntity && h.SourceEventID == e.ID {
				took = time.Since(start)
				return took, true, <-sent
			}
		}
	}
	cancel()
	if err := <-sent; err != nil && ctx.Err() == nil {
		return 0, false, err
	}
	return 0, false, nil
}

// edition is the product's next description, which no other product has.
func (p *probe) edition() (Event, string) {
	article := newProduct(p.rng, probeEntity, p.rng.IntN(len(categories)))
	payload := article.payload()
	payload.Text = fmt.Sprintf("Limited edition no. %d: %s", p.count, payload.Text)
	return Event{ID: fmt.Sprintf("%s-edition-%d", p.run, p.count), Entity: probeEntity, Collection: Products, Payload: payload}, payload.Text
}
