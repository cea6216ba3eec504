package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// If the Date of an answer shows that the clocks differ, each failure that this can cause says so.
func TestSkewIsNamed(t *testing.T) {
	expired := reply{status: 200, body: `{"access_token":"at1","token_type":"Bearer","expires_in":-1}`}
	for name, c := range map[string]struct {
		answer reply
		edit   func(*tokensource.Config)
		off    time.Duration // of the provider's clock
		want   string
	}{
		"client assertion": {refused(401, "invalid_client"), signing(testKey(0)), time.Hour,
			"correct the clock that is wrong: this machine's clock (now 2000-01-01T00:00:00Z) is 1h0m0s behind the provider's. If " +
				"that is not enough, check client_id"},
		"client assertion, another code": {refused(400, "unauthorized_client"), signing(testKey(0)), time.Hour,
			"correct the clock that is wrong: this machine's clock (now 2000-01-01T00:00:00Z) is 1h0m0s behind the provider's, " +
				"and the request holds a JWT with a time. If that is not enough, allow the grant"},
		"client assertion, no code": {reply{status: 401, body: "no"}, signing(testKey(0)), time.Hour,
			"and the request holds a JWT with a time. If that is not enough, check token_url"},
		"grant assertion": {refused(400, "invalid_grant"), bearing(nil), -time.Hour, "correct the clock that is " +
			"wrong: this machine's clock (now 2000-01-01T00:00:00Z) is 1h0m0s ahead of the provider's. If that is not enough, " +
			"check the options of the grant: key"},
		"token dead at birth": {expired, nil, -2 * time.Minute, "tell the provider that the clock of one of its servers is " +
			"wrong"},
		"DPoP proof": {refused(400, "invalid_dpop_proof"), withDPoP, time.Hour,
			"which is 1h0m0s behind the server's"},
		"DPoP proof, barely": {refused(400, "invalid_dpop_proof"), withDPoP, 5 * time.Second,
			"which is 5s behind the server's"},
		"clocks that almost agree": {refused(401, "invalid_client"), signing(testKey(0)), 59 * time.Second, ""},
		"no matter of clocks":      {refused(401, "invalid_client"), nil, time.Hour, ""},
		"no JWT in the request":    {reply{status: 401, body: "no"}, nil, time.Hour, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if c.edit == nil {
					c.edit = func(*tokensource.Config) {}
				}
				ep := &endpoint{script: always(withHeader(c.answer, "Date", time.Now().Add(c.off).UTC().Format(http.TimeFormat)))}
				src := newSource(t, ep, c.edit)
				_, err := src.Token(t.Context())
				var e *tokensource.Error
				if !errors.As(err, &e) {
					t.Fatal(err)
				}
				for where, text := range map[string]string{"error": err.Error(), "remedy": e.Remedy(),
					"state": src.Account("").Status().Err.Remedy()} {
					if c.want == "" && strings.Contains(text, "clock") || !strings.Contains(text, c.want) {
						t.Errorf("the %s does not say %q: %s", where, c.want, text)
					}
				}
			})
		})
	}
}

// If the provider refuses a refresh token with a code that does not say so, or without a code, the
// remedy names the refresh token, too.
func TestRefusedRefreshNamesTheRefreshToken(t *testing.T) {
	const want = "mean that the refresh token has ended, get a new refresh token from the provider, and write it into the option " +
		"refresh_token"
	for name, answer := range map[string]reply{
		"invalid_request": refused(400, "invalid_request"),
		"another code":    refused(400, "token_revoked"),
		"HubSpot":         {status: 400, body: `{"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token"}`},
		"no code":         {status: 401, body: "no"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := asked(answer, refreshing(&tokensource.MemoryStorage{}, "rt"))(t); !strings.Contains(err.Error(), want) {
				t.Errorf("got %v", err)
			}
			if err := asked(answer)(t); strings.Contains(err.Error(), "refresh token") {
				t.Errorf("without a refresh token: %v", err)
			}
		})
	}
}

