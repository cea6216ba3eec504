// Package canary runs every feature with credentials that look like nothing else, while Caddy logs,
// traces, exports and shows all that it can. It then looks for the credentials in every output.
package canary

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
)

// No credential reaches anything but its destination and the token endpoint.
func TestNothingIsSeen(t *testing.T) {
	r := everything(t, harness.Binary(t))
	checkExercised(t, r)
	hits, context := r.find(r.texts(), allowed)
	for _, h := range hits {
		t.Errorf("a %s is in %s: … %s …", h.kind, h.sink, context[h])
	}
	// The program makes the keys of accounts, so only their form is known.
	for sink, text := range r.texts() {
		if at := privateKey.FindStringIndex(text); at != nil {
			t.Errorf("a private key is in %s: … %s …", sink, text[max(0, at[0]-200):at[1]])
		}
	}
}

// privateKey is the secret part of a JWK, also in quoted JSON.
var privateKey = regexp.MustCompile(`\\*"d\\*":\\*"[A-Za-z0-9_-]{43}\\*"`)

// checkExercised checks that the run used every kind of credential and filled every sink.
func checkExercised(t *testing.T, r *run) {
	t.Helper()
	kinds := make(map[string]int)
	for _, kind := range r.kind {
		kinds[kind]++
	}
	for _, kind := range []string{"client secret", "basic", "seed", "static token", "encryption key", "code", "pin",
		"state", "code verifier", "access token", "refresh token", "dpop proof", "request uri", "cookie", "csrf token",
		"private key", "client assertion", "device code", "user code", "assertion", "signing key", "claim"} {
		if kinds[kind] == 0 {
			t.Errorf("the run used no %s", kind)
		}
	}
	if r.arrived["access token"] < 40 || r.arrived["static token"] == 0 || r.echoes < 6*len(modes) {
		t.Errorf("%v arrived, %d hostile answers", r.arrived, r.echoes)
	}
	for sink, text := range map[string]string{
		"log": `"level":"debug"`, "answers": "seen: ", "pages": "Connected login.", "admin": `"state"`,
		"terminal": "Connected", "files": "autosave.json",
		"storage export": "records", "traces": "canary /", "crash": "goroutine ",
	} {
		if !strings.Contains(r.sinks[sink].String(), text) {
			t.Errorf("%s holds no %q", sink, text)
		}
	}
	if !strings.Contains(r.sinks["answers"].String(), "failed: dial tcp") {
		t.Error("handle_errors was not reached")
	}
	for _, logger := range []string{"http.log.access", "http.handlers.reverse_proxy", "events", "authinject"} {
		if !strings.Contains(r.sinks["log"].String(), `"logger":"`+logger) {
			t.Errorf("%s has logged nothing", logger)
		}
	}
	for _, line := range []string{"a login failed", "obtaining a token failed", "login required", "a request was refused",
		"Unsolicited response received"} {
		if !strings.Contains(r.sinks["log"].String(), `"msg":"`+line) {
			t.Errorf("the log does not say: %s", line)
		}
	}
	if r.strayed.Len() > 0 {
		t.Errorf("a request went astray: %s", r.strayed.String())
	}
}

// The same run finds credentials once a wall is broken, in the sinks where that wall protects them.
func TestBrokenRedactionIsSeen(t *testing.T) {
	for _, c := range []struct {
		name      string
		breakages []breakage
		sound     bool // no credential may be found
	}{
		{"walls", walls, false},
		{"debug lines", []breakage{debugLine}, true},
		{"debug lines, Secret prints itself", []breakage{debugLine, secretPrints}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := everything(t, build(t, c.breakages))
			hits, context := r.find(r.texts(), allowed)
			for _, b := range c.breakages {
				if b.file == "tokensource/internal/vault/vault.go" && !privateKey.MatchString(r.texts()["files"]) {
					t.Error("no private key was found in the files")
				}
				for _, want := range b.seen {
					if !c.sound && !slices.Contains(hits, want) {
						t.Errorf("%s: no %s was found in %s; found: %v", b.what, want.kind, want.sink, hits)
					}
				}
			}
			if c.sound && len(hits) > 0 {
				t.Errorf("found: %v; %s", hits, context[hits[0]])
			}
			if c.sound && !strings.Contains(r.sinks["log"].String(), "REDACTED") {
				t.Error("the debug line printed nothing")
			}
		})
	}
}
