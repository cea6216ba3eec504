package provider_test

import (
	"net/url"
	"strings"
	"testing"

	. "github.com/authinject/caddy-authinject/tokensource/provider"
)

func TestExpand(t *testing.T) {
	p, _ := Get("accelo")
	deployment := func(value string) map[string]string { return map[string]string{"deployment": value} }
	for name, test := range map[string]struct {
		text      string
		variables map[string]string
		want      string
	}{
		"preset's URL": {p.TokenURL, deployment("planet-express"),
			"https://planet-express.api.accelo.com/oauth2/v0/token"},
		"user's URL": {"https://{deployment}.api.affinitylive.com/{deployment}", deployment("hq"),
			"https://hq.api.affinitylive.com/hq"},
		"digits, _ and -": {"{deployment}", deployment("a_b-1"), "a_b-1"},
		"one letter":      {"{deployment}", deployment("a"), "a"},
		"63 letters":      {"{deployment}", deployment(strings.Repeat("a", 63)), strings.Repeat("a", 63)},
		"no variable":     {"https://example.com/token", nil, "https://example.com/token"},
		"value unused":    {"https://example.com/token", deployment("hq"), "https://example.com/token"},
		"empty":           {"", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := p.Expand(test.text, test.variables)
			if err != nil || got != test.want {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
}

// If one of these were accepted, a client secret or a token would be sent to a host or path that
// the preset's author did not write.
func TestExpandRefusesInjection(t *testing.T) {
	p, _ := Get("accelo")
	for _, value := range []string{
		"", " ", ".", "..", "a.b", "evil.com/", "evil.com", "evil.com#", "evil.com?", "evil.com\\", "user@evil.com", "a:8443",
		"ACME", "Acme", "acme\n", "\nacme", "acme\r\nHost: evil.com", "%2e%2e", "a%2fb", "{deployment}", "acme ",
		"ácme", "acme\x00",
		"acme\u2028", "[::1]", strings.Repeat("a", 64),
	} {
		got, err := p.Expand(p.TokenURL, map[string]string{"deployment": value})
		if err == nil {
			t.Errorf("%q was accepted: %s", value, got)
			continue
		}
		for _, want := range []string{"deployment", "lower-case letters, digits, - and _", "planet-express"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: the error does not say %q: %v", value, want, err)
			}
		}
	}
}

func TestExpandErrors(t *testing.T) {
	accelo, _ := Get("accelo")
	tiltify, _ := Get("tiltify")
	for name, test := range map[string]struct {
		preset    Preset
		text      string
		variables map[string]string
		want      []string
	}{
		"missing":            {accelo, accelo.TokenURL, nil, []string{"deployment has no value", "planet-express"}},
		"unknown in the URL": {accelo, "https://{tenant}.example.com", nil, []string{"tenant", "accelo has deployment"}},
		"unknown value": {accelo, accelo.TokenURL, map[string]string{"deployment": "a", "tenant": "b"},
			[]string{"tenant", "has deployment"}},
		"value, none at all": {tiltify, tiltify.TokenURL, map[string]string{"deployment": "a"},
			[]string{"deployment", "tiltify has no variables"}},
		"brace not closed": {accelo, "https://{deployment.example.com", map[string]string{"deployment": "a"},
			[]string{"name in braces"}},
		"brace not opened": {accelo, "https://deployment}.example.com", nil, []string{"there is a } without a {"}},
		"braces in braces": {accelo, "https://{{deployment}}.example.com", map[string]string{"deployment": "a"},
			[]string{"name in braces"}},
		"empty braces":        {accelo, "https://{}.example.com", nil, []string{"name in braces"}},
		"another placeholder": {accelo, "https://{env.HOST}/token", nil, []string{"env.HOST", "not known"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.preset.Expand(test.text, test.variables)
			if err == nil {
				t.Fatalf("got %q, want an error", got)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

// A pattern must match the whole value, even if its author overlooked the effect of an alternative
// or a flag.
func TestPatternsHoldTheWholeValue(t *testing.T) {
	for _, pattern := range []string{"[a-z]+", "^a$|b", "(?m)^a$"} {
		v := Variable{Name: "tenant", Pattern: pattern}
		for _, value := range []string{"b.evil.com", "a\nevil.com", "evil.com/b"} {
			if v.Check(value) == nil {
				t.Errorf("pattern %s allows %q", pattern, value)
			}
		}
	}
}

// For every accepted value, the host ends as the preset says.
func FuzzExpand(f *testing.F) {
	p, _ := Get("accelo")
	for _, seed := range []string{"acme", "evil.com/", "a.b", "..", "A", "", "a@b", "a#"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got, err := p.Expand(p.TokenURL, map[string]string{"deployment": value})
		if err != nil {
			return
		}
		u, err := url.Parse(got)
		if err != nil || u.Host != value+".api.accelo.com" || u.Path != "/oauth2/v0/token" || u.Scheme != "https" {
			t.Errorf("%q became %q (%v)", value, got, err)
		}
	})
}
