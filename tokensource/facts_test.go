package tokensource_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

// Each failure that can come from clocks that disagree says so, if the Date of the answer shows that
// they do.
func TestSkewIsNamed(t *testing.T) {
	expired := reply{status: 200, body: `{"access_token":"at1","token_type":"Bearer","expires_in":-1}`}
	for name, c := range map[string]struct {
		answer reply
		edit   func(*tokensource.Config)
		off    time.Duration // of the provider's clock
		want   string
	}{
		"client assertion":         {refused(401, "invalid_client"), signing(testKey(0)), time.Hour, "this machine's clock is 1h0m0s behind the provider's"},
		"grant assertion":          {refused(400, "invalid_grant"), bearing(nil), -time.Hour, "this machine's clock is 1h0m0s ahead of the provider's"},
		"token dead at birth":      {expired, nil, -2 * time.Minute, "this machine's clock is 2m0s ahead of the provider's"},
		"DPoP proof":               {refused(400, "invalid_dpop_proof"), withDPoP, time.Hour, "which is 1h0m0s behind the server's"},
		"DPoP proof, barely":       {refused(400, "invalid_dpop_proof"), withDPoP, 5 * time.Second, "which is 5s behind the server's"},
		"clocks that almost agree": {refused(401, "invalid_client"), signing(testKey(0)), 59 * time.Second, ""},
		"no matter of clocks":      {refused(401, "invalid_client"), nil, time.Hour, ""},
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
				for where, text := range map[string]string{"error": err.Error(), "remedy": e.Remedy(), "state": src.Account("").Status().Err.Remedy()} {
					if c.want == "" && strings.Contains(text, "clock is") || !strings.Contains(text, c.want) {
						t.Errorf("the %s does not say %q: %s", where, c.want, text)
					}
				}
			})
		})
	}
}

// A server that asks for HTTP Basic, and got the secret in another place, is named in the remedy.
func TestBasicIsNamed(t *testing.T) {
	for auth, named := range map[tokensource.ClientAuth]bool{
		tokensource.ClientSecretPost: true, tokensource.ClientSecretQuery: true, tokensource.ClientSecretBasic: false,
	} {
		for name, answer := range map[string]reply{"with a code": refused(401, "invalid_client"), "without": {status: 401}} {
			err := asked(withHeader(answer, "Www-Authenticate", `basic realm="tokens"`), func(c *tokensource.Config) { c.ClientAuth = auth })(t)
			if got := strings.Contains(err.Error(), "the answer asks for HTTP Basic: try client_auth client_secret_basic"); got != named {
				t.Errorf("%s, %s: %v", auth, name, err)
			}
		}
	}
}

// What a record says of a refused refresh token is word for word what the error said.
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

// A remedy names the place of a static token, in the error about its end and in the state of one
// that an upstream refuses. The state itself is a word of its own.
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
	if problems := st.Problems(); st.State != tokensource.StateRefused || len(problems) != 1 || problems[0].Remedy() != "write a new token into the file /run/token" {
		t.Errorf("state %s, problems %v", st.State, problems)
	}
	_, err := newSource(t, nil, static(time.Unix(1, 0))).Token(t.Context())
	if err == nil || !strings.HasSuffix(err.Error(), "write a new token into the file /run/token, and its end into expires") {
		t.Errorf("got %v", err)
	}
}

// A source that exchanges its callers' tokens asks nothing by itself, and does not promise to.
func TestExchangeDoesNotPromiseToAskAgain(t *testing.T) {
	for _, status := range []int{429, 503} {
		err := asError(t, exchangedBy("ada", reply{status: status})(t), tokensource.ClassWait)
		if remedy := err.Remedy(); !strings.HasPrefix(remedy, "wait: the next request of a caller asks again") {
			t.Errorf("%d: %s", status, remedy)
		}
	}
}

// below is a storage in a directory whose path leads through a file.
type below struct {
	tokensource.MemoryStorage
	dir string
}

func (b *below) Load(_ context.Context, key string) ([]byte, error) {
	return os.ReadFile(filepath.Join(b.dir, key))
}

// The error of a storage whose path leads through a file names that file to the operator, and its
// kind to everyone.
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
	if !strings.Contains(e.Remedy(), "a part of its path is a file, not a directory") || strings.Contains(e.Error(), file) {
		t.Errorf("got %v", e)
	}
	if other := errors.New("other"); tokensource.ExplainStorage(other) != other || tokensource.ExplainStorage(nil) != nil {
		t.Error("another error was changed")
	}
}

// Each text of a heading is one that errors of its row have.
func TestOtherTextsMatchTheirRow(t *testing.T) {
	for _, r := range tokensource.Remedies() {
		for _, text := range r.Also {
			e := &tokensource.Error{Class: r.Class, Reason: text}
			if r.Problem == "invalid_dpop_proof" {
				e.Code = r.Problem
			}
			if e.Problem() != r.Problem {
				t.Errorf("%q is of problem %q, not %s", text, e.Problem(), r.Problem)
			}
		}
	}
}

// The remedy of invalid_client names the place of the secret, if it is known and a secret is sent.
func TestClientRemedyNamesThePlaceOfTheSecret(t *testing.T) {
	const place = "the environment variable S of the server, which must be started again"
	for name, row := range map[string]struct {
		in   string
		edit func(*tokensource.Config)
		want string
	}{
		"a variable": {place, func(*tokensource.Config) {}, "client_auth (now client_secret_basic); write a corrected client_secret into " + place},
		"a literal":  {"", func(*tokensource.Config) {}, "check client_id, client_secret and client_auth (now client_secret_basic)"},
		"no secret":  {place, func(c *tokensource.Config) { c.ClientSecrets = nil }, "check client_id, client_secret and client_auth (now none)"},
	} {
		t.Run(name, func(t *testing.T) {
			err := asked(refused(401, "invalid_client"), func(c *tokensource.Config) { c.ClientSecretIn = row.in }, row.edit)(t)
			if err == nil || !strings.HasSuffix(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}
