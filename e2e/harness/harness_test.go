package harness_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOPClientCredentials(t *testing.T) {
	op := harness.OP(t, harness.Lifetime(time.Hour))
	exchange := func(longest float64) string {
		t.Helper()
		status, answer := op.Exchange(t, harness.ServiceClient, harness.ServiceSecret, url.Values{
			"grant_type": {"client_credentials"}, "scope": {"openid"},
		})
		token, _ := answer["access_token"].(string)
		if status != http.StatusOK || token == "" {
			t.Fatalf("status %d: %v", status, answer)
		}
		// The provider says what remains when it answers, which may be less on a busy machine.
		if got, _ := answer["expires_in"].(float64); got > longest || got < longest-600 {
			t.Errorf("expires_in = %v, want %v", got, longest)
		}
		return token
	}
	if !op.Live(exchange(3600)) {
		t.Error("a new token is not live")
	}
	op.SetLifetime(time.Second)
	token := exchange(1)
	rig.Eventually(t, func() bool { return !op.Live(token) }, "the token to expire")

	reqs := op.Requests()
	if len(reqs) != 2 || reqs[0].Grant != "client_credentials" || reqs[0].Status != http.StatusOK {
		t.Errorf("recorded %+v", reqs)
	}
}

func TestOPRefusesWrongSecret(t *testing.T) {
	op := harness.OP(t)
	status, answer := op.Exchange(t, harness.ServiceClient, "wrong", url.Values{"grant_type": {"client_credentials"}})
	if status != http.StatusUnauthorized && status != http.StatusBadRequest {
		t.Errorf("status %d: %v", status, answer)
	}
	if answer["error"] != "invalid_client" {
		t.Errorf("error = %v, want invalid_client", answer["error"])
	}
}

func TestOPRefreshTokenRotates(t *testing.T) {
	op := harness.OP(t)
	first := op.RefreshToken(t)
	refresh := func(token string) (int, map[string]any) {
		return op.Exchange(t, harness.WebClient, harness.WebSecret, url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {token},
		})
	}
	status, answer := refresh(first)
	second, _ := answer["refresh_token"].(string)
	token, _ := answer["access_token"].(string)
	if status != http.StatusOK || second == "" || second == first || !op.Live(token) {
		t.Fatalf("status %d: %v", status, answer)
	}
	if status, answer := refresh(first); answer["error"] != "invalid_grant" {
		t.Errorf("a spent refresh token: status %d: %v, want invalid_grant", status, answer)
	}
	if status, answer := refresh(second); status != http.StatusOK {
		t.Errorf("the rotated refresh token: status %d: %v", status, answer)
	}
	if got := op.Count("refresh_token"); got != 3 {
		t.Errorf("counted %d refreshes, want 3", got)
	}
	if got := op.Count(); got != 4 {
		t.Errorf("counted %d token requests, want 4", got)
	}
}

func TestOPRevoke(t *testing.T) {
	op := harness.OP(t)
	_, answer := op.Exchange(t, harness.WebClient, harness.WebSecret, url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {op.RefreshToken(t)},
	})
	token, _ := answer["access_token"].(string)
	form := url.Values{"token": {token}, "client_id": {harness.WebClient}, "client_secret": {harness.WebSecret}}
	res, err := http.PostForm(op.RevokeURL, form)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != http.StatusOK || op.Live(token) {
		t.Errorf("status %d: %s; live: %v", res.StatusCode, body, op.Live(token))
	}
}

func TestOPFaults(t *testing.T) {
	op := harness.OP(t)
	form := url.Values{"grant_type": {"client_credentials"}}

	op.SetFault(harness.Slow(50 * time.Millisecond))
	start := time.Now()
	status, answer := op.Exchange(t, harness.ServiceClient, harness.ServiceSecret, form)
	if took := time.Since(start); status != http.StatusOK || took < 50*time.Millisecond {
		t.Errorf("slow: status %d after %v: %v", status, took, answer)
	}

	op.SetFault(harness.Down(http.StatusServiceUnavailable))
	res, err := http.PostForm(op.TokenURL, form)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("down: status %d", res.StatusCode)
	}

	op.SetFault(nil)
	if status, answer := op.Exchange(t, harness.ServiceClient, harness.ServiceSecret, form); status != http.StatusOK {
		t.Errorf("up again: status %d: %v", status, answer)
	}
	if got := op.Count(); got != 3 {
		t.Errorf("counted %d, want 3", got)
	}
}

