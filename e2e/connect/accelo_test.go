package connect

import (
	"net/http"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

const acceloScope = "read(all),write(companies,contacts)"

// wantRawBasic checks that HTTP Basic had the client id and secret unencoded. The id holds an @,
// which RFC 6749 section 2.3.1 encodes.
func wantRawBasic(t *testing.T, req tokensourcetest.TokenRequest) {
	t.Helper()
	id, secret, ok := (&http.Request{Header: req.Header}).BasicAuth()
	if !ok || id != tokensourcetest.AcceloClientID || secret != tokensourcetest.DefaultClientSecret {
		t.Errorf("the token request has Basic %v of %q", ok, id)
	}
	if req.Format != tokensourcetest.FormatForm || req.RawQuery != "" {
		t.Errorf("the token request has its parameters in the %s, and the query %q", req.Format, req.RawQuery)
	}
}

// The user of an installed application types the PIN that Accelo shows.
func TestAccelo(t *testing.T) {
	for name, test := range map[string]struct{ inject, place string }{
		"header": {"", "header"},
		"query":  {"inject query _bearer_token", "query"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, tokensourcetest.Accelo, tokensourcetest.ProviderConfig{}, setup{
				source: "scopes read(all) write(companies,contacts)\ntoken_param expires_in 7000\n" + test.inject,
			})
			page := openPage(t, r)
			account := page.Row("accelo")
			provider := account.ClickConnectInNewTab()
			provider.Allow()
			account.FinishWith(provider.PIN())
			account.wantConnected()

			authorize := last(t, r.emu.AuthorizeRequests())
			wantParams(t, "authorize request", authorize.Params, map[string]string{
				"response_type": "code", "client_id": r.emu.ClientID(), "scope": acceloScope,
				"state": "*", "code_challenge": "*", "code_challenge_method": "S256",
			})
			if !contains(authorize.RawQuery, "scope="+acceloScope) {
				t.Errorf("the scopes are not verbatim in %s", authorize.RawQuery)
			}
			exchange := r.emu.TokenRequests()[0]
			wantRawBasic(t, exchange)
			wantParams(t, "token request", exchange.Params, map[string]string{
				"grant_type": "authorization_code", "code": authorize.Code, "expires_in": "7000", "code_verifier": "*",
			})
			if first := r.emu.Issued()[0]; first.Expiry.Sub(first.Issued) != 7000*time.Second {
				t.Errorf("the token lives %v", first.Expiry.Sub(first.Issued))
			}

			r.Restart()
			// A client's own credentials go nowhere, least of all beside the token.
			request := r.Works("Authorization", "Bearer of-the-client")
			if got := token(t, request); got.Place != test.place || got.Token != r.emu.Issued()[0].AccessToken {
				t.Errorf("the token came in %s", got.Place)
			}
			r.Ask("/things/1?_bearer_token=of-the-client")
			if last := last(t, r.emu.APIRequests()); last.Verdict != tokensourcetest.Accepted {
				t.Errorf("the API found the request %s", last.Verdict)
			}
			r.emu.RevokeAccessTokens()
			if after := r.Works(); after.TokenNumber <= request.TokenNumber {
				t.Errorf("token %d was replaced by token %d", request.TokenNumber, after.TokenNumber)
			}
			refresh := last(t, r.emu.TokenRequests())
			wantRawBasic(t, refresh)
			wantParams(t, "refresh request", refresh.Params, map[string]string{
				"grant_type": "refresh_token", "refresh_token": exchange.RefreshToken,
			})
			tokensourcetest.Report(t, r.emu.CheckCredentials())
		})
	}
}

