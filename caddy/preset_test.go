package caddy

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// A configuration with the older name of a provider gives the same source. Its endpoints are the
// same, so the stored records are found.
func TestAliasOfAProvider(t *testing.T) {
	filled := func(name string) Source {
		s := Source{Provider: name, Variables: map[string]string{"deployment": "acme"}, ClientID: "c",
			ClientSecrets: []string{"{env.S}"}}
		if err := s.applyProvider(); err != nil {
			t.Fatal(err)
		}
		s.Provider = ""
		return s
	}
	older, newer := filled("affinitylive"), filled("accelo")
	was, err := json.Marshal(older)
	if err != nil {
		t.Fatal(err)
	}
	is, err := json.Marshal(newer)
	if err != nil {
		t.Fatal(err)
	}
	if string(was) != string(is) || !reflect.DeepEqual(older.preset, newer.preset) ||
		!reflect.DeepEqual(older.perAccount, newer.perAccount) {
		t.Errorf("affinitylive is\n%s\naccelo is\n%s", was, is)
	}
	if newer.TokenURL != "https://{deployment}.api.accelo.com/oauth2/v0/token" {
		t.Errorf("token_url %s", newer.TokenURL)
	}
}

// A preset says which token types mean Bearer and that tokens do not end, unless the configuration
// says something else.
func TestPresetOfAnswers(t *testing.T) {
	preset := provider.Preset{Name: "p", TokenTypes: []string{"Application Access Token"},
		DefaultLifetime: provider.NeverExpires}
	var bare Source
	own := Source{TokenTypes: []string{"JWT"}, DefaultLifetime: caddy.Duration(time.Hour)}
	for _, s := range []*Source{&bare, &own} {
		s.preset = preset
		s.applyAnswers()
	}
	if !slices.Equal(bare.TokenTypes, preset.TokenTypes) || bare.DefaultLifetime != -1 {
		t.Errorf("from the preset: %q, %d", bare.TokenTypes, bare.DefaultLifetime)
	}
	if !slices.Equal(own.TokenTypes, []string{"JWT"}) || own.DefaultLifetime != caddy.Duration(time.Hour) {
		t.Errorf("from the configuration: %q, %d", own.TokenTypes, own.DefaultLifetime)
	}
	cfg, err := bare.config(bare.resolveURL)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(cfg.TokenTypes, preset.TokenTypes) || cfg.DefaultLifetime >= 0 {
		t.Errorf("for the token source: %q, %d", cfg.TokenTypes, cfg.DefaultLifetime)
	}
}

// A grant whose own JWT proves the client needs no client with a preset. If the source names a
// client, that client authenticates as the preset says, and needs its secret.
func TestPresetWithoutAClient(t *testing.T) {
	jwt := []byte(`{"type":"jwt_bearer","key":"{file./key.pem}","issuer":"app","subject":"none"}`)
	for name, test := range map[string]struct {
		source Source
		auth   string
		fails  bool
	}{
		"no client": {Source{Provider: "google", GrantRaw: jwt}, "", false},
		"a client": {Source{Provider: "box", GrantRaw: jwt, ClientID: "c", ClientSecrets: []string{"{env.S}"}},
			"client_secret_post", false},
		"a client, no secret":  {Source{Provider: "box", GrantRaw: jwt, ClientID: "c"}, "", true},
		"a login needs both":   {Source{Provider: "google"}, "", true},
		"so does a chosen one": {Source{Provider: "google", GrantRaw: []byte(`{"type":"device_code"}`)}, "", true},
	} {
		err := test.source.applyProvider()
		if (err != nil) != test.fails || test.source.ClientAuth != test.auth {
			t.Errorf("%s: %v, client_auth %q", name, err, test.source.ClientAuth)
		}
	}
}
