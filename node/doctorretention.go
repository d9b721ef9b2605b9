package node

import (
	"time"

	"github.com/freshet-io/freshet/gateway"
)

// retention says which events are kept.
func (c *checkup) retention() error {
	limit, err := c.n.retention.limit()
	if err != nil {
		return err
	}
	r, first := c.n.config().Retention, c.n.log.RawFirst()
	c.say(gateway.LevelOK, "retention", "", "%d MiB of events are kept, from offset %d on; they go after %s, or beyond %d MiB (disk_share %v)",
		c.n.log.RawBytesFrom(first)>>20, first, time.Duration(r.Age), limit>>20, r.DiskShare)
	return nil
}
