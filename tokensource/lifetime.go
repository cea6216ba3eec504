package tokensource

import (
	"time"

	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// NeverExpires is the [Config.DefaultLifetime] of providers whose tokens last until they are
// refused.
const NeverExpires = provider.NeverExpires

// maxLifetime bounds the lifetime that a provider's expires_in can give a token.
const maxLifetime = 10 * 365 * 24 * time.Hour

// maxPast is how long ago the end of a token may be, if a provider's expires_in is the time of the
// end.
const maxPast = 365 * 24 * time.Hour

// softAfter returns how long after it was obtained a token is due for a refresh. before is
// [Config.RefreshBefore]. If that is zero, the result is random between softFrom and softTo of the
// lifetime, so that instances do not refresh at the same time. The result is at least a quarter of
// the lifetime, so that a large before does not cause refreshes without end.
func softAfter(lifetime, before time.Duration) time.Duration {
	if before > 0 {
		return latestSoft(lifetime, before)
	}
	return jitter(lifetime, softFrom, softTo)
}

// A token is refreshed after between softFrom and softTo of its lifetime.
const softFrom, softTo = 0.75, 0.90

// latestSoft is the greatest value of [softAfter].
func latestSoft(lifetime, before time.Duration) time.Duration {
	if before > 0 {
		return max(lifetime-before, lifetime/4)
	}
	return time.Duration(float64(lifetime) * softTo)
}
