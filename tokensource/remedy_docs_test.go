package tokensource

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

const troubleshooting = "../docs/troubleshooting.md"

// docs/troubleshooting.md is generated from the table, and its headings are the texts of errors.
func TestTroubleshootingIsTheTable(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# Troubleshooting

Each heading is a text that the program shows: in the log, in the answer to the client, in the admin API, and in ` + "`caddy authinject status`" + `. Search this page for the words that you see. Your error may have another status than the heading, or none. An error about the issuer, or about another endpoint of the provider, is explained under the same words about the token endpoint. A warning that is only in the log, such as ` + "`" + `redirect_url names a port` + "`" + ` or ` + "`" + `a secret cannot be read` + "`" + `, says itself what to do.

`)
	b.WriteString("The class says who has to act: `operator` is you, `login` is a person who connects the account " +
		"(with the grant `refresh_token`, you), and with `wait` the source asks again by itself. The problem names " +
		"the failure in one word. It is the member `problem` in logs and in the admin API, and the label of the metric " +
		"`authinject_problem`. Problems of an account whose token is still used are in the list `problems`. [When something " +
		"fails](failures.md) says what the program does meanwhile.\n\n" +
		"If Caddy does not start, its last line says why. `unknown option`, `unrecognized directive` and a `{$NAME}` " +
		"that is not set come with the line of the Caddyfile. A `{env.NAME}` that is not set comes with its option. `address already in use` means that another program " +
		"has the port. If it is the port of a site, a line shortly before names that program. " +
		"`caddy authinject doctor` names it also if it is the port of the admin API. It reads the configuration without " +
		"starting a server, and says what to change.\n\n" +
		"<!-- `make golden` writes this page from the table of remedies in tokensource. -->\n")
	for _, r := range remedies {
		heading := strings.Join(append([]string{r.Text}, r.Also...), "`, or `")
		fmt.Fprintf(&b, "\n## `%s`\n\nClass `%s`, problem `%s`. %s\n\nWhat to do: %s.\n", heading, r.Class, r.Problem,
			r.Cause, plain(r.Do))
		if r.More != "" {
			b.WriteString("\n" + r.More + "\n")
		}
	}
	if *update {
		if err := os.WriteFile(troubleshooting, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if page, err := os.ReadFile(troubleshooting); err != nil || string(page) != b.String() {
		t.Errorf("%s is not what the table says (%v); run make golden", troubleshooting, err)
	}
}

// plain returns a remedy without the facts.
func plain(do string) string {
	do = fill(do, func(name string) string {
		switch name {
		case "source", "said_source", "ask_now":
			return "<source>"
		case "refresh_again":
			return "connect the account again, or write a new refresh token into its variable or file"
		case "connects":
			return "the page of authinject_connect"
		case "client_causes":
			return "If the client_secret is wrong, write the right one into its variable or file. If the provider wants it " +
				"in another way, try client_auth client_secret_post"
		}
		return usualFacts[name]
	})
	return regexp.MustCompile(
		`\b(client_secret_(?:basic|post)|client_[a-z]+|token_[a-z]+|body_format|scope_separator|redirect_url|authorize_[a-z]+|par_url|revoke_url|encryption_key|default_lifetime|refresh_token|SSL_CERT_FILE|HTTPS_PROXY|GET /\S+)`).
		ReplaceAllString(do, "`$1`")
}

func TestFill(t *testing.T) {
	for text, want := range map[string]string{
		"check {a}":                "check A",
		"check {b}":                "check ",
		"check[ (now {a})], {a}":   "check (now A), A",
		"check[ (now {b})]":        "check",
		"check[ {a} and {b}] here": "check here",
		"none":                     "none",
	} {
		if got := fill(text, func(name string) string { return map[string]string{"a": "A"}[name] }); got != want {
			t.Errorf("%q gives %q, want %q", text, got, want)
		}
	}
}

// No two rows share a problem's word, its text or its place in the table.
func TestRemediesAreDistinct(t *testing.T) {
	problems, texts := map[string]bool{}, map[string]bool{}
	for _, r := range remedies {
		if r.Text == "" || problems[r.Problem] || texts[r.Text] || r.Cause == "" || r.Do == "" ||
			!strings.HasSuffix(r.Cause, ".") || strings.HasSuffix(r.Do, ".") {
			t.Errorf("row %s is not like the others", r.Problem)
		}
		problems[r.Problem], texts[r.Text] = true, true
	}
}
