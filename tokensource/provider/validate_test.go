package provider_test

import (
	"strings"
	"testing"
	"time"

	. "github.com/authinject/caddy-authinject/tokensource/provider"
)

// The schema itself must detect mistakes: each change breaks a good preset.
func TestValidateFindsMistakes(t *testing.T) {
	for name, test := range map[string]struct {
		preset string
		change func(*Preset)
		want   string
	}{
		"name":                       {"tiltify", func(p *Preset) { p.Name = "Tiltify 5" }, "lower-case letters"},
		"alias":                      {"tiltify", func(p *Preset) { p.Aliases = []string{"t-5"} }, "lower-case letters"},
		"no title":                   {"tiltify", func(p *Preset) { p.Title = "" }, "Title and Summary"},
		"no source":                  {"tiltify", func(p *Preset) { p.Docs = nil }, "Docs is needed"},
		"page over http":             {"tiltify", func(p *Preset) { p.Docs[0] = "http://example.com/" }, "not an https URL"},
		"registration not a URL":     {"tiltify", func(p *Preset) { p.Register = "ask them" }, "not an https URL"},
		"note not a sentence":        {"tiltify", func(p *Preset) { p.Notes = []string{"careful"} }, "not a sentence"},
		"no grants":                  {"tiltify", func(p *Preset) { p.Grants = nil }, "Grants is needed"},
		"grant twice":                {"tiltify", func(p *Preset) { p.Grants = append(p.Grants, p.Grants[0]) }, "twice"},
		"code without authorize URL": {"tiltify", func(p *Preset) { p.AuthorizeURL = "" }, "AuthorizeURL"},
		"authorize URL without code": {"tiltify", func(p *Preset) { p.Grants = p.Grants[1:] }, "AuthorizeURL"},
		"no token URL":               {"tiltify", func(p *Preset) { p.TokenURL = "" }, "TokenURL"},
		"no client auth":             {"tiltify", func(p *Preset) { p.ClientAuth = "" }, "ClientAuth"},
		"unknown client auth":        {"tiltify", func(p *Preset) { p.ClientAuth = "basic" }, `"basic" is not known`},
		"unknown alternative": {"accelo", func(p *Preset) { p.ClientAuthAlternatives[0] = "query" },
			`"query" is not known`},
		"client auth without request": {"tinyplus", func(p *Preset) { p.ClientAuth = AuthPost },
			"grants with a token request"},
		"unknown body format":       {"tiltify", func(p *Preset) { p.BodyFormat = "xml" }, `"xml" is not known`},
		"client_id twice":           {"tiltify", func(p *Preset) { p.ClientIDParam = true }, "sends client_id already"},
		"unknown PKCE":              {"tiltify", func(p *Preset) { p.PKCE = "plain" }, `"plain" is not known`},
		"PKCE not decided":          {"tiltify", func(p *Preset) { p.PKCE = "" }, "PKCE"},
		"PKCE without a code":       {"tinyplus", func(p *Preset) { p.PKCE = PKCES256 }, "PKCE and RedirectURL"},
		"unknown redirect URL":      {"accelo", func(p *Preset) { p.RedirectURL = "oob" }, `"oob" is not known`},
		"implicit without a place":  {"tinyplus", func(p *Preset) { p.ImplicitAnswer = "" }, "ImplicitAnswer"},
		"implicit, unknown place":   {"tinyplus", func(p *Preset) { p.ImplicitAnswer = "body" }, `"body" is not known`},
		"place without implicit":    {"tiltify", func(p *Preset) { p.ImplicitAnswer = AnswerQuery }, "ImplicitAnswer"},
		"authorize parameter twice": {"tinyemail", func(p *Preset) { p.AuthorizeParams[0].Name = "state" }, "sent already"},
		"token parameter twice": {"tinyemail", func(p *Preset) { p.TokenParams[0].Name = "client_secret" },
			"sent already"},
		"token parameter, no value": {"tinyemail", func(p *Preset) { p.TokenParams[0].Value = "" }, "a name and a value"},
		"token parameter, no request": {"tinyemail", func(p *Preset) { p.TokenParams[0].Requests[0] = "implicit" },
			`"implicit" is not known`},
		"token parameter, not ours": {"tinyemail", func(p *Preset) {
			p.TokenParams[0].Requests[0] = "client_credentials"
		}, "not offered"},
		"lifetime has a value": {"accelo", func(p *Preset) { p.LifetimeParam.Value = "3600" }, "LifetimeParam"},
		"token URL over http": {"tiltify", func(p *Preset) {
			p.TokenURL = "http://v5api.tiltify.com/oauth/token"
		}, "not a plain https URL"},
		"token URL without a path": {"tiltify", func(p *Preset) { p.TokenURL = "https://v5api.tiltify.com" }, "has a path"},
		"token URL with a query":   {"tiltify", func(p *Preset) { p.TokenURL += "?a=b" }, "not a plain https URL"},
		"authorize URL with a user": {"tiltify", func(p *Preset) { p.AuthorizeURL = "https://a@example.com/x" },
			"not a plain https URL"},
		"revoke URL with a fragment": {"accelo", func(p *Preset) { p.RevokeURL += "#x" }, "not a plain https URL"},
		"no destination":             {"tiltify", func(p *Preset) { p.Destinations = nil }, "Destinations is needed"},
		"destination over http": {"tiltify", func(p *Preset) { p.Destinations[0] = "http://v5api.tiltify.com" },
			"not a plain https URL"},
		"destination with a path": {"tiltify", func(p *Preset) { p.Destinations[0] += "/api" }, "has none"},
		"variable not declared": {"tiltify", func(p *Preset) { p.TokenURL = "https://{tenant}.tiltify.com/token" },
			"tenant is not known"},
		"variable not used": {"tiltify", func(p *Preset) {
			accelo, _ := Get("accelo")
			p.Variables = accelo.Variables
		}, "declared and not used"},
		"variable twice": {"accelo", func(p *Preset) { p.Variables = append(p.Variables, p.Variables[0]) },
			"comes twice"},
		"variable without help": {"accelo", func(p *Preset) { p.Variables[0].Help = "" }, "what a person reads"},
		"pattern broken": {"accelo", func(p *Preset) { p.Variables[0].Pattern = "^[a-z$" },
			"its pattern is not valid"},
		"pattern not anchored": {"accelo", func(p *Preset) { p.Variables[0].Pattern = "[a-z-]+" }, "from ^ to $"},
		"pattern allows dots": {"accelo", func(p *Preset) { p.Variables[0].Pattern = `^[a-z.-]+$` },
			"could change a URL's host"},
		"pattern allows nothing": {"accelo", func(p *Preset) { p.Variables[0].Pattern = `^[a-z-]*$` },
			"could change a URL's host"},
		"example does not match": {"accelo", func(p *Preset) { p.Variables[0].Example = "ACME" }, "its example"},
		"scope without meaning":  {"tiltify", func(p *Preset) { p.KnownScopes[0].Means = "" }, "a name and a meaning"},
		"one scope, two given":   {"tinyplus", func(p *Preset) { p.Scopes = []string{"read", "readwrite"} }, "OneScope"},
		"one scope, unknown":     {"tinyplus", func(p *Preset) { p.Scopes = []string{"write"} }, "OneScope"},
		"inject nowhere":         {"tiltify", func(p *Preset) { p.Inject = Injection{} }, "Inject"},
		"inject, scheme in query": {"accelo", func(p *Preset) { p.InjectAlternatives[0].Scheme = "Bearer" },
			"a scheme is for headers only"},
		"lifetime negative": {"tiltify", func(p *Preset) { p.DefaultLifetime = -time.Hour }, "DefaultLifetime"},
		"Bearer listed": {"tiltify", func(p *Preset) { p.TokenTypes = []string{"JWT", "Bot"} },
			`"Bot" always means Bearer`},
		"another type listed": {"tiltify", func(p *Preset) { p.TokenTypes = []string{"DPoP"} },
			"in another way than as Bearer"},
		"unknown rotation":    {"tiltify", func(p *Preset) { p.Rotates = "maybe" }, `"maybe" is not known`},
		"refresh not offered": {"tiltify_v3", func(p *Preset) { p.RefreshBeforeExpiry = true }, "are for refresh_token"},
		"invalid_grant listed": {"tiltify", func(p *Preset) { p.DeadGrantErrors = []string{"invalid_grant"} },
			"always counts"},
		"lock-out without a wait": {"accelo", func(p *Preset) { p.LockOut.MinWait = 0 },
			"LockOut needs"},
	} {
		t.Run(name, func(t *testing.T) {
			p, ok := Get(test.preset)
			if !ok {
				t.Fatalf("no preset %s", test.preset)
			}
			test.change(&p)
			err := p.Validate()
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error that says %q", err, test.want)
			}
		})
	}
}

func TestTokenParamOn(t *testing.T) {
	for name, test := range map[string]struct {
		param TokenParam
		grant string
		want  bool
	}{
		"listed":     {TokenParam{Name: "a", Requests: []string{"refresh_token"}}, "refresh_token", true},
		"not listed": {TokenParam{Name: "a", Requests: []string{"refresh_token"}}, "authorization_code", false},
		"all":        {TokenParam{Name: "a"}, "authorization_code", true},
		"no param":   {TokenParam{}, "authorization_code", false},
	} {
		if got := test.param.On(test.grant); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
