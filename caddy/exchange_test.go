package caddy_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

const (
	tokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	jwtBearer     = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// exchangeSite runs a site whose source a exchanges the tokens of callers at srv. More are options
// of the source.
func exchangeSite(t *testing.T, srv *tokensourcetest.Server, upstream string, grant string,
	more ...string) (addr string) {
	t.Helper()
	isolate(t)
	t.Setenv("CLIENT_SECRET", rig.Canary)
	addr = rig.FreeAddr(t)
	run(t, rig.Caddyfile{}.Source("a", grant, rig.Client(srv)).Source("a", more...).
		Site("http://"+addr, "bind 127.0.0.1", "authinject_ready /ready", "authinject a "+upstream))
	return addr
}

// subjectOf returns the subject of the token that the API got, from the API's answer.
func subjectOf(t *testing.T, body string) string {
	t.Helper()
	var answer struct {
		Subject string `json:"subject"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return answer.Subject
}

// A hundred callers with different tokens cause one token request each. The API sees each caller,
// and gets only exchanged tokens.
func TestTokenExchange(t *testing.T) {
	for grant, grantType := range map[string]string{
		"grant token_exchange {\n audience api\n}":             tokenExchange,
		"scopes api\ngrant token_exchange {\n on_behalf_of\n}": jwtBearer,
	} {
		t.Run(grantType, func(t *testing.T) {
			srv := rig.Server(t, tokensourcetest.Config{Audiences: []string{"api"}})
			addr := exchangeSite(t, srv, srv.URL, grant)
			var callers sync.WaitGroup
			for i := range 100 {
				name := fmt.Sprint("caller", i)
				token, _ := srv.IssueTokens(tokensourcetest.DefaultClientID, name)
				for range 3 {
					callers.Go(func() {
						res, body, err := rig.Send(client, http.MethodGet, "http://"+addr+"/api/x", "Authorization", "Bearer "+token)
						if err != nil || res.StatusCode != http.StatusOK {
							t.Errorf("%s: %v %s", name, err, body)
							return
						}
						if got := subjectOf(t, body); got != name {
							t.Errorf("the API saw %s for %s", got, name)
						}
						if !strings.Contains(res.Header.Get("Cache-Control"), "private") {
							t.Errorf("a cache may keep a caller's answer: %q", res.Header.Get("Cache-Control"))
						}
					})
				}
			}
			callers.Wait()
			if n := srv.CountGrant(grantType); n != 100 || n != srv.Count() {
				t.Errorf("%d exchanges, %d token requests", n, srv.Count())
			}
			exchanged := make(map[uint64]bool)
			for _, token := range srv.Issued() {
				exchanged[token.Number] = token.Grant == grantType
			}
			for _, request := range srv.APIRequests() {
				if request.Verdict != tokensourcetest.Accepted || !exchanged[request.TokenNumber] {
					t.Errorf("a request arrived with a token that was not exchanged, or that is %s", request.Verdict)
				}
			}
			if status, body, _ := get(t, "http://"+addr+"/ready"); status != http.StatusOK {
				t.Errorf("ready: %d %s", status, body)
			}
		})
	}
}

// Each exchanged token is bound to a key of its caller. Concurrent requests, and nonces of both
// servers, do not mix up the keys and cause no further token request. A stolen token cannot be
// used.
func TestTokenExchangeWithDPoP(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{DPoP: true})
	srv.TokenProofs.RequireNonce()
	srv.APIProofs.RequireNonce()
	addr := exchangeSite(t, srv, srv.URL, "grant token_exchange", "dpop")
	var callers sync.WaitGroup
	for i := range 30 {
		name := fmt.Sprint("caller", i)
		token, _ := srv.IssueTokens(tokensourcetest.DefaultClientID, name)
		for range 3 {
			callers.Go(func() {
				res, body, err := rig.Send(client, http.MethodGet, "http://"+addr+"/api/x?page=1", "Authorization", "Bearer "+token)
				if err != nil || res.StatusCode != http.StatusOK || subjectOf(t, body) != name {
					t.Errorf("%s: %v %s", name, err, body)
				}
			})
		}
	}
	callers.Wait()
	issued := 0
	for _, request := range srv.TokenRequests() {
		if request.Outcome == tokensourcetest.OutcomeIssued {
			issued++
		}
	}
	if issued != 30 {
		t.Errorf("%d tokens for 30 callers", issued)
	}
	keys, owners := make(map[uint64]string), make(map[string]uint64)
	var last tokensourcetest.APIRequest
	for _, request := range srv.APIRequests() {
		if request.Verdict != tokensourcetest.Accepted {
			continue
		}
		key, _, _ := strings.Cut(request.Header.Get("DPoP"), ".") // the header, which holds the public key
		if other, known := keys[request.TokenNumber]; known && other != key {
			t.Error("a token was presented with two keys")
		}
		if other, known := owners[key]; known && other != request.TokenNumber {
			t.Error("two callers share a key")
		}
		keys[request.TokenNumber], owners[key], last = key, request.TokenNumber, request
	}
	if len(keys) != 30 {
		t.Errorf("%d tokens reached the API", len(keys))
	}
	stolen := last.Header.Get("Authorization")
	for name, fields := range map[string][]string{
		"as a bearer token": {"Authorization", "Bearer " + strings.TrimPrefix(stolen, "DPoP ")},
		"without a proof":   {"Authorization", stolen},
		"with its proof":    {"Authorization", stolen, "DPoP", last.Header.Get("DPoP")},
	} {
		if res, _, err := rig.Send(client, http.MethodGet, srv.APIURL()+"/x?page=1", fields...); err != nil ||
			res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %v, %v", name, res, err)
		}
	}
}

// A caller whose token is missing or refused is told so, and the API gets no request. A refused
// token is sent to the provider once.
func TestTokenExchangeRefuses(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	addr := exchangeSite(t, srv, srv.URL, "grant token_exchange")
	for name, c := range map[string]struct {
		header    []string
		challenge string
		problem   string
	}{
		"none":            {nil, "Bearer", "subject_missing"},
		"Basic":           {[]string{"Authorization", "Basic YTpi"}, "Bearer", "subject_missing"},
		"the scheme only": {[]string{"Authorization", "Bearer"}, "Bearer", "subject_missing"},
		"DPoP":            {[]string{"Authorization", "DPoP abc"}, "Bearer", "subject_missing"},
		"two words":       {[]string{"Authorization", "Bearer a b"}, "Bearer", "subject_missing"},
		"ended": {[]string{"Authorization", "Bearer e30.eyJleHAiOjEwMDB9.c2ln"}, `Bearer error="invalid_token"`,
			"subject_ended"},
		"bogus": {[]string{"Authorization", "bearer bogus"}, `Bearer error="invalid_token"`, "subject_refused"},
	} {
		for range 2 {
			status, body, header := get(t, "http://"+addr+"/api/x", c.header...)
			if status != http.StatusUnauthorized || header.Get("WWW-Authenticate") != c.challenge ||
				!strings.Contains(body, `"problem":"`+c.problem+`"`) ||
				!strings.Contains(body, "#problem-subject") || strings.Contains(body, "login_url") ||
				name == "Basic" && strings.Contains(body, "what it holds") {
				t.Errorf("%s: %d %q %s", name, status, header.Get("WWW-Authenticate"), body)
			}
			if strings.Contains(body, "bogus") {
				t.Errorf("%s: the answer holds the token", name)
			}
		}
	}
	if n := srv.Count(); n != 1 {
		t.Errorf("%d token requests, want one for the bogus token", n)
	}
	if n := len(srv.APIRequests()); n != 0 {
		t.Errorf("the API got %d requests", n)
	}
}

// If the API refuses an exchanged token, it is replaced once, and the request is sent again.
func TestExchangedTokenIsReplaced(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	addr := exchangeSite(t, srv, srv.URL, "grant token_exchange")
	token, _ := srv.IssueTokens(tokensourcetest.DefaultClientID, "ada")
	ask := func() (int, string) {
		status, body, _ := get(t, "http://"+addr+"/api/x", "Authorization", "Bearer "+token)
		return status, body
	}
	if status, body := ask(); status != http.StatusOK {
		t.Fatal(status, body)
	}
	issued := srv.Issued()
	srv.Revoke(issued[len(issued)-1].AccessToken)
	if status, body := ask(); status != http.StatusOK || subjectOf(t, body) != "ada" || srv.Count() != 2 {
		t.Errorf("%d %s after %d token requests", status, body, srv.Count())
	}
	// Now the caller's token is revoked, too. As soon as authinject learns this, it drops the
	// exchanged token.
	issued = srv.Issued()
	srv.Revoke(issued[len(issued)-1].AccessToken)
	srv.Revoke(token)
	for range 2 {
		if status, body := ask(); status != http.StatusUnauthorized || !strings.Contains(body, "subject_refused") {
			t.Errorf("%d %s", status, body)
		}
	}
	if n := srv.Count(); n != 3 {
		t.Errorf("%d token requests", n)
	}
}

// The caller's token may be in another place of the request. It is removed from there.
func TestSubjectIsStripped(t *testing.T) {
	for placeholder, c := range map[string]struct {
		path   string
		header []string
	}{
		"{http.request.header.Authorization}":            {"/api/x?a=1", []string{"Authorization", "BEARER TOKEN"}},
		"{http.request.header.X-Forwarded-Access-Token}": {"/api/x?a=1", []string{"X-Forwarded-Access-Token", "TOKEN"}},
		"{http.request.uri.query.user_token}":            {"/api/x?a=1&user_token=TOKEN", nil},
	} {
		t.Run(placeholder, func(t *testing.T) {
			srv := rig.Server(t, tokensourcetest.Config{})
			token, _ := srv.IssueTokens(tokensourcetest.DefaultClientID, "ada")
			var seen string
			upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				seen = fmt.Sprint(r.URL, r.Header)
				_, _ = io.WriteString(w, "hello")
			}))
			t.Cleanup(upstream.Close)
			addr := exchangeSite(t, srv, upstream.URL, "grant token_exchange {\n subject_token "+placeholder+"\n}")
			var header []string
			for _, text := range c.header {
				header = append(header, strings.ReplaceAll(text, "TOKEN", token))
			}
			status, body, _ := get(t, "http://"+addr+strings.ReplaceAll(c.path, "TOKEN", token), header...)
			if status != http.StatusOK || body != "hello" {
				t.Fatal(status, body)
			}
			exchanged := srv.Issued()[1].AccessToken
			if strings.Contains(seen, token) || !strings.Contains(seen, "Bearer "+exchanged) || !strings.Contains(seen, "a=1") {
				t.Errorf("the upstream got the subject, or not the token: %s",
					strings.NewReplacer(token, "SUBJECT", exchanged, "EXCHANGED").Replace(seen))
			}
		})
	}
}

// If the subject's token comes from a file, the file is read again for each request, and all
// callers share the subject.
func TestSubjectFromAFile(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	file := filepath.Join(t.TempDir(), "token")
	put := func(user string) {
		token, _ := srv.IssueTokens(tokensourcetest.DefaultClientID, user)
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("pod")
	addr := exchangeSite(t, srv, srv.URL, "grant token_exchange {\n subject_token {file."+file+"}\n}")
	for _, user := range []string{"pod", "pod", "another"} {
		if user == "another" {
			put(user)
		}
		if status, body, _ := get(t, "http://"+addr+"/api/x", "Authorization",
			"Bearer of-the-caller"); status != http.StatusOK || subjectOf(t, body) != user {
			t.Errorf("%s: %d %s", user, status, body)
		}
	}
	if n := srv.Count(); n != 2 {
		t.Errorf("%d token requests", n)
	}
}

// Options that need a token without a caller are refused when the configuration is loaded.
func TestTokenExchangeHasNoTokenOfItsOwn(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	isolate(t)
	t.Setenv("CLIENT_SECRET", rig.Canary)
	base := rig.Caddyfile{}.Source("a", "grant token_exchange", rig.Client(srv))
	for want, config := range map[string]rig.Caddyfile{
		"a health check has no caller": base.Site("http://"+rig.FreeAddr(t),
			rig.Block("authinject a "+srv.URL, "inject_health_checks")),
		"it exchanges each caller's own token": base.Site("http://"+rig.FreeAddr(t),
			rig.Block("authinject_ready", "sources a")),
	} {
		if err := begin(t, config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
