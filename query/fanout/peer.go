package fanout

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshet-io/freshet/control"
)

// How it is found out whether a process is there.
const (
	probeTimeout  = 500 * time.Millisecond
	minProbePause = 250 * time.Millisecond // between probes of one that was not
	maxProbePause = 2 * time.Second
)

// peer is a process that can be asked, and what is known of it.
type peer struct {
	Peer
	node  control.Node
	held  set
	local bool // this process itself

	busy atomic.Int64 // requests under way
	gone context.Context

	mu      sync.Mutex // guards what follows
	down    bool
	downed  chan struct{} // closed while down
	probing bool
}

// newPeer returns a peer that is thought to be there. gone ends when nobody asks it any more.
func newPeer(gone context.Context, p Peer, node control.Node, held set) *peer {
	return &peer{Peer: p, node: node, held: held, gone: gone, downed: make(chan struct{})}
}

func (p *peer) isDown() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.down
}

// silence is closed when the peer is found to be down.
func (p *peer) silence() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.downed
}

// doubt has the peer asked in the background whether it is there. Until it has said so it is down; it is so at once if it is certain to be.
func (p *peer) doubt(certain bool) {
	if p.local {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if certain {
		p.fell()
	}
	if !p.probing {
		p.probing = true
		go p.probe()
	}
}

// fell notes that the peer is down. The caller holds mu.
func (p *peer) fell() {
	if !p.down {
		p.down = true
		close(p.downed)
	}
}

// probe asks until the peer is there, or nobody wants to know any more.
func (p *peer) probe() {
	for pause := minProbePause; ; pause = min(2*pause, maxProbePause) {
		ctx, cancel := context.WithTimeout(p.gone, probeTimeout)
		err := p.Ready(ctx)
		cancel()
		p.mu.Lock()
		if err == nil || p.gone.Err() != nil {
			if p.down {
				p.down, p.downed = false, make(chan struct{})
			}
			p.probing = false
			p.mu.Unlock()
			return
		}
		p.fell()
		p.mu.Unlock()
		select {
		case <-time.After(pause):
		case <-p.gone.Done():
		}
	}
}
