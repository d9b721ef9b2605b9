package kafka

import (
	"context"
	"slices"
	"sync"
	"time"

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
}

// Join makes this process a member of the group. Partitions are moved one by one, and those that stay are not touched.
func (c *Client) Join(owners Owners) (*Membership, error) {
	topic := c.opts.Topics.Keyed
	list := func(m map[string][]int32) []int32 {
		l := slices.Clone(m[topic])
		slices.Sort(l)
		return l
	}
	revoked := func(_ context.Context, _ *kgo.Client, m map[string][]int32) {
		if l := list(m); len(l) > 0 {
			owners.Revoked(l)
		}
	}
	opts := []kgo.Opt{
		kgo.ConsumerGroup(c.opts.Group),
		kgo.ConsumeTopics(topic),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
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

// rebalanceTimeout is how long a member may take to give partitions up.
const rebalanceTimeout = 30 * time.Second

// Leave gives all partitions back: Revoked is called for them. With an InstanceID the group keeps them for a restart, for
// the session timeout.
func (m *Membership) Leave() {
	m.stop.Do(m.kgo.CloseAllowingRebalance)
}
