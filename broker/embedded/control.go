package embedded

import (
	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/disk"
)

// OneSequence reports that all records of events.raw have their offsets from one sequence, whatever their partition.
func (l *Log) OneSequence() bool { return true }

// CatchUp has nothing to do: nobody else writes.
func (l *Log) CatchUp(func([]Record) error) error { return nil }

// WriteControl writes the records of freshet.control that decide returns, all or none of them, and hands them to take when they
// are durable. There is one writer, the caller, so what it knows of the topic is the newest.
func (l *Log) WriteControl(decide func() ([]Record, error), take func([]Record) error) error {
	records, err := decide()
	if err != nil || len(records) == 0 {
		return err
	}
	tx := l.Begin()
	for _, r := range records {
		if err := tx.Put(freshet.TopicControl, r.Key, r.Value); err != nil {
			tx.Abort()
			return err
		}
	}
	if err := tx.CommitDurable(disk.ControlRecord); err != nil {
		return err
	}
	return take(records)
}
