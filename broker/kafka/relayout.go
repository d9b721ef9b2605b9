package kafka

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/broker"
	"github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/wire"
)

// Relayout gives a log another layout while no process uses it: other topics, more partitions, or, where there was none in the
// cluster, the log of a data folder. [Relayout.Begin] keeps others away, [Relayout.At], [Relayout.Put] and [Relayout.SetTable] write what stands where
// in it, and [Relayout.Finish] is the one step by which it applies. In between it may be killed at any moment: whoever begins again
// with the same layout goes on behind what is written.
//
// It is the log of its catalog too; see control.Log. It is for one goroutine.
type Relayout struct {
	ctx      context.Context
	client   *Client
	writer   *controlWriter
	topics   map[string]Topic
	have     identity
	control  map[string][]byte
	finish   bool // the next write of control records ends it
	batch    []*kgo.Record
	bytes    int
	at       []byte // place of what is put
	most     int    // records of a batch
	progress func(done int64)
	done     int64
}

// Batches of what is written: a transaction each.
const (
	relayoutBytes   = 4 << 20
	relayoutRecords = 8192
)

// OpenRelayout looks at the topics, and makes those that are missing. ctx is that of all that follows. The client's options say how
// many partitions there are to be. It takes freshet.control, so one of them works at a time.
func (c *Client) OpenRelayout(ctx context.Context) (r *Relayout, err error) {
	r = &Relayout{ctx: ctx, client: c, control: map[string][]byte{}, most: relayoutRecords, progress: func(int64) {}}
	log, _ := c.opts.layouts()
	topics, bad, err := c.survey(ctx, log)
	if err != nil {
		return nil, err
	}
	bad = slices.DeleteFunc(bad, func(p Problem) bool {
		return p.Setting == settingPartitions && p.Topic != c.opts.Topics.Control
	})
	for field, t := range topics {
		if field != "control" && t.Partitions > c.opts.Partitions {
			bad = append(bad, Problem{Topic: t.Name, Setting: settingPartitions, Found: fmt.Sprint(t.Partitions), Wanted: fmt.Sprint("at most ", c.opts.Partitions),
				Remedy: fmt.Sprintf("set partitions to %d: a topic can't have fewer than it has", t.Partitions)})
		}
	}
	if len(bad) > 0 {
		return nil, &LayoutError{bad}
	}
	r.topics = topics
	var claim int64
	if r.writer, claim, err = c.takeControl(ctx); err != nil {
		return nil, fmt.Errorf("take %s: %w", c.opts.Topics.Control, err)
	}
	if err := r.readControl(claim + 1); err != nil {
		r.Close()
		return nil, fmt.Errorf("read %s: %w", c.opts.Topics.Control, err)
	}
	return r, nil
}

func (r *Relayout) readControl(end int64) error {
	err := r.client.readControl(r.ctx, 0, func(f Fetched) (bool, error) {
		for _, rec := range f.Records {
			switch {
			case isClaim(rec.Key):
			case rec.Value == nil:
				delete(r.control, string(rec.Key))
			default:
				r.control[string(rec.Key)] = rec.Value
			}
		}
		return f.Next >= end, nil
	})
	if value, ok := r.control[identityKey]; ok && err == nil {
		r.have, err = parseIdentity(value)
	}
	return err
}

// ReadLayout looks at what freshet.control says, beside processes that are at work. Nothing may be written with it.
func (c *Client) ReadLayout(ctx context.Context) (*Relayout, error) {
	r := &Relayout{ctx: ctx, client: c, control: map[string][]byte{}}
	// What was acknowledged a moment ago may not be told to readers yet: its end is not that of what is committed.
	ends, err := c.offsets(ctx, c.opts.Topics.Control, c.admin.ListEndOffsets)
	if end := ends[0]; err == nil && end > 0 {
		err = r.readControl(end)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c.opts.Topics.Control, err)
	}
	return r, nil
}

