package process

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/journal"
)

// Command is what freshet has written into events.raw for itself. Because it stands among the
// events, and what it says holds for those behind it, every replay and every audit decides as
// the first time.
type Command interface {
	kind() string
	// say alters the plan of the batch that the command stands in.
	say(p *plan)
}

// deed is a command that alters entities itself. at is its place in the batch.
type deed interface {
	Command
	do(s *Sequencer, p *plan, m *mapped, at spot, known *made) error
}

// decodeCommand reads a command. An error is not the record's alone: it was written by a
// newer version, and nothing behind it can be decided without it.
func decodeCommand(r Record) (Command, error) {
	var c Command
	switch r.Command {
	case (&Purge{}).kind():
		c = &Purge{}
	case (&Expire{}).kind():
		c = &Expire{}
	case (&Replay{}).kind():
		c = &Replay{}
	case (&Drop{}).kind():
		c = &Drop{}
	case (&Discard{}).kind():
		c = &Discard{}
	default:
		return nil, fmt.Errorf("%s@%d is a command %q, which is not known to this version of freshet; use the one that wrote it",
			r.Position.Topic, r.Position.Offset, r.Command)
	}
	if err := json.Unmarshal(r.Value, c); err != nil {
		return nil, fmt.Errorf("command %s at %s@%d: %w", r.Command, r.Position.Topic, r.Position.Offset, err)
	}
	return c, nil
}

// Appender is a log that commands are written to: a [broker.Log], or what can only append to one.
type Appender interface {
	// Append makes records to decide durable, and returns the offset of the last.
	Append(ctx context.Context, records ...journal.Record) (last int64, err error)
}

// AppendCommand puts a command into events.raw. It returns its offset when it is durable; it
// has its effect when that offset is decided.
func AppendCommand(ctx context.Context, log Appender, c Command) (offset int64, err error) {
	return appendCommands(ctx, log, []Command{c})
}

// appendCommands puts commands into events.raw, together, and returns the offset of the last.
func appendCommands(ctx context.Context, log Appender, list []Command) (last int64, err error) {
	records := make([]journal.Record, 0, len(list))
	for _, c := range list {
		value, err := json.Marshal(c)
		if err != nil {
			return 0, err
		}
		records = append(records, journal.Record{Value: value, Headers: []journal.Header{{Name: freshet.HeaderCommand, Value: []byte(c.kind())}}})
	}
	if last, err = log.Append(ctx, records...); err != nil {
		return 0, fmt.Errorf("write command %s: %w", list[0].kind(), err)
	}
	return last, nil
}
