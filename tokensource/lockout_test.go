package tokensource_test

import (
	"fmt"
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

// lockedOut returns the answer that announces a lock-out.
func lockedOut(status int, retryAfter string) reply {
	r := reply{status: status, body: `{"more_info":"","status":"too_many_failed_logins","message":"","access_token":"at"}`}
	r.header = http.Header{"Retry-After": {retryAfter}}
	return r
}

func lockable(cfg *tokensource.Config) {
	cfg.LockOut = provider.LockOut{Code: "too_many_failed_logins", Member: "status", MinWait: 5 * time.Minute,
		Restarts: true}
}

// perDeployment gives each deployment its own endpoints.
func perDeployment(cfg *tokensource.Config) {
	cfg.Variables = []provider.Variable{deployment}
	cfg.TokenURL, cfg.AuthorizeURL, cfg.RevokeURL = "https://{deployment}.example.com/token",
		"https://{deployment}.example.com/authorize", "https://{deployment}.example.com/revoke"
}

func connectAt(t testing.TB, src *tokensource.Source, account, deployment string) error {
	t.Helper()
	l := begin(t, src, tokensource.LoginRequest{Account: account, Variables: map[string]string{"deployment": deployment}})
	return finish(t, src, l, "code=c")
}

// During a lock-out nothing is sent, for any account and for any reason. The first request after it
// is sent. Other deployments are not locked out.
func TestLockOut(t *testing.T) {
	for _, tt := range []struct {
		status     int
		retryAfter string
		lasts      time.Duration
	}{
		{401, "300", 5 * time.Minute},
		{429, "10", 5 * time.Minute},
		{400, "900", 15 * time.Minute},
		{200, "", 5 * time.Minute},
		{503, "x", 5 * time.Minute},
		{302, "-1", 5 * time.Minute},
	} {
		for _, first := range []string{"refresh", "login", "revocation"} {
			t.Run(fmt.Sprintf("%d/%s/%s", tt.status, tt.retryAfter, first), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ep := rotating(0)
					src := newSource(t, ep, connecting(nil), lockable, perDeployment)
					for account, deployment := range map[string]string{"alice": "acme", "bob": "acme", "carol": "other"} {
						if err := connectAt(t, src, account, deployment); err != nil {
							t.Fatal(err)
						}
					}
					alice, bob, carol := src.Account("alice"), src.Account("bob"), src.Account("carol")
					tokens := map[*tokensource.Account]*tokensource.Token{}
					for _, a := range []*tokensource.Account{alice, bob, carol} {
						tok, err := a.Token(t.Context())
						if err != nil {
							t.Fatal(err)
						}
						tokens[a] = tok
					}
					answer := lockedOut(tt.status, tt.retryAfter)
					ep.set(always(answer))
					ep.revocation.set(always(answer))
					began := time.Now()
					switch first {
					case "refresh":
						_, err := alice.Reject(t.Context(), tokens[alice])
						e := asError(t, err, tokensource.ClassWait)
						if got := time.Until(e.RetryAt); got < tt.lasts || got > tt.lasts+time.Minute ||
							!strings.Contains(e.Reason, "locked the client out") {
							t.Errorf("%v, to be retried in %s", e, got)
						}
					case "login":
						asError(t, connectAt(t, src, "dave", "acme"), tokensource.ClassWait)
					case "revocation":
						asError(t, src.Account("alice").Disconnect(t.Context()), tokensource.ClassWait)
					}
					if n := ep.count() + ep.revocation.count(); n != 4 {
						t.Fatalf("%d requests, want one after three logins", n)
					}
					ep.set(func(n int, _ url.Values) reply { return rotated(n, time.Hour) })
					ep.revocation.set(always(reply{}))
					for time.Since(began) < tt.lasts-8*time.Second {
						_, _ = bob.Token(t.Context())
						_, _ = bob.Reject(t.Context(), tokens[bob])
						_, _ = alice.Token(t.Context())
						asError(t, connectAt(t, src, "erin", "acme"), tokensource.ClassWait)
						virtual.Advance(7 * time.Second)
					}
					asError(t, bob.Disconnect(t.Context()), tokensource.ClassWait)
					if n := ep.count() + ep.revocation.count(); n != 4 {
						t.Fatalf("%d requests during the lock-out", n-4)
					}
					next, err := carol.Reject(t.Context(), tokens[carol])
					if err != nil || next.Generation != 2 {
						t.Errorf("another deployment: %v", err)
					}
					virtual.Advance(time.Until(began.Add(tt.lasts + time.Second)))
					if err := connectAt(t, src, "erin", "acme"); err != nil {
						t.Errorf("after the lock-out: %v", err)
					}
				})
			})
		}
	}
}

// A refresh that met a lock-out is sent by itself after the lock-out, and not earlier.
func TestRefreshAfterALockOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := rotating(0)
		src := newSource(t, ep, connecting(nil), lockable)
		connect(t, src, "")
		src.Warm()
		ep.set(always(lockedOut(401, "")))
		for ep.count() < 2 {
			virtual.Advance(time.Second)
		}
		met := ep.all()[1].at
		ep.set(func(n int, _ url.Values) reply { return rotated(n, time.Hour) })
		virtual.Advance(time.Until(met.Add(5*time.Minute - time.Second)))
		wantCount(t, &ep.endpoint, 2)
		virtual.Advance(35 * time.Second)
		wantCount(t, &ep.endpoint, 3)
		wantToken(t, src, "at3")
	})
}

// The words that announce a lock-out do not count in another member, or from another provider.
func TestNoLockOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, body := range []string{`{"error":"too_many_failed_logins"}`, `{"status":["too_many_failed_logins"]}`,
			`{"status":"ok"}`, `too_many_failed_logins`} {
			ep := &authServer{}
			ep.script = always(reply{status: 400, body: body})
			src := newSource(t, ep, connecting(nil), lockable)
			for range 2 {
				err := finish(t, src, begin(t, src, inBrowser), "code=c")
				if err == nil || strings.Contains(err.Error(), "locked") {
					t.Errorf("%s: %v", body, err)
				}
			}
			wantCount(t, &ep.endpoint, 2)
		}
	})
}
