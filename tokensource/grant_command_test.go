package tokensource_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource"
)

// TestMain turns the test binary into the program that the grant command runs, if the variable is
// set.
func TestMain(m *testing.M) {
	switch act := os.Getenv("AUTHINJECT_TEST_COMMAND"); act {
	case "":
		os.Exit(m.Run())
	case "count":
		runs, _ := os.ReadFile(os.Args[1])
		_ = os.WriteFile(os.Args[1], append(runs, 'x'), 0o600)
		fmt.Printf("token-%d\n", len(runs)+1)
	case "hang":
		signal.Ignore(os.Interrupt)
		select {}
	case "fail":
		fmt.Println("token-canary")
		fmt.Fprintln(os.Stderr, "token-canary")
		os.Exit(3)
	case "env":
		fmt.Println("env-" + os.Getenv("HOME") + "-" + os.Getenv("AUTHINJECT_TEST_SECRET"))
	case "much":
		fmt.Println(strings.Repeat("x", 2<<20))
	default:
		fmt.Print(act)
	}
}

// command returns a source whose tokens come from this test binary.
func command(t *testing.T, act string, edit func(*tokensource.Command)) (*tokensource.Source, string) {
	t.Helper()
	runs := filepath.Join(t.TempDir(), "runs")
	g := tokensource.Command{
		Run: []string{os.Args[0], runs}, Timeout: time.Minute,
		Env: []tokensource.Param{{Name: "AUTHINJECT_TEST_COMMAND", Value: tokensource.Literal(act)}},
	}
	if edit != nil {
		edit(&g)
	}
	return newSource(t, nil, func(cfg *tokensource.Config) {
		*cfg = tokensource.Config{Name: "orders", Grant: g}
	}), runs
}

// A program runs once for many callers, and again when an upstream refuses its token.
func TestCommandRunsAgainAfterARefusal(t *testing.T) {
	src, _ := command(t, "count", nil)
	var first *tokensource.Token
	for range 100 {
		first = wantToken(t, src, "token-1")
	}
	next, err := src.Account("").Reject(t.Context(), first)
	if err != nil || next.AccessToken() != "token-2" {
		t.Fatalf("got %v, %v", next, err)
	}
	wantToken(t, src, "token-2")
}

// A program prints a token, or an object like the response of a token endpoint. TTL bounds the
// lifetime.
func TestCommandOutput(t *testing.T) {
	claims := fmt.Sprintf(`{"exp":%d}`, time.Now().Add(2*time.Hour).Unix())
	jwt := "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	for name, c := range map[string]struct {
		out, token string
		ttl, life  time.Duration // life 0: the default of an hour
	}{
		"a line":                      {"at1\r\n", "at1", 0, time.Hour},
		"a line, with a time-to-live": {"at1\n", "at1", 55 * time.Minute, 55 * time.Minute},
		"an object behind a BOM":      {"\xef\xbb\xbf" + `{"access_token":"at1","expires_in":300}`, "at1", 0, 5 * time.Minute},
		"an object":                   {`{"access_token":"at1","expires_in":300}`, "at1", 0, 5 * time.Minute},
		"an object that lives longer": {`{"access_token":"at1","expires_in":3000}`, "at1", time.Minute, time.Minute},
		"a JWT":                       {jwt, jwt, 0, 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			src, _ := command(t, c.out, func(g *tokensource.Command) { g.TTL = c.ttl })
			tok := wantToken(t, src, c.token)
			// The program may have run for up to a minute on a busy machine.
			if left := time.Until(tok.Expiry); left > c.life || left < c.life-time.Minute {
				t.Errorf("the token lives for %v, want %v", left, c.life)
			}
		})
	}
}

// An error names the program and what to do. It contains nothing that the program printed.
func TestCommandFailures(t *testing.T) {
	for name, c := range map[string]struct {
		act  string
		edit func(*tokensource.Command)
		want string
	}{
		"it fails":            {"fail", nil, "exit status 3"},
		"it prints nothing":   {" \n", nil, "printed nothing"},
		"it prints too much":  {"much", nil, "printed more than 1048576 bytes"},
		"it prints half JSON": {`{"access_token":"token-canary"`, nil, "not JSON"},
		"it prints an error":  {`{"error":"token-canary"}`, nil, "access_token"},
		"it prints a JWT that has expired": {jwtOf(`{"exp":1500000000}`), nil,
			"printed a token that has already expired"},
		"it prints two lines": {"token-canary\nmore", nil, ""},
		"it does not end": {"hang", func(g *tokensource.Command) { g.Timeout = 100 * time.Millisecond },
			"did not end within 100ms"},
		"it is not there": {"", func(g *tokensource.Command) { g.Run[0] = "/nowhere/token-tool" },
			`"/nowhere/token-tool" was not found`},
		"it is not in PATH": {"", func(g *tokensource.Command) { g.Run[0] = "no-such-token-tool" }, "was not found"},
	} {
		t.Run(name, func(t *testing.T) {
			src, _ := command(t, c.act, c.edit)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := src.Token(ctx)
			failure := asError(t, err, tokensource.ClassOperator)
			if !strings.Contains(failure.Error(), c.want) || strings.Contains(failure.Error(), "canary") {
				t.Errorf("got %q, want it to hold %q", failure, c.want)
			}
		})
	}
}

// If a program does not end in time, the programs that it started end with it.
func TestCommandEndsWithItsChildren(t *testing.T) {
	at := filepath.Join(t.TempDir(), "pid")
	pid := 0
	for timeout := time.Second; pid == 0; timeout *= 2 { // a busy machine may not start the shell in time
		src, _ := command(t, "", func(g *tokensource.Command) {
			g.Run, g.Timeout = []string{"sh", "-c", "sleep 3600 & echo $! > " + at + "; wait"}, timeout
		})
		_, err := src.Token(t.Context())
		if failure := asError(t, err, tokensource.ClassOperator); !strings.Contains(failure.Error(), "did not end within") {
			t.Fatal(failure)
		}
		written, _ := os.ReadFile(at)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(written)))
	}
	rig.Eventually(t, func() bool {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(state), ") Z ")
	}, "the end of the program's child")
}

// A program gets HOME and the configured variables. It gets no other variable, because that may be
// another source's secret.
func TestCommandEnvironment(t *testing.T) {
	t.Setenv("HOME", "/home/of-the-test")
	t.Setenv("AUTHINJECT_TEST_SECRET", "canary")
	src, _ := command(t, "env", nil)
	wantToken(t, src, "env-/home/of-the-test-")
	src, _ = command(t, "env", func(g *tokensource.Command) {
		g.Env = append(g.Env, tokensource.Param{Name: "AUTHINJECT_TEST_SECRET", Value: tokensource.Literal("given")})
	})
	wantToken(t, src, "env-/home/of-the-test-given")
}

// A program sees no variable of this process except those of a list, also if none of the list is set.
func TestCommandInheritsNothingElse(t *testing.T) {
	script := filepath.Join(t.TempDir(), "print")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nprintf %s \"token-$OTHER_SECRET\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		t.Setenv(name, "") // restores it at the end
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("OTHER_SECRET", "leaked")
	src := newSource(t, nil, func(cfg *tokensource.Config) {
		*cfg = tokensource.Config{Name: "orders", Grant: tokensource.Command{Run: []string{script}}}
	})
	if got := mustToken(t, src).AccessToken(); got != "token-" {
		t.Errorf("the program printed %q", got)
	}
}
