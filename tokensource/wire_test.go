package tokensource_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/authinject/caddy-authinject/tokensource"
)

// sent is a request as the server received it.
type sent struct {
	method, path, query, body string
	header                    http.Header
}

// server returns the URL of a token endpoint that records requests and grants tokens.
func server(t *testing.T, got *[]sent) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*got = append(*got, sent{r.Method, r.URL.Path, r.URL.RawQuery, string(body), r.Header.Clone()})
		fmt.Fprint(w, `{"access_token":"at","token_type":"Bearer","expires_in":3600}`)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

const (
	oddID     = "id:%+ @ü"
	oddSecret = "s:%+ @ü&=\""
	// Both form-encoded, as in RFC 6749 section 2.3.1 and appendix B.
	oddIDForm     = "id%3A%25%2B+%40%C3%BC"
	oddSecretForm = "s%3A%25%2B+%40%C3%BC%26%3D%22"
)

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// The exact form of the request, for every method of client authentication in every body format.
// The query of token_url comes first. Nothing is sent twice.
func TestFormOfTheRequest(t *testing.T) {
	const grant = "audience=https%3A%2F%2Fapi.example.com&grant_type=client_credentials&scope=a+b%3Ac"
	jsonGrant := map[string]string{"audience": "https://api.example.com", "grant_type": "client_credentials",
		"scope": "a b:c"}
	credentials := "client_id=" + oddIDForm + "&client_secret=" + oddSecretForm
	// The parameters are sorted by name, as form encoders do.
	between := func(credentials string) string {
		return strings.Replace(grant, "&grant_type", "&"+credentials+"&grant_type", 1)
	}
	for _, tt := range []struct {
		auth          tokensource.ClientAuth
		format        tokensource.BodyFormat
		authorization string
		query, body   string
		inJSON        []string // credentials in the JSON body
	}{
		{tokensource.ClientSecretBasic, tokensource.BodyForm, basic(oddIDForm, oddSecretForm), "", grant, nil},
		{tokensource.ClientSecretBasic, tokensource.BodyQuery, basic(oddIDForm, oddSecretForm), grant, "", nil},
		{tokensource.ClientSecretBasic, tokensource.BodyJSON, basic(oddIDForm, oddSecretForm), "", "", []string{}},
		{tokensource.ClientSecretBasicRaw, tokensource.BodyForm, basic(oddID, oddSecret), "", grant, nil},
		{tokensource.ClientSecretBasicRaw, tokensource.BodyQuery, basic(oddID, oddSecret), grant, "", nil},
		{tokensource.ClientSecretBasicRaw, tokensource.BodyJSON, basic(oddID, oddSecret), "", "", []string{}},
		{tokensource.ClientSecretBasicUser, tokensource.BodyForm, basic(oddSecret, ""), "", grant, nil},
		{tokensource.ClientSecretBasicUser, tokensource.BodyQuery, basic(oddSecret, ""), grant, "", nil},
		{tokensource.ClientSecretBasicUser, tokensource.BodyJSON, basic(oddSecret, ""), "", "", []string{}},
		{tokensource.ClientSecretPost, tokensource.BodyForm, "", "", between(credentials), nil},
		{tokensource.ClientSecretPost, tokensource.BodyQuery, "", between(credentials), "", nil},
		{tokensource.ClientSecretPost, tokensource.BodyJSON, "", "", "", []string{"client_id", "client_secret"}},
		{tokensource.ClientSecretQuery, tokensource.BodyForm, "", credentials, grant, nil},
		{tokensource.ClientSecretQuery, tokensource.BodyQuery, "", between(credentials), "", nil},
		{tokensource.ClientSecretQuery, tokensource.BodyJSON, "", credentials, "", []string{}},
		{tokensource.TLSClientAuth, tokensource.BodyForm, "", "", between("client_id=" + oddIDForm), nil},
		{tokensource.SelfSignedTLSClientAuth, tokensource.BodyJSON, "", "", "", []string{"client_id"}},
		{tokensource.ClientAuthNone, tokensource.BodyForm, "", "", between("client_id=" + oddIDForm), nil},
		{tokensource.ClientAuthNone, tokensource.BodyQuery, "", between("client_id=" + oddIDForm), "", nil},
		{tokensource.ClientAuthNone, tokensource.BodyJSON, "", "", "", []string{"client_id"}},
	} {
		for _, own := range []string{"", "v=1&x=%7E+y"} {
			t.Run(fmt.Sprintf("%s/%s/%s", tt.auth, tt.format, own), func(t *testing.T) {
				var got []sent
				base := server(t, &got) + "/oauth/token"
				if own != "" {
					base += "?" + own
				}
				src := newSource(t, nil, func(cfg *tokensource.Config) {
					cfg.TokenURL, cfg.ClientID, cfg.ClientAuth, cfg.BodyFormat = base, oddID, tt.auth, tt.format
					cfg.ClientSecrets = []tokensource.Value{tokensource.Literal(oddSecret)}
					if !tt.auth.UsesSecret() {
						cfg.ClientSecrets, cfg.MutualTLS = nil, true
					}
					cfg.Scopes = []string{"a", "b:c"}
					cfg.Params = []tokensource.Param{
						{Name: "audience", Value: tokensource.Literal("https://api.example.com")},
						{Name: "nothing", Value: tokensource.Literal("")},
					}
					cfg.UserAgent = "tester/1"
				})
				mustToken(t, src)
				if len(got) != 1 {
					t.Fatalf("%d requests, want 1", len(got))
				}
				query := strings.Trim(own+"&"+tt.query, "&")
				r := got[0]
				if r.method != http.MethodPost || r.path != "/oauth/token" || r.query != query {
					t.Errorf("%s %s?%s\nwant POST /oauth/token?%s", r.method, r.path, r.query, query)
				}
				if auth := strings.Join(r.header.Values("Authorization"), "|"); auth != tt.authorization {
					t.Errorf("Authorization %q, want %q", auth, tt.authorization)
				}
				if r.header.Get("Accept") != "application/json" || r.header.Get("User-Agent") != "tester/1" {
					t.Errorf("Accept %q, User-Agent %q", r.header.Get("Accept"), r.header.Get("User-Agent"))
				}
				contentType := map[tokensource.BodyFormat]string{
					tokensource.BodyForm: "application/x-www-form-urlencoded", tokensource.BodyJSON: "application/json",
				}[tt.format]
				if got := r.header.Get("Content-Type"); got != contentType {
					t.Errorf("Content-Type %q, want %q", got, contentType)
				}
				if tt.inJSON != nil {
					wantJSON(t, r.body, jsonGrant, tt.inJSON)
				} else if r.body != tt.body {
					t.Errorf("body %s\nwant %s", r.body, tt.body)
				}
			})
		}
	}
}

