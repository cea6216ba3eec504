package tokensourcetest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	. "github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

func TestTokenAnswer(t *testing.T) {
	srv := Start(t, Config{Scopes: []string{"read", "write"}})
	r := clientCredentials(t, srv)
	wantToken(t, r)
	if r.text("token_type") != "Bearer" || r.members["expires_in"] != 3600.0 || r.text("scope") != "read write" {
		t.Errorf("answer %s", r.body)
	}
	if r.members["refresh_token"] != nil {
		t.Error("client_credentials brought a refresh token (RFC 6749 section 4.4.3)")
	}
	if r.header.Get("Cache-Control") != "no-store" ||
		!strings.HasPrefix(r.header.Get("Content-Type"), "application/json") {
		t.Errorf("header %v", r.header)
	}
	rec := last(t, srv)
	if rec.Number != 1 || rec.Outcome != OutcomeIssued || rec.Grant != "client_credentials" ||
		rec.ClientID != DefaultClientID ||
		rec.Auth != AuthBasic || rec.Format != FormatForm || !rec.Done || !rec.Whole || rec.Status != 200 ||
		rec.AccessToken != r.text("access_token") || rec.TokenNumber != 1 {
		t.Errorf("record %+v", rec)
	}
	if issued := srv.Issued(); len(issued) != 1 || issued[0].AccessToken != r.text("access_token") ||
		issued[0].Subject != DefaultClientID {
		t.Errorf("issued %+v", issued)
	}
}

func TestStrictness(t *testing.T) {
	srv := Start(t, Config{
		Scopes: []string{"read"},
		Clients: []Client{
			{ID: DefaultClientID, Secrets: []string{DefaultClientSecret}},
			{ID: "narrow", Secrets: []string{"s"}, Grants: []string{"refresh_token"}},
			{ID: "public"},
		},
	})
	for name, test := range map[string]struct {
		change func(*http.Request)
		params []string
		status int
		code   string
	}{
		"GET": {func(r *http.Request) { r.Method = http.MethodGet }, nil, 405, "invalid_request"},
		"text body": {func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, nil, 400,
			"invalid_request"},
		"JSON not allowed":    {jsonBody(`{"grant_type":"client_credentials"}`), nil, 400, "invalid_request"},
		"parameters in query": {func(r *http.Request) { r.URL.RawQuery = "scope=read" }, nil, 400, "invalid_request"},
		"parameter twice": {nil, []string{"grant_type", "client_credentials", "scope", "read", "scope", "read"}, 400,
			"invalid_request"},
		"twice across places": {func(r *http.Request) { r.URL.RawQuery = "grant_type=client_credentials" }, nil, 400,
			"invalid_request"},
		"credentials twice": {nil, []string{"grant_type", "client_credentials", "client_id", DefaultClientID,
			"client_secret", DefaultClientSecret}, 400, "invalid_request"},
		"two Basic headers": {func(r *http.Request) {
			r.Header.Add("Authorization", r.Header.Get("Authorization"))
		}, nil, 400, "invalid_request"},
		"other client_id": {nil, []string{"grant_type", "client_credentials", "client_id", "public"}, 400,
			"invalid_request"},
		"wrong secret":       {func(r *http.Request) { r.SetBasicAuth(DefaultClientID, "no") }, nil, 401, "invalid_client"},
		"unknown client":     {func(r *http.Request) { r.SetBasicAuth("who", "no") }, nil, 401, "invalid_client"},
		"no client":          {func(r *http.Request) { r.Header.Del("Authorization") }, nil, 401, "invalid_client"},
		"no grant_type":      {nil, []string{"scope", "read"}, 400, "invalid_request"},
		"unknown grant_type": {nil, []string{"grant_type", "password"}, 400, "unsupported_grant_type"},
		"grant not allowed":  {func(r *http.Request) { r.SetBasicAuth("narrow", "s") }, nil, 400, "unauthorized_client"},
		"unknown scope": {nil, []string{"grant_type", "client_credentials", "scope", "read all"},
			400, "invalid_scope"},
		"no refresh_token":     {nil, []string{"grant_type", "refresh_token"}, 400, "invalid_request"},
		"unknown refreshtoken": {nil, []string{"grant_type", "refresh_token", "refresh_token", "x"}, 400, "invalid_grant"},
		"public for itself": {func(r *http.Request) { r.Header.Del("Authorization") },
			[]string{"grant_type", "client_credentials", "client_id", "public"}, 400, "unauthorized_client"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.params == nil {
				test.params = []string{"grant_type", "client_credentials"}
			}
			req := tokenRequest(srv, test.params...)
			if test.change != nil {
				test.change(req)
			}
			r, err := send(srv, req)
			if err != nil {
				t.Fatal(err)
			}
			wantError(t, r, test.status, test.code)
			if r.header.Get("Cache-Control") != "no-store" {
				t.Error("no Cache-Control: no-store")
			}
			if challenge := r.header.Get("WWW-Authenticate"); (challenge != "") != (test.status == 401 &&
				req.Header.Get("Authorization") != "") {
				t.Errorf("WWW-Authenticate %q (RFC 6749 section 5.2)", challenge)
			}
			if rec := last(t, srv); rec.Outcome != test.code || rec.AccessToken != "" {
				t.Errorf("record %+v", rec)
			}
		})
	}
	if n := len(srv.Issued()); n != 0 {
		t.Errorf("%d tokens were issued", n)
	}
}

