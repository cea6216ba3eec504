package tokensource_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

const issuer = "https://login.example.com"

// issuing is an authorization server with metadata. A request for metadata gets the reply in
// places, and auth serves the other endpoints.
type issuing struct {
	auth *authServer

	mu     sync.Mutex
	places map[string]reply // path to metadata
	asked  []string
}

func (s *issuing) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet {
		return s.auth.RoundTrip(req)
	}
	s.mu.Lock()
	s.asked = append(s.asked, req.URL.String())
	r, ok := s.places[req.URL.Path]
	s.mu.Unlock()
	if !ok {
		r = reply{status: http.StatusNotFound}
	}
	if r.delay > 0 {
		virtual.Sleep(r.delay)
	}
	if r.err != nil {
		return nil, r.err
	}
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return &http.Response{StatusCode: r.status, Header: r.header, Body: io.NopCloser(bytes.NewReader([]byte(r.body))),
		Request: req}, nil
}

func (s *issuing) place(path string, r reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.places == nil {
		s.places = make(map[string]reply)
	}
	s.places[path] = r
}

// fetches returns the requests for metadata up to now.
func (s *issuing) fetches() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

const (
	oauthPlace = "/.well-known/oauth-authorization-server"
	oidcPlace  = "/.well-known/openid-configuration"
)

// says returns the metadata of an issuer, with additional members.
func says(issuer string, more ...string) reply {
	return reply{body: fmt.Sprintf(`{"issuer":%q,"token_endpoint":"https://login.example.com/oauth/token","authorization_endpoint":"https://login.example.com/oauth/authorize","revocation_endpoint":"https://login.example.com:443/oauth/revoke"%s}`,
		issuer, strings.Join(append([]string{""}, more...), ","))}
}

// discovering configures a source with only an issuer.
func discovering(issuer string) func(*tokensource.Config) {
	return func(cfg *tokensource.Config) {
		cfg.Issuer, cfg.TokenURL, cfg.AuthorizeURL, cfg.RevokeURL = issuer, "", "", ""
	}
}

// The metadata is requested first at the URL of RFC 8414, and then at the URL of OpenID Connect
// Discovery.
func TestWhereMetadataIs(t *testing.T) {
	for name, c := range map[string]struct {
		issuer string
		place  string
		asked  []string
	}{
		"RFC 8414":       {issuer, oauthPlace, []string{issuer + oauthPlace}},
		"OpenID":         {issuer, oidcPlace, []string{issuer + oauthPlace, issuer + oidcPlace}},
		"RFC 8414, path": {issuer + "/a/b", oauthPlace + "/a/b", []string{issuer + oauthPlace + "/a/b"}},
		"OpenID, path":   {issuer + "/a", "/a" + oidcPlace, []string{issuer + oauthPlace + "/a", issuer + "/a" + oidcPlace}},
		"ends in a slash": {issuer + "/a/", "/a" + oidcPlace,
			[]string{issuer + oauthPlace + "/a", issuer + "/a" + oidcPlace}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &issuing{auth: &authServer{}}
			s.place(c.place, says(c.issuer))
			src := newSource(t, s, discovering(c.issuer))
			if got := s.fetches(); len(got) != 0 {
				t.Errorf("the metadata was requested before it was needed: %q", got)
			}
			wantToken(t, src, "at1")
			if got := s.fetches(); !slices.Equal(got, c.asked) {
				t.Errorf("requested %q, want %q", got, c.asked)
			}
			if got := s.auth.all()[0].url; got != tokenURL {
				t.Errorf("the token was requested at %s", got)
			}
		})
	}
}

// A byte order mark in front of the metadata is ignored.
func TestMetadataWithBOM(t *testing.T) {
	s := &issuing{auth: &authServer{}}
	s.place(oauthPlace, reply{body: "\xef\xbb\xbf" + says(issuer).body})
	wantToken(t, newSource(t, s, discovering(issuer)), "at1")
}

