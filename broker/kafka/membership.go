package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Membership shares the partitions among the processes of a group. It only says who has which: what is read and from
// where is the owner's business.
type Membership struct {
	kgo  *kgo.Client
	stop sync.Once
}

// Owners starts and stops owners of partitions as the group gives them out. The calls come one after the other.
type Owners interface {
	// Assigned says that partitions are this process's now.
	Assigned(partitions []int32)
	// Revoked says that partitions go to others. It returns when nothing is done for them any more.
	Revoked(partitions []int32)
	// Refused says that this process can't be a member: another one is the member that it was, or others have other settings. All
	// partitions have been revoked. It must not wait.
	Refused(err error)
}

// Join makes this process a member of the group. Partitions are moved one by one, and those that stay are not touched.
func (c *Client) Join(owners Owners) (*Membership, error) {
	topic := c.opts.Topics.Keyed
	list := func(m map[string][]int32) []int32 {
		l := slices.Clone(m[topic])
		slices.Sort(l)
		// Partitions that were added while processes run have no meaning before the next start, which says what to do.
		return slices.DeleteFunc(l, func(p int32) bool { return int(p) >= c.opts.Partitions })
	}
	revoked := func(_ context.Context, _ *kgo.Client, m map[string][]int32) {
		if l := list(m); len(l) > 0 {
			owners.Revoked(l)
		}
	}
	r := &refusal{owners: owners, opts: c.opts}
	opts := []kgo.Opt{
		kgo.WithHooks(r),
		kgo.RetryBackoffFn(r.backoff),
		kgo.ConsumerGroup(c.opts.Group),
		kgo.ConsumeTopics(topic),
		kgo.Balancers(balancer{kgo.CooperativeStickyBalancer(), c.opts.Delivery}),
		kgo.SessionTimeout(c.opts.SessionTimeout),
		kgo.HeartbeatInterval(min(c.opts.SessionTimeout/4, 3*time.Second)),
		kgo.RebalanceTimeout(max(c.opts.SessionTimeout, rebalanceTimeout)),
		kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()), // nothing is read
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) {
			if l := list(m); len(l) > 0 {
				owners.Assigned(l)
			}
		}),
		kgo.OnPartitionsRevoked(revoked),
		kgo.OnPartitionsLost(revoked),
	}
	if c.opts.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(c.opts.InstanceID))
	}
	member, err := c.connect(opts...)
	if err != nil {
		return nil, err
	}
	member.PauseFetchTopics(topic)
	return &Membership{kgo: member}, nil
}

// balancer has a name of its own for each delivery: brokers refuse a member that knows no name in common with those that they have. Owners
// that commit in different ways could not fence each other.
type balancer struct {
	kgo.GroupBalancer
	delivery string
}

// ProtocolName implements [kgo.GroupBalancer].
func (b balancer) ProtocolName() string {
	name := b.GroupBalancer.ProtocolName()
	if b.delivery != DeliveryTransactional {
		name += "-" + b.delivery
	}
	return name
}

// refusal finds out that it is no use to join again.
type refusal struct {
	owners      Owners
	opts        Options
	first, last time.Time // of errors in a row that say that other members have another delivery
	final       atomic.Bool
}

// OnGroupManageError implements [kgo.HookGroupManageError]. The calls come one after the other.
func (r *refusal) OnGroupManageError(err error) {
	switch {
	case errors.Is(err, kerr.FencedInstanceID):
		// To join again would have the two replace each other for ever.
		r.end(fmt.Errorf("instance_id: another process has joined the group %q as %q, and this one ends; give each process an instance_id of its own, or leave it out",
			r.opts.Group, r.opts.InstanceID))
	case errors.Is(err, kerr.InconsistentGroupProtocol):
		// Members that have died are in the group until their session has timed out.
		now, most := time.Now(), r.opts.SessionTimeout+sessionMargin
		if now.Sub(r.last) > most {
			r.first = now
		}
		if r.last = now; now.Sub(r.first) > most {
			other := DeliveryTransactional
			if r.opts.Delivery == other {
				other = DeliveryIdempotent
			}
			r.end(fmt.Errorf("delivery: it is %s here, and %s in processes of the group %q that run; set it to %s, or stop them all to change it",
				r.opts.Delivery, other, r.opts.Group, other))
		}
	}
}

// sessionMargin is how much later than after its session timeout a member is surely out of its group.
const sessionMargin = 4 * time.Second

func (r *refusal) end(err error) {
	if !r.final.Swap(true) {
		r.owners.Refused(err)
	}
}

// backoff is how long the member waits before it joins again: until it leaves, once it is refused for good.
func (r *refusal) backoff(failures int) time.Duration {
	if r.final.Load() {
		return time.Hour
	}
	return backoff(failures)
}

// rebalanceTimeout is how long a member may take to give partitions up.
const rebalanceTimeout = 30 * time.Second

// Leave gives all partitions back: Revoked is called for them. With an InstanceID the group keeps them for a restart, for
// the session timeout.
func (m *Membership) Leave() {
	m.stop.Do(m.kgo.CloseAllowingRebalance)
}
