package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// Concurrent callers at a cold start share one token request and its result.
func TestColdStartIsOneRequest(t *testing.T) {
	for name, delay := range map[string]time.Duration{"slow": 2 * time.Second, "instant": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answer := granted(1, time.Hour)
				answer.delay = delay
				ep := &endpoint{script: always(answer)}
				src := newSource(t, ep)
				var wg sync.WaitGroup
				for range 500 {
					wg.Go(func() {
						if tok, err := src.Token(t.Context()); err != nil || tok.AccessToken() != "at1" {
							t.Errorf("got %v, %v", tok, err)
						}
					})
				}
				wg.Wait()
				wantCount(t, ep, 1)
			})
		})
	}
}

// The same many times with real threads. A caller that looked before the token came and acts after
// it must not cause another request.
func TestColdStartRace(t *testing.T) {
	for range 300 {
		ep := &endpoint{}
		src := newSource(t, ep)
		var wg sync.WaitGroup
		for range 4 * runtime.GOMAXPROCS(0) {
			wg.Go(func() { _, _ = src.Token(context.Background()) })
		}
		wg.Wait()
		wantCount(t, ep, 1)
	}
}

// If the provider is down, concurrent callers share one request and its error.
func TestErrorIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := refused(http.StatusServiceUnavailable, "")
		r.delay = time.Second
		ep := &endpoint{script: always(r)}
		src := newSource(t, ep)
		errs := make(chan error, 500)
		for range cap(errs) {
			go func() { _, err := src.Token(t.Context()); errs <- err }()
		}
		first := <-errs
		for range cap(errs) - 1 {
			if err := <-errs; err != first || err == nil {
				t.Fatalf("got %v and %v, want one error", err, first)
			}
		}
		wantCount(t, ep, 1)
	})
}

// Each waiting caller has its own deadline, and a cancelled caller gets its own context's error.
// The request goes on for all of them, and its token is kept and stored.
func TestWaitersKeepTheirDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := rotated(1, time.Hour)
		answer.delay = 5 * time.Second
		ep := &endpoint{script: always(answer)}
		storage := &steps{}
		src := newSource(t, ep, refreshing(storage, "rt0"))

		began := time.Now()
		short, cancelShort := context.WithTimeout(t.Context(), time.Second)
		defer cancelShort()
		_, err := src.Token(short)
		if e := asError(t, err, tokensource.ClassWait); !e.Timeout || !errors.Is(e, context.DeadlineExceeded) ||
			e.RetryAfter(time.Now()) < time.Second {
			t.Errorf("got %+v, want a timeout to try again after", e)
		}
		if time.Since(began) != time.Second {
			t.Errorf("waited %s, want the deadline of 1 s", time.Since(began))
		}

		gone, leave := context.WithCancel(t.Context())
		go func() { virtual.Sleep(time.Second); leave() }()
		if _, err := src.Token(gone); err != context.Canceled {
			t.Errorf("got %v, want the context's own error", err)
		}

		virtual.Advance(4 * time.Second)
		wantToken(t, src, "at1")
		wantCount(t, ep, 1)
		if rec := stored(t, storage); rec.RefreshToken.Reveal() != "rt1" {
			t.Errorf("stored refresh token %q, want rt1", rec.RefreshToken.Reveal())
		}
	})
}

// Close waits for the running refresh and its storing. Nothing starts afterwards, and live tokens
// are still served.
func TestCloseWaitsForRefreshAndSaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := rotated(1, time.Minute)
		answer.delay = 3 * time.Second
		ep := &endpoint{script: always(answer)}
		storage := &steps{}
		src := newSource(t, ep, refreshing(storage, "rt0"))
		src.Warm()
		synctest.Wait()

		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := src.Close(impatient); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close with a deadline before the end: got %v", err)
		}
		began := time.Now()
		if err := src.Close(t.Context()); err != nil {
			t.Fatalf("Close: %v", err)
		}
		if time.Since(began) != 2*time.Second {
			t.Errorf("Close took %s, want the 2 s that were left", time.Since(began))
		}
		if rec := stored(t, storage); rec.RefreshToken.Reveal() != "rt1" || rec.Intent != nil {
			t.Errorf("after Close the storage holds %q, mark %v", rec.RefreshToken.Reveal(), rec.Intent)
		}
		virtual.Advance(50 * time.Second)
		wantToken(t, src, "at1")
		virtual.Advance(time.Hour)
		if e := wantError(t, src, tokensource.ClassWait); !errors.Is(e, tokensource.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", e)
		}
		src.Warm()
		_, _ = src.Account("other").Token(t.Context())
		virtual.Advance(time.Hour)
		wantCount(t, ep, 1)
	})
}

