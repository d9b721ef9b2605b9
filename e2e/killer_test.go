package e2e_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// stream is how far one producer has come.
type stream struct {
	last  event  // the last event that was acknowledged
	token string // with this
}

// allow lets requests begin until so many events are acknowledged.
func (k *killer) allow(limit int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.limit = max(k.limit, limit)
	k.changed.Broadcast()
}

// reach blocks until so many events are acknowledged; false when that takes too long.
func (k *killer) reach(moment int) bool {
	late := time.AfterFunc(deadline, k.changed.Broadcast)
	defer late.Stop()
	k.mu.Lock()
	defer k.mu.Unlock()
	for end := time.Now().Add(deadline); k.acked < moment; k.changed.Wait() {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// produce sends one part of the events, in small requests.
func (k *killer) produce(ctx context.Context, s *stream, part []event, random *rand.Rand) {
	// Connections are not kept: one to a killed server would only fail once more.
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	p := &producer{url: k.server.url, http: client, random: random, most: 12, wait: 2 * time.Millisecond, waiting: &k.waiting}
	p.pace = func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		for k.acked >= k.limit && ctx.Err() == nil {
			k.changed.Wait()
		}
	}
	p.acked = func(batch []event, token string) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.acked += len(batch)
		s.last, s.token = batch[len(batch)-1], token
		k.changed.Broadcast()
	}
	p.failed = func(err error) {
		if errors.Is(err, syscall.ECONNREFUSED) {
			return // sent to no one
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.broken++
		k.changed.Broadcast()
	}
	if err := p.send(ctx, part); err != nil {
		k.t.Errorf("producer: %v", err)
	}
}

// allowUntilWaiting lets more requests begin until one is in flight.
func (k *killer) allowUntilWaiting() {
	for end := time.Now().Add(deadline); k.waiting.Load() == 0; time.Sleep(100 * time.Microsecond) {
		k.mu.Lock()
		acked := k.acked
		k.mu.Unlock()
		k.allow(acked + 1)
		if time.Now().After(end) {
			k.t.Fatalf("no request was in flight within %v", deadline)
		}
	}
}

// brokenOff returns how many requests reached a server and ended without an answer so far.
func (k *killer) brokenOff() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.broken
}

// brokeOff reports whether a request that was in flight at a kill ended without an answer.
func (k *killer) brokeOff(before int) bool {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if k.brokenOff() > before {
			return true
		}
	}
	return false
}

// askForSnapshots asks for one snapshot after the other. stop reports whether the last one
// broke off before its answer.
func (k *killer) askForSnapshots() (stop func() bool) {
	ctx, cancel := context.WithCancel(context.Background())
	broken := make(chan bool, 1)
	asking := make(chan struct{})
	go func() {
		for first := true; ; first = false {
			req, err := http.NewRequestWithContext(ctx, "POST", k.server.url()+"/v1/admin/snapshot", nil)
			if err != nil {
				broken <- false
				return
			}
			if first {
				close(asking)
			}
			res, err := k.api.http.Do(req)
			if err != nil {
				broken <- !errors.Is(err, context.Canceled) && !strings.Contains(err.Error(), "refused")
				return
			}
			res.Body.Close()
		}
	}()
	<-asking
	return func() bool {
		defer cancel()
		return <-broken
	}
}

// leftUnfinished reports whether the server was writing a snapshot when it was killed.
func (k *killer) leftUnfinished() bool {
	left, err := filepath.Glob(filepath.Join(k.server.data, "index", "*.tmp"))
	if err != nil {
		k.t.Fatal(err)
	}
	return slices.ContainsFunc(left, func(path string) bool {
		info, err := os.Stat(path)
		return err == nil && info.ModTime().After(k.started)
	})
}