// Close ends the connection.
func (r *Relayout) Close() {
	if r.writer != nil {
		r.writer.Close()
	}
}

// There reports whether there is a log in the topics.
func (r *Relayout) There() bool { return r.have.id != (freshet.LogID{}) }

// Begun names what is begun and not finished: the command, and the identity that the log gets; ok is false when nothing is.
func (r *Relayout) Begun() (by string, id freshet.LogID, ok bool) {
	if r.have.Next == nil {
		return "", id, false
	}
	id, err := wire.ParseLogID(r.have.Next.ID)
	return r.have.Next.By, id, err == nil
}

// ID is the identity of the log as it is; zero where there is none. It implements control.Log.
func (r *Relayout) ID() freshet.LogID { return r.have.id }

// Partitions are those that the log has as it is.
func (r *Relayout) Partitions() int { return r.have.Partitions }

// Remade are the topics that are not those that the log was begun with, by their default names, in order.
func (r *Relayout) Remade() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(r.have.Topics)) {
		if r.have.Topics[name] != idsOf(r.topics)[name] {
			names = append(names, name)
		}
	}
	return names
}

// Ends are where the partitions of events.keyed end in the old layout; nil while that is not known.
func (r *Relayout) Ends() []int64 {
	if r.have.Next == nil {
		return nil
	}
	return r.have.Next.Ends
}

// Idle is an error while processes are members of the group.
func (r *Relayout) Idle() error {
	ctx, cancel := context.WithTimeout(r.ctx, r.client.opts.ConnectTimeout)
	defer cancel()
	groups, err := r.client.admin.DescribeGroups(ctx, r.client.opts.Group)
	for failures := 1; err != nil; failures++ { // the first group of a cluster takes its time
		if permanent(err) || !sleep(ctx, backoff(failures)) {
			return fmt.Errorf("look who is in group %s: %w", r.client.opts.Group, err)
		}
		groups, err = r.client.admin.DescribeGroups(ctx, r.client.opts.Group)
	}
	var hosts []string
	for _, m := range groups[r.client.opts.Group].Members {
		hosts = append(hosts, strings.TrimPrefix(m.ClientHost, "/"))
	}
	if len(hosts) > 0 {
		return fmt.Errorf("%d processes of group %s are still there, on %s: stop them; one that was killed is forgotten after %v",
			len(hosts), r.client.opts.Group, strings.Join(hosts, ", "), r.client.opts.SessionTimeout)
	}
	return nil
}

// Unused is an error where something has been written to the topics, but for events.raw.
func (r *Relayout) Unused() error {
	for _, topic := range append(r.client.opts.Topics.copied(), r.client.opts.Topics.Keyed) {
		ends, err := r.client.Ends(r.ctx, topic)
		if err != nil {
			return err
		}
		for p, end := range ends {
			if end > 0 {
				return fmt.Errorf("partition %d of %s has been written to: begin with another topics.prefix and group, or delete the topics", p, topic)
			}
		}
	}
	return nil
}

// Begin says in the log that it is laid out anew by a command, with so many partitions: from then on nobody else uses it. An interrupted
// one is gone on with; the error is then about one of another kind.
func (r *Relayout) Begin(by string, partitions int) error {
	ids := idsOf(r.topics)
	if next := r.have.Next; next != nil {
		if next.By != by || next.Partitions != partitions || !maps.Equal(next.Topics, ids) {
			return fmt.Errorf("%s has begun to lay the log out with %d partitions, and was interrupted: run it again, with the same settings and topics", next.By, next.Partitions)
		}
		return nil
	}
	id, err := embedded.NewID()
	if err != nil {
		return err
	}
	if !r.There() { // what it becomes, it is not yet
		r.have = identity{Format: identityFormatShifted, Partitions: partitions, Topics: ids, ID: wire.LogIDString(freshet.LogID{})}
	}
	r.have.Format = identityFormatShifted
	r.have.Next = &nextLayout{By: by, ID: wire.LogIDString(id), Partitions: partitions, Topics: ids}
	return r.note()
}

