package kafka

import (
	"context"
	"math"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Expiring says how far the brokers have come with deleting events of a partition of events.keyed, and where they will be soon: offsets,
// each of the first event that is not.
type Expiring struct {
	First int64 // that they have not deleted
	Old   int64 // that is not older than the topic's retention: those before may go at any moment
	Late  int64 // within an eighth of that
	Soon  int64 // within a quarter
}

// Shares of a retention that are left where events are Late, and Soon to go.
const (
	lateShare = 0.125
	soonShare = 0.25
)

// Expiring looks at all partitions of events.keyed. retention is for how long the topic keeps events, as it is set there; Forever.
func (c *Client) Expiring(ctx context.Context, now time.Time) (all map[int32]Expiring, retention time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.ConnectTimeout)
	defer cancel()
	topic := c.opts.Topics.Keyed
	retention, bytes, err := c.retention(ctx, topic)
	if err != nil {
		return nil, 0, err
	}
	starts, err := c.Starts(ctx, topic)
	if err != nil {
		return nil, 0, err
	}
	ends, err := c.Ends(ctx, topic) // before all else: what comes meanwhile is not old
	if err != nil {
		return nil, 0, err
	}
	all = map[int32]Expiring{}
	for p, first := range starts {
		all[p] = Expiring{first, first, first, first}
	}
	if retention != Forever {
		if err := c.expiringByAge(ctx, now, retention, ends, all); err != nil {
			return nil, 0, err
		}
	}
	if bytes > 0 {
		if err := c.expiringBySize(ctx, float64(bytes), ends, all); err != nil {
			return nil, 0, err
		}
	}
	return all, retention, nil
}

// retention is for how long a topic keeps events, and how many bytes of each partition; 0 bytes: any number.
func (c *Client) retention(ctx context.Context, topic string) (age time.Duration, bytes int64, err error) {
	all, err := c.settings(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	number := func(name string) (n int64, set bool) {
		n, err := strconv.ParseInt(all[topic][name], 10, 64)
		return n, err == nil && n >= 0
	}
	age = Forever
	if ms, set := number("retention.ms"); set && ms <= math.MaxInt64/int64(time.Millisecond) {
		age = time.Duration(ms) * time.Millisecond
	}
	if n, set := number("retention.bytes"); set {
		bytes = n
	}
	return age, bytes, nil
}

// expiringByAge notes what goes for its age: of a partition in which all was old at first, what was before its end then.
func (c *Client) expiringByAge(ctx context.Context, now time.Time, retention time.Duration, ends map[int32]int64, all map[int32]Expiring) error {
	for _, x := range []struct {
		left float64
		to   func(*Expiring) *int64
	}{{0, func(e *Expiring) *int64 { return &e.Old }}, {lateShare, func(e *Expiring) *int64 { return &e.Late }}, {soonShare, func(e *Expiring) *int64 { return &e.Soon }}} {
		before := now.Add(-time.Duration((1 - x.left) * float64(retention)))
		offsets, err := c.offsets(ctx, c.opts.Topics.Keyed, func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
			return c.admin.ListOffsetsAfterMilli(ctx, before.UnixMilli(), topics...)
		})
		if err != nil {
			return err
		}
		for p, e := range all {
			at := x.to(&e)
			*at = max(*at, min(offsets[p], ends[p]))
			all[p] = e
		}
	}
	return nil
}

// expiringBySize notes what goes as there is too much. That brokers delete whole segments only leaves more. Where they don't say how much there
// is, all may go soon.
func (c *Client) expiringBySize(ctx context.Context, most float64, ends map[int32]int64, all map[int32]Expiring) error {
	sizes := map[int32]float64{}
	set := kadm.TopicsSet{}
	for p := range all {
		set.Add(c.opts.Topics.Keyed, p)
	}
	if dirs, err := c.admin.DescribeAllLogDirs(ctx, set); err == nil {
		dirs.Each(func(d kadm.DescribedLogDir) {
			d.Topics.Each(func(p kadm.DescribedLogDirPartition) {
				if !p.IsFuture {
					sizes[p.Partition] = max(sizes[p.Partition], float64(p.Size))
				}
			})
		})
	}
	for p, e := range all {
		size, known := sizes[p]
		cut := func(left float64) int64 {
			switch excess := size - (1-left)*most; {
			case !known:
				return ends[p]
			case excess <= 0:
				return e.First
			default:
				return e.First + int64(math.Ceil(float64(ends[p]-e.First)*excess/size))
			}
		}
		e.Late, e.Soon = max(e.Late, cut(lateShare)), max(e.Soon, cut(soonShare))
		all[p] = e
	}
	return nil
}
