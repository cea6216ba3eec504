package connect_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/caddy/connect"
	"github.com/authinject/caddy-authinject/tokensource"
)

// The words for a token that an upstream refuses do not say that all is well.
func TestWordsOfARefusedToken(t *testing.T) {
	st := tokensource.Status{Source: "a", State: tokensource.StateFresh, Generation: 1, Live: true, Refused: true}
	if text, as := connect.Describe(st, time.Now()); as != connect.Bad || !strings.Contains(text, "refuses the token") {
		t.Errorf("%s %s", as, text)
	}
}

// If a login is needed within a day, that is a warning, even while the token can still be used.
func TestWordsOfALoginThatIsNeededSoon(t *testing.T) {
	now := time.Now()
	for left, want := range map[time.Duration]connect.Level{time.Minute: connect.Soon, 23 * time.Hour: connect.Soon,
		25 * time.Hour: connect.Good} {
		st := tokensource.Status{Source: "a", State: tokensource.StateFresh, Generation: 1, Live: true, Expiry: now.Add(left),
			Interactive: true}
		if text, as := connect.Describe(st, now); as != want || !strings.Contains(text, "Log in again before") {
			t.Errorf("%s: %s %s", left, as, text)
		}
		st.Renews, st.RefreshAt = true, now.Add(left/2)
		if text, as := connect.Describe(st, now); as != connect.Good || strings.Contains(text, "log in") {
			t.Errorf("%s, renewed: %s %s", left, as, text)
		}
	}
}

// No person logs in for a configured token. The words say into which option to write the next one.
func TestWordsOfAConfiguredTokenThatEnds(t *testing.T) {
	now := time.Now()
	st := tokensource.Status{Source: "a", State: tokensource.StateFresh, Generation: 1, Live: true,
		Expiry: now.Add(3 * time.Hour)}
	const want = "Connected. The token ends in 3 h. Before that, write a new one into the option token, and its expiry " +
		"time into the option expires."
	if text, as := connect.Describe(st, now); text != want || as != connect.Soon {
		t.Errorf("got  %s %s\nwant %s", as, text, want)
	}
}

// A configured token is read again. No token request is made for it.
func TestWordsOfAnExpiredStaticToken(t *testing.T) {
	now := time.Now()
	st := tokensource.Status{Source: "a", State: tokensource.StateExpired, Generation: 1, RefreshAt: now.Add(4 * time.Second),
		Err: &tokensource.Error{Class: tokensource.ClassOperator, Reason: "the configured token has expired"}}
	const want = "No valid token: the configured token has expired. It is read again in 4 s."
	if text, as := connect.Describe(st, now); text != want || as != connect.Bad {
		t.Errorf("got  %s %s\nwant %s", as, text, want)
	}
}

// The time of the next try is never 0 seconds.
func TestWordsOfTheNextTry(t *testing.T) {
	now := time.Now()
	down := &tokensource.Error{Class: tokensource.ClassWait, Reason: "the token endpoint answered", Status: 503}
	for want, st := range map[string]tokensource.Status{
		"The next try is in 12 s.":                {RefreshAt: now.Add(12 * time.Second)},
		"The next try is in 1 s.":                 {RefreshAt: now.Add(time.Millisecond)},
		"The next request tries again.":           {RefreshAt: now.Add(-time.Second)},
		"The next try is under way.":              {RefreshAt: now.Add(-time.Second), Refreshing: true},
		"A running server tries again by itself.": {},
	} {
		st.State, st.Generation, st.Err, st.Renews = tokensource.StateStale, 1, down, true
		for rest, row := range map[string]struct {
			live  bool
			state tokensource.State
		}{
			"Connected for another 58 s. The renewal failed: the token endpoint answered 503. ": {true, tokensource.StateStale},
			"No valid token: the token endpoint answered 503. ": {false,
				tokensource.StateExpired},
			"The renewal failed: the token endpoint answered 503. ": {false, tokensource.StateUncertain},
		} {
			if st.State, st.Live = row.state, row.live; row.live {
				st.Expiry = now.Add(58 * time.Second)
			}
			if text, _ := connect.Describe(st, now); text != rest+want {
				t.Errorf("got  %s\nwant %s", text, rest+want)
			}
		}
	}
}