// Metadata that could lead to another host is not trusted. Then nothing is sent, and no refresh
// token is marked as spent.
func TestMetadataRefused(t *testing.T) {
	with := func(tokenEndpoint string) reply {
		return reply{body: fmt.Sprintf(`{"issuer":%q,"token_endpoint":%q}`, issuer, tokenEndpoint)}
	}
	elsewhere := func(why string) string {
		return "names a token_endpoint that " + why + "; write it as token_url into the configuration to accept it"
	}
	for name, c := range map[string]struct {
		reply reply
		class tokensource.Class
		want  string
	}{
		"another issuer": {says("https://evil.example"), tokensource.ClassOperator, "it names https://evil.example, " +
			"and the two must be the same to the letter"},
		"a slash more":  {says(issuer + "/"), tokensource.ClassOperator, "it names https://login.example.com/, and"},
		"case":          {says("https://LOGIN.example.com"), tokensource.ClassOperator, "same to the letter"},
		"spaces around": {says(" " + issuer), tokensource.ClassOperator, "names nothing that could be one"},
		"no issuer": {reply{body: `{"token_endpoint":"` + tokenURL + `"}`}, tokensource.ClassOperator,
			"names nothing that could be one"},
		"issuer twice": {says(issuer, `"issuer":"https://evil.example"`), tokensource.ClassWait, "not a JSON object"},
		"not there":    {reply{status: 404}, tokensource.ClassOperator, "not at its well-known addresses"},
		"redirected": {withHeader(reply{status: 302}, "Location", "https://evil.example/"),
			tokensource.ClassOperator, "redirects are not followed"},
		"forbidden": {reply{status: 403}, tokensource.ClassOperator, "the issuer's metadata endpoint answered " +
			"403: check issuer"},
		"down":          {reply{status: 503}, tokensource.ClassWait, "the issuer's metadata endpoint answered 503"},
		"no connection": {reply{err: errReset}, tokensource.ClassWait, "the issuer could not be reached"},
		"a page":        {reply{body: "<html>"}, tokensource.ClassWait, "not a JSON object"},
		"too long": {reply{body: `{"issuer":"` + strings.Repeat("x", 1<<20) + `"}`}, tokensource.ClassWait,
			"over 1 MiB"},
		"no token endpoint": {reply{body: `{"issuer":"` + issuer + `"}`}, tokensource.ClassOperator,
			"names no token_endpoint: configure the endpoint with token_url"},
		"a link's address": {with("https://169.254.169.254/token"), tokensource.ClassOperator,
			elsewhere("is on this machine or its network link, where the issuer is not")},
		"a link's, IPv6": {with("https://[fe80::1]/token"), tokensource.ClassOperator,
			elsewhere("is on this machine or its network link, where the issuer is not")},
		"the metadata service": {with("http://169.254.169.254/latest/meta-data"), tokensource.ClassOperator,
			elsewhere("is no https URL")},
		"loopback": {with("http://127.0.0.1:2019/load"), tokensource.ClassOperator,
			elsewhere("is on this machine or its network link, where the issuer is not")},
		"loopback, mapped": {with("https://[::ffff:127.0.0.1]/load"), tokensource.ClassOperator,
			elsewhere("is on this machine or its network link, where the issuer is not")},
		"loopback by name": {with("https://LocalHost./load"), tokensource.ClassOperator,
			elsewhere("is on this machine or its network link, where the issuer is not")},
		"no address": {with("https://0.0.0.0:2019/load"), tokensource.ClassOperator,
			elsewhere("is on this machine or its network link, where the issuer is not")},
		"plain": {with("http://login.example.com/token"), tokensource.ClassOperator, elsewhere("is no https URL")},
		"userinfo": {with("https://login.example.com@evil.example/token"), tokensource.ClassOperator,
			elsewhere("is no https URL")},
		"another scheme": {with("file:///etc/passwd"), tokensource.ClassOperator, elsewhere("is no https URL")},
	} {
		t.Run(name, func(t *testing.T) {
			s := &issuing{auth: &authServer{}}
			s.place(oauthPlace, c.reply)
			storage := new(steps)
			src := newSource(t, s, refreshing(storage, "seed"), discovering(issuer))
			err := wantError(t, src, c.class)
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want %q", err, c.want)
			}
			if n := s.auth.count(); n != 0 {
				t.Errorf("%d token requests", n)
			}
			if got := storage.steps(); slices.ContainsFunc(got, func(step string) bool {
				return strings.Contains(step, "marked=true")
			}) {
				t.Errorf("a refresh token was marked: %q", got)
			}
		})
	}
}

