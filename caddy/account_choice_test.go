package caddy

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/tokensource"
)

// The account that the handler chooses is the transport's too, but only while the request is
// served: a route for errors chooses again.
func TestChoiceLastsAsLongAsTheRequest(t *testing.T) {
	source, err := tokensource.New(tokensource.Config{
		Name: "a", Grant: tokensource.TokenExchange{}, TokenURL: "https://login.example.com/token",
		ClientID: "c", ClientSecrets: []tokensource.Value{tokensource.Literal("s")},
	})
	if err != nil {
		t.Fatal(err)
	}
	choose := &chooser{source: source, subject: "{http.request.header.X-Token}", key: "k"}
	h := &AccountHandler{chooser: choose, answers: new(authinject.Transport)}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/", nil)
	req.Header.Set("X-Token", "ann")
	ctx := context.WithValue(req.Context(), caddyhttp.VarsCtxKey, make(map[string]any))
	req = req.WithContext(context.WithValue(ctx, caddy.ReplacerCtxKey, caddyhttp.NewTestReplacer(req)))
	var chosen *tokensource.Account
	err = h.ServeHTTP(httptest.NewRecorder(), req,
		caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
			r.Header.Set("X-Token", "bob") // as header_up may
			chosen, err = choose.of(r)
			if again, _ := choose.of(r); again != chosen || chosen == nil {
				t.Errorf("the choice changed while the request was served: %v", err)
			}
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	if after, err := choose.of(req); err != nil || after == chosen {
		t.Errorf("after the request, its choice is still in force: %v", err)
	}
}

func TestLoneRequestPlaceholder(t *testing.T) {
	for s, want := range map[string]string{
		"{http.auth.user.id}": "http.auth.user.id", "": "", "{}": "", "fixed": "", "u-{a}": "", "{a}-{b}": "", "{a}{b}": "",
		"{a": "", "a}": "", `{a\}`: "", `\{a}`: "", "{{a}}": "", "{": "", "}": "",
	} {
		if got := loneRequestPlaceholder(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
}

// An account that is one placeholder has the name that Caddy's replacement gives.
func TestAccountOfOnePlaceholder(t *testing.T) {
	source, err := tokensource.New(tokensource.Config{
		Name: "a", Grant: tokensource.AuthorizationCode{}, TokenURL: "https://login.example.com/token",
		AuthorizeURL: "https://login.example.com/authorize",
		ClientID:     "c", ClientSecrets: []tokensource.Value{tokensource.Literal("s")},
		Storage: &certmagic.FileStorage{Path: t.TempDir()},
	})
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/", nil)
	repl := caddyhttp.NewTestReplacer(req)
	repl.Set("a.text", "ann")
	repl.Set("a.braces", "{a.text}")
	repl.Set("a.number", 7)
	repl.Set("a.bytes", []byte("bob"))
	repl.Set("a.true", true)
	repl.Set("a.nil", nil)
	repl.Set("a.empty", "")
	req = req.WithContext(context.WithValue(req.Context(), caddy.ReplacerCtxKey, repl))
	for _, account := range []string{"{a.text}", "{a.braces}", "{a.number}", "{a.bytes}", "{a.true}", "{a.nil}",
		"{a.empty}", "{a.unknown}"} {
		want, wantErr := repl.ReplaceOrErr(account, true, true)
		if err := tokensource.CheckAccountName(want); err != nil && wantErr == nil {
			want = ""
		}
		got := "" // no account is connected: the one that was looked for is missed
		choose := &chooser{source: source, account: account, only: loneRequestPlaceholder(account),
			missed: func(name string, _ error) { got = name }}
		if choose.only == "" {
			t.Errorf("%s is one placeholder", account)
		}
		if found, err := choose.choose(req); err == nil || got != want {
			t.Errorf("%s: the account %q was looked for, and Caddy's replacement is %q, %v (found %v, %v)", account, got,
				want, wantErr, found, err)
		}
	}
}
