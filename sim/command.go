package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker/journal"
)

// command is what a node has written into events.raw for itself, as docs/FORMATS.md has it: the
// members of all kinds.
type command struct {
	kind string

	Floor  int64 `json:"floor"` // purge
	Before int64 `json:"before"`

	Offset   int64  `json:"offset"` // replay
	Ordinal  int    `json:"ordinal"`
	Attempts int    `json:"attempts"`
	Trace    string `json:"trace"`
	Value    []byte `json:"value"`

	Collection string          `json:"collection"` // expire, drop
	Namespace  string          `json:"namespace"`
	Entity     string          `json:"entity_id"`
	Version    freshet.Version `json:"version"`
}

// readCommand reads a record that is one.
func readCommand(r journal.Record) (*submission, error) {
	c := &command{kind: header(r, freshet.HeaderCommand)}
	s := &submission{offset: unplaced, mark: fmt.Sprintf("command@%d", r.Offset), at: r.Time, command: c}
	err := json.Unmarshal(r.Value, c)
	if err == nil && !slices.Contains([]string{"purge", "replay", "expire", "drop"}, c.kind) {
		err = errors.New("its kind is not known")
	}
	if err != nil {
		return nil, fmt.Errorf("events.raw@%d is a command %q: %w", r.Offset, c.kind, err)
	}
	return s, nil
}

// checkCommand: what a command refers to is there.
func (m *model) checkCommand(c *command) error {
	if c == nil || c.kind != "replay" {
		return nil
	}
	if err := m.checkReplay(c); err != nil {
		return fmt.Errorf("a command %q is not of what was submitted: %w", c.kind, err)
	}
	return nil
}

// checkReplay: what is to be replayed is the event that stands there, as it came.
func (m *model) checkReplay(c *command) error {
	if c.Offset < 0 || c.Offset >= int64(len(m.placed)) || m.placed[c.Offset] == nil || m.placed[c.Offset].command != nil {
		return fmt.Errorf("there is no event at %d", c.Offset)
	}
	s := m.placed[c.Offset]
	if c.Ordinal != 0 || c.Trace != s.mark || s.raw != nil && string(c.Value) != string(s.raw) {
		return fmt.Errorf("it has change %d of %s: %.60q; there stands %s: %.60q", c.Ordinal, c.Trace, c.Value, s.mark, s.raw)
	}
	return nil
}
