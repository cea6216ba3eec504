package tokensource_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// If the provider is down and there is no token, callers in a loop cause growing pauses between
// token requests: 1, 2, 4, 8, 16, 30, 30 … seconds, each give or take a fifth.
func TestBackOffSequence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{script: always(refused(http.StatusServiceUnavailable, ""))}
		src := newSource(t, ep)
		for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); virtual.Advance(10 * time.Millisecond) {
			wantError(t, src, tokensource.ClassWait)
		}
		calls := ep.all()
		for i, seconds := range []int{1, 2, 4, 8, 16, 30, 30, 30} {
			want := time.Duration(seconds) * time.Second
			gap := calls[i+1].at.Sub(calls[i].at)
			if gap < want*8/10 || gap > want*12/10+20*time.Millisecond {
				t.Errorf("wait %d was %s, want %s give or take a fifth", i+1, gap, want)
			}
		}
		wantAtMostADozenAMinute(t, calls)
	})
}

func wantAtMostADozenAMinute(t *testing.T, calls []call) {
	t.Helper()
	for i := range calls {
		n := 0
		for _, c := range calls[i:] {
			if c.at.Sub(calls[i].at) < time.Minute {
				n++
			}
		}
		if n > 12 {
			t.Fatalf("%d token requests in one minute, want at most 12", n)
		}
	}
}

// Whatever way the provider is down, each minute has at most a dozen token requests. Once the
// provider is up, there are tokens again within the limit of the back-off.
func TestProviderDownThenUp(t *testing.T) {
	down := map[string]reply{
		"503":                     refused(http.StatusServiceUnavailable, ""),
		"503 at once again":       withHeader(refused(http.StatusServiceUnavailable, ""), "Retry-After", "0"),
		"500":                     {status: http.StatusInternalServerError, body: "oops"},
		"connection refused":      {err: errReset, unsent: true},
		"connection reset":        {err: errReset},
		"hangs":                   {delay: time.Hour},
		"a page in place of JSON": {body: "<html>maintenance</html>"},
	}
	for name, answer := range down {
		for _, kind := range []string{"client_credentials", "refresh_token"} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ep := &endpoint{script: always(answer)}
					src := newSource(t, ep, func(cfg *tokensource.Config) {
						if kind == "refresh_token" {
							refreshing(&tokensource.MemoryStorage{}, "rt0")(cfg)
						}
					})
					src.Warm()
					virtual.Advance(3 * time.Minute)
					wantAtMostADozenAMinute(t, ep.all())
					ep.set(nil)
					virtual.Advance(47 * time.Second) // the limit of 36 s, and a hung request of 10 s
					ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
					defer cancel()
					if _, err := src.Token(ctx); err != nil {
						t.Errorf("no token within the back-off of the provider's return: %v", err)
					}
				})
			})
		}
	}
}

// Between two attempts, callers get the remembered error at once, with the time of the next
// attempt.
func TestErrorIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := refused(http.StatusServiceUnavailable, "")
		r.delay = 2 * time.Second
		ep := &endpoint{script: always(r)}
		src := newSource(t, ep)
		first := wantError(t, src, tokensource.ClassWait)
		began := time.Now()
		for range 1000 {
			if e := wantError(t, src, tokensource.ClassWait); e != first {
				t.Fatalf("got another error: %v", e)
			}
		}
		if time.Since(began) > 0 {
			t.Error("a caller waited for a remembered error")
		}
		wantCount(t, ep, 1)
		if left := first.RetryAfter(time.Now()); left < time.Second || left > 2*time.Second {
			t.Errorf("RetryAfter %s, want 1 to 2 s", left)
		}
	})
}

