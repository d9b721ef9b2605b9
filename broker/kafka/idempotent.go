package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/embedded"
)

// How owners commit.
//
// DeliveryTransactional makes all that follows from a batch visible at once, and fences who owned the partition before.
//
// DeliveryIdempotent writes a batch as one record first, with which it is decided, and then its records one by one; who takes
// the partition over after a crash writes those of the last batch again. Who has lost a partition and does not know it yet may write
// behind its new owner: that does not count (see terms), and the owner reads it and writes the present state again. So the last
// record of each key is right, after moments in which it may not be; that a record of the log comes once, and that versions only
// rise, is not promised.
const (
	DeliveryTransactional = "transactional"
	DeliveryIdempotent    = "idempotent"
)

func (c *Client) newIdempotentSession() (*session, error) {
	producer, err := c.connect(
		kgo.RecordDeliveryTimeout(c.opts.DeliveryTimeout),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(math.MaxInt32),
		// What comes behind a record that is lost must not get into the log.
		kgo.StopProducerOnDataLossDetected(),
	)
	if err != nil {
		return nil, err
	}
	return &session{timeout: c.opts.DeliveryTimeout, single: producer, ended: make(chan struct{})}, nil
}

// deliver sends records without a transaction, and returns when they are durable.
func (s *session) deliver(records []*kgo.Record) error {
	if s.over() {
		return errSessionEnded
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	err := s.single.ProduceSync(ctx, records...).FirstErr()
	if err != nil {
		s.end()
	}
	return err
}

// write brings the records of a transaction into the log, and returns where that leaves the topics of the partition.
func (t *txn) write() (reached map[string]int64, err error) {
	if t.p.session.single != nil {
		return t.writeBatch()
	}
	if err := t.p.session.commit(append(t.others, t.records...)); err != nil {
		return nil, err
	}
	reached = map[string]int64{}
	for _, r := range t.records {
		reached[r.Topic] = r.Offset + 1
	}
	return reached, nil
}

// writeBatch writes a record that says all, with which the transaction is committed, and has the rest follow. What follows the one
// before is durable then: only the last batch may have to be written again.
func (t *txn) writeBatch() (reached map[string]int64, err error) {
	p := t.p
	if reached, err = p.settle(); err != nil {
		return nil, err
	}
	all := slices.Concat(t.others, t.records)
	batch, err := p.decideBatch(all)
	if err != nil {
		return nil, err
	}
	t.local = append(t.local, func(tx *embedded.Txn) error {
		return setLastBatch(tx, p.number, placed{batch[0].Offset, batch[len(batch)-1].Offset + 1})
	})
	p.follow(all)
	return reached, nil
}

// decideBatch writes the record that says all. An error if it counts for nobody else: the copy must not take it in, and nothing may follow it.
func (p *Partition) decideBatch(all []*kgo.Record) (batch []*kgo.Record, err error) {
	batch = p.client.batchRecords(p.number, all)
	if err := p.commit(batch); err != nil {
		return nil, err
	}
	return batch, p.counts(batch)
}

// following are the records behind the last batch that are on their way. It is guarded by Partition.writing.
type following struct {
	records []*kgo.Record
	left    sync.WaitGroup
	own     map[string]int64 // by topic: up to here all of the partition behind the beginning of the term is the owner's own
}

// extend notes records that are durable, in order.
func (f *following) extend(records []*kgo.Record) {
	for _, r := range records {
		if next, ok := f.own[r.Topic]; ok && r.Offset == next {
			f.own[r.Topic]++
		}
	}
}

// counts reports whether no other term had begun before the last of these records, which are a batch: an error if so. If all
// that stands before them is the owner's own, that is plain; else it is read.
func (p *Partition) counts(batch []*kgo.Record) error {
	f, sync, last := &p.following, p.client.opts.Topics.Sync, batch[len(batch)-1].Offset
	if f.extend(batch); f.own[sync] > last {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.session.timeout)
	defer cancel()
	reader, err := p.client.NewReader(freshet.Position{Topic: sync, Partition: p.number, Offset: f.own[sync]})
	if err != nil {
		return err
	}
	defer reader.Close()
	for next := f.own[sync]; next <= last; {
		fetched, err := reader.Read(ctx)
		if err != nil {
			return err
		}
		for _, x := range fetched {
			next = x.Next
			x.Records = slices.DeleteFunc(x.Records, func(r Record) bool { return r.Offset > last })
			p.look(x)
		}
	}
	if p.lost.Load() {
		return errDeposed
	}
	f.own[sync] = last + 1
	return nil
}

var errDeposed = errors.New("another process has taken the partition")

// follow sends the records of a batch and does not wait.
func (p *Partition) follow(records []*kgo.Record) {
	p.stamp(records)
	f := &p.following
	f.records = records
	f.left.Add(len(records))
	for _, r := range records {
		p.session.single.Produce(context.Background(), r, func(_ *kgo.Record, err error) {
			if err != nil {
				p.session.end()
			}
			f.left.Done()
		})
	}
}

// settle waits for what follows the last batch, and returns up to where the copy has the topics: of what others may have written
// in between it has nothing.
func (p *Partition) settle() (reached map[string]int64, err error) {
	late := time.AfterFunc(p.session.timeout, p.session.end) // the producer alone may wait for brokers without end
	p.following.left.Wait()
	late.Stop()
	if p.session.over() {
		return nil, errSessionEnded
	}
	p.following.extend(p.following.records)
	p.following.records = nil
	return maps.Clone(p.following.own), nil
}

// watching is what an owner does about sessions that can't be fenced: guarded by Partition.mu.
type watching struct {
	since []freshet.Position         // behind the beginning of the term in each topic; none if sessions are fenced
	stale map[string]map[string]bool // keys by topic whose last record is void
}

// note remembers a key whose last record is void.
func (p *Partition) note(topic string, key []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &p.watching
	if w.stale == nil {
		w.stale = map[string]map[string]bool{}
	}
	if w.stale[topic] == nil {
		w.stale[topic] = map[string]bool{}
	}
	w.stale[topic][string(key)] = true
}

// watch begins behind the beginning of the term: what others write from there on is void.
func (p *Partition) watch(begun []*kgo.Record) error {
	if p.session.single != nil {
		p.mu.Lock()
		for _, r := range begun {
			p.following.own[r.Topic] = r.Offset + 1
			p.watching.since = append(p.watching.since, freshet.Position{Topic: r.Topic, Partition: p.number, Offset: r.Offset + 1})
		}
		p.mu.Unlock()
	}
	left, err := p.noteStale() // what the ones before have left
	if !left || err != nil {
		return err
	}
	if err := p.mend(); err != nil || p.lost.Load() || p.session.over() {
		return err
	}
	_, err = p.copy.commit(func(tx *embedded.Txn) error {
		for _, topic := range p.client.opts.Topics.copied() {
			lower, upper := p.copy.staleBounds(topic, p.number)
			if err := tx.DeleteTableRange(broker.TableClaims, lower, upper); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// watchedFrom is where what others write begins; nowhere if sessions are fenced.
func (p *Partition) watchedFrom() []freshet.Position {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.watching.since
}

// inspect looks at what was read of a partition that is owned here.
func (p *Partition) inspect(f Fetched) error {
	p.look(f)
	return p.mend()
}

// look notes what the owner did not write itself.
func (p *Partition) look(f Fetched) {
	for i := range f.Records {
		r, sync := &f.Records[i], f.Topic == p.client.opts.Topics.Sync
		term := termOf(r)
		if string(r.Key) == termKey {
			var err error
			if term, err = p.client.opts.Topics.begun(f.Topic, r); err != nil {
				term = math.MaxInt64 // of a later version
			}
		}
		switch {
		case term == p.term || isClaim(r.Key) && string(r.Key) != termKey:
		case term > p.term:
			p.lost.Store(true)
		case sync && !ownRecord(r) && !isMark(r.Key): // of a collection that others write
		default:
			p.note(f.Topic, r.Key)
		}
	}
}

// mend writes the present state of keys whose last record is void. That it could not is for the next commit to find.
func (p *Partition) mend() error {
	p.writing.Lock()
	defer p.writing.Unlock()
	p.mu.Lock()
	stale := p.watching.stale
	p.watching.stale = nil
	p.mu.Unlock()
	if len(stale) == 0 || p.lost.Load() {
		return nil
	}
	if _, err := p.settle(); err != nil { // a batch that was written over is not needed then
		return nil
	}
	var records []*kgo.Record
	for topic, keys := range stale {
		for key := range keys {
			r, err := p.present(topic, key)
			if err != nil {
				return err
			}
			records = append(records, r)
		}
	}
	p.client.opts.Logger.Warn("another process wrote to a partition after it had lost it; what it wrote over is written again", "partition", p.number, "records", len(records))
	if p.commit(records) != nil {
		p.lost.Store(true)
	}
	p.following.extend(records)
	return nil
}

// present is the record of a key as the copy has it.
func (p *Partition) present(topic, key string) (*kgo.Record, error) {
	r := &kgo.Record{Topic: topic, Partition: p.number, Key: []byte(key)}
	switch topics := p.client.opts.Topics; {
	case key == termKey:
		return p.beginning(topic), nil
	case topic == topics.Sync && key == markerKey:
		decided, err := p.copy.Decided(p.number)
		r.Value, r.Headers = marker{Decided: decided}.value(), p.client.written
		return r, err
	case topic == topics.Sync:
		r.Headers = p.client.written
		latest, ok, err := p.copy.state.Latest(freshet.TopicSync, r.Key, nil)
		if err != nil || !ok {
			return r, err
		}
		r.Value, err = p.client.syncValue(r.Key, latest.Value)
		return r, err
	case topic == topics.Dead:
		latest, ok, err := p.copy.state.Latest(freshet.TopicDead, p.topicKey(freshet.TopicDead, r.Key), nil)
		if ok {
			r.Value = notNil(latest.Value)
		}
		return r, err
	}
	table, at, err := p.copy.tableKey(r.Key, p.number)
	if err != nil {
		return r, err
	}
	value, ok, err := p.copy.state.GetTable(table, at)
	if ok {
		r.Value = notNil(value)
	}
	return r, err
}

// placed is where the parts of a batch stand that count: from an offset on, and before another.
type placed struct{ first, next int64 }

// batchAt is where the copy keeps where the last batch of a partition stands.
func batchAt(partition int32) []byte { return append(prefix(partition), placeBatch) }

// lastBatch is where the last batch of a partition stands, as far as the copy knows; zero if there is none to be finished.
func (c *Copy) lastBatch(partition int32) (last placed, err error) {
	v, ok, err := c.state.GetTable(broker.TableClaims, batchAt(partition))
	if err != nil || !ok {
		return last, err
	}
	if len(v) != 16 {
		return last, errors.New("the place of the last batch is damaged")
	}
	return placed{int64(binary.BigEndian.Uint64(v)), int64(binary.BigEndian.Uint64(v[8:]))}, nil
}

func setLastBatch(tx *embedded.Txn, partition int32, last placed) error {
	if last.next == 0 {
		return tx.DeleteTable(broker.TableClaims, batchAt(partition))
	}
	return tx.SetTable(broker.TableClaims, batchAt(partition), appendPosition(appendPosition(nil, last.first), last.next))
}

// takeBatch notes where the last batch stands; who restores the partition takes it in.
func (t *taker) takeBatch(r *Record) error {
	switch {
	case r.Value == nil:
		t.last = placed{}
	case r.Key[len(batchKey)] == 0:
		t.last = placed{r.Offset, r.Offset + 1}
	case t.last.next > 0:
		t.last.next = r.Offset + 1
	}
	if t.owner == nil {
		return nil
	}
	if r.Value == nil {
		t.owner.last = unfinished{}
		return nil
	}
	return t.owner.last.add(r)
}

// takeBatchAgain takes in what counted of the last batch when the copy read it.
func (t *taker) takeBatchAgain(r *Record) error {
	first := r.Offset == t.last.first
	if t.owner == nil || r.Offset < t.last.first || r.Offset >= t.last.next || !first && termOf(r) != t.owner.last.term {
		return nil
	}
	return t.owner.last.add(r)
}

// finish writes what follows the last batch of the one before, which may be missing in part: again is whether there is something to
// read then.
func (p *Partition) finish() (again bool, err error) {
	if !p.last.complete() {
		return false, nil
	}
	records, err := p.client.records(p.last.value)
	if err != nil {
		return false, err
	}
	if err := p.commit(records); err != nil {
		return false, err
	}
	return true, p.commit([]*kgo.Record{p.noBatch()}) // now that they are durable
}

// noBatch is the record that takes the last batch away.
func (p *Partition) noBatch() *kgo.Record {
	return &kgo.Record{Topic: p.client.opts.Topics.Sync, Partition: p.number, Key: append([]byte(batchKey), 0), Headers: p.client.written}
}

// moveToEnd has the copy know that it has what follows the last batch.
func (p *Partition) moveToEnd() error {
	reached, err := p.settle()
	if err != nil {
		return err
	}
	_, err = p.copy.commit(func(tx *embedded.Txn) error { return p.moveCopy(tx, reached) })
	return err
}

// moveCopy notes how far the copy has the topics of the partition.
func (p *Partition) moveCopy(tx *embedded.Txn, reached map[string]int64) error {
	for topic, next := range reached {
		if err := tx.Move(p.copy.member, topic, p.number, next); err != nil {
			return err
		}
	}
	return nil
}
