package control

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Node is a process of a log that several share. Its record stays when it dies: whether it answers is found out by asking.
type Node struct {
	ID         string   `json:"id"`                // of its data folder
	Address    string   `json:"address,omitempty"` // where it is reached, as http://HOST:PORT; "" if it has not said so
	Roles      []string `json:"roles"`
	Partitions string   `json:"partitions,omitempty"` // that its indexes hold, as wire.ParsePartitions reads them; "" for none
	Copied     string   `json:"copied,omitempty"`     // likewise, of which it has a copy whoever owns them
	StartedAt  int64    `json:"started_at"`           // ms
}

const nodePrefix = "node/"

func nodeKey(id string) string { return nodePrefix + id }

// Nodes returns the processes that have said that they take part, in order of id. The slice is shared.
func (c *Catalog) Nodes() []Node { return c.now.Load().nodes }

// Announce records that a process takes part. Who has its address by another id has left it: that record is removed.
func (c *Catalog) Announce(n Node) error {
	return c.write(fmt.Sprintf("node %q", n.ID), func() ([]keyed, error) {
		recs := []keyed{{nodeKey(n.ID), record{Format: recordFormat, Node: &n}}}
		for _, other := range c.Nodes() {
			if other.ID != n.ID && n.Address != "" && other.Address == n.Address {
				recs = append(recs, keyed{key: nodeKey(other.ID)})
			}
		}
		return recs, nil
	})
}

// Leave removes the record of a process.
func (c *Catalog) Leave(id string) error {
	return c.write(fmt.Sprintf("that node %q leaves", id), func() ([]keyed, error) {
		if !slices.ContainsFunc(c.Nodes(), func(n Node) bool { return n.ID == id }) {
			return nil, nil
		}
		return []keyed{{key: nodeKey(id)}}, nil
	})
}

// takeNode takes in what a record says of a process; nil that there is none.
func (c *contents) takeNode(key string, n *Node) error {
	if n != nil && nodeKey(n.ID) != key {
		return fmt.Errorf("control record %q speaks of node %q: it is damaged", key, n.ID)
	}
	all := map[string]Node{}
	for _, other := range c.nodes {
		all[other.ID] = other
	}
	if n == nil {
		delete(all, strings.TrimPrefix(key, nodePrefix))
	} else {
		all[n.ID] = *n
	}
	c.nodes = nil
	for _, id := range slices.Sorted(maps.Keys(all)) {
		c.nodes = append(c.nodes, all[id])
	}
	return nil
}