// Some servers answer 403 or 400 where no metadata is. If the metadata is at the other place, and
// that fails for a while, nobody has to change the configuration.
func TestMetadataAtThePlaceThatFails(t *testing.T) {
	for name, down := range map[string]reply{"503": {status: 503}, "no connection": {err: errReset}} {
		for _, absent := range []reply{{status: 400}, {status: 403}, says("https://evil.example")} {
			s := &issuing{auth: &authServer{}}
			s.place(oauthPlace, absent)
			s.place(oidcPlace, down)
			src := newSource(t, s, discovering(issuer))
			if e := wantError(t, src, tokensource.ClassWait); e.Status != down.status {
				t.Errorf("%s: got %v", name, e)
			}
		}
	}
}

// Endpoints may be on another host than the issuer. The observer is told when the metadata is first
// read, and again only if the metadata names other hosts.
func TestEndpointsElsewhere(t *testing.T) {
	const google = "https://accounts.google.com"
	says := func(token, revoke string) reply {
		return reply{body: fmt.Sprintf(`{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q,"revocation_endpoint":%q}`,
			google, google+"/o/oauth2/v2/auth", token, revoke)}
	}
	synctest.Test(t, func(t *testing.T) {
		var ev events
		s := &issuing{auth: rotating(0)}
		s.place(oidcPlace, says("https://oauth2.googleapis.com/token", "https://oauth2.googleapis.com/revoke"))
		src := newSource(t, s, connecting(nil), discovering(google), observed(&ev))
		want := func(moment string, endpoints ...string) {
			t.Helper()
			var told []string
			for _, e := range ev.all() {
				if e.Kind == tokensource.EventEndpointsElsewhere {
					told = append(told, e.Source+" "+e.Issuer+" "+strings.Join(e.Endpoints, " "))
				}
			}
			if !slices.Equal(told, endpoints) {
				t.Errorf("%s: the observer was told %q, want %q", moment, told, endpoints)
			}
		}
		connect(t, src, "")
		connect(t, src, "other")
		if got := s.auth.all()[0].url; got != "https://oauth2.googleapis.com/token" {
			t.Errorf("the token was requested at %s", got)
		}
		first := "orders " + google + " https://oauth2.googleapis.com"
		want("at first", first)
		virtual.Advance(2 * time.Hour)
		connect(t, src, "")
		want("when it is read again", first)
		s.place(oidcPlace, reply{status: 503})
		virtual.Advance(2 * time.Hour)
		connect(t, src, "")
		want("when it cannot be read", first)
		s.place(oidcPlace, says("https://oauth2.googleapis.com/token", "https://revoke.googleapis.com/"))
		virtual.Advance(2 * time.Hour)
		connect(t, src, "")
		want("when it has changed", first, first+" https://revoke.googleapis.com")
	})
}

// An issuer on loopback may have its endpoints at other ports. The observer is not told about
// configured endpoints.
func TestEndpointsElsewhereOfLoopback(t *testing.T) {
	const local = "http://127.0.0.1:9000"
	for _, configured := range []bool{false, true} {
		var ev events
		s := &issuing{auth: rotating(0)}
		s.place(oauthPlace, reply{body: `{"issuer":"` + local + `","authorization_endpoint":"` + local +
			`/authorize","token_endpoint":"http://localhost:9001/token"}`})
		src := newSource(t, s, connecting(nil), discovering(local), observed(&ev), func(cfg *tokensource.Config) {
			if configured {
				cfg.TokenURL = "http://localhost:9001/token"
			}
		})
		connect(t, src, "")
		wantToken(t, src, "at1")
		if len(s.fetches()) == 0 {
			t.Error("the metadata was not read")
		}
		if got := ev.count(tokensource.EventEndpointsElsewhere); (got == 1) == configured {
			t.Errorf("configured %t: the observer was told %d times", configured, got)
		}
	}
}

