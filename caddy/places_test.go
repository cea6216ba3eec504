package caddy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// The subdirectives that errors suggest are those that Caddy's parsers know, without the ones that
// Caddy calls deprecated.
func TestSuggestedSubdirectivesAreCaddys(t *testing.T) {
	err := new(reverseproxy.Handler).UnmarshalCaddyfile(caddyfile.NewTestDispenser("reverse_proxy {\n\tno_such_word\n}"))
	if err == nil || !unrecognized.MatchString(err.Error()) {
		t.Fatalf("Caddy says %v of an unknown subdirective", err)
	}
	deprecated := []string{"health_path", "forward_proxy_url", "tls_trusted_ca_certs"}
	for receiver, ours := range map[string][]string{"Handler": proxyOptions, "HTTPTransport": httpTransportOptions} {
		want := slices.DeleteFunc(subdirectives(t, receiver), func(word string) bool {
			return slices.Contains(deprecated, word)
		})
		slices.Sort(want)
		if got := slices.Sorted(slices.Values(ours)); !slices.Equal(got, want) {
			t.Errorf("%s:\ngot  %s\nwant %s", receiver, got, want)
		}
	}
}

// subdirectives returns the words of the outer switch in the method UnmarshalCaddyfile of a type of
// Caddy's package reverseproxy.
func subdirectives(t *testing.T, receiver string) (words []string) {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}",
		"github.com/caddyserver/caddy/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(strings.TrimSpace(string(dir)), "modules", "caddyhttp", "reverseproxy", "caddyfile.go")
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, declaration := range file.Decls {
		method, ok := declaration.(*ast.FuncDecl)
		if !ok || method.Name.Name != "UnmarshalCaddyfile" || types.ExprString(method.Recv.List[0].Type) != "*"+receiver {
			continue
		}
		for _, statement := range method.Body.List {
			loop, ok := statement.(*ast.ForStmt)
			if !ok {
				continue
			}
			for _, statement := range loop.Body.List {
				if cases, ok := statement.(*ast.SwitchStmt); ok {
					words = append(words, texts(t, cases)...)
				}
			}
		}
	}
	if words == nil {
		t.Fatalf("%s has no subdirectives of %s", path, receiver)
	}
	return words
}

// texts returns the texts of the cases of a switch.
func texts(t *testing.T, cases *ast.SwitchStmt) (list []string) {
	t.Helper()
	for _, clause := range cases.Body.List {
		for _, expression := range clause.(*ast.CaseClause).List {
			text, err := strconv.Unquote(types.ExprString(expression))
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, text)
		}
	}
	return list
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

// A placeholder that is not closed, closed twice, or that nothing resolves, is refused. Other
// braces are part of a literal, and a backslash makes every brace one.
func TestCheckPlaceholders(t *testing.T) {
	const unclosed, unknown, twice = "without its closing brace", "begins no known placeholder",
		"one closing brace too many"
	for text, want := range map[string]string{
		"{env.A}}": twice, "{env.A}b}": twice, "a{env.A}}b": twice, `{env.A}\}`: "", `\{env.A}}`: "", "a}b}": "",
		"{env.A}b{env.B}": "",
		"{env.A}":         "", "a{env.A}b{file./a}": "", "plain": "", "ab{cd": "", "ab}cd": "", "}{": "", "{a1b2": "",
		`\{env.A`: "", `a\{b}`: "",
		"{env.A": unclosed, "a{file./a": unclosed, "{env.A}{env.B": unclosed, "{evn.A": unclosed, "{fiel./a": unclosed,
		"{SECRET": unclosed,
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
