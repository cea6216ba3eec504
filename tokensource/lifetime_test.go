package tokensource_test

import (
	"net/url"
	"testing"
	"testing/synctest"
	"time"
)

// A slow answer does not extend a token's lifetime, because it is counted from the request.
func TestLifetimeCountsFromTheRequest(t *testing.T) {
	for delay, want := range map[time.Duration]time.Duration{
		0:               10 * time.Second,
		2 * time.Second: 8 * time.Second,
		8 * time.Second: 5 * time.Second, // at least half of it is used
	} {
		synctest.Test(t, func(t *testing.T) {
			ep := &endpoint{script: func(n int, _ url.Values) reply {
				r := granted(n, 10*time.Second)
				r.delay = delay
				return r
			}}
			tok, err := newSource(t, ep).Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if left := time.Until(tok.Expiry); left != want {
				t.Errorf("after %s the token has %s left, want %s", delay, left, want)
			}
		})
	}
}
