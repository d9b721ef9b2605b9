package embedded

import (
	"context"
	"errors"
	"fmt"

	"github.com/freshet-io/freshet"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/wire"
)

// VerifySnapshots reads every snapshot, as a start does, and returns those that could not be used, and why. It takes the
// memory of the largest index. Snapshots may be written meanwhile.
func (s *Store) VerifySnapshots(ctx context.Context) (files int, damage map[string]string, err error) {
	damage = map[string]string{}
	s.snapping.Lock() // or one that is looked at might be replaced
	defer s.snapping.Unlock()
	end, err := s.log.End(freshet.TopicSync)
	if err != nil {
		return 0, nil, err
	}
	found, err := s.listSnapshots()
	if err != nil {
		return 0, nil, err
	}
	for h, numbers := range found {
		for _, number := range numbers {
			if ctx.Err() != nil {
				return files, damage, context.Cause(ctx)
			}
			files++
			sh, _, err := s.readSnapshot(h, number, end)
			if err == nil {
				err = sh.close()
			}
			if err != nil && !errors.Is(err, errDropped) {
				damage[fileName(h, number)] = err.Error()
			}
		}
	}
	return files, damage, nil
}

// VerifyRecords reads every record of vector.sync and holds it to the digest that it carries.
func (s *Store) VerifyRecords(ctx context.Context) (records int64, damage map[string]string, err error) {
	damage = map[string]string{}
	err = s.log.Scan(freshet.TopicSync, nil, nil, func(r broker.Record) error {
		records++
		key, err := wire.ParseKey(r.Key)
		if err != nil {
			damage[fmt.Sprintf("%x", r.Key)] = err.Error()
			return ctx.Err()
		}
		c, err := wire.DecodeChange(key, r.Value, wire.Points)
		name := fmt.Sprintf("%s/%s/%s", key.Collection, key.Namespace, key.Entity)
		if err != nil {
			damage[name] = err.Error()
			return ctx.Err()
		}
		var points [16]byte
		if len(c.Points) > 0 {
			points = wire.PointsDigest(c.Points)
		}
		if wire.StateDigest(&c, points) != c.Digest {
			damage[name] = "the content does not have the digest that the record carries"
		}
		return ctx.Err()
	})
	return records, damage, err
}
