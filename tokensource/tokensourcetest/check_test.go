package tokensourcetest_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	. "github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// refreshAs refreshes as an owner, whatever the result is.
func refreshAs(srv *Server, owner, token string) reply {
	req := tokenRequest(srv, "grant_type", "refresh_token", "refresh_token", token)
	req.Header.Set("User-Agent", owner)
	r, _ := send(srv, req)
	return r
}

func wantViolations(t *testing.T, got []Violation, want int, contains string) {
	t.Helper()
	if len(got) != want {
		t.Errorf("%d violations, want %d: %v", len(got), want, got)
	}
	for _, v := range got {
		if !strings.Contains(v.String(), contains) || strings.Contains(v.String(), "t-1-") {
			t.Errorf("violation %q should contain %q, and no token", v, contains)
		}
	}
}

func TestCheckOwners(t *testing.T) {
	clock := newClock()
	srv := Start(t, Config{Rotation: GraceRotation(10 * time.Second), Now: clock.Now})
	first := srv.IssueRefreshToken("ada")
	srv.Script(Unavailable()) // not carried out: another owner may use the token
	refreshAs(srv, "a", first)
	refreshAs(srv, "b", first)
	clock.Advance(9 * time.Second)
	refreshAs(srv, "a", first) // within the grace
	wantViolations(t, srv.Check(), 0, "")

	clock.Advance(time.Second)
	srv.Script(Unavailable())
	refreshAs(srv, "a", first) // a fault hides it
	want := `refresh token 1, spent by "b" in token request 2, was sent by "a" in token request 4, 10s later`
	wantViolations(t, srv.Check(), 1, want)
	if srv.Check()[0].Rule != srv.CheckOwners()[0].Rule {
		t.Error("Check did not run CheckOwners")
	}

	plain := Start(t, Config{})
	shared := plain.IssueRefreshToken("ada")
	refreshAs(plain, "a", shared)
	refreshAs(plain, "b", shared)
	wantViolations(t, plain.Check(), 0, "") // without rotation, sharing does no harm
}

// Two owners refresh at the same time. The one whose request was carried out second is wrong.
func TestCheckOwnersAtOnce(t *testing.T) {
	srv := Start(t, Config{Rotation: StrictRotation(), Now: newClock().Now})
	token := srv.IssueRefreshToken("ada")
	release := make(chan struct{})
	srv.Script(Hold(release))
	done := make(chan reply)
	go func() { done <- refreshAs(srv, "slow", token) }()
	if err := srv.WaitTokenRequests(soon(t), 1); err != nil {
		t.Fatal(err)
	}
	refreshAs(srv, "quick", token)
	wantViolations(t, srv.CheckOwners(), 0, "")
	close(release)
	wantError(t, <-done, 400, "invalid_grant")
	wantViolations(t, srv.CheckOwners(), 1, `spent by "quick" in token request 2, was sent by "slow" in token request 1`)
}

func TestCheckReuse(t *testing.T) {
	srv := Start(t, Config{Rotation: StrictRotation()})
	token := srv.IssueRefreshToken("ada")
	refreshAs(srv, "a", token)
	wantViolations(t, srv.CheckReuse(), 0, "")
	refreshAs(srv, "a", token)
	wantViolations(t, srv.Check(), 1, `token request 2 by "a" used refresh token 1`)
	wantViolations(t, srv.CheckOwners(), 0, "")
}

func TestCheckStored(t *testing.T) {
	srv := Start(t, Config{Rotation: StrictRotation(), RefreshTokenForClientCredentials: true})
	store := map[string]bool{}
	stored := func(token string) bool { return store[token] }
	token := srv.IssueRefreshToken("seed") // not answered: not missed
	clientCredentials(t, srv)              // its refresh token may be ignored
	next := refreshAs(srv, "a", token).text("refresh_token")
	wantViolations(t, srv.CheckStored(stored), 1, `refresh token 3 of "seed"`)
	store[next] = true
	wantViolations(t, srv.CheckStored(stored), 0, "")
	delete(store, next)

	for _, fault := range []Fault{LoseAnswer(), HalfAnswer(), ButProcessed(Unavailable()), DeleteMember("refresh_token")} {
		srv.Script(fault)
		refreshAs(srv, "a", srv.IssueRefreshToken("lost"))
	}
	wantViolations(t, srv.CheckStored(stored), 1, `refresh token 3 of "seed"`) // the others never arrived

	srv.Script(Unavailable())
	refreshAs(srv, "a", next)
	wantViolations(t, srv.CheckStored(stored), 0, "") // used: the client has it

	gone := refreshAs(srv, "a", next).text("refresh_token")
	srv.Revoke(gone)
	wantViolations(t, srv.CheckStored(stored), 0, "")
}

