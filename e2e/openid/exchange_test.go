package openid

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

const tokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"

// whoami is an API that says whose token a request carries.
func whoami(op *harness.Provider) http.Handler {
	return op.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, op.UserOf(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")))
	}))
}

// exchanging runs a proxy that exchanges the tokens of its callers at op for tokens of the API.
func exchanging(t *testing.T, op *harness.Provider) *harness.Proxy {
	t.Helper()
	api := httptest.NewServer(whoami(op))
	t.Cleanup(api.Close)
	return harness.Start(t, site("token_url {$TOKEN_URL}", "grant token_exchange {\n audience https://api.example.com\n}"),
		harness.Env("TOKEN_URL", op.TokenURL), harness.Env("API", api.URL),
		harness.Env("CLIENT_ID", harness.WebClient), harness.Env("CLIENT_SECRET", harness.WebSecret))
}

// as sends a request of a caller with that token.
func as(p *harness.Proxy, token string) (status int, body string, header http.Header, err error) {
	res, body, err := rig.Send(p.Client(), http.MethodGet, p.URL+"/x", "Authorization", "Bearer "+token)
	if err != nil {
		return 0, "", nil, err
	}
	return res.StatusCode, body, res.Header, nil
}

// A hundred callers with different tokens send several requests at once each. The provider gets one
// token request for each caller, and the API never takes one caller for another.
func TestHundredCallersExchangeTheirTokens(t *testing.T) {
	op := harness.OP(t, harness.Lifetime(time.Hour))
	p := exchanging(t, op)
	var callers sync.WaitGroup
	for i := range 100 {
		user := fmt.Sprint("user", i)
		token := op.SubjectToken(t, user)
		for range 4 {
			callers.Go(func() {
				if status, body, _, err := as(p, token); err != nil || status != http.StatusOK || body != user {
					t.Errorf("%s: %d %q, %v", user, status, body, err)
				}
			})
		}
	}
	callers.Wait()
	if n := op.Count(tokenExchange); n != 100 {
		t.Errorf("%d token requests for 100 callers", n)
	}
	for _, r := range op.Requests() {
		if r.Grant == tokenExchange && (r.Status != http.StatusOK || r.Form.Get("audience") != "https://api.example.com") {
			t.Errorf("status %d, audience %q", r.Status, r.Form.Get("audience"))
		}
	}
	if n := op.Refusals(); n != 0 {
		t.Errorf("the API refused %d requests", n)
	}

	// The API refuses all tokens. Each is replaced once, by a token of the same caller.
	op.RevokeAll()
	ada := op.SubjectToken(t, "ada")
	if status, body, _, err := as(p, ada); err != nil || status != http.StatusOK || body != "ada" {
		t.Errorf("ada: %d %q, %v", status, body, err)
	}
	op.RevokeAll()
	if status, body, _, err := as(p, ada); err != nil || status != http.StatusOK || body != "ada" ||
		op.Count(tokenExchange) != 102 {
		t.Errorf("ada: %d %q, %v after %d exchanges", status, body, err, op.Count(tokenExchange))
	}
	// The provider refuses the caller's token, so there is no token any more.
	op.RevokeAll()
	op.EndSubjects()
	for range 2 {
		status, body, header, err := as(p, ada)
		if err != nil || status != http.StatusUnauthorized ||
			header.Get("WWW-Authenticate") != `Bearer error="invalid_token"` ||
			!strings.Contains(body, "the provider refuses the caller's token, status 400, error invalid_request") {
			t.Errorf("%d %s, %v", status, body, err)
		}
	}
	if n := op.Count(tokenExchange); n != 103 {
		t.Errorf("%d exchanges", n)
	}
}

// A token that the provider did not issue reaches the provider once, and never the API.
func TestForeignTokenIsRefused(t *testing.T) {
	op := harness.OP(t)
	p := exchanging(t, op)
	for range 20 {
		if status, body, _, err := as(p, "forged-token"); err != nil || status != http.StatusUnauthorized ||
			strings.Contains(body, "forged") {
			t.Fatalf("%d %s, %v", status, body, err)
		}
	}
	if n := op.Count(); n != 1 {
		t.Errorf("%d token requests", n)
	}
	if status, body := p.Get("/x"); status != http.StatusUnauthorized ||
		!strings.Contains(body, "has no token to exchange") {
		t.Errorf("without a token: %d %s", status, body)
	}
	if n := op.Refusals(); n != 0 {
		t.Errorf("the API got %d requests", n)
	}
}
