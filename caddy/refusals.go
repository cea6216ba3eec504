package caddy

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/tokensource"
)

// showRefusal is how long the state of a source shows a [refusedRequest].
const showRefusal = time.Hour

// problemNoAccount is the problem of a request that names no account, see [tokensource.Remedies].
const problemNoAccount = "no_account"

// refusals logs the requests that are refused because of their destination, origin, method or
// subject, or because they name no account. Token failures are logged once, when they happen, and not for each request.
type refusals struct {
	logger *zap.Logger
	logged recently

	mu   sync.Mutex
	last map[string]refusedRequest // by source
}

// refusedRequest is the last request of a source that an operator has to do something about: its
// upstream is not a destination of the source, or the upstream refused the DPoP proof.
type refusedRequest struct {
	at      time.Time
	text    string
	problem string // see [tokensource.Remedies]
}

func (l *refusals) note(source string, r authinject.Result) {
	log := l.logger.Warn
	switch {
	case r.Outcome == authinject.OutcomeDestination, r.Outcome == authinject.OutcomeRefused && r.Class == tokensource.ClassOperator:
		log = l.logger.Error // the configuration, or this machine's clock, has to be corrected
		l.mu.Lock()
		if l.last == nil {
			l.last = make(map[string]refusedRequest)
		}
		l.last[source] = refusedRequest{time.Now(), r.Detail, r.Problem}
		l.mu.Unlock()
	case r.Problem == problemNoAccount: // no token request failed, so nothing else logs it
	case r.Outcome == authinject.OutcomeOrigin, r.Outcome == authinject.OutcomeMethod, r.Outcome == authinject.OutcomeSubject:
	default:
		return
	}
	if l.logged.isNews(string(r.Outcome), source+" "+r.Detail, time.Now()) {
		fields := []zap.Field{zap.String("source", source), zap.String("class", string(r.Class)),
			zap.String("outcome", string(r.Outcome)), zap.String("error", r.Detail), zap.Int("status", r.Status)}
		if r.Problem == problemNoAccount {
			fields = append(fields, zap.String("problem", r.Problem), zap.String("remedy", r.Remedy))
		}
		log("a request was refused", fields...)
	}
}

// lastOf returns the last such request of a source, unless that was long ago.
func (l *refusals) lastOf(source string, now time.Time) (refusedRequest, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found, ok := l.last[source]
	return found, ok && now.Sub(found.at) < showRefusal
}

// watcher returns a function that counts the results of a source's requests and logs refusals.
func (a *App) watcher(source string) func(authinject.Result) {
	count := counter(source)
	return func(r authinject.Result) {
		count(r)
		a.refusals.note(source, r)
	}
}
