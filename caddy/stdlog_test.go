package caddy

import (
	"bytes"
	"log"
	"testing"
)

// The standard logger says that a server sent what nobody asked for, without what it was; all else
// passes, and nothing is wrapped twice.
func TestStdLogIsMuffled(t *testing.T) {
	before, flags := log.Writer(), log.Flags()
	t.Cleanup(func() { log.SetOutput(before); log.SetFlags(flags) })
	var out bytes.Buffer
	log.SetOutput(&out)
	log.SetFlags(0)
	for range 3 {
		muffleStdLog()
	}
	log.Printf("Unsolicited response received on idle HTTP channel starting with %q; err=%v", "GET /?_bearer_token=canary", nil)
	log.Print("something else: canary")
	if got, want := out.String(), "Unsolicited response received on idle HTTP channel\nsomething else: canary\n"; got != want {
		t.Errorf("got %q", got)
	}
	if inner := log.Writer().(muffled).Writer; inner != &out {
		t.Errorf("it is wrapped twice: %T", inner)
	}
}