// If a server asks for HTTP Basic and got the secret in another place, the remedy says so.
func TestBasicIsNamed(t *testing.T) {
	for auth, named := range map[tokensource.ClientAuth]bool{
		tokensource.ClientSecretPost: true, tokensource.ClientSecretQuery: true, tokensource.ClientSecretBasic: false,
	} {
		for name, answer := range map[string]reply{"with a code": refused(401, "invalid_client"), "without": {status: 401}} {
			err := asked(withHeader(answer, "Www-Authenticate", `basic realm="tokens"`), func(c *tokensource.Config) {
				c.ClientAuth = auth
			})(t)
			if got := strings.Contains(err.Error(), "try client_auth client_secret_basic") &&
				strings.Contains(err.Error(), "he answer asks for HTTP Basic"); got != named {
				t.Errorf("%s, %s: %v", auth, name, err)
			}
		}
	}
}

// The record of a refused refresh token has exactly the words of the error.
func TestStoredRefusalHasTheSameWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := new(tokensource.MemoryStorage)
		ep := &endpoint{script: always(refused(400, "invalid_grant"))}
		_, err := newSource(t, ep, refreshing(storage, "rt")).Token(t.Context())
		first := asError(t, err, tokensource.ClassLogin)
		again := newSource(t, ep, refreshing(storage, "rt"))
		st, err := again.Stored(t.Context(), "")
		if err != nil || st.Err == nil || st.Err.Error() != first.Error() || st.Err.Remedy() != first.Remedy() {
			t.Errorf("stored: %v, %v; was %v", st.Err, err, first)
		}
		if _, err := again.Token(t.Context()); err == nil || err.Error() != first.Error() {
			t.Errorf("after a start: %v; was %v", err, first)
		}
		wantCount(t, ep, 1)
	})
}

// The remedy names the place of a static token, both when the token expires and when an upstream
// refuses it. The state has its own problem.
func TestStaticTokenRemedyNamesItsPlace(t *testing.T) {
	static := func(end time.Time) func(*tokensource.Config) {
		return func(c *tokensource.Config) {
			c.Grant, c.TokenIn = tokensource.Static{Token: tokensource.Literal("pat"), Expires: end}, "the file /run/token"
		}
	}
	src := newSource(t, nil, static(time.Time{}))
	if _, err := src.Account("").Reject(t.Context(), mustToken(t, src)); !errors.Is(err, tokensource.ErrNoReplacement) {
		t.Fatal(err)
	}
	st := src.Account("").Status()
	if problems := st.Problems(); st.State != tokensource.StateRefused || len(problems) != 1 ||
		problems[0].Remedy() != "write a new token into the file /run/token. If the token is right, check inject" {
		t.Errorf("state %s, problems %v", st.State, problems)
	}
	_, err := newSource(t, nil, static(time.Unix(1, 0))).Token(t.Context())
	if err == nil || !strings.Contains(err.Error(), "write the new token's expiry time into expires, or remove that line, "+
		"and write the token into the file /run/token.") {
		t.Errorf("got %v", err)
	}
}

// A source that exchanges its callers' tokens sends no requests by itself, so its remedies do not
// promise another attempt.
func TestExchangeDoesNotPromiseToAskAgain(t *testing.T) {
	for _, status := range []int{429, 503} {
		err := asError(t, exchangedBy("ada", reply{status: status})(t), tokensource.ClassWait)
		if remedy := err.Remedy(); !strings.HasPrefix(remedy, "wait. The next request of a caller asks again") {
			t.Errorf("%d: %s", status, remedy)
		}
	}
}

// below is a storage in a directory whose path leads through a regular file.
type below struct {
	tokensource.MemoryStorage
	dir string
}

func (b *below) Load(_ context.Context, key string) ([]byte, error) {
	return os.ReadFile(filepath.Join(b.dir, key))
}