// A configured endpoint is not read from the metadata, and may be anywhere.
func TestConfiguredEndpointsComeFirst(t *testing.T) {
	s := &issuing{auth: &authServer{}}
	src := newSource(t, s, discovering("https://elsewhere.example"), func(cfg *tokensource.Config) {
		cfg.TokenURL = tokenURL
	})
	wantToken(t, src, "at1")
	if got := s.fetches(); len(got) != 0 {
		t.Errorf("asked %q", got)
	}
}

// Metadata is requested once an hour, however many accounts need it. If it cannot be fetched again,
// the metadata from before stays in use. A failure is remembered for some seconds.
func TestMetadataIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &issuing{auth: &authServer{}}
		s.place(oauthPlace, reply{status: 503, delay: time.Second})
		src := newSource(t, s, discovering(issuer))
		want := func(moment string, fetches int, usable bool) {
			t.Helper()
			var group sync.WaitGroup
			for i := range 50 {
				group.Go(func() {
					_, err := src.Account(fmt.Sprint(moment, i)).Token(t.Context())
					if (err == nil) != usable {
						t.Errorf("%s: %v", moment, err)
					}
				})
			}
			group.Wait()
			if got := len(s.fetches()); got != fetches {
				t.Errorf("%s: %d requests for metadata, want %d", moment, got, fetches)
			}
		}
		want("down", 2, false) // both URLs
		want("still down", 2, false)
		virtual.Advance(time.Minute)
		fetched := len(s.fetches())
		s.place(oauthPlace, says(issuer))
		virtual.Advance(6 * time.Second)
		want("up", fetched+1, true)
		virtual.Advance(59 * time.Minute)
		want("an hour less a minute", fetched+1, true)
		s.place(oauthPlace, reply{status: 503})
		virtual.Advance(2 * time.Minute)
		want("down again", fetched+3, true)
		s.place(oauthPlace, says("https://evil.example"))
		virtual.Advance(time.Minute)
		want("taken over", fetched+5, true)
	})
}

// If the issuer has a variable, each account has its own issuer.
func TestIssuerOfAnAccount(t *testing.T) {
	s := &issuing{auth: rotating(0)}
	for _, tenant := range []string{"acme", "initech"} {
		s.place(oauthPlace+"/"+tenant, says(issuer+"/"+tenant))
	}
	src := newSource(t, s, connecting(nil), perDeployment, discovering(issuer+"/{deployment}"))
	for _, tenant := range []string{"acme", "initech"} {
		l := begin(t, src, tokensource.LoginRequest{Account: tenant, RedirectURL: callbackURL,
			Variables: map[string]string{"deployment": tenant}})
		if l.Issuer != issuer+"/"+tenant {
			t.Errorf("issuer %s", l.Issuer)
		}
		if err := finish(t, src, l, "code=c&iss="+l.Issuer); err != nil {
			t.Error(err)
		}
	}
	if got := s.fetches(); len(got) != 2 {
		t.Errorf("asked %q", got)
	}
}

