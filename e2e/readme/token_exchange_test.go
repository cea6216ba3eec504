package readme

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// The configurations of docs/token-exchange.md do what the page says: the API sees the caller, the
// caller's token stops at the proxy, and doctor exchanges one token.
func TestTokenExchangePage(t *testing.T) {
	fence := regexp.MustCompile("(?s)```caddyfile\n(.*?)```")
	for i, match := range fence.FindAllStringSubmatch(read(t, "docs", "token-exchange.md"), -1) {
		client := []string{"proxy", "00001111-aaaa-2222-bbbb-3333cccc4444"}[i]
		srv := tokensourcetest.Start(t,
			tokensourcetest.Config{Clients: []tokensourcetest.Client{{ID: client, Secrets: []string{"s"}}},
				Audiences: []string{"orders"}})
		seen := ""
		api := httptest.NewServer(srv.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen = r.Header.Get("Authorization")
			caller, _ := tokensourcetest.CallerOf(r.Context())
			_, _ = w.Write([]byte(caller.Subject))
		})))
		t.Cleanup(api.Close)
		config := regexp.MustCompile(`https://login\S+`).ReplaceAllString(match[1], srv.TokenURL())
		config = regexp.MustCompile(`(authinject \w+) https://\S+`).ReplaceAllString(config, "$1 "+api.URL)
		config = strings.ReplaceAll(config, "\n:8080 {", "\nhttp://{$ADDR} {")
		token, _ := srv.IssueTokens(client, "ada")
		p := harness.Start(t, config, append([]harness.Option{harness.Env("TOKEN", token)}, environment...)...)
		res, body, err := rig.Send(p.Client(), http.MethodGet, p.URL+"/v1/orders", "Authorization", "Bearer "+token)
		if err != nil || res.StatusCode != http.StatusOK || body != "ada" || strings.Contains(seen, token) {
			t.Errorf("%d %s, %v", res.StatusCode, body, err)
		}
		if status, body := p.Get("/v1/orders"); status != http.StatusUnauthorized ||
			!strings.Contains(body, "has no token to exchange") {
			t.Errorf("without a token: %d %s", status, body)
		}
		source := []string{"orders", "graph"}[i]
		for _, args := range [][]string{{"doctor", source, "--subject-token", "{env.TOKEN}"}, {"status", source}} {
			term := p.Terminal([]string{"TOKEN=" + token, "PROXY_SECRET=s"}, append([]string{"authinject"}, args...)...)
			code := term.Wait()
			if want := map[string]string{"doctor": "the provider granted a token",
				"status": "Exchanges the token of each caller"}[args[0]]; code != 0 || !strings.Contains(term.Text(), want) ||
				strings.Contains(term.Text(), token) {
				t.Errorf("%v: code %d\n%s", args, code, term.Text())
			}
		}
	}
}
