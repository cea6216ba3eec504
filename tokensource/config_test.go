package tokensource_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

// An unusable configuration is refused, with an error that names the option and what is allowed.
// The network is not used.
func TestConfigIsChecked(t *testing.T) {
	literal := tokensource.Literal("x")
	for _, tt := range []struct {
		want string // expected in the error; empty: no error
		edit func(*tokensource.Config)
	}{
		{"", func(*tokensource.Config) {}},
		{"needs a name", func(c *tokensource.Config) { c.Name = "" }},
		{"a grant is needed", func(c *tokensource.Config) { c.Grant = nil }},
		{"token_url is needed", func(c *tokensource.Config) { c.TokenURL = "" }},
		{"client_id is needed", func(c *tokensource.Config) { c.ClientID = "" }},
		{"absolute https URL", func(c *tokensource.Config) { c.TokenURL = "/token" }},
		{"absolute https URL", func(c *tokensource.Config) { c.TokenURL = "https://%zz" }},
		{"absolute https URL", func(c *tokensource.Config) { c.TokenURL = "https://:443/token" }},
		{"fragment", func(c *tokensource.Config) { c.TokenURL += "#f" }},
		{"fragment", func(c *tokensource.Config) { c.TokenURL += "#" }},
		{"user name or password", func(c *tokensource.Config) { c.TokenURL = "https://u:p@login.example.com/" }},
		{"must be https", func(c *tokensource.Config) { c.TokenURL = "http://login.example.com/" }},
		{"must be https", func(c *tokensource.Config) { c.TokenURL = "http://localhost.example.com/" }},
		{"must be https, not ftp", func(c *tokensource.Config) { c.TokenURL = "ftp://login.example.com/" }},
		{"", func(c *tokensource.Config) { c.TokenURL = "http://localhost:1/" }},
		{"", func(c *tokensource.Config) { c.TokenURL = "http://127.8.9.1/" }},
		{"", func(c *tokensource.Config) { c.TokenURL = "http://[::1]/" }},
		{"", func(c *tokensource.Config) { c.TokenURL += "?tenant=1" }},
		{"a scope is empty", func(c *tokensource.Config) { c.Scopes = []string{"a", ""} }},
		{"allowed are client_secret_basic", func(c *tokensource.Config) { c.ClientAuth = "basic" }},
		{"allowed are form, json, query", func(c *tokensource.Config) { c.BodyFormat = "xml" }},
		{"remove one of the two", func(c *tokensource.Config) { c.ClientAuth = tokensource.ClientAuthNone }},
		{"client_secret_post needs a client_secret", func(c *tokensource.Config) {
			c.ClientAuth, c.ClientSecrets = tokensource.ClientSecretPost, nil
		}},
		{"", func(c *tokensource.Config) { c.ClientSecrets = nil }},
		{"client_id is needed", func(c *tokensource.Config) { c.ClientAuth, c.ClientID = tokensource.ClientSecretPost, "" }},
		{"", func(c *tokensource.Config) { c.ClientAuth, c.ClientID = tokensource.ClientSecretBasicUser, "" }},
		{"client_auth private_key_jwt needs a key", func(c *tokensource.Config) {
			c.ClientAuth, c.ClientSecrets = tokensource.PrivateKeyJWT, nil
		}},
		{"client_auth private_key_jwt sends no client_secret", func(c *tokensource.Config) { c.ClientJWT.Key = literal }},
		{"", func(c *tokensource.Config) { c.ClientSecrets, c.ClientJWT.Key = nil, literal }},
		{"", func(c *tokensource.Config) { c.ClientSecrets, c.ClientAssertion = nil, literal }},
		{"client_assertion is another way of client authentication than client_auth tls_client_auth",
			func(c *tokensource.Config) {
				c.ClientSecrets, c.ClientAssertion, c.ClientAuth, c.MutualTLS = nil, literal, tokensource.TLSClientAuth, true
			}},
		{"client_assertion is a finished JWT", func(c *tokensource.Config) {
			c.ClientSecrets, c.ClientAssertion, c.ClientJWT.KeyID = nil, literal, "1"
		}},
		{`alg "HS256" is not known here; allowed are RS256`, func(c *tokensource.Config) {
			c.ClientSecrets, c.ClientJWT.Key, c.ClientJWT.Alg = nil, literal, "HS256"
		}},
		{`alg "RS256" is not known here; allowed are HS256, HS384, HS512`, func(c *tokensource.Config) {
			c.ClientAuth, c.ClientJWT.Alg = tokensource.ClientSecretJWT, "RS256"
		}},
		{"client_secret_jwt signs with the client_secret; remove key", func(c *tokensource.Config) {
			c.ClientAuth, c.ClientJWT.Key = tokensource.ClientSecretJWT, literal
		}},
		{"client_auth client_secret_jwt needs a client_secret", func(c *tokensource.Config) {
			c.ClientAuth, c.ClientSecrets = tokensource.ClientSecretJWT, nil
		}},
		{"client_auth client_secret_basic takes no options", func(c *tokensource.Config) { c.ClientJWT.KeyID = "1" }},
		{"audience: ", func(c *tokensource.Config) {
			c.ClientAuth, c.ClientJWT.Audience = tokensource.ClientSecretJWT, "https://{tenant}.example/"
		}},
		{"tls_client_auth needs a token_transport with a client certificate", func(c *tokensource.Config) {
			c.ClientAuth, c.ClientSecrets = tokensource.TLSClientAuth, nil
		}},
		{"tls_client_auth sends no client_secret", func(c *tokensource.Config) {
			c.ClientAuth, c.MutualTLS = tokensource.SelfSignedTLSClientAuth, true
		}},
		{"", func(c *tokensource.Config) {
			c.ClientAuth, c.ClientSecrets, c.MutualTLS = tokensource.TLSClientAuth, nil, true
		}},
		{"token_param client_assertion is sent by", func(c *tokensource.Config) {
			c.ClientAuth = tokensource.ClientSecretJWT
			c.Params = []tokensource.Param{{Name: "client_assertion", Value: literal}}
		}},
		{"refresh_before must not be negative", func(c *tokensource.Config) { c.RefreshBefore = -time.Second }},
		{"token_param client_secret is sent by", func(c *tokensource.Config) {
			c.Params = []tokensource.Param{{Name: "client_secret", Value: literal}}
		}},
		{"token_param client_id is sent by", func(c *tokensource.Config) {
			c.ClientAuth = tokensource.ClientSecretPost
			c.Params = []tokensource.Param{{Name: "client_id", Value: literal}}
		}},
		{"", func(c *tokensource.Config) { c.Params = []tokensource.Param{{Name: "client_id", Value: literal}} }},
		{"token_param a is given twice", func(c *tokensource.Config) {
			c.Params = []tokensource.Param{{Name: "a", Value: literal}, {Name: "a", Value: literal}}
		}},
		{"token_param needs a name and a value", func(c *tokensource.Config) { c.Params = []tokensource.Param{{Name: "a"}} }},
		{"", func(c *tokensource.Config) {
			*c = tokensource.Config{Name: "s", Grant: tokensource.Static{Token: literal}}
		}},
	} {
		cfg := tokensource.Config{
			Name: "orders", Grant: tokensource.ClientCredentials{}, TokenURL: tokenURL, ClientID: "c",
			ClientSecrets: []tokensource.Value{literal},
		}
		tt.edit(&cfg)
		_, err := tokensource.New(cfg)
		switch {
		case err == nil && tt.want != "":
			t.Errorf("no error, want one with %q", tt.want)
		case err != nil && (tt.want == "" || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}

// A token_param that a request of the grant has anyway is refused, unless it is for requests of
// another grant_type.
func TestParamsOfTheGrant(t *testing.T) {
	const jwtBearer, exchange = "urn:ietf:params:oauth:grant-type:jwt-bearer",
		"urn:ietf:params:oauth:grant-type:token-exchange"
	key := tokensource.Literal("x")
	for _, row := range []struct {
		grant    tokensource.Grant
		name     string
		requests []string
		refused  bool
	}{
		{tokensource.ClientCredentials{}, "grant_type", nil, true},
		{tokensource.ClientCredentials{}, "refresh_token", nil, true},
		{tokensource.ClientCredentials{}, "audience", nil, false},
		{tokensource.AuthorizationCode{}, "code", nil, true},
		{tokensource.AuthorizationCode{}, "code_verifier", nil, true},
		{tokensource.AuthorizationCode{}, "code", []string{"authorization_code"}, true},
		{tokensource.AuthorizationCode{}, "code", []string{"refresh_token"}, false},
		{tokensource.AuthorizationCode{}, "redirect_uri", nil, false}, // it is missing if the provider shows the code
		{tokensource.DeviceCode{}, "device_code", nil, true},
		{tokensource.JWTBearer{Key: key, Issuer: "a", Subject: "b"}, "assertion", nil, true},
		{tokensource.JWTBearer{Key: key, Issuer: "a", Subject: "b"}, "assertion", []string{jwtBearer}, true},
		{tokensource.JWTBearer{Key: key, Issuer: "a", Subject: "b", Audience: "c"}, "audience", nil, false}, // a claim
		{tokensource.TokenExchange{}, "subject_token", nil, true},
		{tokensource.TokenExchange{}, "subject_token_type", nil, true},
		{tokensource.TokenExchange{}, "audience", nil, false},
		{tokensource.TokenExchange{Audience: []string{"a"}}, "audience", nil, true},
		{tokensource.TokenExchange{Audience: []string{"a"}}, "audience", []string{exchange}, true},
		{tokensource.TokenExchange{}, "requested_token_type", nil, false},
		{tokensource.TokenExchange{RequestedTokenType: "urn:a"}, "requested_token_type", nil, true},
		{tokensource.TokenExchange{ActorToken: key, ActorTokenType: "urn:a"}, "actor_token", nil, true},
		{tokensource.TokenExchange{ActorToken: key, ActorTokenType: "urn:a"}, "actor_token_type", nil, true},
		{tokensource.TokenExchange{OnBehalfOf: true}, "assertion", nil, true},
		{tokensource.TokenExchange{OnBehalfOf: true}, "requested_token_use", nil, true},
		{tokensource.TokenExchange{OnBehalfOf: true}, "subject_token", nil, false},
	} {
		err := tokensource.Config{
			Name: "orders", Grant: row.grant, Issuer: "https://login.example.com", ClientID: "c",
			ClientSecrets: []tokensource.Value{key},
			Params:        []tokensource.Param{{Name: row.name, Value: key, Requests: row.requests}},
		}.Check()
		refused := err != nil && err.Error() == "token_param "+row.name+" is sent by the grant; remove it"
		if refused != row.refused || !refused && err != nil {
			t.Errorf("%T with %s of %v: got %v", row.grant, row.name, row.requests, err)
		}
	}
}

// The values of the options have the names that users write and the OAuth registry defines.
func TestOptionNames(t *testing.T) {
	if got, want := fmt.Sprint(tokensource.ClientAuths, tokensource.BodyFormats),
		"[client_secret_basic client_secret_basic_raw client_secret_basic_user client_secret_post client_secret_query "+
			"client_secret_jwt private_key_jwt tls_client_auth self_signed_tls_client_auth none] [form json query]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A nil key is refused at once, not at its first use.
func TestNilEncryptionKey(t *testing.T) {
	_, err := tokensource.New(tokensource.Config{
		Name: "a", Grant: tokensource.Static{Token: tokensource.Literal("t")}, EncryptionKeys: []tokensource.Value{nil},
	})
	if err == nil || !strings.Contains(err.Error(), "encryption_key") {
		t.Errorf("a nil key gives %v", err)
	}
}
