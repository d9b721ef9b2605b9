package kafka

import (
	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/embedded"
)

// view is the state of a partition at one instant.
type view struct {
	p    *Partition
	view *embedded.View
}

// View implements [broker.Log].
func (p *Partition) View() broker.View { return view{p, p.copy.state.View()} }

// Position implements [broker.View].
func (v view) Position(group, _ string, _ int32) (int64, error) {
	if group != processGroup {
		return 0, nil
	}
	return v.view.Position(processGroup, freshet.TopicKeyed, v.p.number)
}

// Latest implements [broker.View].
func (v view) Latest(topic string, key []byte) (broker.Record, bool, error) {
	r, ok, err := v.view.Latest(topic, v.p.topicKey(topic, key))
	r.Key = key
	return r, ok, err
}

// Scan implements [broker.View].
func (v view) Scan(topic string, yield func(broker.Record) error) error {
	return v.p.scan(topic, nil, nil, yield, v.view.Range)
}

// ScanTable implements [broker.View].
func (v view) ScanTable(t broker.Table, lower, upper []byte, yield func(key, value []byte) error) error {
	return v.p.scanTable(t, lower, upper, yield, v.view.ScanTable)
}

// Close implements [broker.View].
func (v view) Close() error { return v.view.Close() }
