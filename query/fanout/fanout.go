package fanout

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/wire"
)

// HedgeAfter is how long a process may be silent before another one that holds its partitions is asked too.
const HedgeAfter = 200 * time.Millisecond

// maxAtOnce is how many requests may ask others at the same time; more wait for their turn.
const maxAtOnce = 256

// Options are the settings of a Fanout.
type Options struct {
	Partitions int    // of the log
	Self       string // the id of this process
	// Local answers for what this process holds itself, Held; both may be nil.
	Local Peer
	Held  []int32
	// Nodes are the processes of the log, this one included or not.
	Nodes func() []control.Node
	// Dial returns the peer that a node is; default over HTTP.
	Dial func(control.Node) Peer
	// Observe is told how long each request took that asked others; may be nil.
	Observe func(time.Duration)
}

// Stats are running totals.
type Stats struct {
	Requests, Hedged, Failed, Incomplete atomic.Int64
}

// Fanout asks the processes of a log. It is safe for concurrent use.
type Fanout struct {
	opts  Options
	slots chan struct{}
	life  context.Context // of what asks in the background
	stop  context.CancelFunc
	local *peer // nil: this process holds nothing
	Stats Stats

	mu    sync.Mutex     // guards what follows
	nodes []control.Node // that peers were made of
	peers []*peer        // replaced as a whole
	leave map[*peer]context.CancelFunc
}

// New returns a Fanout.
func New(o Options) *Fanout {
	f := &Fanout{opts: o, slots: make(chan struct{}, maxAtOnce), leave: map[*peer]context.CancelFunc{}}
	f.life, f.stop = context.WithCancel(context.Background())
	if f.opts.Dial == nil {
		client := newClient()
		f.opts.Dial = func(n control.Node) Peer { return &remote{client, n} }
	}
	if o.Local != nil {
		f.local = newPeer(f.life, o.Local, control.Node{ID: o.Self}, newSet(o.Partitions, o.Held))
		f.local.local = true
	}
	return f
}

// Close ends what is asked in the background.
func (f *Fanout) Close() { f.stop() }

// known are the peers there are at present: what is known of one stays as long as its record does.
func (f *Fanout) known() []*peer {
	nodes := f.opts.Nodes()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.peers != nil && slices.EqualFunc(nodes, f.nodes, same) {
		return f.peers
	}
	peers := []*peer{}
	if f.local != nil {
		peers = append(peers, f.local)
	}
	kept := map[*peer]context.CancelFunc{}
	for _, n := range nodes {
		held, err := wire.ParsePartitions(n.Partitions, f.opts.Partitions)
		if n.ID == f.opts.Self || n.Address == "" || n.Partitions == "" || err != nil {
			continue // it can't be asked
		}
		var p *peer
		var leave context.CancelFunc
		if i := slices.IndexFunc(f.peers, func(p *peer) bool { return !p.local && same(p.node, n) }); i >= 0 {
			p, leave = f.peers[i], f.leave[f.peers[i]]
		} else {
			var gone context.Context
			gone, leave = context.WithCancel(f.life)
			p = newPeer(gone, f.opts.Dial(n), n, newSet(f.opts.Partitions, held))
		}
		peers, kept[p] = append(peers, p), leave
	}
	for p, leave := range f.leave {
		if kept[p] == nil {
			leave()
		}
	}
	f.nodes, f.peers, f.leave = nodes, peers, kept
	return peers
}

// same reports whether two records are of the same start of a process.
func same(a, b control.Node) bool {
	return a.ID == b.ID && a.Address == b.Address && a.Partitions == b.Partitions && a.StartedAt == b.StartedAt
}

// Peers is how many other processes can be asked, and how many of them are there as far as is known.
func (f *Fanout) Peers() (all, up int) {
	for _, p := range f.known() {
		if !p.local {
			all++
			if !p.isDown() {
				up++
			}
		}
	}
	return all, up
}

// begin takes a turn; end gives it back.
func (f *Fanout) begin(ctx context.Context) (end func(), err error) {
	select {
	case f.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, &freshet.Error{Code: freshet.CodeUnavailable, Message: fmt.Sprintf("%d requests ask other processes already; try again", maxAtOnce)}
	}
	started := time.Now()
	f.Stats.Requests.Add(1)
	return func() {
		<-f.slots
		if f.opts.Observe != nil {
			f.opts.Observe(time.Since(started))
		}
	}, nil
}

