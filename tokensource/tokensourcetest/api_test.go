package tokensourcetest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

func TestAPI(t *testing.T) {
	clock := newClock()
	srv := Start(t, Config{Now: clock.Now, AccessTokenLifetime: time.Minute})
	revoked, _ := srv.IssueTokens(DefaultClientID, "ada")
	srv.Revoke(revoked)
	expired, _ := srv.IssueTokens(DefaultClientID, "ada")
	clock.Advance(time.Minute)
	good, _ := srv.IssueTokens(DefaultClientID, "ada")
	clock.Advance(1)
	query := "?_bearer_token=" + good
	for name, test := range map[string]struct {
		tail    string
		fields  []string
		verdict Verdict
		status  int
		found   int
	}{
		"header":            {"/a%2fb//c?x=1", []string{"Bearer " + good}, Accepted, 200, 1},
		"scheme's case":     {"", []string{"bEARER " + good}, Accepted, 200, 1},
		"query":             {query + "&a=b", nil, Accepted, 200, 1},
		"encoded name":      {"?%5Fbearer_token=" + good, nil, Accepted, 200, 1},
		"missing":           {"", nil, Missing, 401, 0},
		"both":              {query, []string{"Bearer " + good}, Ambiguous, 400, 2},
		"both, one empty":   {"?_bearer_token", []string{"Bearer " + good}, Ambiguous, 400, 2},
		"header twice":      {"", []string{"Bearer " + good, "Bearer " + good}, Ambiguous, 400, 2},
		"query twice":       {query + ";_bearer_token=x", nil, Ambiguous, 400, 2},
		"malformed escape":  {query + "&_bearer_token=%zz", nil, Ambiguous, 400, 2},
		"other scheme":      {"", []string{"Token " + good}, Malformed, 401, 1},
		"no scheme":         {"", []string{good}, Malformed, 401, 1},
		"unknown":           {"", []string{"Bearer nonsense"}, Unknown, 401, 1},
		"expired":           {"", []string{"Bearer " + expired}, Expired, 401, 1},
		"revoked":           {"", []string{"Bearer " + revoked}, Revoked, 401, 1},
		"the token in path": {"/x" + good, []string{"Bearer " + good}, Accepted, 200, 1},
	} {
		t.Run(name, func(t *testing.T) {
			srv.ForgetRequests()
			r := callAPI(t, srv, test.tail, test.fields...)
			if r.status != test.status {
				t.Errorf("got %d %s", r.status, r.body)
			}
			if strings.Contains(r.body, good) {
				t.Errorf("the answer holds the token: %s", r.body)
			}
			rec := srv.APIRequests()[0]
			if rec.Verdict != test.verdict || len(rec.Credentials) != test.found || rec.Method != "GET" {
				t.Errorf("record %+v", rec)
			}
			challenge := r.header.Get("WWW-Authenticate")
			want := map[int]string{200: "", 400: `Bearer realm="api", error="invalid_request"`,
				401: `Bearer realm="api", error="invalid_token"`}[r.status]
			if test.verdict == Missing {
				want = `Bearer realm="api"`
			}
			if challenge != want {
				t.Errorf("challenge %q, want %q", challenge, want)
			}
			if name == "header" && (r.members["token_number"] != 3.0 || r.members["expires_in"] != 59.0 ||
				r.text("path") != "/api/a/b//c" || rec.TokenNumber != 3 || rec.RawQuery != "x=1") {
				t.Errorf("answer %s, record %+v", r.body, rec)
			}
		})
	}
}

func TestRevocation(t *testing.T) {
	srv := Start(t, Config{Rotation: StrictRotation()})
	verdict := func(token string) Verdict {
		callAPI(t, srv, "", "Bearer "+token)
		list := srv.APIRequests()
		return list[len(list)-1].Verdict
	}
	a, r := srv.IssueTokens(DefaultClientID, "ada")
	srv.RefuseAll(true)
	if verdict(a) != Refused {
		t.Error("RefuseAll let a token through")
	}
	srv.RefuseAll(false)
	if verdict(a) != Accepted {
		t.Error("RefuseAll(false) did not end the refusals")
	}
	srv.RevokeAccessTokens()
	if verdict(a) != Revoked {
		t.Error("RevokeAccessTokens did not revoke the access token")
	}
	b := refreshWith(t, srv, r) // a refresh brings a good token
	if verdict(b.text("access_token")) != Accepted {
		t.Error("a refreshed token was refused")
	}
	if !srv.Revoke(b.text("refresh_token")) || verdict(b.text("access_token")) != Revoked {
		t.Error("revoking the refresh token did not end the login (RFC 7009 section 2.1)")
	}
	wantError(t, refreshWith(t, srv, b.text("refresh_token")), 400, "invalid_grant")
	c, d := srv.IssueTokens(DefaultClientID, "ada")
	srv.RevokeAll()
	if verdict(c) != Revoked || refreshWith(t, srv, d).status != 400 {
		t.Error("RevokeAll left something alive")
	}
	if last(t, srv).Reuse {
		t.Error("a revoked token counts as reused")
	}
	if srv.Revoke("nonsense") {
		t.Error("Revoke knows a token that was never issued")
	}
}

func TestAPIWithoutScheme(t *testing.T) {
	srv := Start(t, Config{APIHeader: "X-Token", APIScheme: Absent, APIQueryParameter: Absent})
	token, _ := srv.IssueTokens(DefaultClientID, "ada")
	req, _ := http.NewRequest(http.MethodGet, srv.APIURL()+"?_bearer_token=x&-=y", nil)
	req.Header.Set("X-Token", token)
	if r, err := send(srv, req); err != nil || r.status != 200 {
		t.Errorf("got %d %v", r.status, err)
	}
}

// Protect works in any server and tells the handler who calls.
func TestProtect(t *testing.T) {
	srv := Start(t, Config{})
	token, _ := srv.IssueTokens(DefaultClientID, "ada", "read")
	handler := srv.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, ok := CallerOf(r.Context())
		if !ok || caller.Subject != "ada" || !slices.Equal(caller.Scopes, []string{"read"}) || caller.TokenNumber != 1 {
			t.Errorf("caller %+v", caller)
		}
		_, _ = io.WriteString(w, "hello")
	}))
	for token, status := range map[string]int{token: 200, "other": 401} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "http://anywhere.example/x", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		handler.ServeHTTP(w, r)
		if w.Code != status || (w.Body.String() == "hello") != (status == 200) {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	}
	if list := srv.APIRequests(); len(list) != 2 || list[0].Host != "anywhere.example" {
		t.Errorf("recorded %+v", list)
	}
}
