package caddy

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/authinject/caddy-authinject/tokensource"
)

const (
	// showWanted is how long the state of a source shows an account that a request asked for.
	showWanted = time.Hour
	// maxWanted limits the accounts that are remembered for each source, because requests name
	// them.
	maxWanted = 64
)

// wanted remembers the accounts that requests asked for and that were never connected. Nothing else
// knows them: they have no record.
type wanted struct {
	logger *zap.Logger
	logged recently

	mu   sync.Mutex
	last map[string]map[string]time.Time // by source and account
}

// neverConnected returns err as its type, and reports whether it says that the account was never
// connected. If the storage cannot be read, for example, nothing is known of the account.
func neverConnected(err error) (*tokensource.Error, bool) {
	failure, ok := errors.AsType[*tokensource.Error](err)
	return failure, ok && (failure.Class == tokensource.ClassLogin || failure.LastLogin != nil)
}

// note remembers and logs the account if err says that it was never connected. login is the address
// of the page that connects it, or empty.
func (w *wanted) note(source, account string, err error, login string) {
	failure, ok := neverConnected(err)
	if !ok {
		return
	}
	now := time.Now()
	w.remember(source, account, now)
	if !w.logged.isNews(source, account, now) {
		return
	}
	fields := []zap.Field{
		zap.String("source", source), zap.String("account", account), zap.String("class", string(failure.Class)),
		zap.String("problem", failure.Problem()), zap.String("remedy", failure.Remedy()),
	}
	if login != "" && !failure.LoginWouldBeLost() {
		fields = append(fields, zap.String("login_url", login))
	}
	w.logger.Warn("a request needs an account that is not connected", fields...)
}

func (w *wanted) remember(source, account string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil {
		w.last = make(map[string]map[string]time.Time)
	}
	last := w.last[source]
	if last == nil {
		last = make(map[string]time.Time)
		w.last[source] = last
	}
	if _, known := last[account]; !known && len(last) >= maxWanted {
		for other := range last {
			delete(last, other)
			break
		}
	}
	last[account] = now
}

// of returns the accounts of a source that requests asked for lately, and when, in the order of
// their names. It forgets the accounts in connected.
func (w *wanted) of(source string, now time.Time, connected []string) (names []string, last map[string]time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.last[source], func(account string, at time.Time) bool {
		return now.Sub(at) >= showWanted || slices.Contains(connected, account)
	})
	last = maps.Clone(w.last[source])
	return slices.Sorted(maps.Keys(last)), last
}