// If the path of a storage leads through a regular file, the error names that file to the operator.
// Everyone else learns only what kind of error it is.
func TestStorageBelowAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	src := newSource(t, &endpoint{}, refreshing(&below{dir: filepath.Join(file, "sub")}, "rt"))
	st, err := src.Stored(t.Context(), "")
	if st.StorageErr == nil || !strings.HasSuffix(st.StorageErr.Error(), ": "+file+" is a file, not a directory") {
		t.Errorf("the storage's error is %v", st.StorageErr)
	}
	e := asError(t, err, tokensource.ClassWait)
	if !strings.Contains(e.Remedy(), "a part of the path is a file, not a directory") ||
		strings.Contains(e.Error(), file) {
		t.Errorf("got %v", e)
	}
	if other := errors.New("other"); tokensource.ExplainStorage(other) != other || tokensource.ExplainStorage(nil) != nil {
		t.Error("another error was changed")
	}
}

// Each text in a heading of docs/troubleshooting.md is the text of errors that its row matches.
func TestOtherTextsMatchTheirRow(t *testing.T) {
	for _, r := range tokensource.Remedies() {
		for _, text := range r.Also {
			e := &tokensource.Error{Class: r.Class, Reason: text}
			switch r.Problem {
			case "invalid_dpop_proof":
				e.Code = r.Problem
			case "invalid_client":
				_, e.Code, _ = strings.Cut(text, " 401 ")
				e.Status = http.StatusUnauthorized
			}
			if e.Problem() != r.Problem {
				t.Errorf("%q is of problem %q, not %s", text, e.Problem(), r.Problem)
			}
		}
	}
}

