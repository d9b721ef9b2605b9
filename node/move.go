package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/freshet-io/freshet"
	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/process"
	"github.com/freshet-io/freshet/wire"
)

// moveCommand is how the log says who lays it out.
const moveCommand = "`freshet move --to kafka`"

// MoveToKafka moves the log in a data folder, which no process has open, into the topics of the configuration: collections, the
// latest state of every entity with its version, event ids, dead letters, deletions. What stands in its journal undecided is decided
// first; the events themselves stay behind, so audits in Kafka begin with what was moved. Offsets go on behind those of the folder. Until all is there
// a start is refused; an interrupted move is to be repeated. The folder is left as it is, and is to be used no more.
func MoveToKafka(ctx context.Context, o RelayoutOptions, from string) (epoch control.Epoch, err error) {
	err = goOn(func() (err error) {
		epoch, err = moveToKafka(ctx, o, from)
		return err
	})
	return epoch, err
}

func moveToKafka(ctx context.Context, o RelayoutOptions, from string) (epoch control.Epoch, err error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	r, err := openRelayout(ctx, o)
	if err != nil {
		return epoch, err
	}
	defer r.close()
	if r.to.There() {
		return epoch, fmt.Errorf("there is a log in the topics already, %s; name others with topics.prefix, and another group", wire.LogIDString(r.to.ID()))
	}
	if err := r.settleFolder(from); err != nil {
		return epoch, fmt.Errorf("decide what %s holds: %w", from, err)
	}
	log, catalog, err := openFolder(r.fs(), from)
	if err != nil {
		return epoch, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	if epoch, err = r.move(log, catalog); err != nil {
		err = fmt.Errorf("move to Kafka: %w", err)
	}
	return epoch, err
}

// settleFolder decides everything that a folder has accepted.
func (r *relayout) settleFolder(from string) error {
	if _, err := r.fs().Stat(r.fs().PathJoin(from, "FORMAT")); err != nil {
		return fmt.Errorf("it is no data folder of freshet: %w", err)
	}
	o := r.opts.Options
	o.Config.Data, o.Config.Partitions = from, 0 // as many as the folder has
	o.Config.Broker.Kafka, o.Config.Sources = nil, config.Sources{}
	n, err := Open(r.ctx, o)
	if err != nil {
		return err
	}
	return errors.Join(n.CatchUp(r.ctx), n.Close())
}

// move writes the log of a folder.
func (r *relayout) move(log *broker.Log, catalog *control.Catalog) (epoch control.Epoch, err error) {
	end := log.RawEnd()
	if decided, err := log.Position(process.Group, freshet.TopicRaw, 0); err != nil || decided != end {
		return epoch, errors.Join(err, fmt.Errorf("the folder is decided up to offset %d of %d", decided, end))
	}
	now := r.client.Options().Partitions
	by := fmt.Sprintf("%s of log %s", moveCommand, wire.LogIDString(log.ID()))
	if _, _, begun := r.to.Begun(); !begun {
		if err := r.to.Unused(); err != nil {
			return epoch, err
		}
	}
	if err := errors.Join(r.to.Begin(by, now), r.to.Grow()); err != nil {
		return epoch, err
	}
	if ends := r.to.Ends(); ends == nil {
		err = r.to.Drained([]int64{end})
	} else if ends[0] != end {
		err = fmt.Errorf("the folder has been used since the move was begun: it ended at offset %d and ends at %d now; begin again with another topics.prefix and group", ends[0], end)
	}
	if err != nil {
		return epoch, err
	}
	var records []broker.Record
	err = log.Scan(freshet.TopicControl, nil, nil, func(rec broker.Record) error {
		records = append(records, broker.Record{Key: append([]byte(nil), rec.Key...), Value: append([]byte(nil), rec.Value...)})
		return nil
	})
	if err != nil {
		return epoch, err
	}
	if err := r.to.WriteControl(func() ([]broker.Record, error) { return records, nil }, r.catalog.Take); err != nil {
		return epoch, err
	}
	b := &branch{to: r.to, catalog: catalog, state: log.State, now: now, ends: []int64{end}, topic: r.client.Options().Topics.Keyed}
	if err := b.run(); err != nil {
		return epoch, err
	}
	shifts := make([]int64, now)
	for p := range shifts {
		shifts[p] = end
	}
	if err := r.to.Finish(shifts); err != nil {
		return epoch, err
	}
	return r.catalog.RaiseEpochAt(r.to.ID(), shifts, r.now(), control.EpochMoved)
}
