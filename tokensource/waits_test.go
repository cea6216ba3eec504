package tokensource_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// If a provider tells one process when to come back, all processes on the same storage wait for as
// long as it said, whatever the grant.
func TestAllProcessesKeepToRetryAfter(t *testing.T) {
	for name, edit := range map[string]func(*tokensource.Config){
		"client_credentials": func(*tokensource.Config) {},
		"refresh_token": func(cfg *tokensource.Config) {
			cfg.Grant = tokensource.RefreshToken{Initial: tokensource.Literal("seed")}
		},
		"sealed": func(cfg *tokensource.Config) {
			cfg.EncryptionKeys = []tokensource.Value{tokensource.Literal(strings.Repeat("k", 32))}
		},
	} {
		for form, field := range map[string]func() string{
			"seconds": func() string { return "7" },
			"date":    func() string { return time.Now().Add(7 * time.Second).UTC().Format(http.TimeFormat) },
		} {
			for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
				t.Run(name+", "+form+", "+http.StatusText(status), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						ep := &endpoint{}
						ep.set(func(n int, _ url.Values) reply {
							if n == 1 {
								return withHeader(reply{status: status}, "Retry-After", field())
							}
							return granted(n, time.Hour)
						})
						storage := new(tokensource.MemoryStorage)
						with := func(cfg *tokensource.Config) {
							edit(cfg)
							cfg.Storage = storage
						}
						one, other := newSource(t, ep, with), newSource(t, ep, with)
						began := time.Now()
						for _, src := range []*tokensource.Source{one, other, one, other} {
							_, err := src.Token(context.Background())
							if err == nil && time.Since(began) >= 7*time.Second {
								return // it waited until the first process's mark lapsed, which took as long
							}
							var failure *tokensource.Error
							if !errors.As(err, &failure) {
								t.Fatalf("%v, after %d token requests", err, ep.count())
							}
							if failure.Class != tokensource.ClassWait || failure.RetryAt.Sub(began) < 6900*time.Millisecond ||
								failure.RetryAt.Sub(began) > 8*time.Second {
								t.Fatalf("%v, RetryAt after %v", err, failure.RetryAt.Sub(began))
							}
						}
						if n := ep.count(); n != 1 {
							t.Fatalf("%d token requests before the time was over", n)
						}
						virtual.Advance(8500 * time.Millisecond)
						for _, src := range []*tokensource.Source{other, one} {
							if _, err := src.Token(context.Background()); err != nil {
								t.Errorf("after the wait: %v", err)
							}
						}
					})
				})
			}
		}
	}
}

// If one account is told to wait, other accounts do not wait.
func TestRetryAfterIsOneAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{}
		ep.set(func(n int, _ url.Values) reply {
			if n == 1 {
				return withHeader(reply{status: http.StatusTooManyRequests}, "Retry-After", "60")
			}
			return granted(n, time.Hour)
		})
		src := newSource(t, ep)
		if _, err := src.Account("a").Token(context.Background()); err == nil {
			t.Fatal("no failure")
		}
		if _, err := src.Account("b").Token(context.Background()); err != nil {
			t.Errorf("another account: %v", err)
		}
		if _, err := src.Token(context.Background()); err != nil {
			t.Errorf("the unnamed account: %v", err)
		}
	})
}

// A lock-out applies to the client, and therefore to all processes and accounts with the same token
// URL.
func TestAllProcessesKeepToALockOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{}
		ep.set(func(n int, _ url.Values) reply {
			if n == 1 {
				return reply{status: http.StatusForbidden, body: `{"status":"locked"}`}
			}
			return granted(n, time.Hour)
		})
		storage := new(tokensource.MemoryStorage)
		with := func(cfg *tokensource.Config) {
			cfg.Storage = storage
			cfg.LockOut = provider.LockOut{Code: "locked", Member: "status", MinWait: 5 * time.Minute}
		}
		one, other := newSource(t, ep, with), newSource(t, ep, with)
		if _, err := one.Token(context.Background()); err == nil {
			t.Fatal("no failure")
		}
		for range 5 {
			if _, err := other.Account("b").Token(context.Background()); err == nil || ep.count() != 1 {
				t.Fatalf("%d token requests, %v", ep.count(), err)
			}
			virtual.Advance(55 * time.Second)
		}
		virtual.Advance(2 * time.Minute)
		if _, err := other.Account("b").Token(context.Background()); err != nil {
			t.Errorf("after the lock-out: %v", err)
		}
	})
}

// A note that is damaged, or whose time is past or too far away, does not prevent a token request.
func TestNotesThatDoNotCount(t *testing.T) {
	for name, spoil := range map[string]func(data []byte) []byte{
		"damaged":  func(data []byte) []byte { return data[:len(data)/2] },
		"no time":  func([]byte) []byte { return tokensource.Envelope([]byte(`{"until":"x"}`)) },
		"too far":  func([]byte) []byte { return tokensource.Envelope([]byte(`{"until":"2999-01-01T00:00:00Z"}`)) },
		"no note":  func([]byte) []byte { return []byte("x") },
		"long ago": func([]byte) []byte { return tokensource.Envelope([]byte(`{"until":"1999-01-01T00:00:00Z"}`)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ep := &endpoint{}
				ep.set(func(n int, _ url.Values) reply {
					if n == 1 {
						return withHeader(reply{status: http.StatusTooManyRequests}, "Retry-After", "60")
					}
					return granted(n, time.Hour)
				})
				storage := new(tokensource.MemoryStorage)
				with := func(cfg *tokensource.Config) { cfg.Storage = storage }
				if _, err := newSource(t, ep, with).Token(context.Background()); err == nil {
					t.Fatal("no failure")
				}
				keys, err := storage.List(context.Background(), "authinject/waits/", false)
				if err != nil || len(keys) != 1 {
					t.Fatalf("notes %v, %v", keys, err)
				}
				data, _ := storage.Load(context.Background(), keys[0])
				_ = storage.Store(context.Background(), keys[0], spoil(data))
				if _, err := newSource(t, ep, with).Token(context.Background()); err != nil {
					t.Errorf("the note prevented a token request: %v", err)
				}
			})
		})
	}
}

