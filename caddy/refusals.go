package caddy

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/authinject/caddy-authinject/authinject"
)

// showRefusal is how long the state of a source shows that a request was refused because of its
// destination.
const showRefusal = time.Hour

// refusals logs the requests that are refused because of their destination, origin, method or
// subject. Token failures are logged once, when they happen, and not for each request.
type refusals struct {
	logger *zap.Logger
	logged recently

	mu           sync.Mutex
	destinations map[string]refusedDestination // by source: the last one
}

// refusedDestination is a request that was refused because its upstream is not a destination of its
// source.
type refusedDestination struct {
	at      time.Time
	text    string
	problem string // see [tokensource.Remedies]
}

func (l *refusals) note(source string, r authinject.Result) {
	log := l.logger.Warn
	switch r.Outcome {
	case authinject.OutcomeDestination:
		log = l.logger.Error // the configuration names an upstream that its source does not allow
		l.mu.Lock()
		if l.destinations == nil {
			l.destinations = make(map[string]refusedDestination)
		}
		l.destinations[source] = refusedDestination{time.Now(), r.Detail, r.Problem}
		l.mu.Unlock()
	case authinject.OutcomeOrigin, authinject.OutcomeMethod, authinject.OutcomeSubject:
	default:
		return
	}
	if l.logged.isNews(string(r.Outcome), source+" "+r.Detail, time.Now()) {
		log("a request was refused", zap.String("source", source), zap.String("class", string(r.Class)),
			zap.String("outcome", string(r.Outcome)), zap.String("error", r.Detail), zap.Int("status", r.Status))
	}
}

// destinationOf returns the last request of a source that was refused because of its destination,
// unless that was long ago.
func (l *refusals) destinationOf(source string, now time.Time) (refusedDestination, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found, ok := l.destinations[source]
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
