package process

import (
	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/wire"
)

// logState is the State that stands in the log: entities in vector.sync, event ids and facts
// in a state table. Only the committing goroutine uses it.
type logState struct {
	*seenTable
	*factTable
	tombstones
	log broker.Log
	key []byte
}

func openLogState(log broker.Log, w Window) (*logState, error) {
	seen, err := openSeen(log, broker.TableProcess, w)
	if err != nil {
		return nil, err
	}
	facts, err := openFacts(log, broker.TableProcess)
	return &logState{seenTable: seen, factTable: facts, tombstones: tombstones{broker.TableProcess}, log: log}, err
}

// Latest implements State.
func (s *logState) Latest(key freshet.Key) (*Entity, error) {
	s.key = wire.AppendKey(s.key[:0], key)
	r, ok, err := s.log.Latest(freshet.TopicSync, s.key, nil)
	if err != nil || !ok {
		return nil, err
	}
	head, err := wire.DecodeChange(key, r.Value, wire.Head)
	if err != nil {
		return nil, err
	}
	points := func() ([]freshet.Point, error) {
		whole, err := wire.DecodeChange(key, r.Value, wire.Points)
		return whole.Points, err
	}
	return &Entity{Change: head, Offset: r.Offset, Points: points, Ready: func() (bool, error) {
		p, err := points()
		return isReady(p), err
	}}, nil
}
