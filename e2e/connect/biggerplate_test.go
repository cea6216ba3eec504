package connect

import (
	"net/http"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

func TestBiggerplate(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{}, setup{})
	page := openPage(t, r)
	account := page.Row("biggerplate")
	account.Connect()

	authorize := last(t, r.emu.AuthorizeRequests())
	wantParams(t, "authorize request", authorize.Params, map[string]string{
		"response_type": "code", "client_id": r.emu.ClientID(), "redirect_uri": r.URL + "/connect/callback",
		"state": "*", "code_challenge": "*", "code_challenge_method": "S256",
	})
	exchange := r.emu.TokenRequests()[0]
	wantParams(t, "token request", exchange.Params, map[string]string{
		"grant_type": "authorization_code", "response_type": "token", "code": authorize.Code,
		"redirect_uri": r.URL + "/connect/callback",
		"client_id":    r.emu.ClientID(), "client_secret": tokensourcetest.DefaultClientSecret, "code_verifier": "*",
	})
	if exchange.Format != tokensourcetest.FormatForm || exchange.RawQuery != "" ||
		exchange.Header.Get("Authorization") != "" {
		t.Errorf("the token request has its parameters in the %s, and the query %q", exchange.Format, exchange.RawQuery)
	}
	wantBearer(t, r.Works())
	if state := account.State(); !contains(state, "renews by itself, next in") || !contains(state, "min") {
		t.Errorf("of a token for an hour the page says %q", state)
	}

	// The answer to a refresh has no refresh token. The proxy keeps the old one, also after a
	// restart.
	for range 2 {
		r.Restart()
		before := r.Works().TokenNumber
		r.emu.RevokeAccessTokens()
		if after := r.Works(); after.TokenNumber <= before {
			t.Errorf("token %d was replaced by token %d", before, after.TokenNumber)
		}
		wantParams(t, "refresh request", last(t, r.emu.TokenRequests()).Params, map[string]string{
			"grant_type": "refresh_token", "refresh_token": exchange.RefreshToken,
			"client_id": r.emu.ClientID(), "client_secret": tokensourcetest.DefaultClientSecret,
		})
	}

	// Biggerplate calls a dead refresh token invalid_request.
	r.emu.Revoke(exchange.RefreshToken)
	r.Ask("/things/1")
	login := r.LoginNeeded()
	if refused := last(t, r.emu.TokenRequests()); refused.Outcome != "invalid_request" ||
		refused.Status != http.StatusBadRequest {
		t.Errorf("the refresh ended with %d %s", refused.Status, refused.Outcome)
	}
	page.url = login
	page.Open()
	account = page.Row("biggerplate")
	if state := account.State(); !contains(state, "onnect again") {
		t.Errorf("of a dead login the page says %q", state)
	}
	account.Connect()
	r.Works()
	tokensourcetest.Report(t, r.emu.CheckCredentials())
}

func TestBiggerplateRenews(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{
		Config: tokensourcetest.Config{AccessTokenLifetime: short},
	}, setup{source: early})
	openPage(t, r).Row("biggerplate").Connect()
	r.Works()
	rig.Eventually(t, func() bool { return r.emu.CountGrant("refresh_token") > 1 }, "two renewals")
	r.Works()
	tokensourcetest.Report(t, r.emu.CheckExpired())
}
