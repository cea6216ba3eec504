package discover_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/caddy/discover"
)

const yamlDocument = `
openapi: 3.1.0
servers:
  - url: https://api.example.com/v1
paths:
  /a: {get: {responses: {200: {description: fine}}}}
components:
  securitySchemes:
    key: {type: apiKey, in: header, name: X-Key}
    person:
      type: oauth2
      flows:
        authorizationCode:
          authorizationUrl: https://login.example.com/authorize
          tokenUrl: /token
          scopes: {write: change things, read: see things}
        clientCredentials:
          tokenUrl: https://login.example.com/token
          scopes: {"all things": spaces are not allowed, all: all}
    given: {type: http, scheme: Bearer}
    openid: {type: openIdConnect, openIdConnectUrl: https://login.example.com/realm/.well-known/openid-configuration}
`

func TestOpenAPI(t *testing.T) {
	got, err := discover.ReadOpenAPI([]byte(yamlDocument), "")
	if err != nil {
		t.Fatal(err)
	}
	if got.API != "https://api.example.com/v1" || len(got.Ways) != 5 {
		t.Fatalf("%+v", got)
	}
	for i, want := range []discover.Way{
		{Scheme: "person", Grant: "client_credentials", TokenURL: "https://login.example.com/token", Scopes: []string{"all"}},
		{Scheme: "openid", Issuer: "https://login.example.com/realm"},
		{Scheme: "person", Grant: "authorization_code", TokenURL: "https://api.example.com/token",
			AuthorizeURL: "https://login.example.com/authorize", Scopes: []string{"read", "write"}},
		{Scheme: "given", Grant: "static"},
		{Scheme: "key", Grant: "static", KeyIn: "header", KeyName: "X-Key"},
	} {
		way := got.Ways[i]
		if way.Scheme != want.Scheme || way.Grant != want.Grant || way.TokenURL != want.TokenURL ||
			way.AuthorizeURL != want.AuthorizeURL ||
			way.KeyIn != want.KeyIn || way.KeyName != want.KeyName || way.Issuer != want.Issuer ||
			strings.Join(way.Scopes, " ") != strings.Join(want.Scopes, " ") {
			t.Errorf("got %+v, want %+v", way, want)
		}
	}
}

// A document in JSON, and one of Swagger 2.0, are read the same way.
func TestOpenAPIForms(t *testing.T) {
	for _, text := range []string{
		`{"openapi":"3.0.0","servers":[{"url":"https://api.example.com"}],"components":{"securitySchemes":{"a":{"type":"oauth2","flows":{"clientCredentials":{"tokenUrl":"https://login.example.com/token","scopes":{"read":""}}}}}}}`,
		`{"swagger":"2.0","host":"api.example.com","securityDefinitions":{"a":{"type":"oauth2","flow":"application","tokenUrl":"https://login.example.com/token","scopes":{"read":""}}}}`,
		"swagger: '2.0'\nhost: api.example.com\nsecurityDefinitions:\n  a: {type: oauth2, flow: application, tokenUrl: " +
			"'https://login.example.com/token', scopes: {read: x}}\n",
	} {
		got, err := discover.ReadOpenAPI([]byte(text), "")
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got.API != "https://api.example.com" || len(got.Ways) != 1 ||
			got.Ways[0].TokenURL != "https://login.example.com/token" ||
			got.Ways[0].Grant != "client_credentials" || len(got.Ways[0].Scopes) != 1 {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

func TestOpenAPIRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"[1":   "not an OpenAPI document",
		"{}":   "no securitySchemes",
		"a: b": "no securitySchemes",
		`{"components":{"securitySchemes":{"k":{"type":"apiKey"}}}}`:                                                                                                             `["k"]`,
		`{"components":{"securitySchemes":{"k":{"type":"oauth2","flows":{"clientCredentials":{"tokenUrl":"http://login.example.com/token"}}}}}}`:                                 "must be https",
		`{"components":{"securitySchemes":{"k":{"type":"oauth2","flows":{"clientCredentials":{"tokenUrl":"/token"}}}}}}`:                                                         "not an absolute URL",
		`{"servers":[{"url":"https://a.example"}],"components":{"securitySchemes":{"k":{"type":"oauth2","flows":{"clientCredentials":{"tokenUrl":"http://127.0.0.1/token"}}}}}}`: "network link",
		`{"components":{"securitySchemes":{"k":{"type":"openIdConnect","openIdConnectUrl":"https://login.example.com/config"}}}}`:                                                "does not end with",
	} {
		if got, err := discover.ReadOpenAPI([]byte(text), ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %+v, %v, want %q", text, got, err, want)
		}
	}
}

// Redirects of a document's URL are followed a few times, over https only.
func TestOpenAPIRedirects(t *testing.T) {
	s := newSite(t)
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
	}
	s.documents["/doc"], s.documents["/one"], s.documents["/two"] = yamlDocument, redirect("/doc"), redirect("/one")
	if _, err := s.client().OpenAPI(t.Context(), s.URL+"/two"); err != nil {
		t.Error(err)
	}
	s.documents["/loop"], s.documents["/http"] = redirect("/loop"), redirect("http://api.example.com/doc")
	for path, want := range map[string]string{"/loop": "more than 3 times", "/http": "must be https",
		"/none": "answered 404"} {
		if _, err := s.client().OpenAPI(t.Context(), s.URL+path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

// No text of a stranger becomes anything but one word of the Caddyfile.
func TestPlanIsSafe(t *testing.T) {
	plan := discover.Plan{
		Source: "a", API: "https://api.example.com", Listen: "127.0.0.1:8080", Grant: "client_credentials",
		Issuer: "https://login.example.com",
		Scopes: []string{"read", "{env.HOME}", "#x", "a`b", "<<X", "{$HOME}", "https://a.example/x.y"},
	}
	text, err := plan.Caddyfile()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, "\t\t\tscopes read https://a.example/x.y\n") ||
		!strings.Contains(text, "# 5 scopes were left out") || strings.Contains(text, "HOME") {
		t.Error(text)
	}
	for _, issuer := range []string{"https://a.example/{env.HOME}", "https://a.example/\n}", "https://a.example/ x",
		`https://a.example/"`} {
		plan.Issuer = issuer
		if text, err := plan.Caddyfile(); err == nil {
			t.Errorf("issuer %q became\n%s", issuer, text)
		}
	}
}

func TestSourceName(t *testing.T) {
	for api, want := range map[string]string{
		"https://api.example.com/v1": "example", "https://example.com": "example", "http://127.0.0.1:80": "api",
		"https://localhost":       "api",
		"https://API.Exam-ple.io": "exam-ple", "https://[::1]:1": "api", "https://xn--bcher-kva.example": "xn--bcher-kva",
	} {
		if got := discover.SourceName(api); got != want {
			t.Errorf("%s: got %s, want %s", api, got, want)
		}
	}
}
