package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource"
)

// The credentials of the tests below look like error codes. Some real ones do.
const (
	codeSecret  = "my_hidden_sesame"
	codeRefresh = "my_refresh_token"
	codeAccess  = "my_access_token"
)

// If a provider repeats credentials, in any member and with any status, none of them gets into an
// error or event.
func TestErrorsNeverHoldCredentials(t *testing.T) {
	for _, secret := range []string{codeSecret, codeRefresh, "bearer_" + codeSecret, codeSecret[3:]} {
		for _, status := range []int{200, 302, 400, 401, 403, 500} {
			for _, body := range []string{
				`{"error":"` + secret + `"}`,
				`{"error":"invalid_scope","error_description":"` + secret + `","error_uri":"https://x/` + secret + `"}`,
				`{"error":{"message":"` + secret + `"}}`,
				`{"error":"` + secret + `","access_token":"` + codeAccess + `","refresh_token":"` + codeRefresh + `"}`,
				`{"error":"` + codeAccess + `","access_token":"` + codeAccess + `"}`,
				`error=` + secret,
				`<html>` + secret,
				`{"access_token":"` + secret + ` ","token_type":"` + secret + `"}`,
				`{"access_token":"` + secret + `","` + secret + `":1,"` + secret + `":2}`,
			} {
				synctest.Test(t, func(t *testing.T) {
					answer := reply{status: status, body: body}
					answer.header = http.Header{"Location": {"https://x/?" + secret}, "Retry-After": {secret}}
					var ev events
					for _, auth := range []tokensource.ClientAuth{tokensource.ClientSecretPost, tokensource.ClientSecretQuery} {
						src := newSource(t, &endpoint{script: always(answer)}, refreshing(&tokensource.MemoryStorage{}, codeRefresh),
							observed(&ev),
							func(cfg *tokensource.Config) {
								cfg.ClientSecrets = []tokensource.Value{tokensource.Literal(codeSecret)}
								cfg.ClientAuth = auth
							})
						_, err := src.Token(t.Context())
						if err == nil {
							t.Fatalf("%s was accepted", body)
						}
						synctest.Wait()
						texts := []string{fmt.Sprintf("%v %+v %#v %v", err, err, err, errors.Unwrap(err)),
							fmt.Sprintf("%+v", src.Account("").Status())}
						for _, e := range ev.all() {
							texts = append(texts, fmt.Sprintf("%+v", e))
						}
						for _, text := range texts {
							if strings.Contains(text, secret) || strings.Contains(text, codeAccess) {
								t.Errorf("%d %s: %s", status, body, text)
							}
						}
					}
				})
			}
		}
	}
}

// An error of the connection contains no URL: with client_secret_query and body_format query the
// URL contains the credentials.
func TestErrorsNeverHoldTheURL(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	hung, _ := count(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	closing, _ := count(t, func(w http.ResponseWriter, _ *http.Request) { hangUp(w) })
	for _, base := range []string{gone.URL, hung, closing, "https://name.invalid"} {
		for _, format := range tokensource.BodyFormats {
			src := newSource(t, nil, func(cfg *tokensource.Config) {
				cfg.TokenURL, cfg.ClientAuth, cfg.BodyFormat = base+"/?k="+canary, tokensource.ClientSecretQuery, format
				cfg.ClientSecrets = []tokensource.Value{tokensource.Literal(canary)}
				cfg.Timeout = 100 * time.Millisecond
			})
			_, err := src.Token(t.Context())
			if err == nil {
				t.Fatal("no error")
			}
			for ; err != nil; err = errors.Unwrap(err) {
				rig.MustNotHold(t, base, fmt.Sprintf("%v %+v", err, err), canary)
			}
		}
	}
}

// The source does not change an error that a guest's grant shares.
func TestErrorOfAGrantIsNotChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &tokensource.Error{Class: tokensource.ClassLogin, Reason: "nobody has connected the account"}
		src := newSource(t, &endpoint{}, func(cfg *tokensource.Config) { cfg.Grant = failing{shared} })
		e := wantError(t, src, tokensource.ClassLogin)
		if shared.Source != "" || e.Source != "orders" || e.Reason != shared.Reason {
			t.Errorf("the grant's error became %+v, the caller's is %+v", shared, e)
		}
	})
}

type failing struct{ err error }

func (failing) Traits() tokensource.Traits { return tokensource.Traits{} }

func (f failing) Next(context.Context, *tokensource.Record) (tokensource.Request, error) {
	return tokensource.Request{}, f.err
}

// An account's error names that account and no other.
func TestErrorNamesTheAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{script: func(int, url.Values) reply { return refused(400, "invalid_scope") }}
		src := newSource(t, ep)
		_, err := src.Account("alice").Token(t.Context())
		want := `token source "orders", account "alice": the token endpoint answered 400 invalid_scope: ` +
			`check scopes and scope_separator, and allow the scopes for this client at the provider`
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if e := wantError(t, src, tokensource.ClassOperator); e.Account != "" {
			t.Errorf("the unnamed account's error names %q", e.Account)
		}
	})
}
