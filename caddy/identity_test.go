package caddy

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// An account or user that would be the same for all requests by mistake, or empty, is refused with
// the placeholder that was probably meant.
func TestCheckIdentity(t *testing.T) {
	const user = "(did you mean {http.auth.user.id}?)"
	for text, want := range map[string]string{
		"{http.auth.user.id}": "", "{http.auth.user.email}": "", "u-{http.auth.user.id}": "",
		"{http.request.header.X-User}": "",
		"{http.vars.user.id}":          "", "{mapped}": "", "{http.request.tls.client.subject}": "", "{env.USER}": "",
		"acme": "", "ada@example.com": "", "acme.example": "", "system.example": "", "http": "", `a\{b\}`: "",
		"http.auth.user.id": user, "http.auth.usr.id": user, "http.auth.user.id}": user, "u-http.auth.user.id": user,
		"http.request.header.X-User": "(did you mean {http.request.header.X-User}?)",
		"header.X-User":              "(did you mean {header.X-User}?)",
		"env.USER":                   "(did you mean {env.USER}?)",
		"authinject.account":         "(did you mean {authinject.account}?)",
		"{http.auth.user.id":         "a brace that is not closed " + user, "{acme": "a brace that is not closed",
		"{http.auth.usr.id":                      user,
		"{http.request.host}-{http.auth.user.id": "a brace that is not closed",
		"{http.auth.user.id}}":                   "one closing brace too many", "acme}": "one closing brace too many",
		"{http.auth.usr.id}": "nothing sets {http.auth.usr.id} " + user, "{http.auth.user}": user, "{http.auth.user.}": user,
		"{http.auth.id}":     user,
		"{http.ath.user.id}": user, "{htp.auth.user.id}": user, "u-{http.auth.users.id}": user,
	} {
		err := checkIdentity("account", text)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) ||
			!strings.HasPrefix(err.Error(), "account "+text)) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

// The placeholder without a value is named, with what usually sets it.
func TestEmptyPlaceholder(t *testing.T) {
	repl := caddy.NewEmptyReplacer()
	repl.Set("http.request.host", "a.example")
	for text, want := range map[string]string{
		"{http.request.host}-{http.auth.user.id}": "put authentication such as basic_auth in front of the proxy, on the " +
			"same route: it sets {http.auth.user.id}",
		"{http.request.header.X-User}":      "send the header field X-User with the request",
		"{http.request.cookie.user}":        "send the cookie user with the request",
		"{http.request.tls.client.subject}": "send a client certificate",
		"{mapped}":                          "see that something in front of the proxy sets {mapped} for this request",
	} {
		if got := setBy(emptyPlaceholder(repl, text)); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}