// note writes the identity as it is.
func (r *Relayout) note() error {
	rec, err := r.identityRecord()
	if err != nil {
		return err
	}
	_, err = r.writer.commit(r.ctx, []broker.Record{rec})
	return err
}

func (r *Relayout) identityRecord() (broker.Record, error) {
	value, err := json.Marshal(r.have)
	return broker.Record{Key: []byte(identityKey), Value: value}, err
}

// Drained says where the partitions of events.keyed end in the old layout, all that stands there being decided.
func (r *Relayout) Drained(ends []int64) error {
	r.have.Next.Ends = ends
	return r.note()
}

// Grow gives the topics the partitions that they are to have.
func (r *Relayout) Grow() error {
	var few []string
	for field, t := range r.topics {
		if field != "control" && t.Partitions < r.have.Next.Partitions {
			few = append(few, t.Name)
		}
	}
	_, embedding := r.client.opts.layouts()
	for _, l := range embedding { // where they are there
		have, err := r.client.admin.ListTopics(r.ctx, l.name)
		if err != nil {
			return fmt.Errorf("list topics: %w", err)
		}
		if n := len(have[l.name].Partitions); n > 0 && n < r.have.Next.Partitions {
			few = append(few, l.name)
		}
	}
	if len(few) == 0 {
		return nil
	}
	slices.Sort(few)
	grown, err := r.client.admin.UpdatePartitions(r.ctx, r.have.Next.Partitions, few...)
	if err = errors.Join(err, grown.Error()); err != nil {
		return fmt.Errorf("give topics %d partitions: %w", r.have.Next.Partitions, err)
	}
	return r.settle()
}

// settle waits until the brokers know the new partitions and their leaders.
func (r *Relayout) settle() error {
	ctx, cancel := context.WithTimeout(r.ctx, r.client.opts.ConnectTimeout)
	defer cancel()
	for failures := 1; ; failures++ {
		log, _ := r.client.opts.layouts()
		have, err := r.client.settled(ctx, log)
		if err != nil {
			return err
		}
		whole := true
		for field, t := range r.topics {
			t.Partitions = len(have[t.Name].Partitions)
			r.topics[field] = t
			whole = whole && (field == "control" || t.Partitions >= r.have.Next.Partitions)
		}
		if whole {
			return nil
		}
		if !sleep(ctx, backoff(failures)) {
			return fmt.Errorf("the topics have not got their %d partitions: %w", r.have.Next.Partitions, ctx.Err())
		}
	}
}

// Progress has f called with the number of records that are written, after every batch. most is how many records a batch has at
// most; 0 means the default.
func (r *Relayout) Progress(most int, f func(done int64)) {
	r.most, r.progress = cmp.Or(most, relayoutRecords), f
}

// At says what is put from here on: places rise in the order of their bytes. It is false for a place that is written already.
func (r *Relayout) At(place []byte) (write bool, err error) {
	if bytes.Compare(place, r.have.Next.Done) <= 0 {
		return false, nil
	}
	if r.bytes >= relayoutBytes || len(r.batch) >= r.most {
		if err := r.flush(); err != nil {
			return false, err
		}
	}
	r.at = append(r.at[:0], place...)
	return true, nil
}

// Put puts a record into a partition of a topic by its default name: vector.sync with its binary value, or the dead letters. A nil
// value takes the key out.
func (r *Relayout) Put(topic string, partition int32, key, value []byte) (err error) {
	name, headers := r.client.opts.Topics.Sync, r.client.written
	switch {
	case topic == freshet.TopicDead:
		name, headers = r.client.opts.Topics.Dead, nil
		if value != nil {
			headers, err = letterHeaders(value)
		}
	case value != nil:
		value, err = r.client.syncValue(key, value)
	}
	r.add(name, partition, key, value, headers...)
	return err
}