func TestOPProtect(t *testing.T) {
	op := harness.OP(t)
	_, answer := op.Exchange(t, harness.ServiceClient, harness.ServiceSecret,
		url.Values{"grant_type": {"client_credentials"}})
	token := answer["access_token"].(string)
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "in") })
	header, query := op.Protect(ok), op.ProtectQuery("_bearer_token", ok)

	tests := []struct {
		name   string
		h      http.Handler
		target string
		auth   []string
		want   int
	}{
		{"live token", header, "/", []string{"Bearer " + token}, 200},
		{"none", header, "/", nil, 401},
		{"unknown", header, "/", []string{"Bearer junk"}, 401},
		{"twice", header, "/", []string{"Bearer " + token, "Bearer junk"}, 401},
		{"query", query, "/?x=%zz&_bearer_token=" + url.QueryEscape(token), nil, 200},
		{"query twice", query, "/?_bearer_token=junk&_bearer_token=" + url.QueryEscape(token), nil, 401},
		{"query and header", query, "/?_bearer_token=" + url.QueryEscape(token), []string{"Bearer " + token}, 401},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, tt.target, nil)
			r.Header["Authorization"] = tt.auth
			w := httptest.NewRecorder()
			tt.h.ServeHTTP(w, r)
			if w.Code != tt.want {
				t.Errorf("status %d, want %d", w.Code, tt.want)
			}
		})
	}
	if got := op.Refusals(); got != 5 {
		t.Errorf("counted %d refusals, want 5", got)
	}
	op.RevokeAll()
	if op.Live(token) {
		t.Error("a revoked token is live")
	}
}

func TestCA(t *testing.T) {
	ca := harness.CA(t)
	srv := ca.Server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	res, err := srv.Client().Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); string(body) != "HTTP/2.0" {
		t.Errorf("served over %q, want HTTP/2.0", body)
	}
}

func TestProxy(t *testing.T) {
	const hello = "http://{$ADDR} {\n\trespond {$GREETING}\n}\n"
	p := harness.Start(t, hello, harness.Env("GREETING", "hello"))
	if status, body := p.Get("/"); status != http.StatusOK || body != "hello" {
		t.Errorf("got %d %q", status, body)
	}
	p.WaitLog("serving initial configuration")
	if n, _, err := p.Goroutines(); err != nil || n == 0 {
		t.Errorf("%d goroutines, %v", n, err)
	}
	if err := p.Reload("http://{$ADDR} {\n\trespond reloaded\n}\n"); err != nil {
		t.Error(err)
	}
	if _, body := p.Get("/"); body != "reloaded" {
		t.Errorf("after the reload: %q", body)
	}
	if err := p.Reload("http://{$ADDR} {\n\tnonsense\n}\n"); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a bad configuration: %v", err)
	}
	if code := p.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if code := p.Stop(); code != 0 {
		t.Errorf("stopped again: exit code %d", code)
	}
}

func TestProxyTrustsCA(t *testing.T) {
	ca := harness.CA(t)
	upstream := ca.Server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	p := harness.Start(t, "http://{$ADDR} {\n\treverse_proxy {$UPSTREAM}\n}\n",
		harness.Trust(ca), harness.Env("UPSTREAM", upstream.URL))
	if status, body := p.Get("/"); status != http.StatusOK || body != "HTTP/2.0" {
		t.Errorf("got %d %q", status, body)
	}
}

func TestProxyKill(t *testing.T) {
	p := harness.Start(t, "http://{$ADDR} {\n\trespond hello\n}\n")
	p.Kill()
	if code := p.Stop(); code != -1 {
		t.Errorf("exit code %d, want -1 for a signal", code)
	}
}

func TestCommands(t *testing.T) {
	const good, bad = "http://{$ADDR} {\n\trespond hello\n}\n", "http://{$ADDR} {\n\tnonsense\n}\n"
	if r := harness.Validate(t, good); r.Code != 0 {
		t.Errorf("validate: %+v", r)
	}
	if r := harness.Validate(t, bad); r.Code != 1 || !strings.Contains(r.Stderr, "Caddyfile:2") {
		t.Errorf("validate: %+v, want line 2 in it", r)
	}
	if r := harness.Adapt(t, good); r.Code != 0 || !strings.Contains(r.Stdout, `"static_response"`) {
		t.Errorf("adapt: %+v", r)
	}
	if r := harness.Command(t, []string{"cat", "Caddyfile", "x"}); r.Code == 0 {
		t.Errorf("an unknown command: %+v", r)
	}
}

func TestFileAndHome(t *testing.T) {
	const caddyfile = "http://{$ADDR} {\n\trespond {file.{$DIR}/greeting}\n}\n"
	p := harness.Start(t, caddyfile, harness.File("greeting", "from a file"))
	if _, body := p.Get("/"); body != "from a file" {
		t.Errorf("got %q", body)
	}
	p.Stop()
	again := harness.Start(t, caddyfile, harness.File("greeting", "again"), harness.Home(p.Home))
	if _, body := again.Get("/"); body != "again" {
		t.Errorf("got %q", body)
	}
}
