package tokensource

import (
	"math/rand/v2"
	"time"
)

// This file holds the pauses of a refresh. The pause after a failed token request depends on who has
// to act. The first failure is followed by the first pause. Each further failure doubles it, up to
// the limit. These pauses have jitter, except that of class login.
//
//	class      first   limit   reason
//	wait       1 s     30 s    back within half a minute of the provider's return
//	wait, 4xx  30 s    2 min   an answer that no standard defines, often a firewall's: ask seldom
//	operator   5 s     1 min   an operator fixes it; providers lock out clients that insist
//	login      2 s     2 s     only the storage is read again, for a new login; no request
//	subject    5 s     2 min   a caller's token that is refused stays refused, unless the
//	                           provider did not know it yet
const (
	waitFirst, waitLimit         = time.Second, 30 * time.Second
	refusedFirst, refusedLimit   = 30 * time.Second, 2 * time.Minute
	operatorFirst, operatorLimit = 5 * time.Second, time.Minute
	loginRecheck                 = 2 * time.Second
	subjectFirst, subjectLimit   = 5 * time.Second, 2 * time.Minute

	// A Retry-After field counts as at least retryAfterMin and at most retryAfterMax.
	retryAfterMin, retryAfterMax = time.Second, time.Hour
	// longWait is the shortest Retry-After for which the remedy says how to ask at once.
	longWait = time.Minute
)

// Pauses after the answer to a refresh was lost.
const (
	// quickRetry is the pause before a refresh is sent once more because its answer was lost.
	// Providers that rotate refresh tokens often accept the same one again for a few seconds.
	quickRetry = time.Second
	// During lostHurry no pause is longer than lostPause. The provider may have replaced the
	// refresh token, and accepts the old one again only for a while (connect2id 5 s, Cognito 60 s).
	lostHurry, lostPause = time.Minute, 10 * time.Second
	// rereadLogin is the time between two reads of the storage before a refused refresh token
	// counts as dead.
	rereadLogin = time.Second
)

// Pauses that keep processes that share a storage apart.
const (
	// sendWindow is how long after its mark a token request may begin. Other processes count the time
	// of the request from the mark.
	sendWindow = time.Second
	// watchEvery is how often a process checks another process's mark, or its own mark that has to
	// stay.
	watchEvery = time.Second
	// markSettles is longer than a process takes between reading the record and storing its mark.
	markSettles = 500 * time.Millisecond
	// takeOverSettles is longer than a process waits before it tries again to store a record.
	takeOverSettles = 1500 * time.Millisecond
	// afterTrouble is how long a mark must stay after a storage failure, while the storage accepts
	// writes. In that time every other process with an unstored record has tried again, even after
	// a call that hung (package vault ends it after 5 s) and dirtyPause.
	afterTrouble = 7 * time.Second
	// A write that takes longer than storageStalls means that something is wrong with the storage.
	// Locks and marks may have lapsed meanwhile.
	storageStalls = time.Second
	// marksLimit is how many marks a refresh stores before it gives up, if the storage does not
	// keep them.
	marksLimit = 5

	// lockTimeout bounds the wait for a record's lock. After it the refresh goes on without the
	// lock: a broken lock must not become an outage.
	lockTimeout = 12 * time.Second
	// lockIsFree is longer than it takes to get a lock that no process holds.
	lockIsFree = 25 * time.Millisecond
	// lockRetry replaces lockTimeout after a wait that timed out: some storages keep the lock of a
	// dead process for as long as another process lives.
	lockRetry = 1500 * time.Millisecond
)

// Pauses while a storage fails.
const (
	// storagePause is the pause between attempts to reach a storage that failed. It does not grow,
	// because no token request is sent meanwhile.
	storagePause = 2 * time.Second
	// dirtyPause replaces storagePause while a record waits to be stored: another process may soon
	// send the refresh token that is still in the storage.
	dirtyPause = time.Second
	// storeAgain is the pause between attempts to store a granted token. storeTries is the number
	// of attempts.
	storeAgain = 200 * time.Millisecond
	storeTries = 3
)

