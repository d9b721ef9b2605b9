package feed

import (
	"bytes"
	"context"
	"errors"

	"github.com/freshet-io/freshet"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/wire"
)

// ExportRequest says what to export.
type ExportRequest struct {
	Collection string
	Namespace  string         // "": all of them
	Filter     freshet.Filter // nil: all entities
}

// Export calls yield with the entities that there are, deleted and expired ones left out, points and all: those of one instant, in order of key,
// in runs of a few megabytes. It returns the place in the changes at that instant: who follows them from there misses nothing
// and repeats nothing. Changes go on meanwhile; what they replace stays on disk until the export ends.
func (f *Feed) Export(ctx context.Context, r ExportRequest, yield func([]freshet.Change) error) (freshet.Token, error) {
	view := f.log.View()
	defer view.Close()
	end, err := view.End(freshet.TopicSync)
	if err != nil {
		return freshet.Token{}, err
	}
	if err := f.log.Sync(disk.FeedState); err != nil { // the view holds nothing newer
		return freshet.Token{}, err
	}
	ranges := wire.CollectionRanges(r.Collection)
	if r.Namespace != "" {
		lower, upper := wire.ShardRange(freshet.Shard{Collection: r.Collection, Namespace: r.Namespace})
		ranges = [][2][]byte{{lower, upper}}
	}
	for _, bounds := range ranges {
		for lower := bounds[0]; lower != nil; {
			var run []freshet.Change
			if run, lower, err = exportStep(view, r.Filter, lower, bounds[1], f.now().UnixMilli()); err != nil {
				return freshet.Token{}, err
			}
			if ctx.Err() != nil {
				return freshet.Token{}, context.Cause(ctx)
			}
			if len(run) == 0 {
				continue
			}
			if err := yield(run); err != nil {
				return freshet.Token{}, err
			}
		}
	}
	return f.token(place{next: end}), nil
}

// exportStep reads one run; next is where to go on, nil at the end. No iterator is open while a run is handed out.
func exportStep(view *broker.View, filter freshet.Filter, lower, upper []byte, now int64) (run []freshet.Change, next []byte, err error) {
	looked, size := 0, 0
	err = view.Range(freshet.TopicSync, lower, upper, func(rec broker.Record) error {
		if looked == stepLooked || len(run) == stepChanges || size >= stepBytes {
			next = bytes.Clone(rec.Key)
			return errEnough
		}
		looked++
		key, err := wire.ParseKey(rec.Key)
		if err != nil {
			return err
		}
		c, err := wire.DecodeChange(key, bytes.Clone(rec.Value), wire.Points)
		if err != nil || c.Deleted() || c.Due(now) {
			return err
		}
		if filter != nil {
			if ok, err := filter.Match(c.Metadata); err != nil || !ok {
				return err
			}
		}
		size += len(rec.Value)
		run = append(run, c)
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return run, next, err
}