// A response to a login must come from the issuer at which the login began; otherwise it is
// refused. That holds for an error response too. Either way the login is used up.
func TestLoginComesFromItsIssuer(t *testing.T) {
	const always = `"authorization_response_iss_parameter_supported":true`
	for name, c := range map[string]struct {
		more   []string
		answer string
		want   string // part of the error; empty: no error
	}{
		"named":                 {nil, "code=c&iss=https%3A%2F%2Flogin.example.com", ""},
		"not named":             {nil, "code=c", ""},
		"another":               {nil, "code=c&iss=https%3A%2F%2Fevil.example", "comes from another issuer"},
		"a slash more":          {nil, "code=c&iss=https%3A%2F%2Flogin.example.com%2F", "comes from another issuer"},
		"empty":                 {nil, "code=c&iss=", "comes from another issuer"},
		"twice":                 {nil, "code=c&iss=https%3A%2F%2Flogin.example.com&iss=x", "comes from another issuer"},
		"always named":          {[]string{always}, "code=c&iss=https%3A%2F%2Flogin.example.com", ""},
		"always named, missing": {[]string{always}, "code=c", "names no issuer"},
		"an error": {[]string{always}, "error=access_denied&iss=https%3A%2F%2Flogin.example.com",
			"access was denied"},
		"an error of another": {nil, "error=access_denied&iss=https%3A%2F%2Fevil.example",
			"comes from another issuer"},
		"an error that lacks it":      {[]string{always}, "error=access_denied", "names no issuer"},
		"said to be always, badly":    {[]string{strings.Replace(always, "true", `"yes"`, 1)}, "code=c", ""},
		"not always, by its own word": {[]string{strings.Replace(always, "true", "false", 1)}, "code=c", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := &issuing{auth: rotating(0)}
			s.place(oidcPlace, says(issuer, c.more...))
			src := newSource(t, s, connecting(nil), discovering(issuer))
			l := begin(t, src, inBrowser)
			if !strings.HasPrefix(linkOf(t, src, l), authorizeURL+"?") {
				t.Errorf("sent to %s", linkOf(t, src, l))
			}
			found, err := src.FindLogin(t.Context(), l.State) // like another process
			if err != nil {
				t.Fatal(err)
			}
			err = finish(t, src, found, c.answer)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			}
			if c.want != "" {
				wantCount(t, &s.auth.endpoint, 0)
			}
			wantNoLogin(t, finish(t, src, found, "code=c&iss=https%3A%2F%2Flogin.example.com"))
		})
	}
}

// Tokens are revoked at the endpoint in the metadata. If the metadata names none, the tokens are
// only removed here.
func TestRevocationByMetadata(t *testing.T) {
	for _, revokes := range []bool{true, false} {
		s := &issuing{auth: rotating(0)}
		metadata := says(issuer)
		if !revokes {
			metadata.body = strings.Replace(metadata.body, "revocation_endpoint", "x", 1)
		}
		s.place(oidcPlace, metadata)
		src := newSource(t, s, connecting(nil), discovering(issuer))
		connect(t, src, "")
		if got := src.Revokes(t.Context(), nil); got != revokes {
			t.Errorf("Revokes returned %t, want %t", got, revokes)
		}
		disconnect(t, src, "")
		if got := s.auth.revoked(); (len(got) == 2) != revokes {
			t.Errorf("revoked %q", got)
		}
	}
}

func TestIssuerMustBeOne(t *testing.T) {
	for raw, want := range map[string]string{
		"http://login.example.com":      "issuer must be https",
		"login.example.com":             "issuer must be an absolute https URL",
		"https://login.example.com?a=b": "issuer must not have a query",
		"https://login.example.com#a":   "issuer must not have a fragment",
	} {
		_, err := tokensource.New(tokensource.Config{Name: "a", Grant: tokensource.ClientCredentials{}, ClientID: "x",
			Issuer: raw})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", raw, err, want)
		}
	}
}

// The metadata of an issuer stays in use while it cannot be fetched again, also with very many issuers.
func TestManyIssuers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		rt := roundTripper(func(req *http.Request) (*http.Response, error) {
			if down.Load() {
				return nil, errReset
			}
			issuer := "https://" + req.URL.Host
			body := fmt.Sprintf(`{"issuer":%q,"token_endpoint":"%s/t","revocation_endpoint":"%[2]s/r"}`, issuer, issuer)
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
		})
		src := newSource(t, rt, connecting(nil), func(c *tokensource.Config) {
			c.AuthorizeURL, c.RevokeURL, c.TokenURL = "", "", ""
			c.Issuer, c.Variables = "https://{deployment}.example.com", []provider.Variable{deployment}
		})
		vars := func(i int) map[string]string { return map[string]string{"deployment": fmt.Sprint("d", i)} }
		for i := range 1000 {
			if !src.Revokes(t.Context(), vars(i)) {
				t.Fatal("no metadata")
			}
		}
		virtual.Advance(61 * time.Minute)
		down.Store(true)
		for i := range 3 {
			if !src.Revokes(t.Context(), vars(i)) {
				t.Errorf("the metadata of issuer %d is lost", i)
			}
		}
	})
}
