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

// softAfter returns the part of lifetime after which a token is due for a refresh. before is a
// fixed lead before the token's end. Zero means the default of 75 to 90 % of the lifetime, drawn
// anew for each token so that instances spread. At least a quarter of the lifetime is always used:
// otherwise a lead longer than the lifetime would cause refreshes without end.
func softAfter(lifetime, before time.Duration) time.Duration {
	if before > 0 {
		return latestSoft(lifetime, before)
	}
	return jitter(lifetime, softFrom, softTo)
}

// softFrom and softTo are the parts of a token's life between which it is refreshed.
const softFrom, softTo = 0.75, 0.90

// latestSoft is the greatest value of [softAfter].
func latestSoft(lifetime, before time.Duration) time.Duration {
	if before > 0 {
		return max(lifetime-before, lifetime/4)
	}
	return time.Duration(float64(lifetime) * softTo)
}
