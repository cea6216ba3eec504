package tokensource_test

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/authinject/caddy-authinject/tokensource"
)

// fixed replaces a login's random values by fixed ones, after it checked that they look random.
func fixed(t *testing.T, u string, l *tokensource.Login) string {
	t.Helper()
	for _, secret := range []tokensource.Secret{l.State, l.Binding, l.Verifier} {
		if !regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`).MatchString(secret.Reveal()) {
			t.Errorf("a random value is %q", secret.Reveal())
		}
	}
	if strings.Contains(u, l.Binding.Reveal()) || strings.Contains(u, l.Verifier.Reveal()) {
		t.Errorf("the URL holds what the provider must not know: %s", u)
	}
	u = strings.Replace(u, "="+l.State.Reveal(), "=STATE", 1)
	return strings.Replace(u, "="+oauth2.S256ChallengeFromVerifier(l.Verifier.Reveal()), "=CHALLENGE", 1)
}

func literal(name, value string) tokensource.Param {
	return tokensource.Param{Name: name, Value: tokensource.Literal(value)}
}

// The exact authorization request (RFC 6749 sections 4.1.1 and 4.2.1).
func TestAuthorizationURL(t *testing.T) {
	const pkce = "&code_challenge=CHALLENGE&code_challenge_method=S256"
	const callback = "&redirect_uri=http://127.0.0.1:8080/connect/callback"
	for name, tt := range map[string]struct {
		req  tokensource.LoginRequest
		edit func(*tokensource.Config)
		want string
	}{
		"code":  {inBrowser, nil, "?client_id=orders-client" + pkce + callback + "&response_type=code&state=STATE"},
		"typed": {typed, nil, "?client_id=orders-client" + pkce + "&response_type=code&state=STATE"},
		"without PKCE": {inBrowser, func(c *tokensource.Config) { c.Grant = tokensource.AuthorizationCode{NoPKCE: true} },
			"?client_id=orders-client" + callback + "&response_type=code&state=STATE"},
		"implicit": {inBrowser, func(c *tokensource.Config) { c.Grant = tokensource.Implicit{} },
			"?client_id=orders-client" + callback + "&response_type=token&state=STATE"},
		"scopes as they are": {typed, func(c *tokensource.Config) {
			c.Scopes, c.ScopeSeparator = []string{"read(all)", "write(companies,contacts)"}, ","
		}, "?client_id=orders-client" + pkce + "&response_type=code&scope=read(all),write(companies,contacts)&state=STATE"},
		"separated by spaces": {typed, func(c *tokensource.Config) { c.Scopes = []string{"a:b", "c/d+e"} },
			"?client_id=orders-client" + pkce + "&response_type=code&scope=a:b%20c/d%2Be&state=STATE"},
		"own query": {typed, func(c *tokensource.Config) { c.AuthorizeURL += "?tenant=a%20b&x" },
			"?tenant=a%20b&x&client_id=orders-client" + pkce + "&response_type=code&state=STATE"},
		"odd client id": {typed, func(c *tokensource.Config) { c.ClientID = "34ad67fa2f@hq.example.com&x=#%28" },
			"?client_id=34ad67fa2f@hq.example.com%26x%3D%23%2528" + pkce + "&response_type=code&state=STATE"},
		"parameters": {typed, func(c *tokensource.Config) {
			c.Scopes = []string{"a"}
			c.AuthorizeParams = []tokensource.Param{literal("prompt", "consent"), literal("empty", ""), literal("scope", "b"),
				literal("resource", "https://a/"), literal("resource", "https://b/")}
		}, "?client_id=orders-client" + pkce +
			"&prompt=consent&resource=https://a/&resource=https://b/&response_type=code&scope=b&state=STATE"},
	} {
		t.Run(name, func(t *testing.T) {
			edit := tt.edit
			if edit == nil {
				edit = func(*tokensource.Config) {}
			}
			src := newSource(t, &endpoint{}, connecting(nil), edit)
			l := begin(t, src, tt.req)
			if got := fixed(t, linkOf(t, src, l), l); got != authorizeURL+tt.want {
				t.Errorf("got  %s\nwant %s", got, authorizeURL+tt.want)
			}
			if u, err := url.Parse(linkOf(t, src, l)); err != nil ||
				tt.req.RedirectURL != "" && u.Query().Get("redirect_uri") != callbackURL {
				t.Errorf("%s: %v", linkOf(t, src, l), err)
			}
			if again := begin(t, src, tt.req); again.State.Equal(l.State) || again.Verifier.Equal(l.Verifier) ||
				again.Binding.Equal(l.Binding) || l.State.Equal(l.Binding) {
				t.Error("two logins share a random value")
			}
		})
	}
}

// The code challenge matches RFC 7636 appendix B.
func TestCodeChallenge(t *testing.T) {
	const verifier, want = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	params := tokensource.AuthorizationCode{}.Authorize(&tokensource.Login{Verifier: tokensource.NewSecret(verifier)})
	if got := params.Get("code_challenge"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// withOwnParam is a grant with a parameter of its own, as a guest may have one.
type withOwnParam struct{ tokensource.AuthorizationCode }

func (g withOwnParam) Authorize(l *tokensource.Login) url.Values {
	params := g.AuthorizationCode.Authorize(l)
	params.Set("device", "x")
	return params
}

// No parameter of the authorization request is sent twice (RFC 6749 section 3.1). If one would be,
// the login does not begin.
func TestAuthorizationParameterTwice(t *testing.T) {
	for name, edit := range map[string]func(*tokensource.Config){
		"the grant's": func(c *tokensource.Config) {
			c.Grant, c.AuthorizeParams = withOwnParam{}, []tokensource.Param{literal("device", "x")}
		},
		"given twice": func(c *tokensource.Config) {
			c.AuthorizeParams = []tokensource.Param{literal("a", "x"), literal("a", "y")}
		},
		"query of authorize_url": func(c *tokensource.Config) { c.AuthorizeURL += "?state=x" },
		"query, percent-encoded": func(c *tokensource.Config) { c.AuthorizeURL += "?%73tate=x" },
	} {
		src := newSource(t, &endpoint{}, connecting(nil), edit)
		_, err := src.BeginLogin(t.Context(), inBrowser)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		asError(t, err, tokensource.ClassOperator)
	}
	for _, param := range []tokensource.Param{literal("state", "x"), literal("client_id", "x"),
		literal("redirect_uri", "x"),
		literal("response_type", "x"), literal("code_challenge", "x"), literal("code_challenge_method", "x"), {Name: "a"},
		{Value: tokensource.Literal("x")}} {
		cfg := tokensource.Config{Name: "s", ClientID: "c", TokenURL: tokenURL, AuthorizeParams: []tokensource.Param{param}}
		connecting(nil)(&cfg)
		if _, err := tokensource.New(cfg); err == nil || !strings.Contains(err.Error(), "authorize_param") {
			t.Errorf("%s: got %v", param.Name, err)
		}
	}
}

// The exact form of a code's exchange (RFC 6749 section 4.1.3), for every method of client
// authentication in every body format. A parameter with Requests is sent only in requests of those
// grant types.
func TestFormOfTheCodeExchange(t *testing.T) {
	for _, auth := range tokensource.ClientAuths {
		if auth == tokensource.ClientSecretJWT {
			continue // what it sends is another each time; see TestClientSecretJWT
		}
		for _, format := range tokensource.BodyFormats {
			for _, req := range []tokensource.LoginRequest{inBrowser, typed} {
				t.Run(fmt.Sprintf("%s/%s/typed=%t", auth, format, req.RedirectURL == ""), func(t *testing.T) {
					var got []sent
					base := server(t, &got)
					src := newSource(t, nil, connecting(nil), func(cfg *tokensource.Config) {
						cfg.TokenURL, cfg.ClientID, cfg.BodyFormat = base+"/oauth/token", oddID, format
						cfg.ClientSecrets = []tokensource.Value{tokensource.Literal(oddSecret)}
						proving(auth)(cfg)
						cfg.Scopes = []string{"a"}
						cfg.Params = []tokensource.Param{
							{Name: "expires_in", Value: tokensource.Literal("86400"),
								Requests: []string{"authorization_code", "client_credentials"}},
							{Name: "refreshed", Value: tokensource.Literal("x"), Requests: []string{"refresh_token"}},
						}
					})
					l := begin(t, src, req)
					if err := finish(t, src, l, "code=c%2Bd+e&state="+l.State.Reveal()); err != nil {
						t.Fatal(err)
					}
					want := url.Values{
						"grant_type": {"authorization_code"}, "code": {"c+d e"}, "code_verifier": {l.Verifier.Reveal()},
						"expires_in": {"86400"},
					}
					if req.RedirectURL != "" {
						want.Set("redirect_uri", callbackURL)
					}
					query := url.Values{}
					authorization := ""
					switch auth {
					case tokensource.ClientSecretBasic:
						authorization = basic(oddIDForm, oddSecretForm)
					case tokensource.ClientSecretBasicRaw:
						authorization = basic(oddID, oddSecret)
					case tokensource.ClientSecretBasicUser:
						authorization = basic(oddSecret, "")
					case tokensource.PrivateKeyJWT:
						want.Set("client_id", oddID)
						want.Set("client_assertion", "a.e30.c")
						want.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
					case tokensource.ClientSecretPost:
						want.Set("client_id", oddID)
						want.Set("client_secret", oddSecret)
					case tokensource.ClientSecretQuery:
						query = url.Values{"client_id": {oddID}, "client_secret": {oddSecret}}
					default:
						want.Set("client_id", oddID)
					}
					body := want.Encode()
					if format == tokensource.BodyQuery {
						for name, values := range want {
							query[name] = values
						}
						body = ""
					}
					if len(got) != 1 || got[0].query != query.Encode() || got[0].header.Get("Authorization") != authorization {
						t.Fatalf("got %+v, want query %s, Authorization %s", got, query.Encode(), authorization)
					}
					if format == tokensource.BodyJSON {
						object := make(map[string]string)
						for name := range want {
							object[name] = want.Get(name)
						}
						wantJSON(t, got[0].body, object, nil)
					} else if got[0].body != body {
						t.Errorf("body %s\nwant %s", got[0].body, body)
					}
				})
			}
		}
	}
}

// Without PKCE no verifier is sent. In the raw header, a client_id with an @ is not encoded.
func TestExchangeAsAccelosPagesShowIt(t *testing.T) {
	var got []sent
	base := server(t, &got)
	src := newSource(t, nil, connecting(nil), func(cfg *tokensource.Config) {
		cfg.Grant = tokensource.AuthorizationCode{NoPKCE: true}
		cfg.TokenURL, cfg.ClientID, cfg.ClientAuth = base, "34ad67fa2f@hq.example.com", tokensource.ClientSecretBasicRaw
	})
	l := begin(t, src, typed)
	if err := finish(t, src, l, "code=123456789"); err != nil {
		t.Fatal(err)
	}
	if got[0].body != "code=123456789&grant_type=authorization_code" ||
		got[0].header.Get("Authorization") != basic("34ad67fa2f@hq.example.com", clientSecret) {
		t.Errorf("got %+v", got[0])
	}
}

// A token_param that the exchange already sends is refused before anything is sent: by the check of
// the configuration, or, if the request has it only sometimes, by the exchange.
func TestExchangeParameterTwice(t *testing.T) {
	const name = "redirect_uri"
	ep := &endpoint{}
	src := newSource(t, ep, connecting(nil), func(cfg *tokensource.Config) {
		cfg.Params = []tokensource.Param{literal(name, "x")}
	})
	err := finish(t, src, begin(t, src, inBrowser), "code=c")
	if e := asError(t, err, tokensource.ClassOperator); !strings.Contains(e.Reason, name) {
		t.Errorf("got %v", err)
	}
	wantCount(t, ep, 0)
}
