package kafka

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
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

// A claim is a record of each compacted topic, under a key of its own for each session, that says that the session may write to the
// partition. It goes when the session gives the partition up, or when another one has fenced it. So of all that could still write
// there is a claim, whatever has been compacted away.
type claim struct {
	Format int `json:"format"`
	Lanes  int `json:"lanes"` // how many transactional ids the session has; 0: it can't be fenced
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
	c := claim{claimFormat, lanes}
	if s.single != nil {
		c.Lanes = 0
	}
	value, _ = json.Marshal(c) // numbers only
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

// isClaim reports whether a record says who may write, or only shows its writer that it has read what stood before.
func isClaim(key []byte) bool { return strings.HasPrefix(string(key), claimKey) }

// takeClaim notes who may write to a partition of a topic, and who may no longer: of a session that can't be fenced records may come
// for as long as it does not know.
func (t *taker) takeClaim(topic string, r *Record) error {
	session := string(r.Key[len(claimKey):])
	at := t.copy.claimAt(topic, t.partition, session)
	if t.deposed[session] = -1; r.Value != nil {
		if _, err := parseClaim(r.Value); err != nil {
			return err
		}
		return t.tx.SetTable(broker.TableClaims, at, r.Value)
	}
	t.deposed[session] = r.Offset
	was, ok, err := t.copy.state.GetTable(broker.TableClaims, at)
	if err != nil {
		return err
	}
	if c, err := parseClaim(was); ok && err == nil && c.Lanes > 0 {
		return t.tx.DeleteTable(broker.TableClaims, at)
	}
	return t.tx.SetTable(broker.TableClaims, at, binary.BigEndian.AppendUint64(nil, uint64(r.Offset)))
}

// deposedBytes is how long the offset is that stands in the place of a claim that was taken away.
const deposedBytes = 8

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
		if len(v) != deposedBytes {
			all[string(k[len(lower):])], err = parseClaim(v)
		}
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

// restore makes the session of p the only one that may write to the partition, and brings the copy up to what is committed there.
//
// It fences those of which there is a claim, and writes a record to each topic. Who has read his own records has read all that stood
// before; an end of a compacted partition says less, as there may be nothing left to be read up to it. If there is a claim among them that
// it had not known, it begins anew: that session may have written behind.
func (p *Partition) restore(ctx context.Context) error {
	for {
		others, err := p.copy.claims(p.number)
		if err != nil {
			return err
		}
		delete(others, p.session.id)
		for id, other := range others {
			if err := p.client.fence(ctx, id, other.Lanes); err != nil {
				return err
			}
		}
		claims, err := p.writeClaims(slices.Collect(maps.Keys(others)))
		if err != nil {
			return fmt.Errorf("write that it is taken: %w", err)
		}
		if err := p.readThrough(ctx, claims); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		others, err = p.copy.claims(p.number)
		if delete(others, p.session.id); err != nil {
			return err
		}
		if len(others) > 0 {
			continue
		}
		if again, err := p.finish(); again || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		return p.watch(claims)
	}
}

// writeClaims takes the claims of others away and writes the session's own, which it returns. What ends others in vector.sync comes first:
// of who can't be fenced all but the last batch that counts has been written out then.
func (p *Partition) writeClaims(others []string) (claims []*kgo.Record, err error) {
	key, value := p.session.claim()
	var steps [2][]*kgo.Record
	for _, topic := range p.client.opts.Topics.copied() {
		step := &steps[1]
		if topic == p.client.opts.Topics.Sync || p.session.single == nil {
			step = &steps[0]
		}
		for _, id := range others {
			*step = append(*step, &kgo.Record{Topic: topic, Partition: p.number, Key: []byte(claimKey + id)})
		}
		own := &kgo.Record{Topic: topic, Partition: p.number, Key: key, Value: value}
		*step, claims = append(*step, own), append(claims, own)
	}
	for _, records := range steps {
		if len(records) > 0 {
			if err := p.session.commit(records); err != nil {
				return nil, err
			}
		}
	}
	return claims, nil
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
			if at, err = p.copy.lastBatch(p.number, at); err != nil {
				return err
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

// release says that the session writes to the partition no more: who takes it next need not fence it.
func (p *Partition) release() {
	if p.session == nil || p.session.over() {
		return
	}
	key, _ := p.session.claim()
	var records []*kgo.Record
	for _, topic := range p.client.opts.Topics.copied() {
		records = append(records, &kgo.Record{Topic: topic, Partition: p.number, Key: key})
	}
	if p.session.single != nil {
		p.writing.Lock()
		defer p.writing.Unlock()
		if err := p.moveToEnd(); err != nil {
			p.client.opts.Logger.Warn("a partition was not given back", "partition", p.number, "error", err)
			return
		}
		records = append(records, p.noBatch())
	}
	// Without it the session is fenced, with all its partitions.
	if err := p.session.commit(records); err != nil {
		p.client.opts.Logger.Warn("a partition was not given back", "partition", p.number, "error", err)
	}
}
