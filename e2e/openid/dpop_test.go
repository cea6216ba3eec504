package openid

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/luikyv/go-oidc/pkg/goidc"
	"github.com/luikyv/go-oidc/pkg/provider"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// boundAPI is an API that takes tokens with a proof of the key in their cnf.jkt (RFC 9449 section
// 7), each proof once.
type boundAPI struct {
	proofs tokensourcetest.Proofs

	mu     sync.Mutex
	tokens []string // accepted, without repetitions in a row
	keys   map[string]bool
	last   http.Header
}

func (a *boundAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	access, bound := strings.CutPrefix(r.Header.Get("Authorization"), "DPoP ")
	key, err := a.proofs.Check(r, access)
	if nonce := a.proofs.Nonce(); nonce != "" {
		w.Header().Set("DPoP-Nonce", nonce)
	}
	switch {
	case errors.Is(err, tokensourcetest.ErrNonce):
		w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
	case err != nil, !bound, key == "", confirmed(access) != key:
		w.Header().Set("WWW-Authenticate", `DPoP error="invalid_token"`)
	default:
		a.mu.Lock()
		defer a.mu.Unlock()
		if n := len(a.tokens); n == 0 || a.tokens[n-1] != access {
			a.tokens = append(a.tokens, access)
		}
		if a.keys == nil {
			a.keys = make(map[string]bool)
		}
		a.keys[key], a.last = true, r.Header.Clone()
		_, _ = io.WriteString(w, "hello over "+r.Proto)
		return
	}
	w.WriteHeader(http.StatusUnauthorized)
}

// counts returns how many tokens and keys were accepted.
func (a *boundAPI) counts() (tokens, keys int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.tokens), len(a.keys)
}

// confirmed returns cnf.jkt of a JWT access token.
func confirmed(access string) string {
	parts := strings.Split(access, ".")
	if len(parts) != 3 {
		return ""
	}
	var claims struct {
		Confirmation struct {
			Thumbprint string `json:"jkt"`
		} `json:"cnf"`
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(text, &claims) != nil {
		return ""
	}
	return claims.Confirmation.Thumbprint
}

// onlyOnce refuses a jti that was seen before.
func onlyOnce() goidc.CheckJTIFunc {
	var mu sync.Mutex
	seen := make(map[string]bool)
	return func(_ context.Context, id string) error {
		mu.Lock()
		defer mu.Unlock()
		if seen[id] {
			return errors.New("seen before")
		}
		seen[id] = true
		return nil
	}
}

// The provider is of another project, and requires PAR and DPoP. The test has a login, refreshes, a
// restart with the same key, and an API with nonces over HTTP/2. A thief cannot use what a request
// contains.
func TestPushedAndBound(t *testing.T) {
	ca := harness.CA(t)
	redirect := "http://" + rig.FreeAddr(t) + "/callback"
	issuer := startCertified(t, ca, redirect,
		provider.WithPARRequired(func(*http.Request, *goidc.AuthnSession, *goidc.Client) error { return nil }, 60),
		provider.WithDPoPRequired(goidc.ES256), provider.WithCheckJTIFunc(onlyOnce()),
		provider.WithTokenOptions(func(goidc.GrantInfo, *goidc.Client) goidc.TokenOptions {
			return goidc.NewJWTTokenOptions(goidc.RS256, 4)
		}),
	).issuer
	api := new(boundAPI)
	api.proofs.RequireNonce()
	server := ca.Server(t, api)
	// The metadata requires PAR, so the option par is not needed. With the scope openid, this
	// provider wants parameters in the link that RFC 9126 section 4 leaves out.
	config := site("grant authorization_code", "issuer {$ISSUER}", "scopes orders", "redirect_url {$REDIRECT}", "dpop")
	opts := []harness.Option{harness.Trust(ca), harness.Home(t.TempDir()), harness.Env("ISSUER", issuer),
		harness.Env("API", server.URL),
		harness.Env("CLIENT_ID", "web"), harness.Env("CLIENT_SECRET", "web-secret"), harness.Env("REDIRECT", redirect)}
	p := harness.Start(t, config, opts...)

	browser := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer browser.CloseIdleConnections()
	term := p.Terminal(nil, "authinject", "login", "op")
	address := term.Address()
	for range 2 { // from the terminal's own address to the provider, and back to the callback
		res, err := browser.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if address = res.Header.Get("Location"); address == "" {
			t.Fatalf("%s answered with %s: %s\n%s", res.Request.URL.Host, res.Status, body, term.Text())
		}
	}
	if res, _, err := rig.Read(browser.Get(address)); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("the callback: %v %v", res, err)
	}
	if code := term.Wait(); code != 0 || !strings.Contains(term.Text(), "op: Connected, renews by itself") {
		t.Fatalf("code %d:\n%s", code, term.Text())
	}
	refreshed := func(p *harness.Proxy, more int) {
		t.Helper()
		before, _ := api.counts()
		rig.Eventually(t, func() bool { // the server learns of the login by itself
			status, _ := p.Get("/x?a=1")
			return status == http.StatusOK
		}, "the first answer")
		rig.Eventually(t, func() bool {
			want(t, p, "hello over HTTP/2.0")
			now, _ := api.counts()
			return t.Failed() || now >= before+more
		}, "%d more tokens", more)
	}
	refreshed(p, 3)
	api.proofs.RequireNonce()
	want(t, p, "hello over HTTP/2.0")
	if code := p.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	p = harness.Start(t, config, opts...)
	want(t, p, "hello over HTTP/2.0") // at once
	refreshed(p, 2)
	if _, keys := api.counts(); keys != 1 {
		t.Errorf("%d keys, want the one from before the restart", keys)
	}

	// A thief has the last request, with its token and proof, and sends it with curl.
	api.mu.Lock()
	token, proof := api.last.Get("Authorization"), api.last.Get("DPoP")
	api.mu.Unlock()
	for name, fields := range map[string][]string{
		"as a bearer token": {"Authorization: Bearer " + strings.TrimPrefix(token, "DPoP ")},
		"without a proof":   {"Authorization: " + token},
		"with its proof":    {"Authorization: " + token, "DPoP: " + proof},
	} {
		args := []string{"--silent", "--insecure", "--output", "/dev/null", "--write-out", "%{http_code}",
			server.URL + "/x?a=1"}
		for _, field := range fields {
			args = append(args, "--header", field)
		}
		status, err := exec.CommandContext(t.Context(), "curl", args...).CombinedOutput()
		if err != nil || string(status) != "401" {
			t.Errorf("%s: %s, %v", name, status, err)
		}
	}
	want(t, p, "hello over HTTP/2.0")
	for _, line := range p.Logs() {
		for _, made := range api.proofs.Texts() {
			if strings.Contains(line, made) {
				t.Fatalf("a proof is logged: %s", line)
			}
		}
	}
}