func wantJSON(t *testing.T, body string, want map[string]string, credentials []string) {
	t.Helper()
	full := make(map[string]string)
	for name, value := range want {
		full[name] = value
	}
	for _, name := range credentials {
		full[name] = map[string]string{"client_id": oddID, "client_secret": oddSecret}[name]
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("body %s: %v", body, err)
	}
	if fmt.Sprint(got) != fmt.Sprint(full) {
		t.Errorf("body %v\nwant %v", got, full)
	}
}

// A refresh sends its refresh token and no scope. Other separators and repeated resources are sent
// as configured.
func TestFormOfOtherRequests(t *testing.T) {
	form := func(t *testing.T, edit func(*tokensource.Config)) url.Values {
		var got []sent
		base := server(t, &got)
		mustToken(t, newSource(t, nil, func(cfg *tokensource.Config) { cfg.TokenURL = base; edit(cfg) }))
		values, err := url.ParseQuery(got[0].body)
		if err != nil {
			t.Fatal(err)
		}
		return values
	}
	for name, tt := range map[string]struct {
		edit func(*tokensource.Config)
		want url.Values
	}{
		"refresh_token": {
			func(cfg *tokensource.Config) { refreshing(nil, "rt&0")(cfg); cfg.Scopes = []string{"a"} },
			url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"rt&0"}},
		},
		"scopes with commas": {
			func(cfg *tokensource.Config) { cfg.Scopes, cfg.ScopeSeparator = []string{"read(a,b)", "c"}, "," },
			url.Values{"grant_type": {"client_credentials"}, "scope": {"read(a,b),c"}},
		},
		"scope as a parameter": {
			func(cfg *tokensource.Config) {
				cfg.Params = []tokensource.Param{{Name: "scope", Value: tokensource.Literal("mine")}}
			},
			url.Values{"grant_type": {"client_credentials"}, "scope": {"mine"}},
		},
		"a grant's empty parameter": {
			func(cfg *tokensource.Config) { cfg.Grant = withEmptyParam{} },
			url.Values{"grant_type": {"client_credentials"}},
		},
		"two resources (RFC 8707 section 2)": {
			func(cfg *tokensource.Config) {
				cfg.Params = []tokensource.Param{
					{Name: "resource", Value: tokensource.Literal("https://a")},
					{Name: "resource", Value: tokensource.Literal("https://b")},
				}
			},
			url.Values{"grant_type": {"client_credentials"}, "resource": {"https://a", "https://b"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := form(t, tt.edit); got.Encode() != tt.want.Encode() {
				t.Errorf("sent %v, want %v", got, tt.want)
			}
		})
	}
}

