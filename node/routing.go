package node

import (
	"context"
	"sync"
	"time"

	"github.com/freshet-io/freshet/broker/kafka"
	"github.com/freshet-io/freshet/source"
	"github.com/freshet-io/freshet/source/keyed"
)

// routing is what forwards foreign producers' records to events.keyed, a router per partition that is owned here.
type routing struct {
	options keyed.RouterOptions

	mu      sync.Mutex // guards what follows
	routers map[*keyed.Router]struct{}
	past    [routed]int64 // what routers before have counted
}

// What routers count.
const (
	routeForwarded = iota
	routeDropped
	routeRefused
	routeLost
	routed
)

func counted(s *keyed.RouterStats) [routed]int64 {
	return [routed]int64{s.Forwarded.Load(), s.Dropped.Load(), s.Refused.Load(), s.Lost.Load()}
}

// newIntake is the way of the events that this process accepts itself.
func (c *Cluster) newIntake() *source.Intake {
	partitions := c.client.Options().Partitions
	o := c.intakeOptions()
	o.Log, o.Decided = keyed.NewLog(c.tracker.Log(), partitions, c.commands), func() int64 { return -1 }
	if o.Mapped {
		o.Split = keyed.Split(c.sequencer.Mapper, partitions, c.now)
	}
	return source.NewIntake(o)
}

// routerOf is the router of the partition of events.raw with the number of one that is owned here. Where records are in schemas of a
// registry, which may know tomorrow what it does not today, the owner notes what was forwarded.
func routerOf(o keyed.RouterOptions, owned *kafka.Partition) *keyed.Router {
	if o.Registry {
		o.Owner = owned
	}
	return keyed.NewRouter(o, owned.Number())
}

// route forwards until ctx ends, or the ownership does.
func (r *routing) route(ctx context.Context, owned *kafka.Partition) error {
	router := routerOf(r.options, owned)
	r.mu.Lock()
	r.routers[router] = struct{}{}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.routers, router)
		for i, n := range counted(&router.RouterStats) {
			r.past[i] += n
		}
	}()
	return router.Run(ctx)
}

// total is what routers have counted since the start.
func (r *routing) total(what int) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := r.past[what]
	for router := range r.routers {
		sum += counted(&router.RouterStats)[what]
	}
	return float64(sum)
}

// lag is how many records are not forwarded yet, and how old the oldest is.
func (r *routing) lag() (records int64, age time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for router := range r.routers {
		n, old := router.Lag(time.Now())
		records, age = records+n, max(age, old)
	}
	return records, age
}

// registerRouting adds the metrics of the routers.
func (c *Cluster) registerRouting() {
	for what, m := range map[int][2]string{
		routeForwarded: {"freshet_router_forwarded_total", "Records that were forwarded from events.raw to events.keyed since start."},
		routeDropped:   {"freshet_router_dropped_total", "Records of events.raw that the mapping gives nothing for, since start."},
		routeRefused:   {"freshet_router_refused_total", "Records of events.raw that can't be mapped, since start: they become dead letters."},
		routeLost:      {"freshet_router_lost_total", "Records that events.raw no longer had when they were to be read, since start."},
	} {
		c.counter(m[0], m[1], nil, func() float64 { return c.routing.total(what) })
	}
	c.gauge("freshet_router_lag_records", "Records of events.raw that are not forwarded, of the partitions owned here.", func() float64 {
		n, _ := c.routing.lag()
		return float64(n)
	})
	c.gauge("freshet_router_lag_seconds", "Age of the oldest of them.", func() float64 {
		_, age := c.routing.lag()
		return age.Seconds()
	})
}
