package node

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/query"
	"github.com/freshet-io/freshet/query/fanout"
	store "github.com/freshet-io/freshet/store/embedded"
	"github.com/freshet-io/freshet/wire"
)

// leaveTimeout bounds how long a process that stops waits until it has said so.
const leaveTimeout = 3 * time.Second

// setRoles finds out what the process does: which partitions its indexes hold, which its copy follows, and where others reach it.
func (c *Cluster) setRoles() (err error) {
	cfg := c.opts.Config
	if c.followed, err = cfg.Query.Partitions.Of(cfg.Partitions); err != nil {
		return fmt.Errorf("query.partitions: %w", err)
	}
	whole := len(c.followed) == cfg.Partitions
	if cfg.Has(config.RoleQuery) {
		c.held = c.followed
	} else {
		c.followed = nil
	}
	if cfg.Has(config.RoleProcess) && cfg.Process.Copies != config.CopiesOwned { // of any partition, as soon as it is its turn
		c.followed = fullRange(cfg.Partitions)
	}
	c.address = strings.TrimSuffix(cfg.Advertise, "/")
	if host, _, err := net.SplitHostPort(c.opts.Address); c.address == "" && err == nil && host != "" && !net.ParseIP(host).IsUnspecified() {
		c.address = "http://" + c.opts.Address
	}
	alone := whole && cfg.Complete()
	if cfg.Has(config.RoleQuery) && !alone && c.address == "" {
		return fmt.Errorf("advertise: is missing; the process listens at %q, and others must know by which address they reach what it holds: name one like http://10.0.0.5:8080", c.opts.Address)
	}
	return nil
}

// follows reports whether the copy is of a partition whoever owns it.
func (c *Cluster) follows(partition int32) bool { return slices.Contains(c.followed, partition) }

// whole reports whether the indexes hold all partitions: then every search is answered here.
func (c *Cluster) whole() bool { return len(c.held) == c.opts.Config.Partitions }

// part is what the store is to hold; nil means all.
func (c *Cluster) part() *store.Part {
	if c.whole() {
		return nil
	}
	return &store.Part{Partitions: c.opts.Config.Partitions, Held: c.held}
}

// nodeID names this process to others: by its data folder.
func (c *Cluster) nodeID() string { return wire.LogIDString(c.state.ID()) }

// announce tells the others where this process is and what it holds.
func (c *Cluster) announce() error {
	cfg := c.opts.Config
	n := control.Node{ID: c.nodeID(), Address: c.address, Partitions: wire.PartitionsString(c.held), Copied: wire.PartitionsString(c.followed), StartedAt: c.started.UnixMilli()}
	for _, role := range config.Roles {
		if cfg.Has(role) {
			n.Roles = append(n.Roles, role)
		}
	}
	c.opts.Logger.Info("this process takes part", "node", n.ID, "roles", n.Roles, "partitions", n.Partitions, "address", n.Address)
	return c.catalog.Announce(n)
}

// leave tells the others that this process stops, if that is done soon: else they find out.
func (c *Cluster) leave() {
	done := make(chan error, 1)
	go func() { done <- c.catalog.Leave(c.nodeID()) }()
	select {
	case err := <-done:
		if err != nil {
			c.opts.Logger.Warn("others were not told that this process stops; they find out", "error", err)
		}
	case <-time.After(leaveTimeout):
	}
}

// openPart makes what answers others for the partitions held here, and what asks them for the rest.
func (c *Cluster) openPart() *gateway.Part {
	p := &query.Part{Planner: c.planner, Partitions: c.opts.Config.Partitions, Held: c.held, CaughtUp: c.ready.Load, Sizes: c.sizes}
	o := fanout.Options{Partitions: p.Partitions, Self: c.nodeID(), Nodes: c.catalog.Nodes}
	var part *gateway.Part
	if len(c.held) > 0 {
		part, o.Local, o.Held = &gateway.Part{Node: o.Self, Peer: p}, p, c.held
	}
	if c.whole() {
		return part
	}
	seconds := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "freshet_fanout_seconds",
		Help: "Time of requests that asked other processes.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16)})
	c.metrics.MustRegister(seconds)
	o.Observe = func(took time.Duration) { seconds.Observe(took.Seconds()) }
	c.fanout = fanout.New(o)
	c.planner.Others = c.fanout
	c.registerFanout()
	return part
}

func (c *Cluster) registerFanout() {
	s := &c.fanout.Stats
	c.counter("freshet_fanout_hedged_total", "Shares of requests for which another copy was asked too, as the first was silent, since start.", nil,
		func() float64 { return float64(s.Hedged.Load()) })
	c.counter("freshet_fanout_failed_total", "Requests that failed because nobody answered for some partitions, since start.", nil,
		func() float64 { return float64(s.Failed.Load()) })
	c.counter("freshet_fanout_incomplete_total", "Requests that were answered without some partitions, as they allowed, since start.", nil,
		func() float64 { return float64(s.Incomplete.Load()) })
	c.gauge("freshet_peers", "Other processes that hold indexes and have told where they are.", func() float64 {
		all, _ := c.fanout.Peers()
		return float64(all)
	})
	c.gauge("freshet_peers_up", "Of those, the ones that are there, as far as is known.", func() float64 {
		_, up := c.fanout.Peers()
		return float64(up)
	})
}

// sizes are how many entities and points the namespaces have here, of entities that in accepts; nil accepts all.
func (c *Cluster) sizes(ctx context.Context, in func(freshet.Key) bool) (out []fanout.Size, err error) {
	all := c.store.Sizes()
	if in != nil {
		if all, err = c.store.SizesOf(ctx, in); err != nil {
			return nil, err
		}
	}
	for _, s := range all {
		out = append(out, fanout.Size{Collection: s.Shard.Collection, Namespace: s.Shard.Namespace, Entities: s.Entities, Points: s.Points})
	}
	return out, nil
}

// refusals say what this process does not do, and who does.
func (c *Cluster) refusals() (r gateway.Refusals) {
	cfg := c.opts.Config
	without := func(role string) func() error {
		if cfg.Has(role) {
			return nil
		}
		return func() error {
			return c.misdirected(fmt.Sprintf("this process does not have the role %s", role), func(n control.Node) bool { return slices.Contains(n.Roles, role) })
		}
	}
	r = gateway.Refusals{Events: without(config.RoleSource), Decide: without(config.RoleProcess), Indexes: without(config.RoleQuery)}
	if len(c.followed) < cfg.Partitions {
		everything := wire.PartitionsString(fullRange(cfg.Partitions))
		r.Whole = func() error {
			return c.misdirected("this process does not have a copy of all partitions", func(n control.Node) bool {
				return n.Copied == everything
			})
		}
	}
	return r
}

// fullRange are all partitions.
func fullRange(partitions int) []int32 {
	list := make([]int32, partitions)
	for p := range list {
		list[p] = int32(p)
	}
	return list
}

// maxNamed is how many other processes an error names.
const maxNamed = 5

// misdirected is the error of what others do, of whom it names some.
func (c *Cluster) misdirected(what string, does func(control.Node) bool) error {
	var named []string
	for _, n := range c.catalog.Nodes() {
		if does(n) && n.Address != "" && len(named) < maxNamed {
			named = append(named, n.Address)
		}
	}
	remedy := "ask " + strings.Join(named, " or ")
	if named == nil {
		remedy = "and no process that does has told where it is: start one, or set its key advertise"
	}
	return &freshet.Error{Code: freshet.CodeMisdirected, Message: what + "; " + remedy}
}
