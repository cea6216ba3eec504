package tokensourcetest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	. "github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// Codes are secrets like the others, and faults affect providers as they affect servers.
func TestProviderIsAServer(t *testing.T) {
	p := StartProvider(t, Biggerplate, ProviderConfig{})
	code := codeOf(t, p, biggerplateAuthorize...)
	if found := p.CheckAbsent("log", "GET /callback?code="+url.QueryEscape(code)); len(found) != 1 {
		t.Errorf("the code was not found: %v", found)
	}
	p.Script(TooManyRequests(time.Second), LoseAnswer())
	call := tokenCall{body: form(biggerplateExchange(code)...)}
	wantError(t, call.send(t, p), 429, "slow_down")
	req, err := http.NewRequest(http.MethodPost, p.TokenURL(), strings.NewReader(call.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if r, err := send(p.Server, req); err == nil {
		t.Errorf("the client got an answer: %s", r.body)
	}
	if rec := last(t, p.Server); rec.Outcome != OutcomeIssued || rec.Whole {
		t.Errorf("record %+v", rec)
	}
	wantError(t, call.send(t, p), 400, "invalid_grant")
	if rec := p.TokenRequests()[0]; rec.Outcome != OutcomeUnprocessed {
		t.Errorf("record %+v", rec)
	}
}

// A plain server has no codes.
func TestPlainServerHasNoCodes(t *testing.T) {
	srv := Start(t, Config{})
	wantError(t, ask(t, srv, "grant_type", "authorization_code", "code", "x"), 400, "unsupported_grant_type")
}
