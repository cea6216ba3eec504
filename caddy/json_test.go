package caddy_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	_ "github.com/authinject/caddy-authinject/grants/azure"
)

// An error about a field in a JSON configuration names its path, what is allowed, and what was
// probably meant. It quotes no value.
func TestMistakesInJSON(t *testing.T) {
	isolate(t)
	const source = `"apps.authinject.sources.orders`
	at := strings.TrimPrefix(source, `"`)
	orders := func(fields string) string {
		return `{"sources": {"orders": {"grant": {"type": "client_credentials"}, "token_url": "https://login.example.com/token", ` +
			`"client_id": "a", "client_secrets": ["{env.SECRET}"]` + fields + `}}}`
	}
	with := func(grant string) string {
		return strings.Replace(orders(""), `{"type": "client_credentials"}`, grant, 1)
	}
	jwtBearer := func(unclosed string) string {
		options := map[string]string{"type": "jwt_bearer", "key": "{env.KEY}", "issuer": "a", "subject": "b"}
		options[unclosed] = "{env.canary"
		raw, _ := json.Marshal(options)
		return string(raw)
	}
	gitHub := func(app, installation, url string) string {
		raw, _ := json.Marshal(map[string]string{"type": "github_app", "key": "{env.KEY}", "app_id": app,
			"installation_id": installation, "api_url": url})
		return `{"sources": {"orders": {"destinations": ["https://api.github.com"], "grant": ` + string(raw) + `}}}`
	}
	for name, row := range map[string]struct {
		app, handler string
		want         string // empty: it is valid
	}{
		"no mistake":    {app: orders(`, "timeout": "5s", "par": false, "inject": {"in": "header"}`)},
		"other letters": {app: orders(`, "Timeout": "5s"`)},
		"null":          {app: orders(`, "inject": null, "token_params": null`)},
		"a field of the app": {app: `{"source": {}}`, want: "unknown field apps.authinject.source (did you mean " +
			"sources?); allowed are sources, encryption_keys"},
		"a field": {app: orders(`, "client_auht": "canary"`),
			want: "unknown field " + at + ".client_auht (did you mean client_auth?); allowed are provider, "},
		"a word of Caddyfiles": {app: orders(`, "client_secret": "canary"`), want: at + ".client_secret (did you mean " +
			"client_secrets?)"},
		"an option of a grant": {app: orders(`, "refresh_token": "canary"`),
			want: at + ".refresh_token; it belongs in " + at + ".grant, if the type there is refresh_token"},
		"a value as a field": {app: orders(`, "canary 0123456789012345678901234567890123": 1`),
			want: "unknown field of 41 characters that looks like a value in " + at},
		"a member of a list": {app: orders(`, "token_params": [{"name": "a", "value": "b"}, {"nam": "a"}]`),
			want: at + ".token_params[1].nam (did you mean name?); allowed are name, value, requests"},
		"a nested field": {app: orders(`, "client_jwt": {"keyfile": "canary"}`),
			want: at + ".client_jwt.keyfile (did you mean key?)"},

		"a text for a list": {app: orders(`, "scopes": "canary"`), want: at + ".scopes must be a list of texts, in " +
			"square brackets, not a text"},
		"a text for true":     {app: orders(`, "par": "canary"`), want: at + ".par must be true or false, not a text"},
		"a number for a text": {app: orders(`, "issuer": 7`), want: at + ".issuer must be a text, not a number"},
		"a list for a text":   {app: orders(`, "issuer": ["canary"]`), want: at + ".issuer must be a text, not a list"},
		"an object for a list": {app: orders(`, "token_params": {"a": "canary"}`), want: at + ".token_params must be a " +
			"list, in square brackets, not an object"},
		"true for an object": {app: orders(`, "inject": true`), want: at + ".inject must be an object, in braces, not " +
			"true or false"},
		"a number in a list": {app: orders(`, "scopes": ["a", 7]`), want: at + ".scopes[1] must be a text, not a number"},
		"no duration": {app: orders(`, "timeout": "canary"`),
			want: at + `.timeout must be a duration such as "30s"`},
		"a duration without s": {app: orders(`, "timeout": "5"`), want: at + `.timeout must be a duration such as "30s"`},
		"a text for the sources": {app: `{"sources": "canary"}`, want: "apps.authinject.sources must be an object, in " +
			"braces, not a text"},

		"a grant as a text": {app: with(`"canary"`), want: at + ".grant must be an object, in braces, whose type is " +
			"the name of a module"},
		"a grant without type": {app: with(`{"typ": "static"}`), want: at + ".grant needs type: the name of a module; " +
			"allowed are authorization_code, "},
		"an unknown grant": {app: with(`{"type": "client_credential"}`),
			want: `unknown grant "client_credential" (did you mean client_credentials?)`},
		"a field of a grant": {app: with(`{"type": "token_exchange", "audiance": ["canary"]}`),
			want: at + ".grant.audiance (did you mean audience?); allowed are subject_token, "},
		"a text in a grant": {app: with(`{"type": "token_exchange", "audience": "canary"}`),
			want: at + ".grant.audience must be a list of texts, in square brackets, not a text"},
		"a field of a guest": {app: with(`{"type": "azure", "resorce": "canary"}`),
			want: at + ".grant.resorce (did you mean resource?); allowed are resource, client_id"},
		"a field of a transport": {app: orders(`, "token_transport": {"protocol": "http", "dial_timeot": "5s"}`),
			want: at + ".token_transport.dial_timeot (did you mean dial_timeout?)"},
		"an unknown storage": {app: orders(`, "storage": {"module": "filesystem"}`),
			want: at + `.storage.module "filesystem" is not in this binary (did you mean file_system?)`},

		"a word of an enumeration": {app: orders(`, "client_auth": "basic"`),
			want: `client_auth "basic" is not known (did you mean client_secret_basic?)`},
		"an unclosed token_param": {app: orders(`, "token_params": [{"name": "audience", "value": "{env.canary"}]`),
			want: "token_param audience: it looks like a placeholder without its closing brace"},
		"an unclosed client_id": {app: strings.Replace(orders(""), `"a"`, `"{env.canary"`, 1),
			want: "client_id: it looks like a placeholder without its closing brace"},
		"an unclosed kid": {app: orders(`, "client_jwt": {"kid": "{env.canary"}`),
			want: "kid: it looks like a placeholder without its closing brace"},
		"an unclosed audience": {app: orders(`, "client_jwt": {"audience": "{env.canary"}`),
			want: "audience: it has a brace that is not closed"},
		"an unclosed kid of a JWT": {app: with(jwtBearer("kid")), want: "kid: it looks like a placeholder without its " +
			"closing brace"},
		"an unclosed iss": {app: with(jwtBearer("issuer")), want: "issuer: it looks like a placeholder without " +
			"its closing brace"},
		"an unclosed sub": {app: with(jwtBearer("subject")), want: "subject: it looks like a placeholder without " +
			"its closing brace"},
		"an unclosed aud": {app: with(jwtBearer("audience")), want: "audience: it looks like a placeholder " +
			"without its closing brace"},
		"an unclosed app_id": {app: gitHub("{env.canary", "1", ""), want: "app_id: it looks like a placeholder " +
			"without its closing brace"},
		"an unclosed installation": {app: gitHub("1", "{env.canary", ""), want: "installation_id: it looks like a " +
			"placeholder without its closing brace"},
		"an unclosed api_url": {app: gitHub("1", "1", "{env.canary"), want: "api_url"},
		"a typo of a placeholder": {app: orders(`, "scopes": ["{evn.canary}"]`), want: "scopes: it has a brace that " +
			"begins no known placeholder (did you mean {env.NAME}?)"},

		"a field of the transport": {app: orders(""),
			handler: `{"handler": "reverse_proxy", "transport": {"protocol": "authinject", "sorce": "orders"}}`,
			want:    "unknown field transport.sorce (did you mean source?)"},
		"a duration of the transport": {app: orders(""),
			handler: `{"handler": "reverse_proxy", "transport": {"protocol": "authinject", "source": "orders", "wait": "5"}}`,
			want:    `transport.wait must be a duration such as "30s"`},
		"a field of the page": {app: orders(""), handler: `{"handler": "authinject_connect", "caller": "any"}`,
			want: "unknown field authinject_connect.caller (did you mean callers?)"},
		"a field of the probe": {app: orders(""), handler: `{"handler": "authinject_ready", "source": "orders"}`,
			want: "unknown field authinject_ready.source (did you mean sources?)"},
		"a field of the account": {app: orders(""), handler: `{"handler": "authinject_account", "acount": "a"}`,
			want: "unknown field authinject_account.acount (did you mean account?)"},
		"an account without braces": {app: orders(""),
			handler: `{"handler": "authinject_account", "source": "orders", "account": "http.auth.user.id"}`,
			want: "account http.auth.user.id is the same for all requests: it is the name of a placeholder without its " +
				"braces (did you mean {http.auth.user.id}?)"},
		"an unknown user": {app: orders(""),
			handler: `{"handler": "reverse_proxy", "transport": {"protocol": "authinject", "source": "orders", "account": "{http.auth.usr.id}"}}`, want: "account {http.auth.usr.id}: nothing sets {http.auth.usr.id} (did you mean {http.auth.user.id}?)"},
		"a transport inside transport": {app: orders(""),
			handler: `{"handler": "reverse_proxy", "transport": {"protocol": "authinject", "source": "orders", "transport": {"protocol": "http", "dial_timeot": "5s"}}}`, want: "unknown field transport.transport.dial_timeot (did you mean dial_timeout?)"},
	} {
		t.Run(name, func(t *testing.T) {
			apps := `"authinject": ` + row.app
			if row.handler != "" {
				apps += `, "http": {"servers": {"a": {"listen": ["127.0.0.1:0"], "routes": [{"handle": [` + row.handler + `]}]}}}`
			}
			raw := `{"admin": {"disabled": true}, "apps": {` + apps + `}}`
			if !json.Valid([]byte(raw)) {
				t.Fatal("the test's configuration is no JSON")
			}
			err := caddy.Validate(parse(t, raw))
			switch {
			case row.want == "" && err != nil:
				t.Error(err)
			case row.want == "":
			case err == nil || !strings.Contains(err.Error(), row.want):
				t.Errorf("got %v\nwant %s", err, row.want)
			case strings.Contains(err.Error(), "canary"):
				t.Errorf("the error quotes a value: %v", err)
			}
		})
	}
}
