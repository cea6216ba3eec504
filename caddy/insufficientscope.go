package caddy

import (
	"iter"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/authinject/caddy-authinject/tokensource"
)

// lackedScopes remembers, for each source, the last request that the upstream refused because the
// token lacks a scope. It logs each needed scope once a minute.
type lackedScopes struct {
	logger *zap.Logger
	logged recently
	// last has an entry for each source of the configuration, and does not change.
	last map[string]*atomic.Pointer[lackedScope]
}

// lackedScope is one refused request.
type lackedScope struct {
	at      time.Time
	failure *tokensource.Error
}

func newLackedScopes(logger *zap.Logger, sources iter.Seq[string]) *lackedScopes {
	l := &lackedScopes{logger: logger, last: make(map[string]*atomic.Pointer[lackedScope])}
	for source := range sources {
		l.last[source] = new(atomic.Pointer[lackedScope])
	}
	return l
}

// note remembers a refused request, and logs it if that is news.
func (l *lackedScopes) note(failure *tokensource.Error, needed string, now time.Time) {
	l.last[failure.Source].Store(&lackedScope{now, failure})
	if l.logged.isNews(failure.Source, needed, now) {
		l.logger.Warn("an upstream refused a request", zap.String("source", failure.Source),
			zap.String("error", failure.Error()), zap.String("class", string(failure.Class)),
			zap.String("needed", needed), zap.String("problem", failure.Problem()),
			zap.String("remedy", failure.Remedy()))
	}
}

// of returns the last refused request of a source, if its token was of that account. It returns nil if
// that was long ago.
func (l *lackedScopes) of(source, account string, now time.Time) []problemStatus {
	if last := l.last[source].Load(); last == nil || last.failure.Account != account {
		return nil
	}
	return l.problems(source, now)
}

// problems returns the last refused request of a source, unless that was long ago.
func (l *lackedScopes) problems(source string, now time.Time) []problemStatus {
	last := l.last[source].Load()
	if last == nil || now.Sub(last.at) >= showRefusal {
		return nil
	}
	e := last.failure
	return []problemStatus{{e.Problem(), e.Class, withRemedy(e.Error(), e.Remedy()), e.Remedy()}}
}

// upstreamProblems returns the problems of a source's upstreams in the last hour.
func (a *App) upstreamProblems(source string, now time.Time) []problemStatus {
	return append(a.unreached[source].problems(now), a.lackedScopes.problems(source, now)...)
}