// The proxy refreshes a token before it ends: afterwards Accelo refuses the refresh token.
func TestAcceloRefreshesBeforeTheEnd(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.Accelo, tokensourcetest.ProviderConfig{
		Config: tokensourcetest.Config{AccessTokenLifetime: short, RefuseLateRefresh: true},
	}, setup{source: early})
	page := openPage(t, r)
	account := page.Row("accelo")
	provider := account.ClickConnectInNewTab()
	provider.Allow()
	account.FinishWith(provider.PIN())
	account.wantConnected()
	r.Works()
	rig.Eventually(t, func() bool { return r.emu.CountGrant("refresh_token") > 1 }, "two renewals")
	for _, req := range r.emu.TokenRequests() {
		if req.Outcome != tokensourcetest.OutcomeIssued {
			t.Errorf("%s ended with %s", req.Grant, req.Outcome)
		}
	}
	r.Works()
}

// Each account belongs to a deployment, which has its own host for login, tokens and API.
func TestAcceloDeployments(t *testing.T) {
	t.Parallel()
	cfg := tokensourcetest.ProviderConfig{Deployments: []string{"acme", "planet-express"}}
	cfg.TLS = true
	emu := tokensourcetest.StartProvider(t, tokensourcetest.Accelo, cfg)
	hosts := emu.DeploymentHosts()
	r := startWith(t, emu, setup{
		base:     hosts,
		upstream: rig.Block(upstreamOfAccount(hosts), "account {http.request.header.X-Account}"),
		options: []harness.Option{
			resolveLocalhost(t), harness.File("ca.pem", string(emu.CACertPEM())), harness.Env("SSL_CERT_FILE", "ca.pem"),
		},
	})
	r.LoginNeeded("X-Account", "alice")
	page := openPage(t, r)
	for account, deployment := range map[string]string{"alice": "acme", "bob": "planet-express"} {
		page.Open()
		row := page.NewAccount("accelo", account)
		row.FillVariable("deployment", deployment)
		provider := row.ClickConnectInNewTab()
		if got := last(t, emu.AuthorizeRequests()).Deployment; got != deployment ||
			!contains(provider.at(), "//"+deployment+".api.localhost:") {
			t.Errorf("%s was sent to deployment %s, at %s", account, got, provider.at())
		}
		provider.Allow()
		row.FinishWith(provider.PIN())
		page.Account("accelo", account).wantConnected()
	}
	check := func() {
		t.Helper()
		for account, deployment := range map[string]string{"alice": "acme", "bob": "planet-express"} {
			request := r.Works("X-Account", account)
			wantBearer(t, request)
			if request.Deployment != deployment {
				t.Errorf("%s reached deployment %s", account, request.Deployment)
			}
		}
	}
	check()
	r.Restart()
	check()
	r.emu.RevokeAccessTokens()
	check()
	if got := page.value(page.Account("accelo", "bob").xpath + `//input[@name="deployment"]`); got != "planet-express" {
		t.Errorf("the deployment is shown as %q", got)
	}

	// A request with an unknown account gets no token.
	before := len(emu.APIRequests())
	for _, stranger := range []string{"carol", "{http.request.header.X-Other}"} {
		r.LoginNeeded("X-Account", stranger, "X-Other", "alice")
	}
	r.LoginNeeded()
	if after := len(emu.APIRequests()); after != before {
		t.Error("a request without an account reached the API")
	}
}

// upstreamOfAccount replaces {deployment} in an address by the placeholder for the account's
// deployment.
func upstreamOfAccount(hosts string) string {
	const variable = "{deployment}"
	at := len("https://")
	return hosts[:at] + "{authinject.account.deployment}" + hosts[at+len(variable):]
}