// A closed source leaves no goroutine and no timer. The bubble could not end with one left. Outside
// of a bubble the number of goroutines is as before.
func TestCloseLeavesNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, script := range []reply{granted(1, time.Hour), refused(503, ""), {delay: time.Hour}} {
			src, err := tokensource.New(tokensource.Config{
				Name: "orders", Grant: tokensource.ClientCredentials{}, TokenURL: tokenURL, ClientID: "c",
				Transport: &endpoint{script: always(script)},
			})
			if err != nil {
				t.Fatal(err)
			}
			src.Warm()
			for _, account := range []string{"a", "b"} {
				go src.Account(account).Token(t.Context())
			}
			virtual.Advance(time.Second)
			before := time.Now()
			if err := src.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if time.Since(before) > 10*time.Second {
				t.Errorf("Close took %s, more than a request may", time.Since(before))
			}
		}
	})
}

// Accounts of one source do not wait for each other.
func TestAccountsAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{}
		var first sync.Once
		src := newSource(t, ep, func(cfg *tokensource.Config) {
			cfg.Params = []tokensource.Param{{Name: "audience", Value: func(ctx context.Context) (tokensource.Secret, error) {
				slow := false
				first.Do(func() { slow = true })
				if slow {
					virtual.Sleep(8 * time.Second)
				}
				return tokensource.NewSecret("api"), nil
			}}}
		})
		go src.Account("slow").Token(t.Context())
		synctest.Wait()
		began := time.Now()
		if _, err := src.Account("quick").Token(t.Context()); err != nil || time.Since(began) > 0 {
			t.Errorf("the other account's token: %v after %s", err, time.Since(began))
		}
		if quick, again := src.Account("quick"), src.Account("quick"); quick != again || quick == src.Account("") {
			t.Error("an account is not the same each time, or another account's")
		}
		virtual.Advance(time.Minute)
	})
}

// However many accounts need a token at once, a provider gets at most 16 concurrent requests.
func TestParallelRequestsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		under, most := 0, 0
		src := newSource(t, roundTripper(func(*http.Request) (*http.Response, error) {
			mu.Lock()
			under++
			most = max(most, under)
			mu.Unlock()
			virtual.Sleep(time.Second)
			mu.Lock()
			under--
			mu.Unlock()
			return nil, errReset
		}))
		for i := range 50 {
			go src.Account(fmt.Sprint(i)).Token(t.Context())
		}
		virtual.Advance(10 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if most != 16 {
			t.Errorf("%d requests at once, want 16", most)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// A caller found that the token had ended or was due. Before it acts, another caller replaces the
// token. The first caller gets the replacement.
func TestCallerOvertakenByARefresh(t *testing.T) {
	for name, after := range map[string]time.Duration{"ended": 2 * time.Hour, "due": 55 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ep := &endpoint{}
				var src *tokensource.Source
				var overtake atomic.Bool
				base := time.Now()
				clock := tokensource.Clock{Elapsed: func() time.Duration {
					at := time.Since(base)
					if overtake.CompareAndSwap(true, false) { // between a caller's check and its action
						_, _ = src.Token(t.Context())
						synctest.Wait()
					}
					return at
				}}
				src = newSource(t, ep, func(cfg *tokensource.Config) { cfg.Clock = clock })
				wantToken(t, src, "at1")
				virtual.Advance(after)
				overtake.Store(true)
				_ = mustToken(t, src)
				synctest.Wait()
				wantToken(t, src, "at2")
				wantCount(t, ep, 2)
			})
		})
	}
}

// The first callers wait for a provider that hangs. Later callers soon get the known error. When
// the provider answers again, the caller gets its token.
func TestHangingProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := func(int, url.Values) reply { return reply{delay: time.Hour} }
		ep := &endpoint{script: hangs}
		src := newSource(t, ep)
		began := time.Now()
		wantError(t, src, tokensource.ClassWait)
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("the first caller waited %s", took)
		}
		for range 100 {
			began := time.Now()
			wantError(t, src, tokensource.ClassWait)
			if took := time.Since(began); took > time.Second {
				t.Fatalf("a later caller waited %s", took)
			}
			virtual.Advance(500 * time.Millisecond)
		}
		ep.set(func(n int, _ url.Values) reply {
			r := granted(n, time.Hour)
			r.delay = 500 * time.Millisecond
			return r
		})
		virtual.Advance(time.Minute)
		if _, err := src.Token(t.Context()); err != nil {
			t.Errorf("once it answers: %v", err)
		}
	})
}
