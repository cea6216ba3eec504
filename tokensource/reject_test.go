package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

func slowly(n int, _ url.Values) reply {
	r := granted(n, time.Hour)
	r.delay = 100 * time.Millisecond
	return r
}

// If many callers report that one token was refused, it is replaced once, and all of them get the
// new token.
func TestRejectReplacesAGenerationOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{script: slowly}
		src := newSource(t, ep)
		tok := wantToken(t, src, "at1")
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				if next, err := src.Account("").Reject(t.Context(), tok); err != nil || next.AccessToken() != "at2" {
					t.Errorf("got %v, %v, want at2", next, err)
				}
			})
		}
		wg.Wait()
		wantCount(t, ep, 2)
	})
}

// A late refusal of an older token gets the token in use at once, and causes no request.
func TestLateRejectOfAnOlderGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{script: slowly}
		src := newSource(t, ep)
		old := wantToken(t, src, "at1")
		if _, err := src.Account("").Reject(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for range 100 {
			if next, err := src.Account("").Reject(t.Context(), old); err != nil || next.AccessToken() != "at2" {
				t.Fatalf("got %v, %v, want at2", next, err)
			}
		}
		if time.Since(began) > 0 {
			t.Error("a late refusal waited")
		}
		wantCount(t, ep, 2)
		wantToken(t, src, "at2")
	})
}

// While a refused token is being replaced, callers wait for its replacement.
func TestCallersWaitForTheReplacement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{script: slowly}
		src := newSource(t, ep)
		tok := wantToken(t, src, "at1")
		go src.Account("").Reject(t.Context(), tok)
		synctest.Wait()
		wantToken(t, src, "at2")
	})
}

// An upstream that refuses every token causes at most two token requests in 30 seconds. Callers
// that it does not refuse never wait for these requests.
func TestUpstreamThatRefusesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{script: slowly}
		src := newSource(t, ep)
		mustToken(t, src)
		var waited time.Duration
		for i := range 2 * 60 * 100 {
			began := time.Now()
			tok := mustToken(t, src)
			if i > 100 { // callers wait for the first replacement
				waited += time.Since(began)
			}
			go func() {
				_, err := src.Account("").Reject(t.Context(), tok)
				if err != nil && !errors.Is(err, tokensource.ErrNoReplacement) {
					t.Errorf("got %v, want ErrNoReplacement", err)
				}
			}()
			virtual.Advance(10 * time.Millisecond)
			synctest.Wait()
		}
		if waited > 0 {
			t.Errorf("callers that were not refused waited %s for replacements", waited)
		}
		calls := ep.all()[1:]
		for i := range calls {
			if i+2 < len(calls) && calls[i+2].at.Sub(calls[i].at) < 30*time.Second {
				t.Errorf("three token requests within %s", calls[i+2].at.Sub(calls[i].at))
			}
		}
		if len(calls) < 3 || len(calls) > 8 {
			t.Errorf("%d token requests in two minutes of refusals", len(calls))
		}
	})
}

// A slow observer does not delay the cool-down.
func TestRefusalsWithASlowObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{script: slowly}
		src := newSource(t, ep, func(c *tokensource.Config) {
			c.Observer = func(e tokensource.Event) {
				if e.Kind == tokensource.EventRefused {
					virtual.Sleep(3 * time.Second)
				}
			}
		})
		mustToken(t, src)
		for range 1000 {
			tok := mustToken(t, src)
			go func() { _, _ = src.Account("").Reject(t.Context(), tok) }()
			virtual.Advance(10 * time.Millisecond)
		}
		virtual.Advance(10 * time.Second)
		if n := ep.count(); n > 3 {
			t.Errorf("%d token requests in 10 seconds of refusals", n)
		}
	})
}

// A replacement that worked for a while is replaced in turn when it is refused.
func TestSecondRevocationLaterOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{}
		src := newSource(t, ep)
		account := src.Account("")
		for i, want := range []string{"at2", "at3", "at4"} {
			next, err := account.Reject(t.Context(), mustToken(t, src))
			if err != nil || next.AccessToken() != want {
				t.Fatalf("revocation %d: got %v, %v, want %s", i+1, next, err, want)
			}
			virtual.Advance(5 * time.Minute)
		}
	})
}

// If the provider returns the same token again, there is no replacement. The provider is not asked
// again at once, and the token stays in use for the requests that succeed with it.
func TestSameTokenBack(t *testing.T) {
	for _, kind := range []string{"client_credentials", "refresh_token"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ep := &endpoint{script: always(granted(7, time.Hour))}
				var told []string
				src := newSource(t, ep, func(cfg *tokensource.Config) {
					cfg.Observer = func(e tokensource.Event) {
						if e.Kind == tokensource.EventRefused {
							told = append(told, fmt.Sprint(e.Err))
						}
					}
					if kind == "refresh_token" {
						refreshing(&tokensource.MemoryStorage{}, "rt0")(cfg)
					}
				})
				tok := wantToken(t, src, "at7")
				for range 1000 {
					if _, err := src.Account("").Reject(t.Context(), tok); !errors.Is(err, tokensource.ErrNoReplacement) {
						t.Fatalf("got %v, want ErrNoReplacement", err)
					}
					wantToken(t, src, "at7")
				}
				wantCount(t, ep, 2)
				// The second event says that there is no other token.
				if len(told) != 2 || told[0] != "<nil>" || !strings.Contains(told[1], "the provider returned the same one again") {
					t.Errorf("told %q", told)
				}
			})
		})
	}
}

