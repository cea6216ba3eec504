package caddy

import (
	"bytes"
	"io"
	"log"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// If a server sends an answer that no request asked for, the standard logger says so without the
// answer's text. All other messages pass unchanged. The output is wrapped only once.
func TestStdLogIsRedacted(t *testing.T) {
	before, flags := log.Writer(), log.Flags()
	t.Cleanup(func() { log.SetOutput(before); log.SetFlags(flags) })
	var out bytes.Buffer
	log.SetOutput(&out)
	log.SetFlags(0)
	for range 3 {
		redactStdLog()
	}
	log.Printf("Unsolicited response received on idle HTTP channel starting with %q; err=%v",
		"GET /?_bearer_token=canary", nil)
	log.Print("something else: canary")
	if got, want := out.String(),
		"Unsolicited response received on idle HTTP channel\nsomething else: canary\n"; got != want {
		t.Errorf("got %q", got)
	}
	if inner := log.Writer().(redactedLog).Writer; inner != &out {
		t.Errorf("it is wrapped twice: %T", inner)
	}
}

// Caddy replaces the output of the standard logger when it loads a configuration. The app redacts
// the new output before it reads its own configuration. So the output is redacted even if a mistake
// in the configuration ends the load.
func TestStdLogIsRedactedWhenAConfigurationLoads(t *testing.T) {
	before, flags := log.Writer(), log.Flags()
	t.Cleanup(func() { log.SetOutput(before); log.SetFlags(flags) })
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	for name, config := range map[string]string{
		"good": `{"admin":{"disabled":true},"apps":{"authinject":{}}}`,
		"bad":  `{"admin":{"disabled":true},"apps":{"authinject":{"sources":{"a":{}}}}}`,
	} {
		log.SetOutput(io.Discard)
		if err := caddy.Load([]byte(config), true); (err == nil) != (name == "good") {
			t.Errorf("%s: %v", name, err)
		}
		redacted, ok := log.Writer().(redactedLog)
		if !ok || redacted.Writer == io.Discard {
			t.Errorf("%s: the standard logger writes to %T", name, log.Writer())
		}
	}
	if err := caddy.Stop(); err != nil {
		t.Error(err)
	}
}