// While it is not known whether the provider replaced the refresh token, the words say what failed and
// how long the token lasts.
func TestWordsOfAnUncertainRenewal(t *testing.T) {
	now := time.Now()
	st := tokensource.Status{State: tokensource.StateUncertain, Generation: 1, Live: true, Renews: true,
		Expiry: now.Add(time.Hour)}
	for want, err := range map[string]*tokensource.Error{
		"Connected for another 60 min. A renewal was sent, and its answer was lost. A running server tries again by itself.": nil,
		"Connected for another 60 min. The renewal failed: the token endpoint answered 503. A running server tries again by itself.": {
			Class: tokensource.ClassWait, Reason: "the token endpoint answered", Status: 503},
	} {
		st.Err = err
		if text, _ := connect.Describe(st, now); text != want {
			t.Errorf("got  %s\nwant %s", text, want)
		}
	}
}

// The words name the cause, and ask a person to log in only if a person can.
func TestWordsOfFailures(t *testing.T) {
	now := time.Now()
	dead := &tokensource.Error{Class: tokensource.ClassLogin, Reason: "the token endpoint answered", Status: 400,
		Code: "invalid_grant"}
	none := &tokensource.Error{Class: tokensource.ClassLogin, Reason: "the account is not connected yet"}
	failed := *none
	failed.LastLogin = &tokensource.Error{Class: tokensource.ClassOperator, Reason: "the token endpoint answered",
		Status: 401, Code: "invalid_client"}
	down := &tokensource.Error{Class: tokensource.ClassWait, Reason: "the token endpoint refuses connections"}
	broken := &tokensource.Error{Class: tokensource.ClassOperator, Reason: "there is no token endpoint at token_url"}
	required, in20, never := tokensource.StateLoginRequired, now.Add(20*time.Minute), time.Time{}
	for _, c := range []struct {
		interactive bool
		state       tokensource.State
		generation  uint64
		live        bool
		expiry      time.Time
		err         *tokensource.Error
		want        string
		as          connect.Level
	}{
		{true, required, 1, true, in20, dead, "The login has ended: the token endpoint answered 400 invalid_grant. The " +
			"token serves for another 20 min. Before that, connect again.", connect.Soon},
		{true, required, 1, true, never, dead, "The login has ended: the token endpoint answered 400 invalid_grant. The " +
			"token serves until it is refused. Before that, connect again.", connect.Soon},
		{false, required, 1, true, in20, dead, "The refresh token has ended: the token endpoint answered 400 " +
			"invalid_grant. The token serves for another 20 min. Before that, write a new refresh token into the option token.",
			connect.Soon},
		{true, required, 1, true, in20, &tokensource.Error{Class: tokensource.ClassLogin,
			Reason: "the provider gave no refresh token"}, "Expires in 20 min. Log in again before that.", connect.Soon},
		{true, required, 1, false, never, dead, "The login has ended: the token endpoint answered 400 invalid_grant. " +
			"Connect again.", connect.Bad},
		{false, required, 1, false, never, dead, "The refresh token has ended: the token endpoint answered 400 " +
			"invalid_grant. Write a new refresh token into the option token.", connect.Bad},
		{true, required, 0, false, never, none, "Not connected.", connect.None},
		{true, required, 0, false, never, &failed, "Not connected. The last login failed: the token endpoint answered 401 " +
			"invalid_client.", connect.Bad},
		{true, tokensource.StateNone, 0, false, never, nil, "Not connected.", connect.None},
		{false, tokensource.StateNone, 0, false, never, nil, "No token yet.", connect.None},
		{false, tokensource.StateNone, 0, false, never, down, "No token yet. The token endpoint refuses connections.",
			connect.Bad},
		{false, required, 0, false, never, dead, "No token yet. The token endpoint answered 400 invalid_grant.", connect.Bad},
		{false, tokensource.StateNone, 0, false, never, broken, "There is no token endpoint at token_url.", connect.Bad},
	} {
		st := tokensource.Status{
			Source: "a", Interactive: c.interactive, State: c.state, Generation: c.generation, Live: c.live,
			Expiry: c.expiry, Err: c.err,
		}
		if text, as := connect.Describe(st, now); text != c.want || as != c.as {
			t.Errorf("got  %s %s\nwant %s %s", as, text, c.as, c.want)
		}
	}
}