// SetTable sets a key of a state table of a partition; a nil value takes it out.
func (r *Relayout) SetTable(table broker.Table, partition int32, key, value []byte) {
	r.add(r.client.opts.Topics.State, partition, append([]byte{byte(table)}, key...), value)
}

// Forwards are bounds of the entries of a table that say what was forwarded.
func Forwards() (lower, upper []byte) { return []byte{'r'}, []byte{'r' + 1} }

// SetDecided says how far a partition of events.keyed is decided by what is put before, and folded into the audit base.
func (r *Relayout) SetDecided(partition int32, next int64) {
	r.SetTable(broker.TableBase, partition, []byte(basePositionKey), appendPosition(nil, next))
	r.add(r.client.opts.Topics.Sync, partition, []byte(markerKey), marker{Decided: next}.value(), r.client.written...)
}

func (r *Relayout) add(topic string, partition int32, key, value []byte, headers ...kgo.RecordHeader) {
	rec := &kgo.Record{Topic: topic, Partition: partition, Key: bytes.Clone(key), Headers: headers}
	if value != nil {
		rec.Value = append([]byte{}, value...)
	}
	r.batch = append(r.batch, rec)
	r.bytes += len(key) + len(value)
}

// flush writes what was put, and how far that is, in one transaction.
func (r *Relayout) flush() error {
	if len(r.batch) == 0 {
		return nil
	}
	r.have.Next.Done = bytes.Clone(r.at)
	rec, err := r.identityRecord()
	if err != nil {
		return err
	}
	records := append(r.batch, &kgo.Record{Topic: r.client.opts.Topics.Control, Key: rec.Key, Value: rec.Value})
	ctx, cancel := context.WithTimeout(r.ctx, r.client.opts.DeliveryTimeout)
	defer cancel()
	if err := transact(ctx, r.writer.producer, records); err != nil {
		return fmt.Errorf("write the new layout: %w", err)
	}
	r.done += int64(len(r.batch))
	r.progress(r.done)
	r.batch, r.bytes = nil, 0
	return nil
}

// Finish writes what is left. The next control records that are written are the last: with them the layout applies. shifts are those of
// events.keyed; see [Client.shift].
func (r *Relayout) Finish(shifts []int64) error {
	if err := r.flush(); err != nil {
		return err
	}
	next := r.have.Next
	former := r.have.Former
	if r.have.id != (freshet.LogID{}) {
		former = append(slices.Clone(former), r.have.ID)
	}
	r.have = identity{Format: identityFormatShifted, ID: next.ID, Partitions: next.Partitions, Topics: next.Topics, Shifts: shifts, Former: former}
	r.finish = true
	var err error
	r.have.id, err = wire.ParseLogID(next.ID)
	return err
}

// Shifts are those of events.keyed in the layout as it is.
func (r *Relayout) Shifts() []int64 {
	shifts := make([]int64, r.have.Partitions)
	copy(shifts, r.have.Shifts)
	return shifts
}

// OneSequence implements control.Log.
func (r *Relayout) OneSequence() bool { return false }

// Scan implements control.Log.
func (r *Relayout) Scan(_ string, lower, upper []byte, yield func(broker.Record) error) error {
	for _, key := range slices.Sorted(maps.Keys(r.control)) {
		if key < string(lower) || upper != nil && key >= string(upper) {
			continue
		}
		if err := yield(broker.Record{Key: []byte(key), Value: r.control[key]}); err != nil {
			return err
		}
	}
	return nil
}

// CatchUp implements control.Log: nobody else writes.
func (r *Relayout) CatchUp(func([]broker.Record) error) error { return nil }

