package tokensource_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

const (
	parURL     = "https://login.example.com/oauth/par"
	requestURI = "urn:ietf:params:oauth:request_uri:6esc_11ACC5bwc014ltc14eY22c"
)

// pushed returns an answer of the endpoint for pushed requests (RFC 9126 section 2.2).
func pushed(n int) reply {
	return reply{status: 201, body: fmt.Sprintf(`{"request_uri":"%s-%d","expires_in":60}`, requestURI, n)}
}

// pushing configures a source with pushed authorization requests.
func pushing(c *tokensource.Config) {
	connecting(new(tokensource.MemoryStorage))(c)
	c.PARURL = parURL
}

// The parameters of the login go to the provider with the client's authentication, and the link has
// only the client and the reference (RFC 9126 sections 2.1 and 4).
func TestPushedAuthorizationRequest(t *testing.T) {
	own := url.Values{
		"client_id": {"orders-client"}, "response_type": {"code"}, "redirect_uri": {callbackURL}, "scope": {"orders:read"},
		"resource": {"https://api.example.com"}, "prompt": {"consent"}, "code_challenge_method": {"S256"},
	}
	for auth, credentials := range map[tokensource.ClientAuth]url.Values{
		tokensource.ClientSecretBasic: {}, tokensource.ClientSecretPost: {"client_secret": {clientSecret}},
		tokensource.ClientAuthNone: {},
	} {
		t.Run(string(auth), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ep := &endpoint{script: func(n int, _ url.Values) reply { return pushed(n) }}
				src := newSource(t, ep, pushing, func(c *tokensource.Config) {
					c.ClientAuth, c.Scopes, c.Resources = auth, []string{"orders:read"}, []string{"https://api.example.com"}
					c.AuthorizeURL += "?tenant=a"
					c.AuthorizeParams = []tokensource.Param{literal("prompt", "consent")}
					if auth == tokensource.ClientAuthNone {
						c.ClientSecrets = nil
					}
				})
				l := begin(t, src, inBrowser)
				wantCount(t, ep, 0) // nothing is pushed before the person is sent to the provider
				link, err := src.LoginLink(t.Context(), l)
				if err != nil {
					t.Fatal(err)
				}
				if want := authorizeURL + "?tenant=a&client_id=orders-client&request_uri=" + requestURI +
					"-1"; link.URL.Reveal() != want {
					t.Errorf("got  %s\nwant %s", link.URL.Reveal(), want)
				}
				if left := time.Until(link.Expires); left != time.Minute {
					t.Errorf("the link ends in %v", left)
				}
				sent := ep.all()[0]
				want := url.Values{"state": {l.State.Reveal()}, "code_challenge": sent.form["code_challenge"]}
				for _, more := range []url.Values{own, credentials} {
					for name, values := range more {
						want[name] = values
					}
				}
				if sent.url != parURL || !reflect.DeepEqual(sent.form, want) || len(sent.form.Get("code_challenge")) != 43 {
					t.Errorf("pushed to %s:\n%v\nwant\n%v", sent.url, sent.form, want)
				}
				_, _, basic := (&http.Request{Header: sent.header}).BasicAuth()
				if basic != (auth == tokensource.ClientSecretBasic) ||
					sent.header.Get("Content-Type") != "application/x-www-form-urlencoded" {
					t.Errorf("the header is %v", sent.header)
				}
				// Every link has a new reference, because the previous one may have expired.
				if again := linkOf(t, src, l); !strings.HasSuffix(again, requestURI+"-2") {
					t.Errorf("the second link is %s", again)
				}
				ep.set(always(rotated(1, time.Hour)))
				if err := finish(t, src, l, "code=c"); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Pushed requests are sent if the issuer's metadata requires them or if the option is set.
func TestPushedByMetadata(t *testing.T) {
	for name, tt := range map[string]struct {
		members string
		par     bool
		pushes  bool
	}{
		"required": {`,"pushed_authorization_request_endpoint":"` + parURL +
			`","require_pushed_authorization_requests":true`, false, true},
		"offered": {`,"pushed_authorization_request_endpoint":"` + parURL +
			`","require_pushed_authorization_requests":false`, false, false},
		"offered and wanted": {`,"pushed_authorization_request_endpoint":"` + parURL + `"`, true, true},
		"not offered":        {"", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			ep := &metadataAnd{members: tt.members, endpoint: endpoint{script: func(n int, _ url.Values) reply {
				return pushed(n)
			}}}
			src := newSource(t, ep, connecting(new(tokensource.MemoryStorage)), func(c *tokensource.Config) {
				c.Issuer, c.AuthorizeURL, c.TokenURL, c.PAR = "https://login.example.com", "", "", tt.par
			})
			l := begin(t, src, inBrowser)
			if got := strings.Contains(linkOf(t, src, l), "request_uri="); got != tt.pushes ||
				src.Pushes(t.Context(), nil) != got {
				t.Errorf("pushed: %t, want %t", got, tt.pushes)
			}
		})
	}
	t.Run("wanted and not offered", func(t *testing.T) {
		src := newSource(t, &metadataAnd{}, connecting(new(tokensource.MemoryStorage)), func(c *tokensource.Config) {
			c.Issuer, c.AuthorizeURL, c.PAR = "https://login.example.com", "", true
		})
		_, err := src.BeginLogin(t.Context(), inBrowser)
		if e := asError(t, err, tokensource.ClassOperator); !strings.Contains(e.Remedy(), "par_url") ||
			e.Problem() != "issuer_endpoint" {
			t.Errorf("%v: %s", e, e.Remedy())
		}
	})
}

// metadataAnd is an endpoint together with an issuer's metadata.
type metadataAnd struct {
	endpoint
	members string
}

func (m *metadataAnd) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodPost {
		return m.endpoint.RoundTrip(req)
	}
	body := `{"issuer":"https://login.example.com","authorization_endpoint":"` + authorizeURL + `","token_endpoint":"` +
		tokenURL + `"` + m.members + `}`
	inner := endpoint{script: always(reply{body: body})}
	req.Body = http.NoBody
	return inner.RoundTrip(req)
}

// A refused push says what was refused and what to do, and never shows a credential.
func TestPushRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		answer reply
		class  tokensource.Class
		reason string
		remedy string
	}{
		"client": {refused(401, "invalid_client"), tokensource.ClassOperator, "the pushed authorization request " +
			"endpoint answered 401 invalid_client", "client_auth"},
		"parameters": {refused(400, "invalid_request"), tokensource.ClassOperator, "the pushed authorization request " +
			"endpoint answered 400 invalid_request", "redirect_url"},
		"redirect": {refused(400, "invalid_redirect_uri"), tokensource.ClassOperator, "answered 400 invalid_redirect_uri",
			"redirect_url"},
		"outage": {reply{status: 503}, tokensource.ClassWait,
			"the pushed authorization request endpoint answered 503", ""},
		"nothing": {reply{status: 404}, tokensource.ClassOperator,
			"there is no pushed authorization request endpoint at par_url", "check the path of par_url"},
		"redirected": {reply{status: 302}, tokensource.ClassOperator, "the pushed authorization request endpoint redirected",
			"write the final address into par_url"},
		"no answer": {reply{err: errReset}, tokensource.ClassWait, "the connection to the pushed authorization request " +
			"endpoint broke", ""},
		"a page": {reply{status: 200, body: "<html>"}, tokensource.ClassOperator, "the pushed authorization request " +
			"endpoint's answer holds no request_uri", "check par_url"},
		"a relative reference": {reply{status: 201, body: `{"request_uri":"6esc","expires_in":60}`},
			tokensource.ClassOperator,
			"answer holds no request_uri", "check par_url"},
	} {
		t.Run(name, func(t *testing.T) {
			src := newSource(t, &endpoint{script: always(tt.answer)}, pushing)
			l := begin(t, src, inBrowser)
			_, err := src.LoginLink(t.Context(), l)
			e := asError(t, err, tt.class)
			if !strings.Contains(e.What(), tt.reason) || !strings.Contains(e.Remedy(), tt.remedy) {
				t.Errorf("%s\nremedy: %s", e.What(), e.Remedy())
			}
			for _, secret := range []string{clientSecret, l.State.Reveal(), l.Verifier.Reveal()} {
				if strings.Contains(e.Error(), secret) {
					t.Errorf("the error shows a secret: %v", e)
				}
			}
		})
	}
}

