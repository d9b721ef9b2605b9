package kafka

import (
	"bytes"

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
	if group == baseGroup {
		return basePosition(func(t broker.Table, key []byte) (value []byte, ok bool, err error) {
			key = v.p.tableKey(t, key)
			err = v.view.ScanTable(t, key, append(key, 0), func(_, x []byte) error { value, ok = bytes.Clone(x), true; return nil })
			return value, ok, err
		})
	}
	return v.view.Position(processGroup, freshet.TopicKeyed, v.p.number)
}

// ReadRaw implements [broker.View].
func (v view) ReadRaw(from int64) broker.Reader { return v.p.readAs("", from, v.ScanTable) }

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
