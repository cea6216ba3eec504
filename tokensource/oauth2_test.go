package tokensource_test

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// giver is an [oauth2.TokenSource] that counts its tokens.
type giver struct {
	n        int
	lifetime time.Duration
	err      error
}

func (g *giver) Token() (*oauth2.Token, error) {
	if g.err != nil {
		return nil, g.err
	}
	g.n++
	tok := &oauth2.Token{AccessToken: "given" + strconv.Itoa(g.n), TokenType: "bearer"}
	if g.lifetime != 0 {
		tok.Expiry = time.Now().Add(g.lifetime)
	}
	return tok, nil
}

func fromOAuth2(source oauth2.TokenSource) func(*tokensource.Config) {
	return func(c *tokensource.Config) {
		*c = tokensource.Config{Name: "orders", Grant: tokensource.OAuth2Grant{TokenSource: source}}
	}
}

// Tokens of an oauth2.TokenSource are replaced before they end, even if it keeps each of them until
// 10 s before that.
func TestOAuth2Grant(t *testing.T) {
	for name, wrap := range map[string]func(oauth2.TokenSource) oauth2.TokenSource{
		"plain":   func(s oauth2.TokenSource) oauth2.TokenSource { return s },
		"caching": func(s oauth2.TokenSource) oauth2.TokenSource { return oauth2.ReuseTokenSource(nil, s) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &giver{lifetime: time.Minute}
				src := newSource(t, nil, fromOAuth2(wrap(g)))
				src.Warm()
				synctest.Wait()
				for range 3000 {
					if tok := mustToken(t, src); !time.Now().Before(tok.Expiry) {
						t.Fatal("a token was handed out past its end")
					}
					virtual.Advance(100 * time.Millisecond)
				}
				if g.n < 5 || g.n > 8 {
					t.Errorf("%d tokens in 5 minutes, each of which lives for one", g.n)
				}
			})
		})
	}
}

// A token without an end gets the default lifetime, like a token of a token endpoint.
func TestOAuth2GrantWithoutAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &giver{}
		src := newSource(t, nil, fromOAuth2(g))
		wantToken(t, src, "given1")
		if tok := mustToken(t, src); time.Until(tok.Expiry) != time.Hour {
			t.Errorf("ends in %v", time.Until(tok.Expiry))
		}
	})
}

// Failures of an oauth2.TokenSource have a class, and contain none of its text.
func TestOAuth2GrantFails(t *testing.T) {
	refusal := func(status int, code string) error {
		return &oauth2.RetrieveError{Response: &http.Response{StatusCode: status, Header: http.Header{}},
			Body: []byte("canary"), ErrorCode: code}
	}
	for name, c := range map[string]struct {
		err  error
		want tokensource.Class
	}{
		"dead grant": {refusal(400, "invalid_grant"), tokensource.ClassOperator}, // there is no account to connect
		"client":     {refusal(401, "invalid_client"), tokensource.ClassOperator},
		"trouble":    {refusal(503, ""), tokensource.ClassWait},
		"own words":  {refusal(400, "canary"), tokensource.ClassWait},
		"anything":   {errors.New("canary"), tokensource.ClassWait},
	} {
		synctest.Test(t, func(t *testing.T) {
			src := newSource(t, nil, fromOAuth2(&giver{err: c.err}))
			if e := wantError(t, src, c.want); strings.Contains(e.Error(), "canary") {
				t.Errorf("%s: %v", name, e)
			}
		})
	}
}

// A source can be used as an oauth2.TokenSource.
func TestOAuth2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{}
		src := newSource(t, ep)
		tok, err := src.OAuth2(t.Context()).Token()
		if err != nil || tok.AccessToken != "at1" || tok.Type() != "Bearer" || time.Until(tok.Expiry) != time.Hour ||
			!tok.Valid() {
			t.Errorf("%v, %v", tok, err)
		}
		if _, err := src.OAuth2(t.Context()).Token(); err != nil {
			t.Error(err)
		}
		wantCount(t, ep, 1)
		virtual.Advance(2 * time.Hour)
		ep.set(always(refused(401, "invalid_client")))
		_, err = src.OAuth2(t.Context()).Token()
		asError(t, err, tokensource.ClassOperator)
	})
}
