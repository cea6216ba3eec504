package caddy

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// Caddy knows each subdirective that an error may suggest.
func TestSuggestedSubdirectivesAreKnown(t *testing.T) {
	parse := func(into caddyfile.Unmarshaler, block string) string {
		err := into.UnmarshalCaddyfile(caddyfile.NewTestDispenser(block))
		if err == nil {
			return ""
		}
		return err.Error()
	}
	if got := parse(new(reverseproxy.Handler), "reverse_proxy {\n\tno_such_word\n}"); !unrecognized.MatchString(got) {
		t.Fatalf("Caddy says %q of an unknown subdirective", got)
	}
	for _, name := range proxyOptions {
		if got := parse(new(reverseproxy.Handler), "reverse_proxy {\n\t"+name+"\n}"); unrecognized.MatchString(got) {
			t.Errorf("reverse_proxy: %s", got)
		}
	}
	for _, name := range httpTransportOptions {
		if got := parse(new(reverseproxy.HTTPTransport), "http {\n\t"+name+"\n}"); unrecognized.MatchString(got) {
			t.Errorf("transport http: %s", got)
		}
	}
}

// An option that is misplaced is found in every block that takes it.
func TestPlacesOfOptions(t *testing.T) {
	for name, want := range map[string]string{
		"wait":           "the block of the directive authinject",
		"callers":        "the block of authinject_connect",
		"encryption_key": "the global option authinject",
		"client_id":      "the block of a source",
		"audience":       "the block of client_auth, the block of grant jwt_bearer, the block of grant token_exchange",
		"completely":     "",
	} {
		if got := strings.Join(placesOf(name), ", "); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	for _, place := range places {
		if len(place.options.names()) == 0 || slices.Contains(place.options.names(), "") {
			t.Errorf("%s has no options", place.name)
		}
	}
}

// What a literal secret looks like is said without a quotation of it.
func TestLiteralHints(t *testing.T) {
	for text, want := range map[string]string{
		"$SECRET": "environment variable", "env.SECRET": "environment variable", "%SECRET%": "environment variable",
		"/run/secrets/a": "path of a file", "/etc/caddy/secret": "path of a file",
		"s3cr3t": "", "/8Qxb+vs=": "", "$2a$14$Zkx19XLiW6V": "", "50%off": "", "environment": "",
	} {
		got := literalHint(text)
		if (got == "") != (want == "") || !strings.Contains(got, want) || strings.Contains(got, text) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

// A placeholder that is not closed, closed twice, or that nothing resolves, is refused. Other braces are part of a
// literal, and a backslash makes every brace one.
func TestCheckPlaceholders(t *testing.T) {
	const unclosed, unknown, twice = "without its closing brace", "begins no known placeholder", "one closing brace too many"
	for text, want := range map[string]string{
		"{env.A}}": twice, "{env.A}b}": twice, "a{env.A}}b": twice, `{env.A}\}`: "", `\{env.A}}`: "", "a}b}": "", "{env.A}b{env.B}": "",
		"{env.A}": "", "a{env.A}b{file./a}": "", "plain": "", "ab{cd": "", "ab}cd": "", "}{": "", "{a1b2": "", `\{env.A`: "", `a\{b}`: "",
		"{env.A": unclosed, "a{file./a": unclosed, "{env.A}{env.B": unclosed, "{evn.A": unclosed, "{fiel./a": unclosed, "{SECRET": unclosed,
		"{evn.A}": unknown + " (did you mean {env.NAME}?)", "{fiel./a}": unknown + " (did you mean {file./path}?)",
		"{SECRET}": unknown + " (did you mean {env.NAME}?)", "${SECRET}": unknown + " (did you mean {env.NAME}?)",
		"{env:A}": unknown + " (did you mean {env.NAME}?)", "{http.request.host}": unknown + ";", "a{b}c": unknown + ";",
	} {
		err := checkPlaceholders(text)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}
