package caddy

import (
	"maps"
	"sync"
	"time"
)

const (
	// newsEvery is the shortest time between two log entries about the same thing.
	newsEvery = time.Minute
	// maxNews limits how many things of one kind are logged in that time. Without a limit, clients
	// could fill the log by causing new things.
	maxNews = 64
)

// recently remembers what was logged in the last minute. The zero value is ready to use.
type recently struct {
	mu     sync.Mutex
	logged map[string]map[string]time.Time // by kind and thing
}

// isNews reports whether to log what. It returns false if what was logged in the last minute, or if
// maxNews other things of its kind were.
func (r *recently) isNews(kind, what string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.logged == nil {
		r.logged = make(map[string]map[string]time.Time)
	}
	logged := r.logged[kind]
	if logged == nil {
		logged = make(map[string]time.Time)
		r.logged[kind] = logged
	}
	maps.DeleteFunc(logged, func(_ string, at time.Time) bool { return now.Sub(at) >= newsEvery })
	if _, known := logged[what]; known || len(logged) >= maxNews {
		return false
	}
	logged[what] = now
	return true
}

// forget makes isNews return true for what again. It reports whether what had been logged in the
// last minute.
func (r *recently) forget(kind, what string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known := r.logged[kind][what]
	delete(r.logged[kind], what)
	return known
}