// The words for a source that exchanges its callers' tokens do not promise another attempt. While
// the storage cannot be read, they do not say whether the account is connected.
func TestWordsPromiseNothing(t *testing.T) {
	now := time.Now()
	down := &tokensource.Error{Class: tokensource.ClassWait, Reason: "the token endpoint answered", Status: 503}
	unreadable := &tokensource.Error{Class: tokensource.ClassWait, Reason: "the storage cannot be read"}
	for want, st := range map[string]tokensource.Status{
		"The callers' tokens cannot be exchanged: the token endpoint answered 503. The next request of a caller tries " +
			"again, after 30 s.": {
			Exchanges: true, Err: down, RefreshAt: now.Add(30 * time.Second),
		},
		"The callers' tokens cannot be exchanged: the token endpoint answered 503. The next request of a caller tries again.": {Exchanges: true, Err: down},
		"The storage cannot be written, so a login would be lost; the account is not connected yet.": {
			Interactive: true, State: tokensource.StateLoginRequired, StorageErr: errors.New("read-only"),
			Err: &tokensource.Error{Class: tokensource.ClassLogin, Reason: "the storage cannot be written, so a login would " +
				"be lost; the account is not connected yet"},
		},
		"The storage cannot be read.": {Interactive: true, State: tokensource.StateNone, Err: unreadable,
			StorageErr: errors.New("not a directory")},
	} {
		if text, _ := connect.Describe(st, now); text != want {
			t.Errorf("got  %s\nwant %s", text, want)
		}
	}
}

// A name cannot look like another one, or move the cursor.
func TestPrintable(t *testing.T) {
	for name, want := range map[string]string{
		"": "", "acme": "acme", "ünï code": "ünï code", "\x1b[2J": `"\x1b[2J"`, "a\u202eb": `"a\u202eb"`,
		"a\u2028b": `"a\u2028b"`, "\ufeffa": `"\ufeffa"`,
	} {
		if got := connect.Printable(name); got != want {
			t.Errorf("%q: %s", name, got)
		}
	}
}

// After a restart there is no token in use, but the record says that the account was connected. If
// the replacement of a refused token was refused too, the level is Bad.
func TestWordsOfARecordAlone(t *testing.T) {
	now := time.Now()
	dead := &tokensource.Error{Class: tokensource.ClassLogin, Reason: "the token endpoint answered", Status: 400,
		Code: "invalid_grant"}
	for want, st := range map[string]tokensource.Status{
		"The login has ended: the token endpoint answered 400 invalid_grant. Connect again.": {
			Interactive: true, State: tokensource.StateLoginRequired, Obtained: now.Add(-time.Hour), Err: dead,
		},
		"Connected, but an upstream refused the token and the new one that replaced it.": {
			State: tokensource.StateRefused, Generation: 2, Live: true, Renews: true, Refused: true, RefusedAgain: true,
		},
	} {
		if text, as := connect.Describe(st, now); text != want || as != connect.Bad {
			t.Errorf("got  %s %s\nwant %s", as, text, want)
		}
	}
}

// readOnly is a storage that can refuse writes.
type readOnly struct {
	tokensource.MemoryStorage
	on atomic.Bool
}

func (s *readOnly) Store(ctx context.Context, key string, value []byte) error {
	if s.on.Load() {
		return errors.New("read-only")
	}
	return s.MemoryStorage.Store(ctx, key, value)
}

// The words of a disconnection that is not stored do not call it a login.
func TestWordsOfAnUnsavedDisconnection(t *testing.T) {
	storage := new(readOnly)
	source := newSourceOn(t, storage)
	visit(t, &connect.Page{Path: "/connect", AnyCaller: true, Sources: []connect.Source{source}}, "").connect("ada")
	storage.on.Store(true)
	err := source.Tokens.Account("ada").Disconnect(t.Context())
	t.Log("Disconnect:", err)
	st := source.Tokens.Account("ada").Status()
	text, level := connect.Describe(st, time.Now())
	t.Log(level, text)
	for _, p := range st.Problems() {
		t.Log("problem:", p, "| remedy:", p.Remedy())
	}
	if strings.Contains(text, "would lose this login") {
		t.Errorf("the page says: %s", text)
	}
	restarted := newSourceOn(t, storage)
	if isConnected(restarted, "ada") {
		t.Log("after a restart, the account is connected again")
	}
	storage.on.Store(false)
}
