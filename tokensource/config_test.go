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
		{"allowed are client_secret_basic", func(c *tokensource.Config) { c.ClientAuth = "basic" }},
		{"allowed are form, json, query", func(c *tokensource.Config) { c.BodyFormat = "xml" }},
		{"remove one of the two", func(c *tokensource.Config) { c.ClientAuth = tokensource.ClientAuthNone }},
		{"client_secret_post needs a client_secret", func(c *tokensource.Config) { c.ClientAuth, c.ClientSecrets = tokensource.ClientSecretPost, nil }},
		{"", func(c *tokensource.Config) { c.ClientSecrets = nil }},
		{"refresh_before must not be negative", func(c *tokensource.Config) { c.RefreshBefore = -time.Second }},
		{"token_param client_secret is sent by", func(c *tokensource.Config) { c.Params = []tokensource.Param{{Name: "client_secret", Value: literal}} }},
		{"token_param client_id is sent by", func(c *tokensource.Config) {
			c.ClientAuth = tokensource.ClientSecretPost
			c.Params = []tokensource.Param{{Name: "client_id", Value: literal}}
		}},
		{"", func(c *tokensource.Config) { c.Params = []tokensource.Param{{Name: "client_id", Value: literal}} }},
		{"token_param a stands there twice", func(c *tokensource.Config) {
			c.Params = []tokensource.Param{{Name: "a", Value: literal}, {Name: "a", Value: literal}}
		}},
		{"token_param needs a name and a value", func(c *tokensource.Config) { c.Params = []tokensource.Param{{Name: "a"}} }},
		{"", func(c *tokensource.Config) {
			*c = tokensource.Config{Name: "s", Grant: tokensource.Static{Token: literal}}
		}},
	} {
		cfg := tokensource.Config{
			Name: "orders", Grant: tokensource.ClientCredentials{}, TokenURL: tokenURL, ClientID: "c", ClientSecrets: []tokensource.Value{literal},
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

// The values of the options have the names that users write and the OAuth registry defines.
func TestOptionNames(t *testing.T) {
	if got, want := fmt.Sprint(tokensource.ClientAuths, tokensource.BodyFormats),
		"[client_secret_basic client_secret_basic_raw client_secret_post client_secret_query none] [form json query]"; got != want {
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
