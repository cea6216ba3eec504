package connect

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// TinyPlus puts the answer into the query of the redirect. The standard (RFC 6749 section 4.2.2)
// puts it into the fragment, which no server sees. Both work.
func TestTinyPlus(t *testing.T) {
	for name, test := range map[string]struct {
		fragment bool
		scope    string
	}{
		"query, read":         {false, "read"},
		"query, readwrite":    {false, "readwrite"},
		"fragment, readwrite": {true, "readwrite"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, tokensourcetest.TinyPlus, tokensourcetest.ProviderConfig{
				Fragment: test.fragment, Config: tokensourcetest.Config{APIScheme: "Bearer"},
			}, setup{source: "scopes " + test.scope})
			page := openPage(t, r)
			account := page.Row("tinyplus")
			account.ClickConnect().Allow()
			page.awaitNotice()
			account.wantConnected()
			if state := account.State(); !contains(state, "Connected. Expires in") || !contains(state, "Log in again before") {
				t.Errorf("after the login the page says %q", state)
			}

			authorize := last(t, r.emu.AuthorizeRequests())
			wantParams(t, "authorize request", authorize.Params, map[string]string{
				"response_type": "token", "client_id": r.emu.ClientID(), "redirect_uri": r.URL + "/connect/callback",
				"scope": test.scope, "state": "*",
			})
			if n := r.emu.Count(); n != 0 {
				t.Errorf("%d token requests to a provider without a token endpoint", n)
			}
			request := r.Works()
			wantBearer(t, request)
			if token(t, request).Token != authorize.AccessToken {
				t.Error("the API got another token")
			}
			if test.fragment {
				page.wantNoTokenInHistory(authorize.AccessToken)
			}

			r.Restart()
			r.Works()

			// There is nothing to renew it with.
			r.emu.Revoke(authorize.AccessToken)
			r.Ask("/things/1")
			r.LoginNeeded()
			page.url = r.URL + "/connect"
			page.Row("tinyplus").AwaitState("onnect again")
			page.Row("tinyplus").ClickConnect().Allow()
			page.awaitNotice()
			r.Works()
			tokensourcetest.Report(t, r.emu.CheckCredentials())
		})
	}
}

// wantNoTokenInHistory checks that going back does not lead to a URL with a token.
func (b *tab) wantNoTokenInHistory(secret string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	history, err := chromedp.Run(ctx, chromedp.NavigationEntries())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, entry := range history.Entries {
		if contains(entry.URL, secret) {
			b.t.Error("the token stands in the tab's history")
		}
	}
}

// The end is announced after a quarter of the token's minute, so that there is time to look.
func TestTinyPlusAnnouncesTheEnd(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.TinyPlus, tokensourcetest.ProviderConfig{
		Config: tokensourcetest.Config{AccessTokenLifetime: time.Minute},
	}, setup{source: "refresh_before 59s"})
	page := openPage(t, r)
	account := page.Row("tinyplus")
	account.Connect()
	var announced []string
	rig.Eventually(t, func() bool {
		logs := r.Logs()
		connected := slices.IndexFunc(logs, func(line string) bool { return contains(line, "account connected") })
		announced = slices.DeleteFunc(logs[connected+1:], func(line string) bool { return !contains(line, "login required") })
		return connected >= 0 && len(announced) > 0
	}, "the announcement in the log")
	if len(announced) != 1 || !contains(announced[0], r.URL+"/connect?source=tinyplus") {
		t.Errorf("the log says %s", announced)
	}
	page.Open()
	if state := account.State(); !strings.HasPrefix(state, "Expires in") || !contains(state, "Log in again before") {
		t.Errorf("of a token that is due to end the page says %q", state)
	}
	r.Works() // the token serves to its end
}

func TestTinyPlusBareToken(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.TinyPlus, tokensourcetest.ProviderConfig{
		Config: tokensourcetest.Config{APIScheme: tokensourcetest.Absent},
	}, setup{source: `inject header Authorization ""`})
	openPage(t, r).Row("tinyplus").Connect()
	request := r.Works()
	if got := request.Header.Get("Authorization"); got != r.emu.Issued()[0].AccessToken {
		t.Error("Authorization is not the token alone")
	}
}

// A source with a simple access token, which TinyPlus shows to an administrator, needs no login.
func TestTinyPlusStatic(t *testing.T) {
	t.Parallel()
	emu := tokensourcetest.StartProvider(t, tokensourcetest.TinyPlus, tokensourcetest.ProviderConfig{})
	r := startWith(t, emu, setup{
		source: "token {env.TOKEN}", local: true,
		options: []harness.Option{harness.Env("TOKEN", emu.IssueAccessToken(user))},
	})
	wantBearer(t, r.Works())
	page := openPage(t, r)
	if page.Row("tinyplus").Exists() || !contains(page.text("main"), "No token source") {
		t.Errorf("the page shows %q", page.text("body"))
	}
}
