package openid

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

// If the provider sends iss, the login refuses an answer or error with another iss or none. The
// genuine answer connects the account, which is then refreshed and disconnected.
func TestAnswersNameTheirIssuer(t *testing.T) {
	ca := harness.CA(t)
	redirect := "http://" + rig.FreeAddr(t) + "/callback"
	issuer := startCertified(t, ca, redirect).issuer
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("Authorization"))
	}))
	t.Cleanup(api.Close)
	config := site("grant authorization_code", "issuer {$ISSUER}", "scopes openid orders", "redirect_url {$REDIRECT}",
		"authorize_param login_hint {env.HINT}")
	p := harness.Start(t, config, harness.Trust(ca), harness.Env("ISSUER", issuer), harness.Env("API", api.URL),
		harness.Env("CLIENT_ID", "web"), harness.Env("CLIENT_SECRET", "web-secret"), harness.Env("REDIRECT", redirect),
		harness.Env("HINT", "ada"))
	browser := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer browser.CloseIdleConnections()
	// login logs in at the provider and types its answer, changed by tamper.
	login := func(hint string, tamper func(url.Values)) (int, string) {
		t.Helper()
		term := p.Terminal([]string{"HINT=" + hint}, "authinject", "login", "op")
		res, err := browser.Get(term.Address())
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		answer, err := res.Location()
		if err != nil {
			t.Fatalf("the provider answered with %s: %v", res.Status, err)
		}
		query := answer.Query()
		if query.Get("iss") != issuer {
			t.Fatalf("the provider names %q", query.Get("iss"))
		}
		tamper(query)
		answer.RawQuery = query.Encode()
		term.Type(answer.String())
		return term.Wait(), term.Text()
	}
	keep := func(url.Values) {}
	for name, c := range map[string]struct {
		hint   string
		tamper func(url.Values)
		want   string
	}{
		"another issuer": {"ada", func(q url.Values) { q.Set("iss", "https://evil.example") },
			"comes from another issuer"},
		"none":     {"ada", func(q url.Values) { q.Del("iss") }, "names no issuer"},
		"an error": {"nobody", keep, "denied"},
		"an error of another": {"nobody", func(q url.Values) { q.Set("iss", "https://evil.example") },
			"comes from another issuer"},
		"an error that names nobody": {"nobody", func(q url.Values) { q.Del("iss") }, "names no issuer"},
	} {
		if code, text := login(c.hint, c.tamper); code != 1 || !strings.Contains(text, c.want) {
			t.Errorf("%s: code %d, want %q:\n%s", name, code, c.want, text)
		}
	}
	if code, text := login("ada", keep); code != 0 || !strings.Contains(text, "op: Connected, renews by itself") {
		t.Fatalf("code %d:\n%s", code, text)
	}
	seen := make(map[string]bool)
	rig.Eventually(t, func() bool {
		if status, token := p.Get("/x"); status == http.StatusOK && strings.HasPrefix(token, "Bearer ") {
			seen[token] = true
		}
		return len(seen) >= 3
	}, "three tokens")
	logout := p.Terminal(nil, "authinject", "logout", "op")
	if code := logout.Wait(); code != 0 || !strings.Contains(logout.Text(), "Its tokens were revoked at the provider") {
		t.Errorf("logout: code %d:\n%s", code, logout.Text())
	}
}