// The remedy of invalid_client names the place of the secret, if it is known and a secret is sent.
func TestClientRemedyNamesThePlaceOfTheSecret(t *testing.T) {
	const place = "the environment variable S, and start the server again"
	for name, row := range map[string]struct {
		in   string
		edit func(*tokensource.Config)
		want string
	}{
		"a variable": {place, func(*tokensource.Config) {}, "client_auth (now client_secret_basic). If the client_secret " +
			"is wrong, write the right one into " + place +
			". If the secret is right, try client_auth client_secret_post"},
		"a literal": {"", func(*tokensource.Config) {}, "check client_id, client_secret and client_auth (now " +
			"client_secret_basic). If the client_secret is wrong, write the right one into the option client_secret. If the " +
			"secret is right, try client_auth client_secret_post"},
		"sent in the body": {"", func(c *tokensource.Config) { c.ClientAuth = tokensource.ClientSecretPost },
			"try client_auth client_secret_basic"},
		"no secret": {place, func(c *tokensource.Config) { c.ClientSecrets = nil }, "check client_id, client_secret and " +
			"client_auth (now none). The source sends no client_secret: if the provider gave you one, write it into the option " +
			"client_secret"},
	} {
		t.Run(name, func(t *testing.T) {
			err := asked(refused(401, "invalid_client"), func(c *tokensource.Config) { c.ClientSecretIn = row.in }, row.edit)(t)
			if err == nil || !strings.HasSuffix(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

// If the issuer's metadata lists other ways of client authentication, the remedy of invalid_client
// names one that the client can use, before anything else.
func TestClientRemedyNamesTheListedWay(t *testing.T) {
	for name, row := range map[string]struct{ listed, want string }{
		"another way": {`["client_secret_post"]`, "write client_auth client_secret_post, because the issuer's " +
			"metadata lists it, and not client_secret_basic. If that is not enough, check client_id, client_secret and " +
			"client_auth (now client_secret_basic). If the client_secret is wrong, write the right one into the file /run/s"},
		"this way":                {`["client_secret_post","client_secret_basic"]`, "check client_id"},
		"a way that needs a key":  {`["private_key_jwt"]`, "check client_id"},
		"nothing that is a list":  {`"client_secret_post"`, "check client_id"},
		"a way that is not known": {`["spell"]`, "check client_id"},
	} {
		t.Run(name, func(t *testing.T) {
			body := `{"issuer":"https://login.example.com","token_endpoint":"` + tokenURL +
				`","token_endpoint_auth_methods_supported":` + row.listed + `}`
			_, err := newSource(t, listing(body), func(cfg *tokensource.Config) {
				cfg.TokenURL, cfg.Issuer, cfg.ClientSecretIn = "", "https://login.example.com", "the file /run/s"
			}).Token(t.Context())
			if e := asError(t, err, tokensource.ClassOperator); e.Problem() != "invalid_client" ||
				!strings.HasPrefix(e.Remedy(), row.want) {
				t.Errorf("got %s, want %s", e.Remedy(), row.want)
			}
		})
	}
}

// listing is an issuer with this metadata. Its token endpoint refuses every client.
type listing string

func (l listing) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodGet {
		return published{200, string(l)}.RoundTrip(req)
	}
	return published{401, `{"error":"invalid_client"}`}.RoundTrip(req)
}

// If the clocks differ, that is a problem of an account even while its token can be used, until an
// answer shows that they agree. It is also listed in addition to a failure that it can cause, with
// the same times.
func TestClocksThatDifferAreAWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		off, refuses := time.Hour, false
		ep := &endpoint{script: func(n int, _ url.Values) reply {
			answer := granted(n, time.Hour)
			if refuses {
				answer = refused(401, "invalid_client")
			}
			if off < 0 {
				return answer // without a Date
			}
			return withHeader(answer, "Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
		}}
		src := newSource(t, ep, signing(testKey(0)))
		problems := func() (list []string) {
			for _, e := range src.Account("").Status().Problems() {
				list = append(list, e.Problem()+": "+e.Error())
			}
			return list
		}
		mustToken(t, src)
		const want = `clock: token source "orders": this machine's clock and the provider's differ: ` +
			`correct the clock that is wrong: this machine's clock (now 2000-01-01T00:00:00Z) is 1h0m0s behind the provider's`
		st := src.Account("").Status()
		if got := problems(); len(got) != 1 || got[0] != want || st.State != tokensource.StateFresh || st.Err != nil {
			t.Errorf("state %s, problems %q, want %q", st.State, got, want)
		}
		refresh := func() { _ = src.Account("").Refresh(t.Context()) }
		off = -1
		if refresh(); len(problems()) != 1 {
			t.Error("an answer without a Date ended the warning")
		}
		off, refuses = time.Hour, true
		refresh()
		virtual.Advance(10 * time.Second)
		if got := problems(); len(got) != 2 || !strings.HasPrefix(got[0], "client_assertion_refused: ") || got[1] != want ||
			!strings.Contains(got[0], want[strings.Index(want, "correct the clock"):]+
				". If that is not enough, check client_id") {
			t.Errorf("after a failure that names the clocks: %q", got)
		}
		off, refuses = time.Second, false
		if refresh(); len(problems()) != 0 {
			t.Errorf("after an answer with the right time: %q", problems())
		}
	})
}

// If no person can log in, the error of a refused refresh token says that an operator must replace
// the token, and where.
func TestRefusedRefreshTokenHasNoLogin(t *testing.T) {
	for want, in := range map[string]string{
		"get a new refresh token from the provider, and write it into the file /run/rt":         "the file /run/rt",
		"get a new refresh token from the provider, and write it into the option refresh_token": "",
	} {
		src := newSource(t, &endpoint{script: always(refused(400, "invalid_grant"))},
			refreshing(new(tokensource.MemoryStorage), "rt"),
			func(cfg *tokensource.Config) { cfg.TokenIn = in })
		e := wantError(t, src, tokensource.ClassLogin)
		st := src.Account("").Status()
		if !e.NeedsRefreshToken() || e.Remedy() != want || !strings.HasSuffix(want, st.TokenIn()) {
			t.Errorf("got %v: %s, %s", e, e.Remedy(), st.TokenIn())
		}
	}
	src := newSource(t, &endpoint{}, connecting(new(tokensource.MemoryStorage)))
	if e := wantError(t, src, tokensource.ClassLogin); e.NeedsRefreshToken() {
		t.Errorf("a person can log in: %v", e)
	}
}

// The error of a refused refresh token says that it is a refresh token, and is stored with these
// words. The remedy says where to connect the account, or where to write another refresh token.
func TestDeadRefreshTokenIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := new(tokensource.MemoryStorage)
		ep := &endpoint{script: func(n int, _ url.Values) reply {
			if n == 1 {
				return rotated(1, time.Minute)
			}
			return refused(400, "invalid_grant")
		}}
		src := newSource(t, ep, connecting(storage))
		connect(t, src, "")
		virtual.Advance(2 * time.Minute)
		_, err := src.Token(t.Context())
		e := asError(t, err, tokensource.ClassLogin)
		const words = "the token endpoint answered 400 invalid_grant (the provider no longer accepts the refresh token)"
		const remedy = "connect the account again on the page of authinject_connect, or run: caddy authinject login orders"
		if e.What() != words || e.Remedy() != remedy {
			t.Errorf("got %q, %q", e.What(), e.Remedy())
		}
		st, _ := newSource(t, ep, connecting(storage)).Stored(t.Context(), "")
		if st.Err == nil || st.Err.What() != words || st.Err.Remedy() != remedy {
			t.Errorf("stored: %v", st.Err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		err := asked(refused(400, "invalid_grant"), refreshing(new(tokensource.MemoryStorage), "seed"),
			func(c *tokensource.Config) { c.TokenIn = "the file /run/rt" })(t)
		if e := asError(t, err, tokensource.ClassLogin); e.Remedy() != "get a new refresh token from the provider, and "+
			"write it into the file /run/rt" {
			t.Errorf("got %q", e.Remedy())
		}
	})
	if err := denied("invalid_scope")(t); strings.Contains(err.Error(), "refresh token") {
		t.Errorf("a login that was refused: %v", err)
	}
}

// The remedy of an answer with Retry-After says when the source asks again, and how a person can
// ask sooner.
func TestRetryAfterIsNamed(t *testing.T) {
	for _, status := range []int{429, 503} {
		for after, want := range map[string]string{
			"":   "wait. The source asks again by itself",
			"30": "wait. The source asks again by itself after 2000-01-01T00:00:30Z, as the provider's Retry-After asks",
			"300": "wait. The source asks again by itself after 2000-01-01T00:05:00Z, as the provider's Retry-After asks. " +
				"If you know that the provider answers again, run: caddy authinject refresh orders",
		} {
			synctest.Test(t, func(t *testing.T) {
				err := asked(withHeader(reply{status: status}, "Retry-After", after))(t)
				if e := asError(t, err, tokensource.ClassWait); e.Remedy() != want {
					t.Errorf("%d, %s: got %q, want %q", status, after, e.Remedy(), want)
				}
			})
		}
	}
}

// If the provider refused a login because of its scopes, the error names the scopes.
func TestRefusedLoginNamesTheScopes(t *testing.T) {
	src := newSource(t, &endpoint{}, logins, func(c *tokensource.Config) { c.Scopes = []string{"read", "admin"} })
	l := begin(t, src, inBrowser)
	err := src.FinishLogin(t.Context(), l, url.Values{"error": {"invalid_scope"}, "state": {l.State.Reveal()}})
	if e := asError(t, err, tokensource.ClassOperator); !strings.Contains(e.Remedy(), "check scopes (now read admin)") {
		t.Errorf("got %q", e.Remedy())
	}
}

// Wrong times in an answer with a Date are the provider's mistake, whatever this machine's clock says.
func TestWrongTimesOfAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().UTC()
		body := fmt.Sprintf(`{"access_token":"at","token_type":"Bearer","expires_in":3600,"created_at":%d}`,
			now.Add(-2*time.Hour).Unix())
		for date, want := range map[string]string{
			now.Add(-10 * time.Minute).Format(http.TimeFormat): "tell the provider that the clock of one of its servers is wrong, or that it " +
				"answers with a token that has ended. This machine's clock is not the reason, because the token's times are " +
				"compared with the Date of the same answer",
			"": "compare this machine's clock (now " + now.Format(time.RFC3339) + ") with the provider's. If the provider's " +
				"clock is wrong, tell the provider",
		} {
			header := http.Header{"Content-Type": {"application/json"}}
			if date != "" {
				header.Set("Date", date)
			}
			_, err := newSource(t, &endpoint{script: always(reply{header: header, body: body})}).Token(t.Context())
			if e := asError(t, err, tokensource.ClassWait); e.Problem() != "expired_answer" || e.Remedy() != want {
				t.Errorf("Date %q: %s: %s", date, e.Problem(), e.Remedy())
			}
		}
	})
}
