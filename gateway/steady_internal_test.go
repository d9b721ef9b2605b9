package gateway

import (
	"testing"
	"time"
)

// SetPeerStall has streams give up earlier until the test ends.
func SetPeerStall(t *testing.T, d time.Duration) {
	before := peerStall
	peerStall = d
	t.Cleanup(func() { peerStall = before })
}