func TestCheckRate(t *testing.T) {
	clock := newClock()
	srv := Start(t, Config{Now: clock.Now})
	for _, seconds := range []int{0, 5, 5, 5, 60, 1, 1, 1} {
		clock.Advance(time.Duration(seconds) * time.Second)
		clientCredentials(t, srv)
	}
	wantViolations(t, srv.CheckRate(3, 15*time.Second), 1, "4 in 3s, where 3 are allowed in 15s")
	wantViolations(t, srv.CheckRate(3, 16*time.Second), 2, "where 3 are allowed in 16s")
	wantViolations(t, srv.CheckRate(4, time.Minute), 0, "")
	srv.ForgetRequests()
	wantViolations(t, srv.CheckRate(0, time.Hour), 0, "")
	if clientCredentials(t, srv); last(t, srv).Number != 9 {
		t.Errorf("numbers began again: %d", last(t, srv).Number)
	}
}

func TestCheckCredentialsAndExpiry(t *testing.T) {
	clock := newClock()
	srv := Start(t, Config{Now: clock.Now, AccessTokenLifetime: time.Second})
	token, _ := srv.IssueTokens(DefaultClientID, "ada")
	callAPI(t, srv, "", "Bearer "+token)
	wantViolations(t, srv.Check(), 0, "")
	wantViolations(t, srv.CheckExpired(), 0, "")
	callAPI(t, srv, "")
	callAPI(t, srv, "?_bearer_token="+token, "Bearer "+token)
	wantViolations(t, srv.Check(), 2, "carried")
	clock.Advance(time.Second)
	callAPI(t, srv, "", "Bearer "+token)
	wantViolations(t, srv.CheckExpired(), 1, "API request 4")
	wantViolations(t, srv.CheckCredentials(), 2, "")
}

func TestCheckAbsent(t *testing.T) {
	const secret = "s/1 ü"
	srv := Start(t, Config{Clients: []Client{{ID: "c", Secrets: []string{secret}}}})
	access, refresh := srv.IssueTokens("c", "ada")
	req := tokenRequest(srv)
	for text, want := range map[string]string{
		"nothing here":                 "",
		"x" + access:                   "access token 1 stands in the log",
		refresh:                        "refresh token 1 stands in the log",
		secret:                         `secret 1 of client "c" stands in the log`,
		"a=" + url.QueryEscape(secret): `secret 1 of client "c" stands in the log`,
		basicField(req.SetBasicAuth, req.Header.Get, "c", secret):                                   "as a Basic header",
		basicField(req.SetBasicAuth, req.Header.Get, "c", url.QueryEscape(secret)):                  "as a Basic header",
		basicField(req.SetBasicAuth, req.Header.Get, "another", "secret of some other application"): "",
	} {
		n := 1
		if want == "" {
			n = 0
		}
		wantViolations(t, srv.CheckAbsent("the log", text), n, want)
	}
}

func basicField(set func(id, secret string), get func(string) string, id, secret string) string {
	set(id, secret)
	return get("Authorization")
}

// recorder is a T that keeps what a test would print.
type recorder struct {
	errors   []string
	cleanups []func()
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, a ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, a...))
}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func TestReport(t *testing.T) {
	var r recorder
	srv := Start(&r, Config{})
	Report(&r, srv.Check(), []Violation{{Rule: "rule", Detail: "one"}}, []Violation{{Rule: "rule", Detail: "two"}})
	if fmt.Sprint(r.errors) != "[rule: one rule: two]" {
		t.Errorf("reported %q", r.errors)
	}
	for _, f := range r.cleanups {
		f()
	}
	if _, err := send(srv, tokenRequest(srv)); err == nil {
		t.Error("Cleanup did not close the server")
	}
}
