package tokensource

import (
	"math/rand/v2"
	"time"
)

// Every pause there is. Pauses after a failed token request depend on who has to act: the first failure waits
// first, each further one twice as long, up to the limit, all with jitter.
//
//	class      first   limit   reason
//	wait       1 s     30 s    back within half a minute of the provider's return,
//	                           and seven requests at most in the first minute
//	wait, 4xx  30 s    2 min   an answer that no standard defines, often a firewall's: ask seldom
//	operator   5 s     1 min   mended by hand; providers lock out clients that insist
//	login      2 s     2 s     only the storage is read again, for a new login; no request
const (
	waitFirst, waitLimit         = time.Second, 30 * time.Second
	refusedFirst, refusedLimit   = 30 * time.Second, 2 * time.Minute
	operatorFirst, operatorLimit = 5 * time.Second, time.Minute
	loginRecheck                 = 2 * time.Second

	// retryAfterMin and retryAfterMax bound what a Retry-After field is believed.
	retryAfterMin, retryAfterMax = time.Second, time.Hour
)

// Pauses while the answer to a refresh is lost.
const (
	// quickRetry is the pause before a refresh whose answer was lost is sent once more. Providers that rotate
	// refresh tokens often take the same one again for a few seconds.
	quickRetry = time.Second
	// For lostHurry no pause is longer than lostPause: the provider may have replaced the refresh token, and takes the
	// old one again for a while (connect2id 5 s, Cognito 60 s).
	lostHurry, lostPause = time.Minute, 10 * time.Second
	// rereadLogin is the time between two looks at the storage before a refused refresh token counts as dead.
	rereadLogin = time.Second
)

// Pauses that keep processes on one storage apart.
const (
	// watchEvery is how often a process looks at a mark that is not its own, or that has to stay.
	watchEvery = time.Second
	// markSettles is longer than a process takes from a read of the record to the mark that follows it.
	markSettles = 500 * time.Millisecond
	// takeOverSettles is longer than a process takes to try again to store what it could not store.
	takeOverSettles = 1500 * time.Millisecond
	// afterTrouble is how long a mark must stay after a failure of the storage, while the storage takes writes. In that
	// time every other process that could not store a record has tried again: after a call that hung ([vault.Timeout])
	// and dirtyPause.
	afterTrouble = 7 * time.Second
	// storageStalls is how long a write takes if something is wrong with the storage. Locks and marks may have lapsed
	// meanwhile.
	storageStalls = time.Second
	// marksLimit is how many marks a refresh stores before it gives up, if the storage does not keep them.
	marksLimit = 5

	// lockTimeout bounds the wait for a record's lock. Past it the refresh goes on without: a broken lock must not
	// become an outage.
	lockTimeout = 12 * time.Second
	// lockIsFree is longer than it takes to get a lock that nothing holds.
	lockIsFree = 25 * time.Millisecond
	// lockRetry replaces lockTimeout after a wait that was in vain: some storages keep the lock of a dead process for
	// as long as another one lives.
	lockRetry = 1500 * time.Millisecond
)

// Pauses while a storage fails.
const (
	// storagePause is the pause between tries to reach a storage that failed. It does not grow, because no token
	// request is made meanwhile.
	storagePause = 2 * time.Second
	// dirtyPause replaces it while there is something to store: another process may soon send what is stored.
	dirtyPause = time.Second
	// storeAgain is the pause between the tries to store what was granted, of which there are storeTries.
	storeAgain = 200 * time.Millisecond
	storeTries = 3
)

// Pauses of callers, and of tokens in use.
const (
	// glance is how long a live token is handed out on the monotonic clock alone before the wall clock is read as
	// well: reading both costs more than all the rest of [Account.Token]. It bounds how long a token that ended during
	// a suspend can still be served.
	glance = time.Second
	// staticReread is how old the value of a local grant may become before it is read again.
	staticReread = time.Second
	// alarmLimit is the longest time for which a timer is set.
	alarmLimit = 30 * time.Second

	// probePatience is how long a caller waits for an attempt that follows a failed one, before it gets the known error.
	probePatience = time.Second
	// refusedWait bounds the wait for the token that replaces a refused one.
	refusedWait = 10 * time.Second
	// rejectCooldown is how long a source asks for no other token because of refusals, once a token that replaced a
	// refused one was refused as well: then the token is not the reason.
	rejectCooldown = 30 * time.Second
	// rejectBurst is how many refused tokens are replaced within rejectCooldown.
	rejectBurst = 4

	// checkEvery is how often the storage is read, while an account is used, for a login or logout in another process.
	checkEvery = 5 * time.Second
	// checkPatience is how long a request waits for the first such read after the account was not used for twice
	// that long.
	checkPatience = 250 * time.Millisecond

	// dropEvery is how often idle accounts are looked for. An account that was unused for idleRounds of that is
	// dropped, so after 15 to 20 minutes.
	dropEvery  = 5 * time.Minute
	idleRounds = 4
)

// pause is the time until the next try. dirty is true while something waits to be stored, hurry while the answer to a
// refresh is lost, local if the grant makes no requests.
func (f *failed) pause(dirty, hurry, local bool, now time.Time) time.Duration {
	delay := backoff(f.err.Class, f.err.Status, f.attempts)
	switch {
	case f.unasked && dirty:
		delay = jitter(dirtyPause, 0.8, 1.2)
	case f.unasked:
		delay = jitter(storagePause, 0.8, 1.2)
	}
	if f.err.Class == ClassWait && hurry {
		delay = min(delay, jitter(lostPause, 0.8, 1.2))
	}
	if f.err.Class == ClassLogin {
		return delay
	}
	if local {
		delay = min(delay, operatorFirst) // reading again costs nothing
	}
	if !f.err.RetryAt.IsZero() {
		delay = max(delay, f.err.RetryAt.Sub(now)) // the provider said when, at the earliest
	}
	return delay
}

// backoff returns how long to wait after the n-th failure in a row (n from 1).
func backoff(class Class, status, n int) time.Duration {
	if class == ClassLogin {
		return loginRecheck
	}
	return jitter(steady(class, status, n), 0.8, 1.2)
}

// steady is backoff without the jitter.
func steady(class Class, status, n int) time.Duration {
	first, limit := waitFirst, waitLimit
	switch {
	case class == ClassOperator:
		first, limit = operatorFirst, operatorLimit
	case status >= 400 && status < 500 && status != 408 && status != 429:
		first, limit = refusedFirst, refusedLimit
	}
	if n >= 16 { // 2^15 times any first is over every limit
		return limit
	}
	return min(first<<(n-1), limit)
}

// jitter returns d times a random factor between low and high, so that many instances do not ask at the same moment.
func jitter(d time.Duration, low, high float64) time.Duration {
	return time.Duration(float64(d) * (low + random()*(high-low)))
}

// random spreads load and guards nothing. The simulation replaces it, so that a seed decides.
var random = rand.Float64