// WriteControl implements control.Log.
func (r *Relayout) WriteControl(decide func() ([]broker.Record, error), take func([]broker.Record) error) error {
	records, err := decide()
	if err != nil || len(records) == 0 && !r.finish {
		return err
	}
	written := records
	if r.finish {
		rec, err := r.identityRecord()
		if err != nil {
			return err
		}
		written = append(slices.Clone(records), rec)
	}
	ctx, cancel := context.WithTimeout(r.ctx, r.client.opts.DeliveryTimeout)
	defer cancel()
	if _, err := r.writer.commit(ctx, written); err != nil {
		return err
	}
	for _, rec := range written {
		r.control[string(rec.Key)] = rec.Value
	}
	r.finish = false
	return take(records)
}

// Old is a connection for the log in the layout that it has: with its partitions, and offsets as they were.
func (r *Relayout) Old(ctx context.Context) (*Client, error) {
	o := r.client.opts
	o.Partitions = r.have.Partitions
	c, err := Open(ctx, o)
	if err != nil {
		return nil, err
	}
	c.use(r.have)
	return c, nil
}

// Fence ends the sessions that may write to a partition, as far as a copy knows: nothing of what they have begun comes any more.
func (c *Client) Fence(ctx context.Context, copy *Copy, partition int32) error {
	claims, err := copy.claims(partition)
	if err != nil {
		return err
	}
	for id, claim := range claims {
		if err := c.fence(ctx, id, claim.Lanes); err != nil {
			return err
		}
	}
	return nil
}

// Stray calls yield for the keys that stand in the compacted topics of a partition, with the default name of their topic, and of its
// copy, if it has any, for none. A key of a state table begins with the number of the table.
func (r *Relayout) Stray(copy *Copy, partition int32, yield func(topic string, key []byte) error) error {
	names := map[string]string{r.client.opts.Topics.Sync: freshet.TopicSync, r.client.opts.Topics.State: freshet.TopicState, r.client.opts.Topics.Dead: freshet.TopicDead}
	for _, name := range r.client.opts.Topics.copied() {
		there, err := r.client.keys(r.ctx, name, partition)
		if err != nil {
			return err
		}
		for key := range there {
			has := false
			if key != termKey { // a term is one of a vector.sync that may be lost
				has, err = copy.has(names[name], partition, []byte(key))
			}
			if err == nil && !has {
				err = yield(names[name], []byte(key))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Remove takes a key that [Relayout.Stray] has found out of its topic.
func (r *Relayout) Remove(topic string, partition int32, key []byte) {
	switch topic {
	case freshet.TopicSync:
		r.add(r.client.opts.Topics.Sync, partition, key, nil, r.client.written...)
	case freshet.TopicState:
		r.add(r.client.opts.Topics.State, partition, key, nil)
	case freshet.TopicDead:
		r.add(r.client.opts.Topics.Dead, partition, key, nil)
	}
}

// keys are those that a partition of a compacted topic has now, but for those of no entity.
func (c *Client) keys(ctx context.Context, topic string, partition int32) (map[string]struct{}, error) {
	starts, err := c.Starts(ctx, topic)
	if err != nil {
		return nil, err
	}
	ends, err := c.Ends(ctx, topic)
	if err != nil {
		return nil, err
	}
	keys := map[string]struct{}{}
	if starts[partition] >= ends[partition] {
		return keys, nil
	}
	reader, err := c.NewReader(freshet.Position{Topic: topic, Partition: partition, Offset: starts[partition]})
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	for {
		ctx, cancel := context.WithTimeout(ctx, keysWait)
		fetched, err := reader.Read(ctx)
		cancel()
		if err != nil {
			return nil, fmt.Errorf("read the keys of %s/%d: %w", topic, partition, err)
		}
		for _, f := range fetched {
			for i := range f.Records {
				switch rec := &f.Records[i]; {
				case isClaim(rec.Key) && string(rec.Key) != termKey || string(rec.Key) == markerKey:
				case rec.Value == nil:
					delete(keys, string(rec.Key))
				default:
					keys[string(rec.Key)] = struct{}{}
				}
			}
			if f.Next >= ends[partition] {
				return keys, nil
			}
		}
	}
}

// keysWait is how long the brokers may take for an answer while keys are read.
const keysWait = time.Minute