// Retry-After is obeyed in both its forms (RFC 9110 section 10.2.3), up to an hour.
func TestRetryAfter(t *testing.T) {
	date := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	for _, tt := range []struct {
		field    func() string
		min, max time.Duration
	}{
		{func() string { return "7" }, 7 * time.Second, 8 * time.Second},
		{func() string { return "600" }, 10 * time.Minute, 11 * time.Minute},
		{func() string { return date(90 * time.Second) }, 89 * time.Second, 92 * time.Second},
		{func() string { return date(-time.Hour) }, 800 * time.Millisecond, 2 * time.Second},
		{func() string { return "0" }, 800 * time.Millisecond, 2 * time.Second},
		{func() string { return "999999999999999999" }, time.Hour, time.Hour + time.Minute},
		{func() string { return "99999999999999999999" }, time.Hour, time.Hour + time.Minute}, // more than 64 bits
		{func() string { return "soon" }, 800 * time.Millisecond, 2 * time.Second},
		{func() string { return "-5" }, 800 * time.Millisecond, 2 * time.Second},
	} {
		for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
			for _, kind := range []string{"client_credentials", "refresh_token"} {
				synctest.Test(t, func(t *testing.T) {
					field := tt.field()
					if kind == "refresh_token" && status == http.StatusServiceUnavailable && (field == "soon" || field == "-5") {
						return // the provider said nothing: a lost answer has its quick retry
					}
					ep := &endpoint{script: func(n int, _ url.Values) reply {
						if n == 1 {
							return withHeader(refused(status, ""), "Retry-After", field)
						}
						return granted(n, time.Hour)
					}}
					src := newSource(t, ep, func(cfg *tokensource.Config) {
						if kind == "refresh_token" {
							refreshing(&tokensource.MemoryStorage{}, "rt0")(cfg)
						}
					})
					src.Warm()
					virtual.Advance(2 * time.Hour)
					calls := ep.all()
					if gap := calls[1].at.Sub(calls[0].at); gap < tt.min || gap > tt.max {
						t.Errorf("%s, %d, Retry-After %q: asked again after %s, want %s to %s", kind, status, field, gap, tt.min, tt.max)
					}
				})
			}
		}
	}
}

// The pauses depend on the class: after an error of class operator, and after a refusal that no
// standard defines, requests are rare.
func TestBackOffByClass(t *testing.T) {
	for _, tt := range []struct {
		answer   reply
		class    tokensource.Class
		min, max time.Duration
	}{
		{refused(400, "invalid_scope"), tokensource.ClassOperator, 4 * time.Second, 6 * time.Second},
		{refused(403, ""), tokensource.ClassWait, 24 * time.Second, 36 * time.Second},
		{refused(429, ""), tokensource.ClassWait, 800 * time.Millisecond, 1200 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			src := newSource(t, &endpoint{script: always(tt.answer)})
			e := wantError(t, src, tt.class)
			if wait := time.Until(e.RetryAt); wait < tt.min || wait > tt.max {
				t.Errorf("%d %s: next attempt in %s, want %s to %s", tt.answer.status, tt.answer.body, wait, tt.min, tt.max)
			}
		})
	}
}

// A Retry-After that is a date counts from the Date of the answer: this machine's clock may be wrong.
func TestRetryAfterByTheProvidersClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		theirs := time.Now().Add(-10 * time.Minute).UTC()
		src := newSource(t, &endpoint{script: always(reply{status: http.StatusServiceUnavailable, header: http.Header{
			"Date":        {theirs.Format(http.TimeFormat)},
			"Retry-After": {theirs.Add(2 * time.Minute).Format(http.TimeFormat)},
		}})})
		if left := time.Until(wantError(t, src, tokensource.ClassWait).RetryAt); left < 2*time.Minute {
			t.Errorf("the next try is in %v", left)
		}
	})
}

// If the provider limits the requests, the next client secret is not tried at once.
func TestNextClientSecretDuringARetryAfter(t *testing.T) {
	ep := &endpoint{script: always(withHeader(refused(http.StatusTooManyRequests, "invalid_client"), "Retry-After", "60"))}
	src := newSource(t, ep, func(cfg *tokensource.Config) {
		cfg.ClientSecrets = append(cfg.ClientSecrets, tokensource.Literal("second"))
	})
	wantError(t, src, tokensource.ClassWait)
	wantCount(t, ep, 1)
}

