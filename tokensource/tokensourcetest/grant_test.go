package tokensourcetest_test

import (
	"strings"
	"testing"
	"time"

	. "github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

func TestRefreshWithoutRotation(t *testing.T) {
	srv := Start(t, Config{})
	token := srv.IssueRefreshToken("ada")
	for range 2 {
		r := refreshWith(t, srv, token)
		wantToken(t, r)
		if r.members["refresh_token"] != nil {
			t.Error("the response has a refresh token")
		}
	}
	if r := callAPI(t, srv, "", "Bearer "+srv.Issued()[1].AccessToken); r.text("subject") != "ada" {
		t.Errorf("API said %s", r.body)
	}

	repeating := Start(t, Config{Rotation: Rotation{Repeat: true}})
	token = repeating.IssueRefreshToken("ada")
	if r := refreshWith(t, repeating, token); r.text("refresh_token") != token {
		t.Errorf("got %s, want the same refresh token back", r.body)
	}
}

func TestStrictRotation(t *testing.T) {
	srv := Start(t, Config{Rotation: StrictRotation()})
	first := srv.IssueRefreshToken("ada")
	other := srv.IssueRefreshToken("grace")
	r := refreshWith(t, srv, first)
	second := r.text("refresh_token")
	if second == "" || second == first {
		t.Fatalf("no rotation: %s", r.body)
	}
	wantToken(t, callAPIAsToken(t, srv, r.text("access_token")))

	wantError(t, refreshWith(t, srv, first), 400, "invalid_grant")
	if !last(t, srv).Reuse {
		t.Error("the reuse was not recorded")
	}
	wantError(t, refreshWith(t, srv, second), 400, "invalid_grant") // the family is gone
	if last(t, srv).Reuse {
		t.Error("the successor's first use was recorded as a reuse")
	}
	if api := callAPI(t, srv, "", "Bearer "+r.text("access_token")); api.status != 401 {
		t.Errorf("the access token of a revoked login was answered with %d", api.status)
	}
	wantToken(t, refreshWith(t, srv, other)) // another login is untouched
}

// callAPIAsToken calls the API and puts the result into the form that wantToken reads.
func callAPIAsToken(t *testing.T, srv *Server, token string) reply {
	t.Helper()
	r := callAPI(t, srv, "", "Bearer "+token)
	if r.status == 200 {
		r.members["access_token"] = token
	}
	return r
}

func TestGraceRotation(t *testing.T) {
	clock := newClock()
	srv := Start(t, Config{Rotation: GraceRotation(10 * time.Second), Now: clock.Now})
	first := srv.IssueRefreshToken("ada")
	a := refreshWith(t, srv, first)
	clock.Advance(10*time.Second - 1)
	b := refreshWith(t, srv, first)
	wantToken(t, b)
	if a.text("refresh_token") != b.text("refresh_token") || a.text("access_token") == b.text("access_token") {
		t.Errorf("in grace: want the same refresh token and another access token, got\n%s\n%s", a.body, b.body)
	}
	// The successor was spent meanwhile, so a repeat gets the newest refresh token.
	c := refreshWith(t, srv, b.text("refresh_token"))
	if d := refreshWith(t, srv, first); d.text("refresh_token") != c.text("refresh_token") {
		t.Errorf("got %s, want the newest refresh token", d.body)
	}
	clock.Advance(1)
	wantError(t, refreshWith(t, srv, first), 400, "invalid_grant")
	wantError(t, refreshWith(t, srv, c.text("refresh_token")), 400, "invalid_grant")
}

func TestRefreshBelongsToItsClient(t *testing.T) {
	srv := Start(t, Config{
		Rotation: StrictRotation(),
		Clients: []Client{{ID: "owner", Secrets: []string{"s"}},
			{ID: DefaultClientID, Secrets: []string{DefaultClientSecret}}},
	})
	token := srv.IssueRefreshToken("ada")
	wantError(t, refreshWith(t, srv, token), 400, "invalid_grant")
	req := tokenRequest(srv, "grant_type", "refresh_token", "refresh_token", token)
	req.SetBasicAuth("owner", "s")
	r, err := send(srv, req)
	if err != nil {
		t.Fatal(err)
	}
	wantToken(t, r) // the thief has not spent it
}

func TestRefreshScope(t *testing.T) {
	srv := Start(t, Config{})
	_, token := srv.IssueTokens(DefaultClientID, "ada", "read", "write")
	refresh := func(scope string) reply {
		return ask(t, srv, "grant_type", "refresh_token", "refresh_token", token, "scope", scope)
	}
	if r := refresh("read"); r.text("scope") != "read" {
		t.Errorf("got %s, want scope read", r.body)
	}
	if r := refresh(""); r.text("scope") != "read write" {
		t.Errorf("got %s, want what was granted first (RFC 6749 section 6)", r.body)
	}
	wantError(t, refresh("read admin"), 400, "invalid_scope")
}

func TestRefreshTooEarlyTooLate(t *testing.T) {
	clock := newClock()
	srv := Start(t, Config{
		Now: clock.Now, AccessTokenLifetime: time.Minute,
		RefuseEarlyRefresh: 20 * time.Second, RefuseLateRefresh: true, Rotation: StrictRotation(),
	})
	token := srv.IssueRefreshToken("ada")
	token = refreshWith(t, srv, token).text("refresh_token")
	clock.Advance(40*time.Second - 1)
	wantError(t, refreshWith(t, srv, token), 400, "invalid_request")
	clock.Advance(1)
	r := refreshWith(t, srv, token) // the refusal has not spent it
	wantToken(t, r)
	clock.Advance(time.Minute)
	wantError(t, refreshWith(t, srv, r.text("refresh_token")), 400, "invalid_grant")
}

func TestRefreshTokenLifetime(t *testing.T) {
	clock := newClock()
	srv := Start(t, Config{Now: clock.Now, RefreshTokenLifetime: time.Hour})
	token := srv.IssueRefreshToken("ada")
	clock.Advance(time.Hour - 1)
	wantToken(t, refreshWith(t, srv, token))
	clock.Advance(1)
	wantError(t, refreshWith(t, srv, token), 400, "invalid_grant")
}

func TestSameTokenWithin(t *testing.T) {
	clock := newClock()
	srv := Start(t, Config{Now: clock.Now, SameTokenWithin: time.Minute, Rotation: StrictRotation()})
	a := clientCredentials(t, srv)
	clock.Advance(time.Minute - 1)
	b := clientCredentials(t, srv)
	if a.text("access_token") != b.text("access_token") || last(t, srv).Outcome != OutcomeRepeated {
		t.Errorf("got %s after %s", b.body, a.body)
	}
	if b.members["expires_in"] != 3540.0 {
		t.Errorf("expires_in %v, want what is left", b.members["expires_in"])
	}
	if r := ask(t, srv, "grant_type", "client_credentials", "scope",
		"x"); r.text("access_token") == a.text("access_token") {
		t.Error("another scope got the same token")
	}
	clock.Advance(1)
	if r := clientCredentials(t, srv); r.text("access_token") == a.text("access_token") {
		t.Error("the same token after the time was over")
	}

	token := srv.IssueRefreshToken("ada")
	c := refreshWith(t, srv, token)
	d := refreshWith(t, srv, c.text("refresh_token"))
	if c.body != d.body {
		t.Errorf("refresh: got %s after %s", d.body, c.body)
	}
	srv.Revoke(c.text("access_token"))
	if e := refreshWith(t, srv, c.text("refresh_token")); e.text("access_token") == c.text("access_token") {
		t.Error("a revoked token came back")
	}
}

func TestOneAccessToken(t *testing.T) {
	srv := Start(t, Config{OneAccessToken: true})
	token := srv.IssueRefreshToken("ada")
	old := refreshWith(t, srv, token).text("access_token")
	wantToken(t, callAPIAsToken(t, srv, old))
	refreshWith(t, srv, token)
	if r := callAPI(t, srv, "", "Bearer "+old); r.status != 401 {
		t.Errorf("the older access token was answered with %d", r.status)
	}
	old = clientCredentials(t, srv).text("access_token")
	other := ask(t, srv, "grant_type", "client_credentials", "scope", "x").text("access_token")
	clientCredentials(t, srv)
	if r := callAPI(t, srv, "", "Bearer "+old); r.status != 401 {
		t.Errorf("client_credentials: the older access token was answered with %d", r.status)
	}
	wantToken(t, callAPIAsToken(t, srv, other))
}

func TestExpiryShapes(t *testing.T) {
	for shape, want := range map[ExpiryShape]string{
		ExpiryNumber:       `"expires_in":90`,
		ExpiryString:       `"expires_in":"90"`,
		ExpiryFloat:        `"expires_in":90.5`,
		ExpiryMilliseconds: `"expires_in":90500`,
		ExpiryInUnix:       `"expires_in":1893553535`,
		ExpiryUnix:         `"expires":1893553535`,
		ExpiryAtUnix:       `"expires_at":1893553535`,
		ExpiryCreatedAt:    `"created_at":"2030-01-02T03:04:05Z","expires_in":90`,
		ExpiryEmpty:        `"expires_in":""`,
		ExpiryNull:         `"expires_in":null`,
		ExpiryZero:         `"expires_in":0`,
		ExpiryNegative:     `"expires_in":-1`,
		ExpiryAbsent:       ``,
	} {
		srv := Start(t, Config{Expiry: shape, AccessTokenLifetime: 90500 * time.Millisecond, Now: newClock().Now,
			TokenType: Absent})
		body := clientCredentials(t, srv).body
		_, got, _ := strings.Cut(strings.TrimSuffix(body, "}"), `,`) // access_token comes first
		if got != want {
			t.Errorf("%s: got %s, want %s", shape, got, want)
		}
	}
	srv := Start(t, Config{Expiry: ExpiryFloat})
	if body := clientCredentials(t, srv).body; !strings.Contains(body, `"expires_in":3600.0,`) {
		t.Errorf("a whole number of seconds: %s", body)
	}
}

func TestHooks(t *testing.T) {
	srv := Start(t, Config{
		NewAccessToken:                   func(n uint64) string { return strings.Repeat("x", int(n)) },
		RefreshTokenForClientCredentials: true,
		EditAnswer: func(req *TokenRequest, m map[string]any) {
			m["data"] = map[string]any{"access_token": m["access_token"], "for": req.ClientID}
			delete(m, "access_token")
		},
	})
	clientCredentials(t, srv)
	r := clientCredentials(t, srv)
	if !strings.Contains(r.body, `"data":{"access_token":"xx","for":"client"}`) || r.text("refresh_token") == "" {
		t.Errorf("got %s", r.body)
	}
}

func TestTokenExchange(t *testing.T) {
	clock := newClock()
	srv := Start(t, Config{Now: clock.Now, Audiences: []string{"api"}, Scopes: []string{"read"}})
	subject, _ := srv.IssueTokens(DefaultClientID, "ada")
	actor, _ := srv.IssueTokens(DefaultClientID, "proxy")
	const prefix = "urn:ietf:params:oauth:"
	exchange := func(more ...string) reply {
		params := []string{"grant_type", prefix + "grant-type:token-exchange"}
		return ask(t, srv, append(params, more...)...)
	}
	access := prefix + "token-type:access_token"
	r := exchange("subject_token", subject, "subject_token_type", access, "audience", "api", "scope", "read")
	wantToken(t, r)
	if r.text("issued_token_type") != access {
		t.Errorf("the response has no issued_token_type: %s", r.body)
	}
	if api := callAPI(t, srv, "", "Bearer "+r.text("access_token")); api.text("subject") != "ada" {
		t.Errorf("the subject is %s", api.body)
	}
	wantToken(t, exchange("subject_token", subject, "subject_token_type", access, "actor_token", actor,
		"actor_token_type", access))
	for name, c := range map[string]struct {
		code string
		more []string
	}{
		"no subject":      {"invalid_request", nil},
		"no type":         {"invalid_request", []string{"subject_token", subject}},
		"unknown subject": {"invalid_request", []string{"subject_token", "x", "subject_token_type", access}},
		"unknown actor": {"invalid_request", []string{"subject_token", subject, "subject_token_type", access,
			"actor_token", "x", "actor_token_type", access}},
		"a type without actor": {"invalid_request", []string{"subject_token", subject, "subject_token_type", access,
			"actor_token_type", access}},
		"another type wanted": {"invalid_request", []string{"subject_token", subject, "subject_token_type", access,
			"requested_token_type", prefix + "token-type:saml2"}},
		"unknown audience": {"invalid_target", []string{"subject_token", subject, "subject_token_type", access,
			"audience", "x"}},
		"unknown scope": {"invalid_scope", []string{"subject_token", subject, "subject_token_type", access,
			"scope", "write"}},
	} {
		t.Run(name, func(t *testing.T) { wantError(t, exchange(c.more...), 400, c.code) })
	}
	onBehalfOf := func(assertion, scope string) reply {
		return ask(t, srv, "grant_type", prefix+"grant-type:jwt-bearer", "requested_token_use", "on_behalf_of", "assertion",
			assertion, "scope", scope)
	}
	wantToken(t, onBehalfOf(subject, "read"))
	wantError(t, onBehalfOf("", "read"), 400, "invalid_request")
	wantError(t, onBehalfOf(subject, ""), 400, "invalid_request")
	wantError(t, onBehalfOf("x", "read"), 400, "invalid_grant")

	clock.Advance(2 * time.Hour)
	wantError(t, exchange("subject_token", subject, "subject_token_type", access), 400, "invalid_request")
	wantError(t, onBehalfOf(subject, "read"), 400, "invalid_grant")
}