// The page refuses an invalid deployment before it sends the user to a provider.
func TestAcceloDeploymentIsChecked(t *testing.T) {
	t.Parallel()
	cfg := tokensourcetest.ProviderConfig{}
	cfg.TLS = true
	emu := tokensourcetest.StartProvider(t, tokensourcetest.Accelo, cfg)
	hosts := emu.DeploymentHosts()
	r := startWith(t, emu, setup{
		base: hosts, upstream: upstreamOfAccount(hosts),
		options: []harness.Option{harness.File("ca.pem", string(emu.CACertPEM())), harness.Env("SSL_CERT_FILE", "ca.pem")},
	})
	page := openPage(t, r)
	for _, wrong := range []string{"evil.example/", "Acme", "a b"} {
		page.Open()
		row := page.Row("accelo")
		row.FillVariable("deployment", wrong)
		refused := row.ClickConnectInNewTab()
		(&connectPage{tab: refused.tab}).wantNotice("Deployment", "lower-case letters, digits, - and _")
	}
	if n := len(emu.AuthorizeRequests()); n != 0 {
		t.Errorf("%d times somebody was sent to the provider", n)
	}
}

// Accelo redirects the user of a web application back to the page, as other providers do.
func TestAcceloWebApplication(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.Accelo, tokensourcetest.ProviderConfig{Application: tokensourcetest.ApplicationWeb},
		setup{
			source: "redirect_url http://127.0.0.1:{$PORT}/connect/callback",
		})
	page := openPage(t, r)
	page.Row("accelo").Connect()
	authorize := last(t, r.emu.AuthorizeRequests())
	wantParams(t, "authorize request", authorize.Params, map[string]string{
		"response_type": "code", "client_id": r.emu.ClientID(), "redirect_uri": r.URL + "/connect/callback",
		"state": "*", "code_challenge": "*", "code_challenge_method": "S256",
	})
	exchange := last(t, r.emu.TokenRequests())
	wantRawBasic(t, exchange)
	wantParams(t, "token request", exchange.Params, map[string]string{
		"grant_type": "authorization_code", "code": authorize.Code, "redirect_uri": r.URL + "/connect/callback",
		"code_verifier": "*",
	})
	wantBearer(t, r.Works())
}

// A service application needs no login.
func TestAcceloServiceApplication(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.Accelo, tokensourcetest.ProviderConfig{Application: tokensourcetest.ApplicationService},
		setup{
			unattended: true, source: "grant client_credentials\nscopes " + acceloScope + "\ntoken_param expires_in 600",
		})
	if got := r.Ask("/things/1"); got.status != http.StatusOK {
		t.Fatalf("through the proxy came %d %s", got.status, got.body)
	}
	request := last(t, r.emu.TokenRequests())
	wantRawBasic(t, request)
	wantParams(t, "token request", request.Params, map[string]string{
		"grant_type": "client_credentials", "scope": acceloScope, "expires_in": "600",
	})
	wantBearer(t, last(t, r.emu.APIRequests()))
	page := openPage(t, r)
	if page.Row("accelo").Exists() {
		t.Error("the page has a row for a source that nobody connects")
	}
}

// Accelo locks out a client after too many wrong PINs, and each further request prolongs that. The
// proxy sends none, and continues to serve with the tokens that it has.
func TestAcceloLockOut(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.Accelo, tokensourcetest.ProviderConfig{
		LockOut: tokensourcetest.LockOut{Failures: 2},
	}, setup{})
	page := openPage(t, r)
	account := page.Row("accelo")
	provider := account.ClickConnectInNewTab()
	provider.Allow()
	account.FinishWith(provider.PIN())
	account.wantConnected()
	r.Works()

	provider = account.ClickConnectInNewTab()
	provider.Allow()
	for range 3 {
		account.FinishWith("123")
	}
	if got := last(t, r.emu.TokenRequests()).Outcome; got != "too_many_failed_logins" {
		t.Fatalf("the third attempt ended with %s", got)
	}
	page.wantNotice("locked", "Nothing was changed")
	sent := r.emu.Count()
	account.FinishWith(provider.PIN())
	page.wantNotice("locked")
	if now := r.emu.Count(); now != sent {
		t.Errorf("%d token requests during the lock-out", now-sent)
	}
	r.Works()
	if state := account.State(); !contains(state, "Connected") {
		t.Errorf("during a lock-out the page says %q", state)
	}
}
