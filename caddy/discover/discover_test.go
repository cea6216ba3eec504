package discover_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/caddy/discover"
)

// site is an https server whose documents a test sets.
type site struct {
	*httptest.Server
	documents map[string]any // by path
	asked     []string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{documents: make(map[string]any)}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked = append(s.asked, r.URL.Path)
		switch document := s.documents[r.URL.Path].(type) {
		case nil:
			http.NotFound(w, r)
		case http.HandlerFunc:
			document(w, r)
		case string:
			_, _ = w.Write([]byte(document))
		default:
			_ = json.NewEncoder(w).Encode(document)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *site) client() *discover.Client { return &discover.Client{Transport: s.Client().Transport} }

// An issuer's metadata is found in all forms of the address, and only if it names the issuer to the
// letter (RFC 8414 section 3.3).
func TestServer(t *testing.T) {
	for _, c := range []struct{ path, at string }{
		{"", "/.well-known/oauth-authorization-server"},
		{"", "/.well-known/openid-configuration"},
		{"/realms/one", "/.well-known/oauth-authorization-server/realms/one"},
		{"/realms/one", "/.well-known/openid-configuration/realms/one"},
		{"/realms/one", "/realms/one/.well-known/openid-configuration"},
	} {
		s := newSite(t)
		issuer := s.URL + c.path
		s.documents[c.at] = map[string]any{
			"issuer": issuer, "token_endpoint": s.URL + "/token", "scopes_supported": []string{"read", "two words", ""},
		}
		got, err := s.client().Server(t.Context(), issuer)
		if err != nil {
			t.Errorf("%s at %s: %v", c.path, c.at, err)
			continue
		}
		if got.TokenURL != s.URL+"/token" || got.From != s.URL+c.at || len(got.Scopes) != 1 {
			t.Errorf("%+v", got)
		}
		if !strings.Contains(strings.Join(got.Grants(), " "), "authorization_code") ||
			got.Methods()[0] != "client_secret_basic" {
			t.Errorf("the defaults of RFC 8414 are not there: %v %v", got.Grants(), got.Methods())
		}
		for _, other := range []string{issuer + "/", s.URL + "/other", "https://evil.example.com", ""} {
			s.documents[c.at] = map[string]any{"issuer": other, "token_endpoint": s.URL + "/token"}
			if _, err := s.client().Server(t.Context(), issuer); err == nil ||
				!strings.Contains(err.Error(), "RFC 8414 section 3.3") {
				t.Errorf("metadata of %q counts for %s: %v", other, issuer, err)
			}
		}
	}
}

// A document that is not metadata, or that names unsafe addresses, causes an error that says so.
func TestServerRefuses(t *testing.T) {
	const at = "/.well-known/oauth-authorization-server"
	s := newSite(t)
	for name, c := range map[string]struct {
		document any
		want     string
	}{
		"redirect": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}), "redirects"},
		"page":    {"<html>", "not metadata"},
		"large":   {strings.Repeat(" ", 1<<20+1), "over 1 MiB"},
		"trouble": {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }), "answered 503"},
		"http":    {map[string]any{"issuer": s.URL, "token_endpoint": "http://login.example.com/token"}, "must be https"},
		"file":    {map[string]any{"issuer": s.URL, "token_endpoint": "file:///etc/passwd"}, "not an absolute URL"},
		"userinfo": {map[string]any{"issuer": s.URL, "authorization_endpoint": "https://a:b@login.example.com/"},
			"user name"},
	} {
		s.documents[at] = c.document
		if _, err := s.client().Server(t.Context(), s.URL); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	for _, issuer := range []string{"http://login.example.com", "login.example.com", "https://login.example.com#x",
		"https://login.example.com?x", "ftp://x"} {
		if _, err := s.client().Server(t.Context(), issuer); err == nil {
			t.Errorf("issuer %s is asked", issuer)
		}
	}
}

