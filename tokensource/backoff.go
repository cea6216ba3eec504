package tokensource

import (
	"math/rand/v2"
	"time"
)

// Waits between failed token requests, by who has to act. The first failure
// waits first, each further one twice as long, up to the limit, all with jitter.
//
//	class      first   limit   reason
//	wait       1 s     30 s    back within half a minute of the provider's return,
//	                           and seven requests at most in the first minute
//	wait, 4xx  30 s    2 min   an answer nobody defined, often a firewall: ask seldom
//	operator   5 s     1 min   mended by hand; providers lock out clients that insist
//	login      2 s     2 s     only the storage is read again, for a new login; no request
const (
	waitFirst, waitLimit         = time.Second, 30 * time.Second
	refusedFirst, refusedLimit   = 30 * time.Second, 2 * time.Minute
	operatorFirst, operatorLimit = 5 * time.Second, time.Minute
	loginRecheck                 = 2 * time.Second

	// While the answer to a refresh is lost, time counts: the provider may have replaced the
	// refresh token, and takes the old one again for seconds, or a minute at most (connect2id 5
	// s, Cognito 60 s). For lostHurry no pause is longer than lostPause.
	lostHurry, lostPause = time.Minute, 10 * time.Second

	// storagePause is the pause between tries to reach a storage that failed. No token
	// request is made meanwhile, so it does not grow.
	storagePause = 2 * time.Second
	// unsavedPause is the pause while there is something that could not be stored yet: another
	// process may soon send what is stored.
	unsavedPause = time.Second

	// retryAfterMin and retryAfterMax bound what a Retry-After field is believed.
	retryAfterMin, retryAfterMax = time.Second, time.Hour

	// probePatience is how long a caller waits for an attempt that follows a failed
	// one, before it gets the known error.
	probePatience = time.Second

	// rejectCooldown is how long a source asks for no other token because of
	// refusals, once a token that replaced a refused one was refused as well:
	// then it is not the token that the upstream minds.
	rejectCooldown = 30 * time.Second
	// rejectBurst is how many refused tokens are replaced within rejectCooldown.
	rejectBurst = 4
)

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

// jitter returns d times a random factor between low and high, so that many
// instances do not ask at the same moment.
func jitter(d time.Duration, low, high float64) time.Duration {
	return time.Duration(float64(d) * (low + random()*(high-low)))
}

// random spreads load and guards nothing. The simulation replaces it, so that a seed decides.
var random = rand.Float64