// withEmptyParam is a grant with an empty parameter.
type withEmptyParam struct{ tokensource.ClientCredentials }

func (g withEmptyParam) Next(ctx context.Context, rec *tokensource.Record) (tokensource.Request, error) {
	req, err := g.ClientCredentials.Next(ctx, rec)
	req.Params.Set("device", "")
	return req, err
}

// withParam is a grant with a parameter of its own, as a guest may have one.
type withParam struct{ tokensource.ClientCredentials }

func (g withParam) Next(ctx context.Context, rec *tokensource.Record) (tokensource.Request, error) {
	req, err := g.ClientCredentials.Next(ctx, rec)
	req.Params.Set("device", "x")
	return req, err
}

// A request that would contain a parameter twice (RFC 6749 section 3.2) is not sent at all.
func TestNoParameterTwice(t *testing.T) {
	for name, edit := range map[string]func(*tokensource.Config){
		"a parameter of the grant": func(cfg *tokensource.Config) {
			cfg.Grant, cfg.Params = withParam{}, []tokensource.Param{{Name: "device", Value: tokensource.Literal("x")}}
		},
		"client_id in the query": func(cfg *tokensource.Config) {
			cfg.TokenURL += "?client_id=x"
			cfg.ClientAuth = tokensource.ClientSecretQuery
		},
		"grant_type in the query": func(cfg *tokensource.Config) {
			cfg.TokenURL += "?grant_type=x"
			cfg.BodyFormat = tokensource.BodyQuery
		},
	} {
		t.Run(name, func(t *testing.T) {
			ep := &endpoint{}
			src := newSource(t, ep, edit)
			wantError(t, src, tokensource.ClassOperator)
			wantCount(t, ep, 0)
		})
	}
}

// Configured fields go with each token request. Their values are read anew each time.
func TestTokenHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep, key := &endpoint{}, &file{value: "key1"}
		src := newSource(t, ep, func(cfg *tokensource.Config) {
			cfg.TokenHeaders = []tokensource.Param{{Name: "x-api-key", Value: key.read},
				{Name: "X-Tenant", Value: tokensource.Literal("planet")}}
		})
		tok := mustToken(t, src)
		key.set("key2", nil)
		if _, err := src.Account("").Reject(t.Context(), tok); err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"key1", "key2"} {
			header := ep.all()[i].header
			if header.Get("X-Api-Key") != want || header.Get("X-Tenant") != "planet" ||
				header.Get("Accept") != "application/json" {
				t.Errorf("request %d has the fields %v", i, header)
			}
		}
		key.set("a\r\nb", nil)
		err := src.Account("").Refresh(t.Context())
		if failure := asError(t, err, tokensource.ClassOperator); !strings.Contains(failure.Error(),
			"token_header x-api-key") || strings.Contains(failure.Error(), "a\r") {
			t.Errorf("got %v", failure)
		}
		wantCount(t, ep, 2)
	})
}
