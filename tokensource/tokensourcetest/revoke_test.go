package tokensourcetest_test

import (
	"net/http"
	"testing"

	. "github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

func TestAcceloRevoke(t *testing.T) {
	p := StartProvider(t, Accelo, ProviderConfig{})
	r := pinCall(pinOf(t, p, acceloAuthorize...)).send(t, p)
	api := p.Endpoints().API + "/x"
	revoke := func(c tokenCall) reply {
		c.url = p.Endpoints().Revoke
		return c.send(t, p)
	}
	wantError(t, revoke(tokenCall{body: form("token", r.text("access_token"))}), 401, "invalid_client")
	wantError(t, revoke(acceloCall("token_type_hint", "x")), 400, "invalid_request")
	wantError(t, revoke(tokenCall{method: http.MethodGet}), 405, "invalid_request")
	wantStatus(t, p, api, "Bearer "+r.text("access_token"), 200)
	if r := revoke(acceloCall("token", "unknown")); r.status != 200 {
		t.Errorf("an unknown token: %d %s", r.status, r.body)
	}
	if r := revoke(acceloCall("token", r.text("access_token"))); r.status != 200 || r.text("status") != "ok" {
		t.Errorf("revoked: %d %s", r.status, r.body)
	}
	wantStatus(t, p, api, "Bearer "+r.text("access_token"), 401)
	inQuery := tokenCall{query: form("client_id", AcceloClientID, "client_secret", DefaultClientSecret),
		body: form("token", r.text("refresh_token"))}
	if r := revoke(inQuery); r.status != 200 {
		t.Errorf("with credentials in the query: %d %s", r.status, r.body)
	}
	wantError(t, acceloCall("grant_type", "refresh_token", "refresh_token", r.text("refresh_token")).send(t, p), 400,
		"invalid_grant")
	records := p.RevokeRequests()
	if len(records) != 6 || records[4].Outcome != "ok" || records[4].Token != r.text("access_token") ||
		records[5].Auth != AuthQuery {
		t.Errorf("records %+v", records)
	}
}
