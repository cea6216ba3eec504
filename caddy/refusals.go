package caddy

import (
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/authinject/caddy-authinject/authinject"
)

const (
	// refusalEvery is how often the same refusal is logged, because the client may repeat the
	// request.
	refusalEvery = time.Minute
	// maxRefusals limits how many refusals of one kind are logged in that time, because clients can
	// cause new ones.
	maxRefusals = 64
)

// refusals logs the requests that are refused because of their destination, origin, method or
// subject. Token
// failures are logged once, when they happen, and not for each request.
type refusals struct {
	logger *zap.Logger

	mu     sync.Mutex
	logged map[authinject.Outcome]map[string]time.Time
}

func (l *refusals) note(source string, r authinject.Result) {
	log := l.logger.Warn
	switch r.Outcome {
	case authinject.OutcomeDestination:
		log = l.logger.Error // the configuration names an upstream that its source does not allow
	case authinject.OutcomeOrigin, authinject.OutcomeMethod, authinject.OutcomeSubject:
	default:
		return
	}
	if l.isNews(r.Outcome, source+" "+r.Detail, time.Now()) {
		log("a request was refused", zap.String("source", source), zap.String("class", string(r.Class)),
			zap.String("outcome", string(r.Outcome)), zap.String("error", r.Detail), zap.Int("status", r.Status))
	}
}

// isNews reports whether that has not been logged for a while.
func (l *refusals) isNews(kind authinject.Outcome, what string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.logged == nil {
		l.logged = make(map[authinject.Outcome]map[string]time.Time)
	}
	logged := l.logged[kind]
	if logged == nil {
		logged = make(map[string]time.Time)
		l.logged[kind] = logged
	}
	maps.DeleteFunc(logged, func(_ string, at time.Time) bool { return now.Sub(at) >= refusalEvery })
	if _, known := logged[what]; known || len(logged) >= maxRefusals {
		return false
	}
	logged[what] = now
	return true
}

// watcher returns a function that counts the results of a source's requests and logs refusals.
func (a *App) watcher(source string) func(authinject.Result) {
	count := counter(source)
	return func(r authinject.Result) {
		count(r)
		a.refusals.note(source, r)
	}
}
