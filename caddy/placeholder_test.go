package caddy

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestValueIsReadEachTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := value("{file." + path + "}")
	for _, c := range []struct{ content, want, err string }{
		{"one", "one", ""},
		{"two\n", "two", ""},
		{"three\r\n", "three", ""},
		{" four ", " four ", ""}, // only the line ending is an editor's
		{"", "", "is empty"},
		{"\n", "", "is empty"},
		{strings.Repeat("x", maxSecretFile+1), "", "is over 1 MiB"},
		{"five", "five", ""},
	} {
		write(c.content)
		got, err := read(context.Background())
		if got.Reveal() != c.want || (err == nil) != (c.err == "") ||
			err != nil && (!strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), path)) {
			t.Errorf("%.20q: got %q, %v", c.content, got.Reveal(), err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := read(context.Background()); err == nil || !os.IsNotExist(err) {
		t.Errorf("without the file: %v", err)
	}

	env := value("id-{env.AUTHINJECT_TEST}")
	if _, err := env(context.Background()); err == nil || !strings.Contains(err.Error(), "the environment variable AUTHINJECT_TEST is not set") {
		t.Errorf("without the variable: %v", err)
	}
	t.Setenv("AUTHINJECT_TEST", "7")
	if got, err := env(context.Background()); err != nil || got.Reveal() != "id-7" {
		t.Errorf("got %q, %v", got.Reveal(), err)
	}
	if _, err := value("{http.request.host}")(context.Background()); err == nil {
		t.Error("a request's placeholder gives no error")
	}
	if got, err := value("lit}er{al")(context.Background()); err != nil || got.Reveal() != "lit}er{al" {
		t.Errorf("a literal gives %q, %v", got.Reveal(), err)
	}
	for configured, want := range map[string]string{`lit\{er}al`: "lit{er}al", `lit\{eral`: "lit{eral",
		`lit{eral`: "lit{eral", `lit\eral`: `lit\eral`} {
		if got, err := value(configured)(context.Background()); err != nil || got.Reveal() != want {
			t.Errorf("the literal %s gives %q, %v", configured, got.Reveal(), err)
		}
	}
}

// In a literal secret, what stands between braces is a part of the secret: no error quotes it.
func TestCheckSecrets(t *testing.T) {
	for configured, good := range map[string]bool{
		"literal": true, "{env.X}": true, "a{file./x}b": true, "lit}er{al": true, `pre\{canary}post`: true,
		"{system.hostname}{time.now.unix}": true,
		"pre{canary}post":                  false, "{canary": true, "{env.X}{canary}": false, "{http.request.host}": false,
		`\\{env.X}{canary}`: false,
	} {
		err := checkBraces("client_secret", configured)
		if (err == nil) != good || err != nil && (strings.Contains(err.Error(), "canary") ||
			!strings.Contains(err.Error(), "client_secret")) {
			t.Errorf("%s: %v", configured, err)
		}
	}
	if err := checkBraces("client_secret", "{env.X}", "{canary}"); err == nil ||
		!strings.Contains(err.Error(), "client_secret 2 of 2") {
		t.Errorf("%v", err)
	}
	for configured, literal := range map[string]bool{"x": true, `p\{x}`: true, "{env.X}": false, `p\{x}{env.X}`: false} {
		if isLiteral(configured) != literal {
			t.Errorf("isLiteral(%s)", configured)
		}
	}
}
