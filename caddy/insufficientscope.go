package caddy

import (
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/authinject/caddy-authinject/tokensource"
)

// maxLackedScopes limits the accounts that are remembered.
const maxLackedScopes = 64

// lackedScopes remembers, for each account, the last request that the upstream refused because the
// token lacks a scope. It logs each needed scope of an account once a minute.
type lackedScopes struct {
	logger *zap.Logger
	logged recently

	mu   sync.Mutex
	last map[sourceAccount]lackedScope
}

// sourceAccount names an account.
type sourceAccount struct{ source, account string }

// lackedScope is one refused request.
type lackedScope struct {
	at      time.Time
	failure *tokensource.Error
}

func newLackedScopes(logger *zap.Logger) *lackedScopes {
	return &lackedScopes{logger: logger, last: make(map[sourceAccount]lackedScope)}
}

// note remembers a refused request, and logs it if that is news.
func (l *lackedScopes) note(failure *tokensource.Error, needed string, now time.Time) {
	l.remember(failure, now)
	if l.logged.isNews(failure.Source, failure.Account+" "+needed, now) {
		l.logger.Warn("an upstream refused a request", append(accountFields(failure.Source, failure.Account),
			zap.String("error", failure.Error()), zap.String("class", string(failure.Class)),
			zap.String("needed", needed), zap.String("problem", failure.Problem()),
			zap.String("remedy", failure.Remedy()))...)
	}
}

// remember replaces what is known of the account. If there are too many accounts, it forgets the one
// that was refused the longest time ago.
func (l *lackedScopes) remember(failure *tokensource.Error, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := sourceAccount{failure.Source, failure.Account}
	if _, known := l.last[key]; !known && len(l.last) >= maxLackedScopes {
		delete(l.last, slices.MinFunc(slices.Collect(maps.Keys(l.last)),
			func(a, b sourceAccount) int { return l.last[a].at.Compare(l.last[b].at) }))
	}
	l.last[key] = lackedScope{now, failure}
}

// of returns the last refused request of an account. It returns nil if that was long ago.
func (l *lackedScopes) of(source, account string, now time.Time) []problemStatus {
	l.mu.Lock()
	last, known := l.last[sourceAccount{source, account}]
	l.mu.Unlock()
	if !known || now.Sub(last.at) >= showRefusal {
		return nil
	}
	e := last.failure
	return []problemStatus{{e.Problem(), e.Class, withRemedy(e.Error(), e.Remedy()), e.Remedy()}}
}

// problems returns the last refused requests of a source, in the order of its accounts' names.
func (l *lackedScopes) problems(source string, now time.Time) (list []problemStatus) {
	l.mu.Lock()
	var accounts []string
	for key := range l.last {
		if key.source == source {
			accounts = append(accounts, key.account)
		}
	}
	l.mu.Unlock()
	slices.Sort(accounts)
	for _, account := range accounts {
		list = append(list, l.of(source, account, now)...)
	}
	return list
}

// upstreamProblems returns the problems of a source's upstreams in the last hour.
func (a *App) upstreamProblems(source string, now time.Time) []problemStatus {
	return append(a.unreached[source].problems(now), a.lackedScopes.problems(source, now)...)
}
