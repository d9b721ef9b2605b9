package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/freshet-io/freshet/broker/journal"
	"github.com/freshet-io/freshet/disk"
)

// model is what a journal is: a slice of records that begins at an offset.
type model struct {
	first   int64
	records []journal.Record
}

func (m *model) end() int64 { return m.first + int64(len(m.records)) }

// Random operations against the model, with a reader that follows all along and goes over to
// the next journal when this one is closed.
func TestModel(t *testing.T) {
	for seed := range uint64(40) {
		if err := runModel(rand.New(rand.NewPCG(seed, 2))); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func runModel(rng *rand.Rand) error {
	fs := disk.New(vfs.NewMem(), nil)
	m := &model{first: rng.Int64N(3) * 1000}
	clock := time.UnixMilli(1_000_000)
	opts := journal.Options{Now: func() time.Time { return clock }}
	ctx := context.Background()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	var j *journal.Journal
	var tail *journal.Reader
	at := m.first
	reopen := func() (err error) {
		if j != nil {
			tail.Close()
			if err := j.Close(); err != nil {
				return err
			}
		}
		opts.SegmentBytes, opts.GroupBytes = 1+rng.Int64N(3000), 1+rng.IntN(1000)
		first := m.first
		if len(m.records) > 0 {
			first = rng.Int64N(1 << 40) // says nothing to a journal that has records
		}
		var torn int64
		if j, torn, err = journal.Open(fs, dir, first, opts); err != nil || torn != 0 {
			return fmt.Errorf("reopened: %d bytes torn, %v", torn, err)
		}
		tail = j.ReadFrom(at)
		return nil
	}
	if err := reopen(); err != nil {
		return err
	}
	defer func() { j.Close() }()
	var b journal.Batch
	var recs []journal.Record
	for range 80 {
		switch op := rng.IntN(20); {
		case op < 9: // append
			clock = clock.Add(time.Duration(rng.IntN(1000)) * time.Millisecond)
			b.Reset()
			from := m.end()
			for range 1 + rng.IntN(6) {
				r := randomRecord(rng)
				r.Offset, r.Time = m.end(), clock.UnixMilli()
				b.Add(r.Partition, r.Key, r.Value, r.Headers...)
				m.records = append(m.records, r)
			}
			if first, err := j.Append(ctx, &b); err != nil || first != from {
				return fmt.Errorf("append at %d: %d, %v", from, first, err)
			}
		case op < 14: // the reader that follows
			recs = recs[:0]
			var err error
			if at == m.end() {
				if _, err = tail.Next(ended, recs, 1); !errors.Is(err, context.Canceled) {
					return fmt.Errorf("at the end with an ended context: %v", err)
				}
				break
			}
			if recs, err = tail.Next(ctx, recs, rng.IntN(3000)); err != nil {
				return err
			}
			if err := m.compare(recs, at); err != nil {
				return fmt.Errorf("reader that follows: %w", err)
			}
			at += int64(len(recs))
		case op < 18: // a new reader anywhere, all to the end
			from := m.first + rng.Int64N(m.end()-m.first+1)
			recs, err := readTo(j, from, rng.IntN(3000))
			if err != nil {
				return err
			}
			if err := m.compare(recs, from); err != nil || from+int64(len(recs)) != m.end() {
				return fmt.Errorf("%d records from %d, end is %d: %v", len(recs), from, m.end(), err)
			}
		default:
			if err := reopen(); err != nil {
				return err
			}
		}
		if j.First() != m.first || j.End() != m.end() {
			return fmt.Errorf("First %d, End %d, want %d, %d", j.First(), j.End(), m.first, m.end())
		}
	}
	return nil
}

// compare checks that recs are the model's from offset from on.
func (m *model) compare(recs []journal.Record, from int64) error {
	for i, r := range recs {
		if want := m.records[from-m.first+int64(i)]; !reflect.DeepEqual(r, want) {
			return fmt.Errorf("record %d is %+v, want %+v", from+int64(i), r, want)
		}
	}
	return nil
}

func randomRecord(rng *rand.Rand) journal.Record {
	r := journal.Record{Partition: rng.Int32() - rng.Int32(), Key: randomBytes(rng), Value: randomBytes(rng)}
	for range rng.IntN(3) {
		r.Headers = append(r.Headers, journal.Header{Name: string(randomBytes(rng)), Value: randomBytes(rng)})
	}
	return r
}

func randomBytes(rng *rand.Rand) []byte {
	return bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(1<<rng.IntN(9)))
}
