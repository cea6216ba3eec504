package connect

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

func TestTiltify(t *testing.T) {
	for _, format := range []tokensourcetest.BodyFormat{tokensourcetest.FormatJSON, tokensourcetest.FormatForm} {
		t.Run(string(format), func(t *testing.T) {
			t.Parallel()
			r := start(t, tokensourcetest.Tiltify, tokensourcetest.ProviderConfig{},
				setup{source: "body_format " + string(format)})
			page := openPage(t, r)
			page.Row("tiltify").Connect()

			authorize := last(t, r.emu.AuthorizeRequests())
			wantParams(t, "authorize request", authorize.Params, map[string]string{
				"response_type": "code", "client_id": r.emu.ClientID(), "redirect_uri": r.URL + "/connect/callback",
				"scope": "public",
				"state": "*", "code_challenge": "*", "code_challenge_method": "S256",
			})
			exchange := r.emu.TokenRequests()[0]
			wantParams(t, "token request", exchange.Params, map[string]string{
				"grant_type": "authorization_code", "code": authorize.Code, "redirect_uri": r.URL + "/connect/callback",
				"client_id": r.emu.ClientID(), "client_secret": tokensourcetest.DefaultClientSecret, "code_verifier": "*",
			})
			if exchange.Format != format || exchange.RawQuery != "" || exchange.Header.Get("Authorization") != "" {
				t.Errorf("the token request has its parameters in the %s, and the query %q", exchange.Format, exchange.RawQuery)
			}
			wantBearer(t, r.Works())

			r.Restart()
			before := r.Works().TokenNumber
			r.emu.RevokeAccessTokens()
			if after := r.Works(); after.TokenNumber <= before {
				t.Errorf("token %d was replaced by token %d", before, after.TokenNumber)
			}
			refresh := last(t, r.emu.TokenRequests())
			wantParams(t, "refresh request", refresh.Params, map[string]string{
				"grant_type": "refresh_token", "refresh_token": exchange.RefreshToken,
				"client_id": r.emu.ClientID(), "client_secret": tokensourcetest.DefaultClientSecret,
			})
			if refresh.Format != format {
				t.Errorf("the refresh request has its parameters in the %s", refresh.Format)
			}

			// The next one goes with the new refresh token; a dead one is invalid_request.
			r.emu.Revoke(refresh.RefreshToken)
			r.Ask("/things/1")
			r.LoginNeeded()
			if refused := last(t, r.emu.TokenRequests()); refused.Params.Get("refresh_token") != refresh.RefreshToken ||
				refused.Outcome != "invalid_request" {
				t.Errorf("the refresh ended with %s", refused.Outcome)
			}
		})
	}
}

// Tiltify answers a second login with the token that it issued before, which ends 2 hours after its
// created_at and not 2 hours after the answer.
func TestTiltifyHandsOutAnOlderToken(t *testing.T) {
	t.Parallel()
	var ago atomic.Int64
	ago.Store(int64(100 * time.Minute))
	r := start(t, tokensourcetest.Tiltify, tokensourcetest.ProviderConfig{Config: tokensourcetest.Config{
		Now: func() time.Time { return time.Now().Add(-time.Duration(ago.Load())) },
	}}, setup{})
	page := openPage(t, r)
	account := page.Row("tiltify")
	consent := account.ClickConnect()
	consent.Login()
	ago.Store(0)
	consent.follow(`//button[normalize-space()="Allow"]`)
	account.wantConnected()
	first := r.emu.Issued()[0]
	account.Disconnect()
	ago.Store(int64(-100 * time.Minute)) // the provider is that much later now
	account.Connect()
	if again := last(t, r.emu.TokenRequests()); again.Outcome != tokensourcetest.OutcomeRepeated ||
		again.AccessToken != first.AccessToken {
		t.Fatalf("the provider's answer was %s", again.Outcome)
	}
	// Of the token's 2 hours the proxy, whose clock is not the provider's, knows the whole.
	const minute = "2006-01-02 15:04 UTC"
	end := first.Issued.Add(2 * time.Hour).UTC()
	// The clock may have reached the next minute before the proxy asked.
	shown := evaluate[string](page.tab, "("+element(account.xpath+"//time")+" || {}).title") // the time in UTC
	if !contains(shown, end.Format(minute)) && !contains(shown, end.Add(time.Minute).Format(minute)) {
		t.Errorf("the token ends at %s; the page shows %q", end.Format(minute), shown)
	}
}

func TestTiltifyRenews(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.Tiltify, tokensourcetest.ProviderConfig{
		Config: tokensourcetest.Config{AccessTokenLifetime: short},
	}, setup{source: early})
	openPage(t, r).Row("tiltify").Connect()
	r.Works()
	rig.Eventually(t, func() bool { return r.emu.CountGrant("refresh_token") > 1 }, "two renewals")
	r.Works()
	tokensourcetest.Report(t, r.emu.CheckReuse(), r.emu.CheckExpired())
}

func TestTiltifyV3(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.TiltifyV3, tokensourcetest.ProviderConfig{}, setup{})
	page := openPage(t, r)
	account := page.Row("tiltify_v3")
	account.Connect()
	if state := account.State(); !contains(state, "serves until the API refuses it") {
		t.Errorf("of a token without an end the page says %q", state)
	}
	authorize := last(t, r.emu.AuthorizeRequests())
	wantParams(t, "authorize request", authorize.Params, map[string]string{
		"response_type": "code", "client_id": r.emu.ClientID(), "redirect_uri": r.URL + "/connect/callback",
		"scope": "public",
		"state": "*", "code_challenge": "*", "code_challenge_method": "S256",
	})
	exchange := r.emu.TokenRequests()[0]
	wantParams(t, "token request", exchange.Params, map[string]string{
		"grant_type": "authorization_code", "code": authorize.Code, "redirect_uri": r.URL + "/connect/callback",
		"client_id": r.emu.ClientID(), "code_verifier": "*",
	})
	id, secret, ok := (&http.Request{Header: exchange.Header}).BasicAuth()
	if !ok || id != r.emu.ClientID() || secret != tokensourcetest.DefaultClientSecret ||
		exchange.Format != tokensourcetest.FormatForm {
		t.Errorf("the token request is a %s with Basic %v of %q", exchange.Format, ok, id)
	}
	r.Restart()
	wantBearer(t, r.Works())

	// Nothing can renew this token.
	r.emu.RevokeAccessTokens()
	r.Ask("/things/1")
	page.url = r.LoginNeeded()
	page.Open()
	account = page.Row("tiltify_v3")
	if state := account.State(); !contains(state, "onnect again") {
		t.Errorf("of a refused token the page says %q", state)
	}
	account.Connect()
	r.Works()
}

// A source with the application's own token, which Tiltify shows to the owner, needs no login.
func TestTiltifyV3Static(t *testing.T) {
	t.Parallel()
	emu := tokensourcetest.StartProvider(t, tokensourcetest.TiltifyV3, tokensourcetest.ProviderConfig{})
	r := startWith(t, emu, setup{
		source: "token {env.TOKEN}", local: true,
		options: []harness.Option{harness.Env("TOKEN", emu.IssueAccessToken(user))},
	})
	wantBearer(t, r.Works())
}