// After a restart, nothing is sent while the wait of an earlier process lasts. The error does not
// say that the provider answered now, and says when the wait ends. A refresh that a person asks for
// is sent all the same.
func TestAWaitOutlivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{}
		ep.set(always(withHeader(reply{status: http.StatusServiceUnavailable}, "Retry-After", "600")))
		storage := new(tokensource.MemoryStorage)
		with := func(cfg *tokensource.Config) { cfg.Storage = storage }
		asked := time.Now().UTC().Format(time.RFC3339)
		until := time.Now().Add(10 * time.Minute).UTC().Format(time.RFC3339)
		before := newSource(t, ep, with)
		_ = wantError(t, before, tokensource.ClassWait)
		if st := before.Account("").Status(); st.Attempts != 1 || st.Err.Problem() != "provider_trouble" {
			t.Errorf("before the restart: %d attempts, %v", st.Attempts, st.Err)
		}
		virtual.Advance(time.Minute)

		src := newSource(t, ep, with)
		src.Warm()
		synctest.Wait()
		e := wantError(t, src, tokensource.ClassWait)
		want := "nothing is sent: the provider asked to wait until " + until + " (the token endpoint answered 503 at " +
			asked + ")"
		if e.Reason != want || e.Status != 0 || e.Problem() != "provider_wait" {
			t.Errorf("got  %s, status %d, problem %s\nwant %s", e.Reason, e.Status, e.Problem(), want)
		}
		if remedy := e.Remedy(); !strings.Contains(remedy, "asks again by itself after "+
			e.RetryAt.UTC().Format(time.RFC3339)) ||
			!strings.HasSuffix(remedy, "caddy authinject refresh orders") {
			t.Errorf("the remedy is %s", remedy)
		}
		if st := src.Account("").Status(); st.Attempts != 0 {
			t.Errorf("%d attempts, and nothing was sent", st.Attempts)
		}
		wantCount(t, ep, 1)
		ep.set(nil)
		if err := src.Account("").Refresh(t.Context()); err != nil {
			t.Errorf("a refresh on wish: %v", err)
		}
		wantCount(t, ep, 2)
		wantToken(t, src, "at2")
	})
}

// Not even a refresh that a person asks for is sent during a lock-out.
func TestARefreshOnWishDuringALockOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{}
		ep.set(always(lockedOut(401, "")))
		storage := new(tokensource.MemoryStorage)
		with := func(cfg *tokensource.Config) { cfg.Storage = storage }
		_ = wantError(t, newSource(t, ep, lockable, with), tokensource.ClassWait)
		src := newSource(t, ep, lockable, with) // a restart
		until := time.Now().Add(5 * time.Minute).UTC().Format("15:04")
		e := asError(t, src.Account("").Refresh(t.Context()), tokensource.ClassWait)
		if !strings.Contains(e.Reason, "nothing is sent") || !strings.Contains(e.Remedy(), until) {
			t.Errorf("%v: %s", e, e.Remedy())
		}
		wantCount(t, ep, 1)
	})
}

// Only requests that were sent count as attempts, and each refresh with one counts.
func TestAttemptsAreRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{script: always(reply{status: http.StatusServiceUnavailable})}
		readable := true
		src := newSource(t, ep, func(cfg *tokensource.Config) {
			cfg.ClientSecrets = []tokensource.Value{func(context.Context) (tokensource.Secret, error) {
				if readable {
					return tokensource.NewSecret(clientSecret), nil
				}
				return tokensource.Secret{}, errors.New("no such file or directory")
			}}
		})
		for _, row := range []struct {
			readable bool
			attempts int
		}{{true, 1}, {true, 2}, {false, 2}, {true, 3}} {
			readable = row.readable
			_ = src.Account("").Refresh(t.Context())
			if st := src.Account("").Status(); st.Attempts != row.attempts || st.Attempts != ep.count() {
				t.Errorf("%d attempts, want %d; %d requests: %v", st.Attempts, row.attempts, ep.count(), st.Err)
			}
		}
	})
}

// The code of a login is redeemed although the provider asked an earlier refresh to wait: a person wants
// it, and the code is good only now.
func TestLoginDuringARetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := rotating(0)
		src := newSource(t, ep, connecting(nil))
		connect(t, src, "")
		ep.set(func(n int, form url.Values) reply {
			if form.Get("grant_type") == "refresh_token" {
				return withHeader(refused(429, "too_many_requests"), "Retry-After", "600")
			}
			return rotated(n, time.Hour)
		})
		virtual.Advance(56 * time.Minute)
		wantToken(t, src, "at1")
		virtual.Advance(10 * time.Second)
		l, err := src.BeginLogin(t.Context(), inBrowser)
		if err != nil {
			t.Logf("the person is told before the login: %v", err)
			return
		}
		if err := finish(t, src, l, "code=c"); err != nil {
			t.Errorf("the person has allowed access, and the code is thrown away unsent: %v (%d requests)", err, ep.count())
		}
	})
}