func jsonBody(body string) func(*http.Request) {
	return func(r *http.Request) {
		fresh, _ := http.NewRequest(r.Method, r.URL.String(), strings.NewReader(body))
		r.Body, r.ContentLength, r.GetBody = fresh.Body, fresh.ContentLength, fresh.GetBody
		r.Header.Set("Content-Type", "application/json")
	}
}

func TestJSONBody(t *testing.T) {
	srv := Start(t, Config{Clients: []Client{{
		ID: DefaultClientID, Secrets: []string{DefaultClientSecret}, Formats: []BodyFormat{FormatJSON},
	}}})
	for body, ok := range map[string]bool{
		`{"grant_type":"client_credentials","scope":null}`:                    true,
		`{"grant_type":"client_credentials","grant_type":"refresh_token"}`:    false,
		`{"grant_type":"client_credentials","extra":{}}`:                      false,
		`{"grant_type":"client_credentials"} `:                                true,
		`{"grant_type":"client_credentials"}{}`:                               false,
		`["grant_type","client_credentials"]`:                                 false,
		`{"grant_type":"client_credentials"`:                                  false,
		`{"grant_type":"client_credentials","client_secret":"in two places"}`: false,
	} {
		req := tokenRequest(srv)
		jsonBody(body)(req)
		r, err := send(srv, req)
		if err != nil {
			t.Fatal(err)
		}
		if (r.status == 200) != ok {
			t.Errorf("%s: %d %s", body, r.status, r.body)
		}
	}
	wantError(t, clientCredentials(t, srv), 400, "invalid_request") // a form
}

func TestClientAuthentication(t *testing.T) {
	const id, secret = "a client:", "p+s%20w/ö"
	basic := func(id, secret string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(id, secret) }
	}
	none := func(r *http.Request) { r.Header.Del("Authorization") }
	query := func(r *http.Request) {
		none(r)
		r.URL.RawQuery = form("client_id", "c", "client_secret", secret)
	}
	encoded := basic(url.QueryEscape(id), url.QueryEscape(secret))
	post := []string{"client_id", "c", "client_secret", secret}
	for name, test := range map[string]struct {
		id     string
		auth   []AuthMethod
		change func(*http.Request)
		params []string
		want   AuthMethod // empty: refused
	}{
		"basic":              {id, []AuthMethod{AuthBasic}, encoded, nil, AuthBasic},
		"basic, sent raw":    {"c", []AuthMethod{AuthBasic}, basic("c", secret), nil, ""},
		"raw":                {"c", []AuthMethod{AuthBasicRaw}, basic("c", secret), nil, AuthBasicRaw},
		"raw, sent encoded":  {"c", []AuthMethod{AuthBasicRaw}, basic("c", url.QueryEscape(secret)), nil, ""},
		"any, raw":           {"c", nil, basic("c", secret), nil, AuthBasicRaw},
		"any, encoded":       {id, nil, encoded, nil, AuthBasic},
		"post":               {"c", []AuthMethod{AuthPost}, none, post, AuthPost},
		"post not allowed":   {"c", []AuthMethod{AuthBasic}, none, post, ""},
		"query":              {"c", []AuthMethod{AuthQuery}, query, nil, AuthQuery},
		"query not allowed":  {"c", []AuthMethod{AuthPost}, query, nil, ""},
		"none":               {"c", []AuthMethod{AuthNone}, none, []string{"client_id", "c"}, AuthNone},
		"none not allowed":   {"c", nil, none, []string{"client_id", "c"}, ""},
		"empty secret param": {id, nil, encoded, []string{"client_secret", ""}, AuthBasic},
	} {
		t.Run(name, func(t *testing.T) {
			srv := Start(t, Config{Clients: []Client{{ID: test.id, Secrets: []string{"old", secret}, Auth: test.auth}}})
			req := tokenRequest(srv, append([]string{"grant_type", "client_credentials"}, test.params...)...)
			test.change(req)
			r, err := send(srv, req)
			if err != nil {
				t.Fatal(err)
			}
			if test.want == "" {
				wantError(t, r, 401, "invalid_client")
				return
			}
			wantToken(t, r)
			if rec := last(t, srv); rec.Auth != test.want || rec.ClientID != test.id {
				t.Errorf("recorded as %q by %s, want %s", rec.ClientID, rec.Auth, test.want)
			}
		})
	}
}

func TestSecretRotation(t *testing.T) {
	srv := Start(t, Config{})
	wantToken(t, clientCredentials(t, srv))
	if !srv.SetClientSecrets(DefaultClientID, "next") || srv.SetClientSecrets("nobody", "x") {
		t.Error("SetClientSecrets does not know its clients")
	}
	wantError(t, clientCredentials(t, srv), 401, "invalid_client")
	srv.SetClientSecrets(DefaultClientID, "next", DefaultClientSecret)
	wantToken(t, clientCredentials(t, srv))
}
