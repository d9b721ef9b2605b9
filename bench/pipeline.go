package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/freshet-io/freshet/node"
)

// pipeline sends the same entities three times: new, with other content, with the same.
func (r *IngestResult) pipeline(ctx context.Context, o IngestOptions, dir string) error {
	n, err := openNode(ctx, dir)
	if err != nil {
		return err
	}
	defer n.Kill()
	rng := rand.New(rand.NewPCG(5, 6))
	first, second := make([][]byte, o.Entities), make([][]byte, o.Entities)
	third := make([][]byte, o.Entities)
	for i := range o.Entities {
		entity := entityName(i)
		first[i] = event(fmt.Sprintf("a%d", i), entity, text(rng, wordsPerText))
		again := text(rng, wordsPerText)
		second[i] = event(fmt.Sprintf("b%d", i), entity, again)
		third[i] = event(fmt.Sprintf("c%d", i), entity, again)
	}
	for _, part := range []struct {
		out    *PipelineRate
		events [][]byte
	}{{&r.Pipeline.New, first}, {&r.Pipeline.Repeated, second}, {&r.Pipeline.Unchanged, third}} {
		if *part.out, err = pipelineRate(ctx, n, part.events); err != nil {
			return err
		}
	}
	return nil
}

func pipelineRate(ctx context.Context, n *node.Node, events [][]byte) (PipelineRate, error) {
	before := n.StageNs()
	start := time.Now()
	for at := 0; at < len(events); at += batchEvents {
		b := n.Intake().NewBatch()
		for _, e := range events[at:min(at+batchEvents, len(events))] {
			if err := b.Add(e); err != nil {
				return PipelineRate{}, err
			}
		}
		_, err := b.Append(ctx)
		b.Release()
		if err != nil {
			return PipelineRate{}, err
		}
	}
	if err := n.CatchUp(ctx); err != nil {
		return PipelineRate{}, err
	}
	searchable := time.Since(start)
	if err := n.Store().Flush(ctx); err != nil {
		return PipelineRate{}, err
	}
	linked := time.Since(start)
	r := PipelineRate{EventsPerS: round(float64(len(events)) / searchable.Seconds()),
		LinkedPerS: round(float64(len(events)) / linked.Seconds()), StageShares: map[string]float64{}}
	var total float64
	spent := map[string]float64{}
	for stage, ns := range n.StageNs() {
		spent[stage] = float64(ns - before[stage])
		total += spent[stage]
	}
	for stage, ns := range spent {
		r.StageShares[stage] = round(ns / total)
		if ns > spent[r.Bottleneck] {
			r.Bottleneck = stage
		}
	}
	return r, nil
}
