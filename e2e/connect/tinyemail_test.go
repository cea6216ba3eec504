package connect

import (
	"net/http"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

func TestTinyEmail(t *testing.T) {
	for name, rotation := range map[string]tokensourcetest.Rotation{
		"one refresh token": {},
		"rotating":          tokensourcetest.StrictRotation(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, tokensourcetest.TinyEmail, tokensourcetest.ProviderConfig{
				Config: tokensourcetest.Config{Rotation: rotation, AccessTokenLifetime: short},
			}, setup{source: early})
			page := openPage(t, r)
			account := page.Row("tinyemail")
			if state := account.State(); state != "Not connected." {
				t.Errorf("at first the page says %q", state)
			}
			account.Connect()
			if state := account.State(); !contains(state, "Connected, renews by itself") {
				t.Errorf("after the login the page says %q", state)
			}

			authorize := last(t, r.emu.AuthorizeRequests())
			wantParams(t, "authorize request", authorize.Params, map[string]string{
				"grant_type": "authorization_code", "response_type": "code", "client_id": r.emu.ClientID(),
				"scope":        "import_customers",
				"redirect_uri": r.URL + "/connect/callback", "state": "*", "code_challenge": "*", "code_challenge_method": "S256",
			})
			exchange := r.emu.TokenRequests()[0]
			wantParams(t, "token request", exchange.Params, map[string]string{
				"response_type": "token", "client_id": r.emu.ClientID(), "client_secret": tokensourcetest.DefaultClientSecret,
				"code": authorize.Code, "redirect_uri": r.URL + "/connect/callback", "grant_type": "authorization_code",
				"code_verifier": "*",
			})
			if exchange.Format != tokensourcetest.FormatQuery || exchange.Method != http.MethodPost ||
				exchange.Header.Get("Authorization") != "" {
				t.Errorf("the token request is %s with parameters in the %s", exchange.Method, exchange.Format)
			}
			wantBearer(t, r.Works())

			rig.Eventually(t, func() bool { return r.emu.CountGrant("refresh_token") > 0 }, "a renewal")
			refresh := r.emu.TokenRequests()[1]
			wantParams(t, "refresh request", refresh.Params, map[string]string{
				"grant_type": "refresh_token", "refresh_token": exchange.RefreshToken, "client_id": r.emu.ClientID(),
				"client_secret": tokensourcetest.DefaultClientSecret,
			})
			if refresh.Format != tokensourcetest.FormatQuery || refresh.Method != http.MethodPost {
				t.Errorf("the refresh request is %s with parameters in the %s", refresh.Method, refresh.Format)
			}

			r.Restart()
			before := r.Works().TokenNumber
			r.emu.RevokeAccessTokens()
			if after := r.Works(); after.TokenNumber <= before {
				t.Errorf("token %d was replaced by token %d", before, after.TokenNumber)
			}
			tokensourcetest.Report(t, r.emu.CheckReuse(), r.emu.CheckCredentials())
		})
	}
}
