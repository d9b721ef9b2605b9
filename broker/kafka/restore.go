package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet"
)

// restore fences who owned the partition and brings the copy up to what it has committed.
//
// A first transaction of the new owner writes a record to each of its topics. It can't be committed before what the old
// owner had begun is finished or undone; and who has read it has read all that stood before. An end of a compacted
// partition says less: there may be nothing left to read up to it.
func (p *Partition) restore(ctx context.Context) error {
	var claims []*kgo.Record
	for _, topic := range p.client.opts.Topics.copied() {
		claims = append(claims, &kgo.Record{Topic: topic, Partition: p.number, Key: []byte(claimKey), Value: []byte("{}")})
	}
	if err := transact(ctx, p.producer, claims); err != nil {
		return fmt.Errorf("write that it is taken: %w", err)
	}
	var from []freshet.Position
	missing := map[string]int64{}
	for _, claim := range claims {
		at, err := p.copy.Position(claim.Topic, p.number)
		if err != nil {
			return err
		}
		from = append(from, freshet.Position{Topic: claim.Topic, Partition: p.number, Offset: at})
		missing[claim.Topic] = claim.Offset
	}
	reader, err := p.client.NewReader(from...)
	if err != nil {
		return err
	}
	defer reader.Close()
	for len(missing) > 0 {
		fetched, err := reader.Read(ctx)
		if err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		for _, f := range fetched {
			if err := p.copy.take(ctx, f, true); err != nil {
				return fmt.Errorf("restore: %w", err)
			}
			if f.Next > missing[f.Topic] {
				delete(missing, f.Topic)
			}
		}
	}
	return nil
}
