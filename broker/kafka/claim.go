package kafka

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
)

// A claim is a record of each compacted topic, under a key of its own for each session that can be fenced, that says that the session may
// write to the partition. It goes when the session gives the partition up, or when another one has fenced it. So of all that could still
// write there is a claim, whatever has been compacted away. Those that can't be fenced have terms instead.
type claim struct {
	Format int `json:"format"`
	Lanes  int `json:"lanes"` // how many transactional ids the session has
}

const (
	claimFormat = 1
	maxLanes    = 1000 // of another version
)

func newSessionID() string {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// laneID is the part of a transactional id behind that of the group.
func laneID(session string, lane int) string { return session + "-" + strconv.Itoa(lane) }

// claim is the record of the session's claim to a partition; without value one that takes it back.
func (s *session) claim() (key, value []byte) {
	value, _ = json.Marshal(claim{claimFormat, lanes}) // numbers only
	return []byte(claimKey + s.id), value
}

func parseClaim(value []byte) (c claim, err error) {
	if err := json.Unmarshal(value, &c); err != nil {
		return c, fmt.Errorf("a claim is damaged: %w", err)
	}
	if c.Format != claimFormat || c.Lanes < 0 || c.Lanes > maxLanes {
		return c, errors.New("a claim is of a format that this version of freshet does not know; use the one that wrote it")
	}
	return c, nil
}

// isClaim reports whether a record says who may write, begins a term, or only shows its writer that it has read what stood before.
func isClaim(key []byte) bool { return strings.HasPrefix(string(key), claimKey) }

// takeClaim notes who may write to a partition of a topic, and who may no longer.
func (t *taker) takeClaim(topic string, r *Record) error {
	session := string(r.Key[len(claimKey):])
	at := t.copy.claimAt(topic, t.partition, session)
	if r.Value == nil {
		return t.tx.DeleteTable(broker.TableClaims, at)
	}
	if _, err := parseClaim(r.Value); err != nil {
		return err
	}
	return t.tx.SetTable(broker.TableClaims, at, r.Value)
}

// claimAt is where the copy keeps a claim to a partition of a topic.
func (c *Copy) claimAt(topic string, partition int32, session string) []byte {
	at := append(prefix(partition), byte(slices.Index(c.topics.copied(), topic)))
	return append(at, session...)
}

// claims are the sessions that may write to a partition, as far as the copy knows.
func (c *Copy) claims(partition int32) (map[string]claim, error) {
	all := map[string]claim{}
	lower := c.claimAt(c.topics.Sync, partition, "")
	upper := append(bytes.Clone(lower), 0xff)
	return all, c.state.ScanTable(broker.TableClaims, lower, upper, func(k, v []byte) (err error) {
		all[string(k[len(lower):])], err = parseClaim(v)
		return err
	})
}

// fence makes a session end: what it had begun is finished or undone, and it writes nothing any more.
func (c *Client) fence(ctx context.Context, session string, lanes int) error {
	return all(lanes, func(lane int) error {
		id := laneID(session, lane)
		if err := c.fenceLane(ctx, id); err != nil {
			return fmt.Errorf("fence %s: %w", id, err)
		}
		return nil
	})
}

func (c *Client) fenceLane(ctx context.Context, id string) error {
	producer, err := c.transactional(id)
	if err != nil {
		return err
	}
	defer producer.Close()
	_, _, err = producer.ProducerID(ctx)
	return err
}

// restore makes the session of p the only one whose records count in the partition, and brings the copy up to what is committed there.
//
// It fences those of which there is a claim, and writes a record to each topic. Who has read his own records has read all that stood
// before; an end of a compacted partition says less, as there may be nothing left to be read up to it. If there is a claim among them that
// it had not known, it begins anew: that session may have written behind. So it does when it has written what the one before had left unfinished.
func (p *Partition) restore(ctx context.Context) error {
	for {
		others, err := p.othersClaims()
		if err != nil {
			return err
		}
		for id, other := range others {
			if err := p.client.fence(ctx, id, other.Lanes); err != nil {
				return err
			}
		}
		begun, err := p.writeClaims(slices.Collect(maps.Keys(others)))
		if err != nil {
			return fmt.Errorf("write that it is taken: %w", err)
		}
		if err := p.readThrough(ctx, begun); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		if others, err = p.othersClaims(); err != nil {
			return err
		}
		holds, err := p.holds()
		switch {
		case err != nil:
			return err
		case !holds && p.session.single != nil:
			return errDeposed
		case len(others) > 0 || !holds:
			continue
		}
		if again, err := p.finish(); err != nil {
			return err
		} else if !again {
			p.restored = true
			return p.watch(begun)
		}
	}
}

// othersClaims are the claims to the partition but for the session's own.
func (p *Partition) othersClaims() (map[string]claim, error) {
	others, err := p.copy.claims(p.number)
	delete(others, p.session.id)
	return others, err
}

// writeClaims takes the claims of others away and writes the session's own, or begins a term, which it does too where there have been terms. It
// returns a record of each topic, behind which nothing of others counts.
func (p *Partition) writeClaims(others []string) (begun []*kgo.Record, err error) {
	topics := p.client.opts.Topics
	var records []*kgo.Record
	for _, topic := range topics.copied() {
		for _, id := range others {
			records = append(records, &kgo.Record{Topic: topic, Partition: p.number, Key: []byte(claimKey + id)})
		}
		if p.session.single == nil {
			key, value := p.session.claim()
			own := &kgo.Record{Topic: topic, Partition: p.number, Key: key, Value: value}
			records, begun = append(records, own), append(begun, own)
		}
	}
	had, err := p.copy.term(topics.Sync, p.number)
	if err != nil {
		return nil, err
	}
	if p.session.single == nil && had == noTerm {
		return begun, p.session.commit(records)
	}
	first := p.beginning(topics.Sync)
	if err := p.session.commit(append(records, first)); err != nil {
		return nil, err
	}
	p.term, begun = first.Offset, nil
	for _, topic := range topics.copied() {
		if topic != topics.Sync {
			begun = append(begun, p.beginning(topic))
		}
	}
	return append(begun, first), p.session.commit(begun)
}

// readThrough reads what the copy does not have up to some records, one of each topic.
func (p *Partition) readThrough(ctx context.Context, records []*kgo.Record) error {
	var from []freshet.Position
	missing := map[string]int64{}
	for _, r := range records {
		at, err := p.copy.Position(r.Topic, p.number)
		if err != nil {
			return err
		}
		if r.Topic == p.client.opts.Topics.Sync {
			last, err := p.copy.lastBatch(p.number)
			if err != nil {
				return err
			}
			if last.next > 0 {
				at = min(at, last.first)
			}
		}
		from = append(from, freshet.Position{Topic: r.Topic, Partition: p.number, Offset: at})
		missing[r.Topic] = r.Offset
	}
	reader, err := p.client.NewReader(from...)
	if err != nil {
		return err
	}
	defer reader.Close()
	for len(missing) > 0 {
		fetched, err := reader.Read(ctx)
		if err != nil {
			return err
		}
		for _, f := range fetched {
			if err := p.copy.take(ctx, f, p); err != nil {
				return err
			}
			if f.Next > missing[f.Topic] {
				delete(missing, f.Topic)
			}
		}
	}
	return nil
}

// release says that the session writes to the partition no more: who takes it next need not fence it, or finish what it had begun.
func (p *Partition) release() {
	if p.session == nil || p.session.over() {
		return
	}
	if err := p.giveBack(); err != nil { // without it the session is fenced, with all its partitions
		p.client.opts.Logger.Warn("a partition was not given back", "partition", p.number, "error", err)
	}
}

func (p *Partition) giveBack() error {
	if p.session.single != nil {
		if !p.restored {
			return nil // the last batch of the one before may be unfinished still
		}
		p.writing.Lock()
		defer p.writing.Unlock()
		if err := p.moveToEnd(); err != nil {
			return err
		}
		return p.commit([]*kgo.Record{p.noBatch()})
	}
	key, _ := p.session.claim()
	var records []*kgo.Record
	for _, topic := range p.client.opts.Topics.copied() {
		records = append(records, &kgo.Record{Topic: topic, Partition: p.number, Key: key})
	}
	return p.session.commit(records)
}