// If the clocks differ, that may be why the API refuses the tokens. So the remedy names it first.
func TestRefusalNamesTheClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		date := time.Now().Add(2 * time.Hour).UTC().Format(http.TimeFormat)
		src := newSource(t, &endpoint{script: func(n int, _ url.Values) reply {
			r := granted(n, time.Hour)
			r.header = http.Header{"Date": {date}}
			return r
		}})
		tok, err := src.Token(t.Context())
		for range 2 {
			if err != nil {
				t.Fatal(err)
			}
			tok, err = src.Account("").Reject(t.Context(), tok)
		}
		refusal := src.Account("").Status().Refusal()
		if !errors.Is(err, tokensource.ErrNoReplacement) || refusal == nil ||
			!strings.HasPrefix(refusal.Remedy(), "correct the clock that is wrong: this machine's clock (now ") ||
			!strings.Contains(refusal.Remedy(), "2h0m0s behind the provider's. If that is not enough, check that scopes") {
			t.Errorf("%v, %v", err, refusal)
		}
	})
}

// If the provider is down, a caller that reports a refusal gets the reason. Other callers still get
// the old token, and it is replaced soon after the provider's return.
func TestRejectWhileProviderIsDown(t *testing.T) {
	for name, kept := range map[string]bool{"kept warm": true, "used only": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ep := &endpoint{}
				src := newSource(t, ep)
				if kept {
					src.Warm()
				}
				tok := wantToken(t, src, "at1")
				ep.set(always(refused(503, "")))
				for range 100 {
					_, err := src.Account("").Reject(t.Context(), tok)
					asError(t, err, tokensource.ClassWait)
					wantToken(t, src, "at1")
				}
				wantCount(t, ep, 2)
				ep.set(nil)
				virtual.Advance(2 * time.Second)
				_ = mustToken(t, src) // the next use may begin the refresh
				synctest.Wait()
				wantToken(t, src, "at3")
			})
		})
	}
}

// A refused token that could not be replaced is still refreshed before it ends.
func TestRefusedTokenIsRefreshedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{script: always(granted(7, time.Hour))}
		src := newSource(t, ep)
		if _, err := src.Account("").Reject(t.Context(), mustToken(t, src)); !errors.Is(err, tokensource.ErrNoReplacement) {
			t.Fatal(err)
		}
		ep.set(func(n int, _ url.Values) reply {
			r := granted(n, time.Hour)
			r.delay = time.Second
			return r
		})
		_, failed, waited := hammer(t, src, 2, time.Second, 2*time.Hour)
		if failed > 0 || waited > 0 {
			t.Errorf("%d callers failed, %d waited", failed, waited)
		}
	})
}

// After a start, a stored token past its soft expiry is served while it is being refreshed. A
// caller that reports it as refused waits for that refresh.
func TestRejectDuringTheRefreshAfterAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		put(t, storage, &tokensource.Record{
			Generation: 4, AccessToken: tokensource.NewSecret("at4"), RefreshToken: tokensource.NewSecret("rt4"),
			Obtained: time.Now().Add(-58 * time.Minute), Expiry: time.Now().Add(2 * time.Minute),
		})
		ep := &endpoint{script: func(int, url.Values) reply {
			r := rotated(5, time.Hour)
			r.delay = time.Second
			return r
		}}
		src := newSource(t, ep, refreshing(storage, "rt0"))
		began := time.Now()
		tok := wantToken(t, src, "at4")
		if time.Since(began) > 0 {
			t.Error("the stored token was not served at once")
		}
		next, err := src.Account("").Reject(t.Context(), tok)
		if err != nil || next.AccessToken() != "at5" {
			t.Errorf("got %v, %v, want at5", next, err)
		}
		wantCount(t, ep, 1)
	})
}

// A caller that reports a refusal is bound by its own deadline.
func TestRejectKeepsTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{}
		src := newSource(t, ep)
		tok := mustToken(t, src)
		ep.set(always(reply{delay: 5 * time.Second}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := src.Account("").Reject(ctx, tok)
		if e := asError(t, err, tokensource.ClassWait); !e.Timeout {
			t.Errorf("got %+v, want a timeout", e)
		}
	})
}

