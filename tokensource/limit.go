package tokensource

import (
	"context"
	"sync"

	"github.com/authinject/caddy-authinject/internal/host"
)

const (
	// requestsAtOnce limits how many refreshes of one source send requests to the same host (for
	// example one tenant's host) at the same time.
	requestsAtOnce = 16
	// storageCallsAtOnce limits how many calls of one source read or write its storage at the same
	// time.
	storageCallsAtOnce = 16
	// checksAtOnce limits how many of these calls look for logins in other processes. The other
	// calls are left to refreshes.
	checksAtOnce = 8
)

// limits bounds the concurrent refreshes for each host, so that a host that does not answer does
// not delay requests to other hosts. Accounts get turns in the order of their calls. Each account
// has at most one refresh at a time.
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
	limits *limits
	host   string
	limit  *limit // nil before the turn was taken
}

// take waits for a turn at host, unless t has one already. It returns false if a channel of stop is
// closed first.
func (t *turn) take(host string, stop ...<-chan struct{}) bool {
	if t.limit != nil && t.host == host {
		return true
	}
	t.end()
	limit := t.limits.join(host)
	if !acquire(limit.slots, stop...) {
		t.limits.leave(host, limit)
		return false
	}
	t.host, t.limit = host, limit
	return true
}

// end gives the turn to the account that has waited longest.
func (t *turn) end() {
	if t.limit != nil {
		<-t.limit.slots
		t.limits.leave(t.host, t.limit)
		t.limit = nil
	}
}

// acquire takes one of the slots, in the order of the calls. It returns false if a channel of stop
// is closed before a slot is free. stop has one or two channels.
func acquire(slots chan<- struct{}, stop ...<-chan struct{}) bool {
	select {
	case slots <- struct{}{}:
		return true
	default: // if a slot is free and stop is closed, one select would choose at random
	}
	select {
	case slots <- struct{}{}:
		return true
	case <-stop[0]:
		return false
	case <-stop[len(stop)-1]:
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

// awaitTurn waits until the account may send a request for rec. Its error says that the source was
// closed meanwhile, or that a person connects or disconnects the account. It does not wait if there
// is no request: if a person must connect the account first, or if the grant has no token URL.
func (a *account) awaitTurn(ctx context.Context, r *refresh, t *turn, rec *Record) *Error {
	if a.src.Interactive() && rec.RefreshToken.IsZero() {
		return nil
	}
	tokenURL, _ := a.src.wire.tokenURL(ctx, rec.Variables) // the grant's request returns the error
	if tokenURL == "" || t.take(host.Origin(tokenURL), a.src.closing, r.superseded) {
		return nil
	}
	e := errClosed()
	select {
	case <-a.src.closing:
	default:
		e = &Error{Class: ClassWait, Reason: "a person is connecting or disconnecting the account"}
	}
	e.untold = true
	return e
}
