package connect_test

import (
	"strings"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/caddy/connect"
	"github.com/authinject/caddy-authinject/tokensource"
)

// A token that is refused is not called good.
func TestWordsOfARefusedToken(t *testing.T) {
	st := tokensource.Status{Source: "a", State: tokensource.StateFresh, Generation: 1, Live: true, Refused: true}
	if text, as := connect.Describe(st, time.Now()); as != connect.Bad || !strings.Contains(text, "refuses the token") {
		t.Errorf("%s %s", as, text)
	}
}

// A login that is needed within a day is a warning, also while the token serves.
func TestWordsOfALoginThatIsNeededSoon(t *testing.T) {
	now := time.Now()
	for left, want := range map[time.Duration]connect.Mood{time.Minute: connect.Soon, 23 * time.Hour: connect.Soon, 25 * time.Hour: connect.Good} {
		st := tokensource.Status{Source: "a", State: tokensource.StateFresh, Generation: 1, Live: true, Expiry: now.Add(left)}
		if text, as := connect.Describe(st, now); as != want || !strings.Contains(text, "log in again before") {
			t.Errorf("%s: %s %s", left, as, text)
		}
		st.Renews, st.RefreshAt = true, now.Add(left/2)
		if text, as := connect.Describe(st, now); as != connect.Good || strings.Contains(text, "log in") {
			t.Errorf("%s, renewed: %s %s", left, as, text)
		}
	}
}

// A name cannot look like another one, or move the cursor.
func TestPrintable(t *testing.T) {
	for name, want := range map[string]string{
		"": "", "acme": "acme", "ünï code": "ünï code", "\x1b[2J": `"\x1b[2J"`, "a\u202eb": `"a\u202eb"`, "a\u2028b": `"a\u2028b"`, "\ufeffa": `"\ufeffa"`,
	} {
		if got := connect.Printable(name); got != want {
			t.Errorf("%q: %s", name, got)
		}
	}
}
