package tokensource

import (
	"context"
	"sync"

	"github.com/authinject/caddy-authinject/internal/host"
)

const (
	// requestsAtOnce limits how many refreshes of one source send requests to the same host (for example
	// one tenant's host) at the same time.
	requestsAtOnce = 16
	// storageCallsAtOnce limits how many calls of one source read or write its storage at the same time.
	storageCallsAtOnce = 16
)

// limits bounds the concurrent refreshes for each host. So a host that does not answer does not delay
// the others. Accounts get turns in the order of their calls. Each has at most one refresh at a time.
type limits struct {
	mu    sync.Mutex
	hosts map[string]*limit // only hosts with refreshes that have a turn or wait for one
}

type limit struct {
	slots chan struct{}
	users int // guarded by limits.mu
}

// turn is the right of one refresh to send requests to a host.
type turn struct {
	of   *limits
	host string
	at   *limit // nil before the turn was taken
}

// take waits for a turn at host, unless t has one already. It returns false if the source is closed first.
func (t *turn) take(host string, closing <-chan struct{}) bool {
	if t.at != nil && t.host == host {
		return true
	}
	t.end()
	at := t.of.join(host)
	if !acquire(at.slots, closing) {
		t.of.leave(host, at)
		return false
	}
	t.host, t.at = host, at
	return true
}

// end gives the turn to the account that has waited longest.
func (t *turn) end() {
	if t.at != nil {
		<-t.at.slots
		t.of.leave(t.host, t.at)
		t.at = nil
	}
}

// acquire takes one of the slots, in the order of the calls. It returns false if stop is closed before a slot
// is free.
func acquire(slots chan<- struct{}, stop <-chan struct{}) bool {
	select {
	case slots <- struct{}{}:
		return true
	default: // if a slot is free and stop is closed, one select would choose at random
	}
	select {
	case slots <- struct{}{}:
		return true
	case <-stop:
		return false
	}
}

func (l *limits) join(host string) *limit {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.hosts[host]
	if at == nil {
		if l.hosts == nil {
			l.hosts = make(map[string]*limit)
		}
		at = &limit{slots: make(chan struct{}, requestsAtOnce)}
		l.hosts[host] = at
	}
	at.users++
	return at
}

func (l *limits) leave(host string, at *limit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at.users--; at.users == 0 {
		delete(l.hosts, host)
	}
}

// awaitTurn waits until the account may send a request for rec. It returns false if the source was closed
// meanwhile. It does not wait if a person must connect the account first: then there is no request.
func (a *account) awaitTurn(ctx context.Context, t *turn, rec *Record) bool {
	if a.src.interactive && rec.RefreshToken.IsZero() {
		return true
	}
	tokenURL, _ := a.src.wire.tokenURL(ctx, rec.Variables) // the grant's request returns the error
	return t.take(host.Origin(tokenURL), a.src.closing)
}