// While client secrets are rotated, each attempt tries every secret once, beginning with the one
// accepted last. If the provider refuses for another reason, the next secret is not tried.
func TestSeveralClientSecrets(t *testing.T) {
	secrets := func(cfg *tokensource.Config) {
		cfg.ClientAuth = tokensource.ClientSecretPost
		cfg.ClientSecrets = []tokensource.Value{
			tokensource.Literal("old"),
			func(context.Context) (tokensource.Secret, error) {
				return tokensource.Secret{}, fmt.Errorf("no such file")
			},
			tokensource.Literal("new"),
		}
	}
	for code, refusal := range map[string]reply{
		"invalid_client":               refused(401, "invalid_client"),
		"incorrect_client_credentials": refused(200, "incorrect_client_credentials"),
		"unauthorized_client":          refused(401, "unauthorized_client"), // Keycloak
	} {
		synctest.Test(t, func(t *testing.T) {
			accepted := "new"
			ep := &endpoint{}
			ep.script = func(n int, form url.Values) reply {
				if form.Get("client_secret") != accepted {
					return refusal
				}
				return granted(n, time.Minute)
			}
			src := newSource(t, ep, secrets)
			wantToken(t, src, "at2")
			virtual.Advance(time.Hour)
			wantToken(t, src, "at3") // the secret accepted last comes first

			ep.set(always(refused(400, "invalid_scope")))
			virtual.Advance(time.Hour)
			wantError(t, src, tokensource.ClassOperator)
			wantCount(t, ep, 4)

			ep.set(always(refusal))
			virtual.Advance(time.Hour)
			if e := wantError(t, src, tokensource.ClassOperator); e.Code != code {
				t.Errorf("got code %q, want %s", e.Code, code)
			}
			wantCount(t, ep, 6)
		})
	}
}

// The pause after a refusal grows with the refusals. The failures of a storage, and the hours in
// which an account waits for a person, do not count.
func TestPauseGrowsWithTheProvidersFailures(t *testing.T) {
	busy := reply{status: http.StatusServiceUnavailable}
	synctest.Test(t, func(t *testing.T) {
		storage := &shelf{Storage: new(tokensource.MemoryStorage)}
		ep := &endpoint{script: always(busy)}
		src := newSource(t, ep, lockable, func(cfg *tokensource.Config) {
			cfg.Grant, cfg.Storage = tokensource.RefreshToken{Initial: tokensource.Literal("seed")}, storage
		})
		storage.fail("records/", errDisk, errDisk)
		src.Warm()
		virtual.Advance(time.Hour)
		wantCount(t, ep, 0)
		storage.fail("records/", nil, nil)
		st := src.Account("").Status()
		for ; st.Err.Status != busy.status; st = src.Account("").Status() {
			virtual.Advance(100 * time.Millisecond)
		}
		if time.Until(st.RefreshAt) > 2*time.Second {
			t.Errorf("after the storage failed for an hour, the next try is in %v", time.Until(st.RefreshAt))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		memory := new(tokensource.MemoryStorage)
		ep := &endpoint{script: func(n int, _ url.Values) reply { return rotated(n, time.Minute) }}
		src, other := newSource(t, ep, connecting(memory)), newSource(t, ep, connecting(memory))
		connect(t, src, "alice")
		ep.set(always(refused(http.StatusBadRequest, "invalid_grant")))
		virtual.Advance(2 * time.Minute)
		_, err := src.Account("alice").Token(t.Context())
		asError(t, err, tokensource.ClassLogin)
		for range 100 { // each use looks whether a person has connected the account
			virtual.Advance(10 * time.Second)
			_, _ = src.Account("alice").Token(t.Context())
		}
		ep.set(func(n int, _ url.Values) reply { return rotated(n, 2*time.Second) })
		connect(t, other, "alice")
		ep.set(always(busy))
		virtual.Advance(10 * time.Second)
		before := ep.count()
		for range 10 {
			_, _ = src.Account("alice").Token(t.Context())
			virtual.Advance(time.Second)
			if ep.count() > before {
				break
			}
		}
		if st := src.Account("alice").Status(); ep.count() == before || time.Until(st.RefreshAt) > 2*time.Second {
			t.Errorf("after a login, the next try is in %v, %d requests", time.Until(st.RefreshAt), ep.count()-before)
		}
	})
}