// Search asks for the best q.K entities of all partitions. Where the answer may be partial it is without those that are missing, because nobody
// answers for them. Node, Partitions and TimeoutMs of q are filled in.
func (f *Fanout) Search(ctx context.Context, q Search, partial bool) (a *Answer, missing []int32, err error) {
	return f.search(ctx, q, f.all(), partial)
}

// Await has partitions wait until what a token names in them is decided, and returns their warnings.
func (f *Fanout) Await(ctx context.Context, partitions []int32, after string) ([]string, error) {
	a, _, err := f.search(ctx, Search{After: after}, partitions, false)
	if err != nil {
		return nil, err
	}
	return a.Warnings, nil
}

// PartitionOf is the partition of an entity.
func (f *Fanout) PartitionOf(key freshet.Key) int32 { return wire.Partition(key, f.opts.Partitions) }

// all are the partitions of the log.
func (f *Fanout) all() []int32 {
	list := make([]int32, f.opts.Partitions)
	for i := range list {
		list[i] = int32(i)
	}
	return list
}

func (f *Fanout) search(ctx context.Context, q Search, partitions []int32, partial bool) (a *Answer, missing []int32, err error) {
	parts, missing, err := gather(ctx, f, partitions, partial, func(ctx context.Context, p *peer, of string) (*Answer, error) {
		q := q
		q.Node, q.Partitions, q.TimeoutMs = p.node.ID, of, timeLeft(ctx)
		return p.Search(ctx, &q)
	})
	if err != nil {
		return nil, nil, err
	}
	a = &Answer{}
	var applied freshet.Token
	for _, part := range parts {
		a.Hits, a.Warnings = append(a.Hits, part.Hits...), append(a.Warnings, part.Warnings...)
		token, err := wire.ParseToken(part.Applied)
		if err == nil {
			applied, err = wire.MergeTokens(applied, token)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("the answer of another process: %w", err)
		}
	}
	slices.SortFunc(a.Hits, better)
	a.Hits, a.Applied = a.Hits[:min(len(a.Hits), q.K)], wire.TokenString(applied)
	return a, missing, nil
}

// better sorts hits, best first. Equal ones come in the order of their ids, whoever answered.
func better(a, b Hit) int {
	return cmp.Or(cmp.Compare(b.Score, a.Score), strings.Compare(a.EntityID, b.EntityID))
}

// Entity asks for an entity. Node and TimeoutMs of q are filled in.
func (f *Fanout) Entity(ctx context.Context, q Lookup) (*Entity, error) {
	parts, _, err := gather(ctx, f, []int32{f.PartitionOf(q.Key())}, false, func(ctx context.Context, p *peer, _ string) (*Entity, error) {
		q := q
		q.Node, q.TimeoutMs = p.node.ID, timeLeft(ctx)
		return p.Entity(ctx, &q)
	})
	if err != nil {
		return nil, err
	}
	return parts[0], nil
}

// Counts asks for the sizes of all namespaces.
func (f *Fanout) Counts(ctx context.Context) ([]Size, error) {
	parts, _, err := gather(ctx, f, f.all(), false, func(ctx context.Context, p *peer, of string) (*Counts, error) {
		return p.Counts(ctx, &Count{Node: p.node.ID, Partitions: of, TimeoutMs: timeLeft(ctx)})
	})
	if err != nil {
		return nil, err
	}
	sum := map[freshet.Shard]*Size{}
	for _, part := range parts {
		for _, n := range part.Namespaces {
			name := freshet.Shard{Collection: n.Collection, Namespace: n.Namespace}
			if sum[name] == nil {
				sum[name] = &Size{Collection: n.Collection, Namespace: n.Namespace}
			}
			sum[name].Entities += n.Entities
			sum[name].Points += n.Points
		}
	}
	out := make([]Size, 0, len(sum))
	for _, s := range sum {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b Size) int {
		return cmp.Or(strings.Compare(a.Collection, b.Collection), strings.Compare(a.Namespace, b.Namespace))
	})
	return out, nil
}

// timeLeft is what a peer may take, ms: a little less than there is, so that what it says at the end still arrives.
func timeLeft(ctx context.Context) int64 {
	end, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	left := time.Until(end)
	return max(1, (left - min(left/10, 50*time.Millisecond)).Milliseconds())
}
