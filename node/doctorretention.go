package node

import (
	"github.com/freshet-io/freshet/gateway"
)

// retention says which events are kept.
func (c *checkup) retention(n *Node) error {
	limit, err := n.retention.limit()
	if err != nil {
		return err
	}
	r, first := n.config().Retention, n.log.RawFirst()
	c.say(gateway.LevelOK, "retention", "", "%d MiB of events are kept, from offset %d on; they stay for %s, within %d MiB (disk_share %v)",
		n.log.RawBytesFrom(first)>>20, first, r.Age, limit>>20, r.DiskShare)
	return nil
}
