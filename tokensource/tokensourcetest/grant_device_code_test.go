package tokensourcetest_test

import (
	"net/url"
	"testing"
	"time"

	. "github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// The device authorization endpoint gives codes. Their token is granted once, to the client that
// has them, when the person has allowed access, and only to requests that keep to the interval.
func TestDeviceCode(t *testing.T) {
	clock := newClock()
	srv := Start(t, Config{
		Now: clock.Now, Rotation: StrictRotation(),
		Clients: []Client{{ID: DefaultClientID, Secrets: []string{DefaultClientSecret}},
			{ID: "other", Secrets: []string{DefaultClientSecret}}},
	})
	post := func(to, client string, form url.Values) reply {
		t.Helper()
		var params []string
		for name, values := range form {
			params = append(params, name, values[0])
		}
		req := tokenRequest(srv, params...)
		req.URL.Path = to
		req.SetBasicAuth(client, DefaultClientSecret)
		r, err := send(srv, req)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	begin := func() (code, userCode string) {
		t.Helper()
		r := post("/oauth/device", DefaultClientID, url.Values{"scope": {"a b"}})
		if r.status != 200 || r.members["expires_in"] != 600.0 || r.members["interval"] != 5.0 ||
			r.text("verification_uri") != srv.URL+"/device" {
			t.Fatalf("%d %s", r.status, r.body)
		}
		return r.text("device_code"), r.text("user_code")
	}
	token := func(code, client string) reply {
		t.Helper()
		return post("/oauth/token", client, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"},
			"device_code": {code}})
	}
	code, userCode := begin()
	wantError(t, token(code, DefaultClientID), 400, "slow_down") // at once
	clock.Advance(10 * time.Second)
	wantError(t, token(code, DefaultClientID), 400, "authorization_pending")
	clock.Advance(9 * time.Second)
	wantError(t, token(code, DefaultClientID), 400, "slow_down")
	clock.Advance(15 * time.Second)
	if err := srv.AllowDevice(userCode, "ada"); err != nil {
		t.Fatal(err)
	}
	wantError(t, token(code, "other"), 400, "invalid_grant")
	r := token(code, DefaultClientID)
	wantToken(t, r)
	if r.text("refresh_token") == "" || r.text("scope") != "a b" {
		t.Errorf("granted %s", r.body)
	}
	wantError(t, token(code, DefaultClientID), 400, "invalid_grant")
	wantToken(t, refreshWith(t, srv, r.text("refresh_token")))

	code, userCode = begin()
	if err := srv.DenyDevice(userCode); err != nil {
		t.Fatal(err)
	}
	clock.Advance(5 * time.Second)
	wantError(t, token(code, DefaultClientID), 400, "access_denied")
	code, userCode = begin()
	clock.Advance(10 * time.Minute)
	wantError(t, token(code, DefaultClientID), 400, "expired_token")
	if err := srv.AllowDevice(userCode, "ada"); err == nil {
		t.Error("a code that has ended was allowed")
	}
	for _, form := range []url.Values{{"code_challenge": {"x"}}, {"code_challenge_method": {"S256"}},
		{"redirect_uri": {"https://a.example"}}} {
		wantError(t, post("/oauth/device", DefaultClientID, form), 400, "invalid_request")
	}
}