// While a client secret is being rotated, a push tries each secret, as token requests do.
func TestPushWithASecondSecret(t *testing.T) {
	ep := &endpoint{script: func(n int, form url.Values) reply {
		if form.Get("client_secret") == "old" {
			return refused(401, "invalid_client")
		}
		return pushed(n)
	}}
	src := newSource(t, ep, pushing, func(c *tokensource.Config) {
		c.ClientAuth = tokensource.ClientSecretPost
		c.ClientSecrets = []tokensource.Value{tokensource.Literal("old"), tokensource.Literal("new")}
	})
	linkOf(t, src, begin(t, src, inBrowser))
	wantCount(t, ep, 2)
}

func TestPushedIsChecked(t *testing.T) {
	for name, tt := range map[string]struct {
		edit func(*tokensource.Config)
		want string
	}{
		"no address": {func(c *tokensource.Config) { c.PARURL, c.PAR = "", true }, "par needs the address of the " +
			"provider's endpoint: par_url, or issuer"},
		"plain http": {func(c *tokensource.Config) { c.PARURL = "http://login.example.com/par" }, "par_url must be https"},
		"no login": {func(c *tokensource.Config) { c.Grant = tokensource.ClientCredentials{} },
			"par is for a login that ends with a token request"},
		"own parameter": {func(c *tokensource.Config) {
			c.AuthorizeParams = []tokensource.Param{literal("request_uri", "urn:a")}
		}, "authorize_param request_uri is sent by the grant"},
	} {
		cfg := tokensource.Config{
			Name: "orders", Grant: tokensource.ClientCredentials{}, TokenURL: tokenURL, ClientID: "orders-client",
			ClientSecrets: []tokensource.Value{tokensource.Literal(clientSecret)},
		}
		pushing(&cfg)
		tt.edit(&cfg)
		if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}

// A stored login does not hold the reference, because each link has a new one.
func TestReferenceIsNotStored(t *testing.T) {
	storage := new(tokensource.MemoryStorage)
	src := newSource(t, &endpoint{script: func(n int, _ url.Values) reply { return pushed(n) }}, pushing,
		func(c *tokensource.Config) { c.Storage = storage })
	l := begin(t, src, inBrowser)
	linkOf(t, src, l)
	found, err := src.FindLogin(t.Context(), l.State)
	if err != nil {
		t.Fatal(err)
	}
	stored, _ := json.Marshal(only(t, storage, "authinject/logins/"))
	if strings.Contains(string(stored), "request_uri") {
		t.Error("the reference is stored")
	}
	if again := linkOf(t, src, found); !strings.HasSuffix(again, "-2") { // as another process does
		t.Errorf("the link of another process is %s", again)
	}
}

// A pushed request and a token request authenticate the client in the same way. If a request is
// sent once more because of a nonce, it has a new assertion, because a server accepts each
// assertion once.
func TestAssertionsOfPushedAndProvedRequests(t *testing.T) {
	ep := provenRotation(t, time.Hour)
	ep.script = func(n int, form url.Values) reply {
		switch {
		case n%2 == 1:
			return withHeader(refused(400, "use_dpop_nonce"), "Dpop-Nonce", fmt.Sprint("n", n))
		case form.Has("response_type"):
			return pushed(n)
		}
		return asBound(rotated(n, time.Hour))
	}
	src := newSource(t, ep, pushing, withDPoP, signing(testKey(0)))
	l := begin(t, src, inBrowser)
	linkOf(t, src, l)
	if err := finish(t, src, l, "code=c"); err != nil {
		t.Fatal(err)
	}
	ids := make(map[any]bool)
	for i, c := range ep.all() {
		_, claims := claimsOf(t, c.form.Get("client_assertion"))
		if claims["sub"] != "orders-client" || c.form.Get("client_assertion_type") == "" || ids[claims["jti"]] {
			t.Errorf("request %d to %s has the assertion %v", i+1, c.url, claims)
		}
		ids[claims["jti"]] = true
	}
	ep.wantKeys(4, 1)
}
