package caddy

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/authinject/caddy-authinject/tokensource"
)

// A token that is refused is not called good.
func TestWordsOfARefusedToken(t *testing.T) {
	st := tokensource.Status{Source: "a", State: tokensource.StateFresh, Generation: 1, Live: true, Refused: true}
	if text, as := words(st, time.Now()); as != moodBad || !strings.Contains(text, "refuses the token") {
		t.Errorf("%s %s", as, text)
	}
	if got := newAccountStatus(st, "static"); !got.Refused {
		t.Errorf("%+v", got)
	}
}

// A login that is needed within a day is a warning, also while the token serves.
func TestWordsOfALoginThatIsNeededSoon(t *testing.T) {
	now := time.Now()
	for left, want := range map[time.Duration]mood{time.Minute: moodSoon, 23 * time.Hour: moodSoon, 25 * time.Hour: moodGood} {
		st := tokensource.Status{Source: "a", State: tokensource.StateFresh, Generation: 1, Live: true, Expiry: now.Add(left)}
		if text, as := words(st, now); as != want || !strings.Contains(text, "log in again before") {
			t.Errorf("%s: %s %s", left, as, text)
		}
		st.Renews, st.RefreshAt = true, now.Add(left/2)
		if text, as := words(st, now); as != moodGood || strings.Contains(text, "log in") {
			t.Errorf("%s, renewed: %s %s", left, as, text)
		}
	}
}

// Where nobody can log in, nobody is told to.
func TestWordsOfADeadRefreshToken(t *testing.T) {
	for _, live := range []bool{false, true} {
		st := tokensource.Status{
			Source: "a", State: tokensource.StateLoginRequired, Generation: 1, Live: live, Expiry: time.Now().Add(time.Hour),
			Err: &tokensource.Error{Class: tokensource.ClassLogin, Reason: "the refresh token was refused"},
		}
		got := newAccountStatus(st, "refresh_token").Words
		if strings.Contains(got, "log in") || !strings.Contains(got, "Configure another one.") || strings.Contains(got, "serves on") != live {
			t.Errorf("live %t: %q", live, got)
		}
		if got := newAccountStatus(st, "authorization_code").Words; strings.Contains(got, "Configure") {
			t.Errorf("an account that a person connects: %q", got)
		}
	}
}

// What never worked is no error yet; what worked and has ended is.
func TestLoudness(t *testing.T) {
	wait, operator, login := errorOf(tokensource.ClassWait), errorOf(tokensource.ClassOperator), errorOf(tokensource.ClassLogin)
	for _, c := range []struct {
		event tokensource.Event
		want  zapcore.Level
	}{
		{tokensource.Event{Kind: tokensource.EventRefreshed}, zapcore.InfoLevel},
		{tokensource.Event{Kind: tokensource.EventRefreshed, MissingScopes: []string{"a"}}, zapcore.WarnLevel},
		{tokensource.Event{Kind: tokensource.EventRefreshFailed, Err: wait}, zapcore.WarnLevel},
		{tokensource.Event{Kind: tokensource.EventRefreshFailed, Err: operator}, zapcore.ErrorLevel},
		{tokensource.Event{Kind: tokensource.EventRefused}, zapcore.WarnLevel},
		{tokensource.Event{Kind: tokensource.EventLoginRequired, Err: login, New: true}, zapcore.WarnLevel},
		{tokensource.Event{Kind: tokensource.EventLoginRequired, Err: login}, zapcore.ErrorLevel},
		{tokensource.Event{Kind: tokensource.EventLoginFailed, Err: login}, zapcore.InfoLevel},
		{tokensource.Event{Kind: tokensource.EventLoginFailed, Err: wait}, zapcore.WarnLevel},
		{tokensource.Event{Kind: tokensource.EventLoginFailed, Err: operator}, zapcore.ErrorLevel},
		{tokensource.Event{Kind: tokensource.EventStorageFailed, Err: errors.New("full")}, zapcore.ErrorLevel},
	} {
		if got := level(c.event); got != c.want {
			t.Errorf("%+v: %s, want %s", c.event, got, c.want)
		}
	}
}

func errorOf(class tokensource.Class) error { return &tokensource.Error{Class: class} }

// Who forgets the adapter is told of it.
func TestCaddyfileWithoutAdapter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "proxy.caddy")
	if err := os.WriteFile(path, []byte("{\n\tauthinject {\n\t}\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (&commandConfig{file: path}).load(); err == nil || !strings.Contains(err.Error(), "--adapter caddyfile") {
		t.Errorf("got %v", err)
	}
}

// A name cannot look like another one, or move the cursor.
func TestPrintable(t *testing.T) {
	for name, want := range map[string]string{
		"": "", "acme": "acme", "ünï code": "ünï code", "\x1b[2J": `"\x1b[2J"`, "a\u202eb": `"a\u202eb"`, "a\u2028b": `"a\u2028b"`, "\ufeffa": `"\ufeffa"`,
	} {
		if got := printable(name); got != want {
			t.Errorf("%q: %s", name, got)
		}
	}
}