// Tokens that are revoked one after another, each after the upstream accepted it, are replaced each
// time. But an upstream that accepts some requests' tokens and refuses others' cannot cause an
// endless series.
func TestRevokedAgainAfterItWasAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{}
		src := newSource(t, ep)
		tok := wantToken(t, src, "at1")
		account := src.Account("")
		replaced := 0
		for range 50 {
			next, err := account.Reject(t.Context(), tok)
			if errors.Is(err, tokensource.ErrNoReplacement) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			account.Accept(next)
			tok = next
			replaced++
		}
		if replaced < 3 || replaced > 5 {
			t.Errorf("%d accepted tokens were replaced in a row, want only a few", replaced)
		}
		refusal := account.Status().Refusal()
		if refusal == nil || refusal.Problem() != "refused_often" || !strings.Contains(refusal.What(), "accepted new tokens") {
			t.Errorf("the status says %v", refusal)
		}
		virtual.Advance(31 * time.Second)
		next, err := account.Reject(t.Context(), wantToken(t, src, tok.AccessToken()))
		if err != nil || next.Generation == tok.Generation {
			t.Fatalf("after a while: got %v, %v", next, err)
		}
		if _, err := account.Reject(t.Context(), next); !errors.Is(err, tokensource.ErrNoReplacement) {
			t.Fatal(err)
		}
		if refusal := account.Status().Refusal(); refusal == nil || refusal.Problem() != "replacement_refused" {
			t.Errorf("after another kind of refusal, the status says %v", refusal)
		}
	})
}

// Accepting an older token says nothing about the token in use.
func TestLateAcceptance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{}
		src := newSource(t, ep)
		old := wantToken(t, src, "at1")
		account := src.Account("")
		tok, err := account.Reject(t.Context(), old)
		if err != nil {
			t.Fatal(err)
		}
		account.Accept(old)
		if _, err := account.Reject(t.Context(), tok); !errors.Is(err, tokensource.ErrNoReplacement) {
			t.Errorf("got %v, want ErrNoReplacement", err)
		}
		wantCount(t, ep, 2)
	})
}

// A token that ends on its way to the upstream is refused there. Such a refusal does not count,
// because the next token may end in the same way.
func TestTokenThatEndsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{script: func(n int, _ url.Values) reply {
			r := granted(n, 6*time.Second)
			r.delay = 3 * time.Second // so that no new token arrives in time
			return r
		}}
		src := newSource(t, ep)
		for n := range 20 {
			tok := mustToken(t, src)
			virtual.Advance(time.Until(tok.Expiry) + time.Millisecond)
			if next, err := src.Account("").Reject(t.Context(), tok); err != nil || next.Generation != tok.Generation+1 {
				t.Fatalf("token %d: got %v, %v, want the next token", n+1, next, err)
			}
		}
	})
}

// If the upstream refuses the replacement too, the state says so, with what to do, and the event of
// the second refusal has the error. A new token that the upstream takes ends that.
func TestStateOfARefusedReplacement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{}
		var ev events
		src := newSource(t, ep, observed(&ev))
		account := src.Account("")
		first := wantToken(t, src, "at1")
		second, err := account.Reject(t.Context(), first)
		if err != nil {
			t.Fatal(err)
		}
		if st := account.Status(); st.State != tokensource.StateFresh || len(st.Problems()) != 0 {
			t.Errorf("after one refusal: %s, %v", st.State, st.Problems())
		}
		if _, err := account.Reject(t.Context(), second); !errors.Is(err, tokensource.ErrNoReplacement) {
			t.Fatal(err)
		}
		for range 3 { // after the cool-down too
			st := account.Status()
			problems := st.Problems()
			if st.State != tokensource.StateRefused || !st.RefusedAgain || !st.Renews || len(problems) != 1 {
				t.Fatalf("%+v, %v", st, problems)
			}
			if e := problems[0]; e.Problem() != "replacement_refused" || e.Class != tokensource.ClassOperator ||
				!strings.HasSuffix(e.Error(), e.Remedy()) ||
				!strings.Contains(e.Remedy(), "scopes, resource, audience and inject") {
				t.Errorf("%v", e)
			}
			virtual.Advance(20 * time.Second)
		}
		synctest.Wait()
		var told []error
		for _, e := range ev.all() {
			if e.Kind == tokensource.EventRefused {
				told = append(told, e.Err)
			}
		}
		if len(told) != 2 || told[0] != nil ||
			asError(t, told[1], tokensource.ClassOperator).Problem() != "replacement_refused" {
			t.Errorf("the events have %v", told)
		}
		if err := account.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if st := account.Status(); st.State != tokensource.StateFresh {
			t.Errorf("with a new token: %s", st.State)
		}
	})
}

// A token that a person asked for has replaced no refused one. So it is replaced at once if it is
// refused.
func TestRefusalAfterARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource(t, &endpoint{})
		wantToken(t, src, "at1")
		if err := src.Account("").Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		tok, err := src.Account("").Reject(t.Context(), wantToken(t, src, "at2"))
		if err != nil || tok.AccessToken() != "at3" {
			t.Errorf("got %v, %v", tok, err)
		}
	})
}
