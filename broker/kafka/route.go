package kafka

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/broker"
)

// Routed returns up to where Route has forwarded the records of the partition of events.raw with the same number; ok is false if it
// never has. raw is the id of that topic: the table has 8 bytes, big-endian, under it.
func (p *Partition) Routed(raw TopicID) (next int64, ok bool, err error) {
	v, ok, err := p.GetTable(broker.TableRouted, raw[:])
	if err == nil && ok {
		if next, ok = parsePosition(v); !ok {
			err = errors.New("its length is wrong")
		}
	}
	if err != nil {
		return 0, false, fmt.Errorf("up to where %s/%d is forwarded: %w", p.client.opts.Topics.Raw, p.number, err)
	}
	return next, ok, nil
}

// Route appends records to events.keyed, in whichever partitions, and notes that with them all records of the partition of events.raw below next
// are forwarded: all of it or nothing. It may be called beside the transactions of another goroutine. An error ends the
// ownership: [broker.ErrFenced].
func (p *Partition) Route(raw TopicID, records []Record, next int64) error {
	if len(records) == 0 {
		return nil
	}
	t := &txn{p: p, moved: -1, folded: -1}
	for i := range records {
		r := &kgo.Record{Topic: p.client.opts.Topics.Keyed}
		write(r, &records[i])
		t.others = append(t.others, r)
	}
	return errors.Join(t.SetTable(broker.TableRouted, raw[:], appendPosition(nil, next)), t.Commit())
}