// Pauses of callers, and of tokens in use.
const (
	// glance is the longest time for which a live token is handed out without a look at the wall
	// clock. For a named account, only the monotonic clock is read. For the unnamed account, no clock
	// is read, unless its token is due soon. Reading a clock costs more than the rest of
	// [Account.Token]. If a token ended while the machine was suspended, it can still be served for
	// at most glance.
	glance = time.Second
	// windowAhead is how far away a token's refresh has to be if the token is to be handed out
	// without a look at any clock; see [account.armLocked].
	windowAhead = time.Minute
	// staticReread is how old the value of a local grant may become before it is read again.
	staticReread = time.Second
	// alarmLimit is the longest time for which a timer is set.
	alarmLimit = 30 * time.Second

	// probePatience is how long a caller waits for an attempt that follows a failed one, before the
	// caller gets the known error.
	probePatience = time.Second
	// refusedWait bounds the wait for the token that replaces a refused one.
	refusedWait = 10 * time.Second
	// rejectCooldown is how long an account's refused tokens are not replaced after a replacement was
	// refused as well: then the token is not the reason for the refusals.
	rejectCooldown = 30 * time.Second
	// rejectBurst is at most how many of an account's refused tokens are replaced within rejectCooldown.
	rejectBurst = 4

	// checkEvery is how often the storage is read for a login or logout in another process, while
	// the account is used.
	checkEvery = 5 * time.Second
	// checkPatience is how long a request waits for the first storage read after the account was
	// unused for twice checkEvery.
	checkPatience = 250 * time.Millisecond

	// dropEvery is how often the source looks for idle accounts. An account that was unused for
	// idleRounds such rounds is dropped, so after 15 to 20 minutes.
	dropEvery  = 5 * time.Minute
	idleRounds = 4
)

// pause returns the time until the next try. dirty is true while a record waits to be stored. hurry
// is true while lostHurry applies. local is true if the grant sends no requests.
func (f *failed) pause(dirty, hurry, local bool, now time.Time) time.Duration {
	var delay time.Duration
	switch {
	case f.err.Subject:
		return jitter(min(subjectFirst<<min(f.attempts-1, 16), subjectLimit), 0.8, 1.2)
	case f.unasked && dirty:
		delay = dirtyPause
	case f.unasked:
		delay = storagePause
	case f.err.Class == ClassLogin:
		return loginRecheck
	default:
		delay = steady(f.err.Class, f.err.Status, f.attempts)
	}
	delay = jitter(delay, 0.8, 1.2)
	if f.err.Class == ClassWait && hurry {
		delay = min(delay, jitter(lostPause, 0.8, 1.2))
	}
	if local {
		delay = min(delay, operatorFirst) // reading again costs nothing
	}
	if !f.err.RetryAt.IsZero() {
		delay = max(delay, f.err.RetryAt.Sub(now)) // the provider named the earliest time
	}
	return delay
}

// steady returns how long to wait after the n-th failure in a row (n from 1), without jitter.
func steady(class Class, status, n int) time.Duration {
	first, limit := waitFirst, waitLimit
	switch {
	case class == ClassOperator:
		first, limit = operatorFirst, operatorLimit
	case status >= 400 && status < 500 && status != 408 && status != 429:
		first, limit = refusedFirst, refusedLimit
	}
	if n >= 16 { // 2^15 times any first pause exceeds every limit
		return limit
	}
	return min(first<<(n-1), limit)
}

// jitter returns d times a random factor between low and high, so that many instances do not ask at
// the same moment.
func jitter(d time.Duration, low, high float64) time.Duration {
	return time.Duration(float64(d) * (low + random()*(high-low)))
}

// random only spreads load; nothing secret depends on it. The simulation replaces it, so that a
// seed decides.
var random = rand.Float64
