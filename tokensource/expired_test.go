package tokensource_test

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// A token that has ended is never handed out, whatever happens while callers wait. They get the new
// token, or an error of class wait.
func TestExpiredTokenIsNeverHandedOut(t *testing.T) {
	const lifetime = 6 * time.Second
	slow := func(d time.Duration) func(n int, form url.Values) reply {
		return func(n int, _ url.Values) reply {
			r := rotated(n+10, time.Hour)
			r.delay = d
			return r
		}
	}
	// aged returns a stored record whose token was obtained that long ago.
	aged := func(age time.Duration, mark *tokensource.Intent) *tokensource.Record {
		rec := record(3, "at3", "rt3", lifetime)
		rec.Obtained, rec.Expiry = time.Now().Add(-age), time.Now().Add(lifetime-age)
		rec.Intent = mark
		return rec
	}
	for name, begin := range map[string]func(t *testing.T, storage *steps, ep *endpoint) *tokensource.Source{
		"started while the token endpoint hangs": func(t *testing.T, storage *steps, ep *endpoint) *tokensource.Source {
			put(t, storage, aged(5300*time.Millisecond, nil))
			ep.set(slow(5 * time.Second))
			return newSource(t, ep, refreshing(storage, "rt0"))
		},
		"started after a kill in a refresh": func(t *testing.T, storage *steps, ep *endpoint) *tokensource.Source {
			put(t, storage, aged(5*time.Second, &tokensource.Intent{Generation: 3, Owner: "dead", Since: time.Now()}))
			ep.set(slow(0))
			return newSource(t, ep, refreshing(storage, "rt0"))
		},
		"another process holds the lock and stands still": func(t *testing.T, storage *steps,
			ep *endpoint) *tokensource.Source {
			put(t, storage, aged(5*time.Second, nil))
			if err := storage.MemoryStorage.Lock(t.Context(), recordKey+".lock"); err != nil {
				t.Fatal(err)
			}
			ep.set(slow(0))
			return newSource(t, ep, refreshing(storage, "rt0"))
		},
		"a reload changed the source": func(t *testing.T, storage *steps, ep *endpoint) *tokensource.Source {
			put(t, storage, aged(5*time.Second, nil))
			before := newSource(t, ep, refreshing(storage, "rt0"))
			ep.set(slow(5 * time.Second))
			mustToken(t, before) // this also begins a refresh in the background
			return newSource(t, ep, refreshing(storage, "rt0"), func(c *tokensource.Config) { c.Timeout = 9 * time.Second })
		},
		"the token was refused, and its replacement is slow": func(t *testing.T, storage *steps,
			ep *endpoint) *tokensource.Source {
			put(t, storage, aged(time.Second, nil))
			src := newSource(t, ep, refreshing(storage, "rt0"))
			tok := mustToken(t, src)
			ep.set(func(int, url.Values) reply { return reply{delay: 8 * time.Second, status: 503} })
			go func() { _, _ = src.Account("").Reject(t.Context(), tok) }()
			return src
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage, ep := new(steps), new(endpoint)
				src := begin(t, storage, ep)
				src.Warm()
				// Requests begin all the time, and each waits without a limit.
				var requests sync.WaitGroup
				for range 200 {
					requests.Go(func() {
						tok, err := src.Token(t.Context())
						if err != nil {
							if e := new(tokensource.Error); !errors.As(err, &e) || e.Class != tokensource.ClassWait {
								t.Errorf("got %v, want an error of class wait", err)
							}
							return
						}
						if left := time.Until(tok.Expiry); left <= 0 {
							t.Errorf("a token was handed out %v past its end", -left)
						}
					})
					virtual.Advance(100 * time.Millisecond)
				}
				requests.Wait()
			})
		})
	}
}

// A configured token can end while its value is being read.
func TestExpiredConfiguredTokenIsNotHandedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var delay time.Duration
		end := time.Now().Add(10 * time.Second)
		value := func(ctx context.Context) (tokensource.Secret, error) {
			virtual.Sleep(delay)
			return tokensource.NewSecret("configured-token"), nil
		}
		src := newSource(t, nil, func(c *tokensource.Config) {
			c.Grant = tokensource.Static{Token: value, Expires: end}
		})
		mustToken(t, src)
		virtual.Advance(9 * time.Second)
		delay = 3 * time.Second
		if tok, err := src.Token(t.Context()); err == nil && !time.Now().Before(end) {
			t.Errorf("token %v was handed out after its end", tok.Generation)
		}
	})
}
