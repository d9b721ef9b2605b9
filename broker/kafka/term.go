package kafka

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/broker"
)

// Terms say what counts of those who can't be fenced.
//
// Whoever takes a partition writes a record to its vector.sync: the offset of that record is the term, so later terms are higher, and no two takers
// have the same. Then the term is written to the other compacted topics, and all that is written in it bears it. In each topic a record counts
// unless one of a higher term stands before it. So vector.sync alone says who had the partition when, and as a term comes to the other topics only
// after it is in vector.sync, nothing that was durable there before what counts in vector.sync is void: the order in which takers get to the other
// topics does not matter.

// headerTerm is the term of a record, 8 bytes big-endian.
const headerTerm = "freshet.term"

// termKey is the key of the record of each compacted topic that says which term has begun.
const termKey = claimKey

const noTerm = int64(-1)

// termRecord is the value under termKey.
type termRecord struct {
	Format int    `json:"format"`
	Term   *int64 `json:"term,omitempty"` // that of the record itself in vector.sync, which has none
}

const termFormat = 1

// beginning is the record that begins a term in a topic; in vector.sync the term follows from where it comes to stand.
func (p *Partition) beginning(topic string) *kgo.Record {
	r := termRecord{Format: termFormat}
	if topic != p.client.opts.Topics.Sync {
		r.Term = &p.term
	}
	value, _ := json.Marshal(r) // numbers only
	return &kgo.Record{Topic: topic, Partition: p.number, Key: []byte(termKey), Value: value}
}

// begun is the term that a record under termKey begins; none if it was taken out.
func (t Topics) begun(topic string, r *Record) (int64, error) {
	if r.Value == nil {
		return noTerm, nil
	}
	var v termRecord
	if err := json.Unmarshal(r.Value, &v); err != nil {
		return 0, fmt.Errorf("the record of a term is damaged: %w", err)
	}
	if v.Format != termFormat || (v.Term == nil) != (topic == t.Sync) {
		return 0, errors.New("the record of a term is of a format that this version of freshet does not know; use the one that wrote it")
	}
	if v.Term == nil {
		return r.Offset, nil
	}
	return *v.Term, nil
}

// termOf is the term that a record was written in; none if its writer can be fenced.
func termOf(r *Record) int64 {
	for _, h := range r.Headers {
		if h.Name == headerTerm {
			if term, ok := parsePosition(h.Value); ok {
				return term
			}
		}
	}
	return noTerm
}

// commit is that of the session: the records bear the term, if there is one.
func (p *Partition) commit(records []*kgo.Record) error {
	p.stamp(records)
	return p.session.commit(records)
}

// stamp says in which term records were written. Those for events.keyed have their own means.
func (p *Partition) stamp(records []*kgo.Record) {
	if p.session.single == nil {
		return
	}
	term := kgo.RecordHeader{Key: headerTerm, Value: appendPosition(nil, p.term)}
	for _, r := range records {
		if r.Topic != p.client.opts.Topics.Keyed {
			r.Headers = append(slices.Clip(r.Headers), term)
		}
	}
}

// Where the copy keeps what it knows of a partition, behind the claims.
const (
	placeStale = 0xfc // 1 byte topic, key: the last record of the key was void when it was read
	placeTerm  = 0xfd // 1 byte topic: the highest term, 8 bytes
	placeBatch = 0xfe // the last batch
)

func (c *Copy) place(kind byte, topic string, partition int32) []byte {
	return append(prefix(partition), kind, byte(slices.Index(c.topics.copied(), topic)))
}

// term is the highest term of a partition of a topic that the copy knows.
func (c *Copy) term(topic string, partition int32) (term int64, err error) {
	v, ok, err := c.state.GetTable(broker.TableClaims, c.place(placeTerm, topic, partition))
	if err != nil {
		return 0, fmt.Errorf("term: %w", err)
	}
	if !ok {
		return noTerm, nil
	}
	if term, ok = parsePosition(v); !ok {
		return 0, errors.New("a term is damaged")
	}
	return term, nil
}

// takeTerm notes that a term has begun, unless it came too late. Without a value there has been none.
func (t *taker) takeTerm(topic string, r *Record) error {
	begun, err := t.copy.topics.begun(topic, r)
	if err != nil || begun != noTerm && begun < t.term {
		return err
	}
	at := t.copy.place(placeTerm, topic, t.partition)
	if t.term = begun; begun == noTerm {
		return t.tx.DeleteTable(broker.TableClaims, at)
	}
	return t.tx.SetTable(broker.TableClaims, at, appendPosition(nil, begun))
}

// void reports whether a record is of a term that was over.
func (t *taker) void(topic string, r *Record) (bool, error) {
	if term := termOf(r); term == noTerm || term >= t.term {
		return false, nil
	}
	return true, t.tx.SetTable(broker.TableClaims, append(t.copy.place(placeStale, topic, t.partition), r.Key...), nil)
}

// holds reports whether no other term has begun behind that of the partition, as far as the copy knows.
func (p *Partition) holds() (bool, error) {
	for _, topic := range p.client.opts.Topics.copied() {
		if term, err := p.copy.term(topic, p.number); err != nil || term > p.term {
			return false, err
		}
	}
	return true, nil
}

// noteStale has what the copy knows of void records be mended, if there is any.
func (p *Partition) noteStale() (left bool, err error) {
	for _, topic := range p.client.opts.Topics.copied() {
		lower, upper := p.copy.staleBounds(topic, p.number)
		err := p.copy.state.ScanTable(broker.TableClaims, lower, upper, func(k, _ []byte) error {
			p.note(topic, k[len(lower):])
			left = true
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	return left, nil
}

func (c *Copy) staleBounds(topic string, partition int32) (lower, upper []byte) {
	lower = c.place(placeStale, topic, partition)
	upper = slices.Clone(lower)
	upper[len(upper)-1]++
	return lower, upper
}