// A document of another machine must not name an address of this machine or its network link.
func TestNearAddresses(t *testing.T) {
	away := roundTripper(func(*http.Request) (*http.Response, error) {
		rec := httptest.NewRecorder()
		_, _ = rec.WriteString(`{"issuer":"https://login.example.com","token_endpoint":"https://169.254.169.254/token"}`)
		return rec.Result(), nil
	})
	c := &discover.Client{Transport: away}
	if _, err := c.Server(t.Context(), "https://login.example.com"); err == nil ||
		!strings.Contains(err.Error(), "network link") {
		t.Errorf("got %v", err)
	}
	if _, err := c.ResourceAt(t.Context(), "http://127.0.0.1:8080/x", "https://api.example.com"); err == nil ||
		!strings.Contains(err.Error(), "network link") {
		t.Errorf("got %v", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// A challenge is read among others, in any order and quotation.
func TestChallenge(t *testing.T) {
	for field, want := range map[string]discover.Challenge{
		`Bearer`: {Status: 401, Bearer: true},
		`Bearer resource_metadata="https://a.example/x"`: {Status: 401,
			Bearer: true, Metadata: "https://a.example/x"},
		`bearer realm="a, b", scope="read  write", resource_metadata=https://a.example/x`: {Status: 401,
			Bearer: true, Metadata: "https://a.example/x", Scopes: []string{"read", "write"}},
		`Basic realm="x", Bearer error="invalid_token",resource_metadata = "https://a.example/\"x"`: {Status: 401,
			Bearer: true, Metadata: `https://a.example/"x`},
		`Negotiate abc==, Basic realm="Bearer resource_metadata=https://evil.example"`: {Status: 401},
		`realm="x"`: {Status: 401},
		`Bearer resource_metadata="https://a.example`: {Status: 401, Bearer: true, Metadata: "https://a.example"},
	} {
		s := newSite(t)
		s.documents["/api"] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", field)
			w.WriteHeader(http.StatusUnauthorized)
		})
		got, err := s.client().Ask(t.Context(), s.URL+"/api")
		if err != nil {
			t.Fatal(err)
		}
		if got.Status != want.Status || got.Bearer != want.Bearer || got.Metadata != want.Metadata ||
			strings.Join(got.Scopes, " ") != strings.Join(want.Scopes, " ") {
			t.Errorf("%s: got %+v, want %+v", field, got, want)
		}
	}
}

// An API's metadata counts only for the resource that it names (RFC 9728 section 3.3).
func TestResource(t *testing.T) {
	const wellKnown = "/.well-known/oauth-protected-resource"
	for _, c := range []struct{ at, api, resource string }{
		{wellKnown, "", ""}, {wellKnown, "", "/"}, {wellKnown + "/v1/api", "/v1/api", "/v1/api"}, {wellKnown, "/v1/api", ""},
	} {
		s := newSite(t)
		s.documents[c.at] = map[string]any{"resource": s.URL + c.resource,
			"authorization_servers": []string{"https://login.example.com"}}
		got, err := s.client().Resource(t.Context(), s.URL+c.api)
		// A server on loopback may name any server.
		if err != nil || got == nil || got.Servers[0] != "https://login.example.com" {
			t.Errorf("%+v: %+v, %v", c, got, err)
		}
		for _, other := range []string{"https://evil.example.com", s.URL + "/other", ""} {
			s.documents[c.at] = map[string]any{"resource": other, "authorization_servers": []string{"https://login.example.com"}}
			if _, err := s.client().Resource(t.Context(), s.URL+c.api); err == nil ||
				!strings.Contains(err.Error(), "RFC 9728 section 3.3") {
				t.Errorf("metadata of %q counts for %s: %v", other, c.api, err)
			}
		}
	}
	s := newSite(t)
	if got, err := s.client().Resource(t.Context(), s.URL+"/v1"); got != nil || err != nil {
		t.Errorf("no metadata: %+v, %v", got, err)
	}
	s.documents["/meta"] = map[string]any{"resource": s.URL}
	_, err := s.client().ResourceAt(t.Context(), s.URL+"/meta", s.URL+"/v1")
	if err == nil || !strings.Contains(err.Error(), "caddy authinject init "+s.URL) {
		t.Errorf("metadata of another resource of the same host: %v", err)
	}
}
