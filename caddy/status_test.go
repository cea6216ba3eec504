package caddy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/tokensource"
)

// The status says that a token is refused.
func TestStatusOfARefusedToken(t *testing.T) {
	st := tokensource.Status{Source: "a", State: tokensource.StateFresh, Generation: 1, Live: true, Refused: true}
	if got := newAccountStatus(st, "static"); !got.Refused {
		t.Errorf("%+v", got)
	}
}

// The log level of an event is error only if the source worked before or an operator must act.
func TestLoudness(t *testing.T) {
	wait, operator, login := errorOf(tokensource.ClassWait), errorOf(tokensource.ClassOperator),
		errorOf(tokensource.ClassLogin)
	for _, c := range []struct {
		event tokensource.Event
		want  zapcore.Level
	}{
		{tokensource.Event{Kind: tokensource.EventRefreshed}, zapcore.InfoLevel},
		{tokensource.Event{Kind: tokensource.EventRefreshed, MissingScopes: []string{"a"}}, zapcore.WarnLevel},
		{tokensource.Event{Kind: tokensource.EventRecovered, MissingScopes: []string{"a"}}, zapcore.InfoLevel},
		{tokensource.Event{Kind: tokensource.EventRefreshFailed, Err: wait}, zapcore.WarnLevel},
		{tokensource.Event{Kind: tokensource.EventRefreshFailed, Err: operator}, zapcore.ErrorLevel},
		{tokensource.Event{Kind: tokensource.EventRefused}, zapcore.WarnLevel},
		{tokensource.Event{Kind: tokensource.EventRefused, Err: operator}, zapcore.ErrorLevel},
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

// A storage that is out of reach is logged once a minute, and once when it works again. The failed
// refreshes that it causes are not logged in addition.
func TestLogOfAStorageThatFails(t *testing.T) {
	a := &App{storageTrouble: new(recently)}
	unreadable := &tokensource.Error{Class: tokensource.ClassWait, Reason: "the storage cannot be read"}
	unsaved := tokensource.Status{Unsaved: true}.Problems()[0]
	for i, c := range []struct {
		event tokensource.Event
		want  bool
	}{
		{tokensource.Event{Kind: tokensource.EventStorageRecovered}, false},
		{tokensource.Event{Kind: tokensource.EventStorageFailed}, true},
		{tokensource.Event{Kind: tokensource.EventRefreshFailed, Err: unreadable}, false},
		{tokensource.Event{Kind: tokensource.EventStorageFailed}, false},
		{tokensource.Event{Kind: tokensource.EventStorageFailed, Source: "other"}, true},
		{tokensource.Event{Kind: tokensource.EventStorageRecovered}, true},
		{tokensource.Event{Kind: tokensource.EventStorageFailed}, true},
		{tokensource.Event{Kind: tokensource.EventRefreshFailed, Err: errorOf(tokensource.ClassWait)}, true},
		{tokensource.Event{Kind: tokensource.EventStorageFailed, Source: "live", Live: true}, true},
		{tokensource.Event{Kind: tokensource.EventStorageFailed, Source: "live", Live: true}, false},
		{tokensource.Event{Kind: tokensource.EventStorageFailed, Source: "live", Live: true, Failure: unsaved}, true},
		{tokensource.Event{Kind: tokensource.EventStorageFailed, Source: "live", Live: true, Failure: unsaved}, false},
		{tokensource.Event{Kind: tokensource.EventStorageFailed, Source: "live"}, true}, // the token ended
		{tokensource.Event{Kind: tokensource.EventStorageFailed, Source: "live"}, false},
		// the storage still fails
		{tokensource.Event{Kind: tokensource.EventRecovered, Source: "live", Failure: unreadable}, false},
		{tokensource.Event{Kind: tokensource.EventStorageRecovered, Source: "live"}, true},
		{tokensource.Event{Kind: tokensource.EventStorageRecovered, Source: "live"}, false},
		{tokensource.Event{Kind: tokensource.EventRecovered, Source: "live"}, true},
	} {
		if got := a.isWorthLogging(c.event); got != c.want {
			t.Errorf("%d, %s: %t", i, c.event.Kind, got)
		}
	}
}

func errorOf(class tokensource.Class) error { return &tokensource.Error{Class: class} }

// The error for a Caddyfile without --adapter names the flag.
func TestCaddyfileWithoutAdapter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "proxy.caddy")
	if err := os.WriteFile(path, []byte("{\n\tauthinject {\n\t}\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (&commandConfig{file: path}).load(); err == nil || !strings.Contains(err.Error(), "--adapter caddyfile") {
		t.Errorf("got %v", err)
	}
}

// The words for a refused token are the documented ones, whatever the class.
func TestProblemsOfATokenThatServes(t *testing.T) {
	refused := tokensource.Status{Source: "a", Generation: 1, Live: true, Refused: true, State: tokensource.StateFresh}
	ended := refused
	ended.State = tokensource.StateLoginRequired
	for want, st := range map[string]tokensource.Status{"token_refused": refused, "login_refused": ended} {
		got := newAccountStatus(st, "implicit")
		if got.Problem != want || got.Remedy == "" {
			t.Errorf("got problem %q, remedy %q, want %s", got.Problem, got.Remedy, want)
		}
		for _, r := range tokensource.Remedies() {
			if r.Problem == want && !strings.Contains(got.Words, r.Text) {
				t.Errorf("the words %q are not the heading %q", got.Words, r.Text)
			}
		}
	}
	warned := tokensource.Status{
		Source: "a", Generation: 1, Live: true, Renews: true, State: tokensource.StateFresh,
		MissingScopes: []string{"x", "y"}, Unsaved: true,
	}
	got := newAccountStatus(warned, "authorization_code")
	for i, want := range []string{"scopes_missing", "storage_unwritable"} {
		if len(got.Problems) != 2 || got.Problems[i].Problem != want || got.Problems[i].Remedy == "" ||
			got.Problems[i].Error != got.Warnings[i] {
			t.Errorf("problems %+v, want %s", got.Problems, want)
		}
	}
	if got.Problem != "" || len(got.Warnings) != 2 ||
		!strings.Contains(got.Warnings[0], "did not grant the scopes x y: allow") ||
		!strings.Contains(got.Warnings[1], "would lose the newest token: make the storage writable") {
		t.Errorf("got %+v", got)
	}
}

// The account that needs a person most determines the exit status.
func TestExitStatus(t *testing.T) {
	fine := accountStatus{Live: true, State: tokensource.StateFresh}
	login := accountStatus{State: tokensource.StateLoginRequired}
	operator := accountStatus{Class: tokensource.ClassOperator}
	wait := accountStatus{Class: tokensource.ClassWait}
	for _, c := range []struct {
		list []accountStatus
		want int
	}{
		{nil, exitFine},
		{[]accountStatus{fine}, exitFine},
		{[]accountStatus{{Live: true, Class: tokensource.ClassWait}}, exitFine}, // the old token serves
		{[]accountStatus{{Live: true, Unsaved: true}}, exitWait},
		{[]accountStatus{{Live: true, Class: tokensource.ClassOperator}}, exitOperator},
		{[]accountStatus{{Account: "x", Disconnected: true, State: tokensource.StateLoginRequired,
			Class: tokensource.ClassLogin}}, exitFine},
		{[]accountStatus{{Account: "x", Wanted: time.Now(), State: tokensource.StateLoginRequired,
			Class: tokensource.ClassLogin}}, exitFine},
		{[]accountStatus{{Disconnected: true, State: tokensource.StateLoginRequired}}, exitLogin},
		{[]accountStatus{{Live: true, RefusedRequest: "1s ago a request was refused"}}, exitOperator},
		{[]accountStatus{fine, wait}, exitWait},
		{[]accountStatus{wait, login}, exitLogin},
		{[]accountStatus{operator, login, wait, fine}, exitOperator},
	} {
		if got, words := exitOf(c.list); got != c.want || (words == "") != (got == exitFine) {
			t.Errorf("%+v: got %d %q, want %d", c.list, got, words, c.want)
		}
	}
}

// While a login would be lost, the words name the storage first.
func TestExitWordsOfALoginThatWouldBeLost(t *testing.T) {
	login := accountStatus{Class: tokensource.ClassLogin, Grant: "authorization_code",
		State: tokensource.StateLoginRequired}
	lost := login
	lost.Problem = "storage_login"
	for want, list := range map[string][]accountStatus{
		"a login is needed": {login},
		"the storage must be mended, and then a login is needed": {lost, login},
	} {
		if got, words := exitOf(list); got != exitLogin || words != want {
			t.Errorf("got %d %q, want %q", got, words, want)
		}
	}
}

// If a storage cannot be read, the exit status still shows the state of the accounts.
func TestExitOfAStorageThatCannotBeRead(t *testing.T) {
	failed := errors.New("the storage cannot be listed")
	for want, list := range map[int][]accountStatus{
		exitFailed: {{Live: true}}, exitWait: {{Class: tokensource.ClassWait}},
		exitOperator: {{Class: tokensource.ClassOperator}},
	} {
		if got, words := (&statusReport{accounts: list, failed: failed}).exit(); got != want || words != failed.Error() {
			t.Errorf("got %d %q, want %d", got, words, want)
		}
	}
}

// A source that exchanges its callers' tokens sends no requests by itself, so the words do not
// promise another attempt.
func TestExitWordsOfAnExchange(t *testing.T) {
	wait := accountStatus{Class: tokensource.ClassWait}
	exchange, stored := wait, wait
	exchange.Exchanges, stored.From = true, fromStorage
	for want, list := range map[string][]accountStatus{
		"the next request of a caller tries again":                                       {exchange},
		"the server tries again by itself":                                               {exchange, wait},
		"a running server gets one, and caddy authinject doctor says why if it does not": {exchange, stored},
	} {
		if got, words := exitOf(list); got != exitWait || !strings.Contains(words, want) {
			t.Errorf("got %d %q, want %q", got, words, want)
		}
	}
}

// A disconnected account shows what to do, and does not change the exit status.
func TestStatusOfADisconnectedAccount(t *testing.T) {
	st := accountStatus{Source: "a", Account: "x", State: tokensource.StateLoginRequired, Class: tokensource.ClassLogin,
		Disconnected: true, Remedy: "connect the account"}
	var out strings.Builder
	report := &statusReport{accounts: []accountStatus{st}, server: "localhost:2019"}
	if err := report.print(&out, false); err != nil || !strings.Contains(out.String(), "What to do:") ||
		!strings.Contains(out.String(), ": connect the account\n") {
		t.Errorf("%v, %s", err, out.String())
	}
}

// The log of a storage that fails has the remedy of the account's state.
func TestLogOfAnUnsavedToken(t *testing.T) {
	var out strings.Builder
	a := &App{logger: zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg"}),
		zapcore.AddSync(&out), zap.DebugLevel))}
	failure := tokensource.Status{Source: "a", Unsaved: true}.Problems()[0]
	a.log(tokensource.Event{Kind: tokensource.EventStorageFailed, Source: "a", Err: errors.New("read-only"),
		Failure: failure})
	for _, want := range []string{`"class":"wait"`, `"problem":"storage_unwritable"`, `"remedy":"` + failure.Remedy(),
		"Do not restart or reload"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log lacks %s: %s", want, out.String())
		}
	}
	if !strings.Contains(out.String(), "there is no token to serve") {
		t.Errorf("the log does not say that no token is left: %s", out.String())
	}
	out.Reset()
	if a.log(tokensource.Event{Kind: tokensource.EventStorageFailed, Source: "a", Live: true,
		Generation: 1}); strings.Contains(out.String(), "no token") {
		t.Errorf("the log says that no token is left: %s", out.String())
	}
	out.Reset()
	a.log(tokensource.Event{Kind: tokensource.EventStorageFailed, Source: "a",
		Err: tokensource.Status{Unsaved: true}.Problems()[0], Failure: failure})
	for _, field := range []string{`"class":`, `"problem":`, `"remedy":`} {
		if strings.Count(out.String(), field) > 1 {
			t.Errorf("the log has %s twice: %s", field, out.String())
		}
	}
}

// The log has the text that the client gets, word for word. In every line, the remedy is a member too,
// so that one query finds the remedies of all lines.
func TestLogHasTheRemedy(t *testing.T) {
	var out strings.Builder
	a := &App{logger: zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg"}),
		zapcore.AddSync(&out), zap.DebugLevel))}
	failure := &tokensource.Error{Source: "a", Class: tokensource.ClassOperator, Status: 401, Code: "invalid_client"}
	if !strings.HasSuffix(failure.Error(), failure.Remedy()) {
		t.Fatalf("%q does not end with its remedy", failure)
	}
	a.log(tokensource.Event{Kind: tokensource.EventRefreshFailed, Source: "a", Err: failure})
	newLackedScopes(a.logger).note(failure, "orders.write", time.Now())
	newRefusals(a.logger, slices.Values([]string{"a"})).note("a", authinject.Result{Outcome: authinject.OutcomeDestination,
		Detail: failure.Error(), Problem: failure.Problem(), Remedy: failure.Remedy()})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 {
		t.Fatalf("got %d lines: %s", len(lines), out.String())
	}
	for _, line := range lines {
		for _, member := range []string{`"error":` + strconv.Quote(failure.Error()), `"remedy":"` + failure.Remedy() + `"`} {
			if !strings.Contains(line, member) {
				t.Errorf("the line lacks %s: %s", member, line)
			}
		}
	}
}

// The log asks to connect an account only where a person can do that now.
func TestLogOfALoginThatIsNotPossible(t *testing.T) {
	app := provisioned(t, implicitSite(t, t.TempDir()))
	login := &tokensource.Error{Source: "a", Class: tokensource.ClassLogin, Reason: "the account is not connected yet"}
	lost := *login
	lost.Reason = "the storage cannot be written, so a login would be lost; the account is not connected yet"
	dead, err := tokensource.New(tokensource.Config{
		Name: "a", Grant: tokensource.RefreshToken{Initial: tokensource.Literal("rt")},
		Storage:  new(tokensource.MemoryStorage),
		TokenURL: "https://login.example.com/token", ClientID: "c", ClientAuth: tokensource.ClientAuthNone,
		Transport: roundTripper(func(req *http.Request) *http.Response {
			return &http.Response{StatusCode: http.StatusBadRequest,
				Body: io.NopCloser(strings.NewReader(`{"error":"invalid_grant"}`)), Request: req}
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close(t.Context())
	_, refused := dead.Token(t.Context())
	for want, row := range map[string]struct {
		err         error
		connectable bool
	}{
		`"msg":"login required: the account has to be connected"`:      {login, true},
		`"msg":"login required, but the storage cannot be written"`:    {&lost, false},
		`"msg":"login required: the refresh token has to be replaced"`: {refused, false},
	} {
		var out strings.Builder
		app.logger = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg"}),
			zapcore.AddSync(&out), zap.DebugLevel))
		app.log(tokensource.Event{Kind: tokensource.EventLoginRequired, Source: "a", Err: row.err})
		if got := out.String(); !strings.Contains(got, want) || strings.Contains(got, `"login_url":`) != row.connectable ||
			strings.Contains(got, `"hint":`) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// roundTripper answers requests.
type roundTripper func(*http.Request) *http.Response

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req), nil }

// A remedy is appended once.
func TestWithRemedy(t *testing.T) {
	for text, want := range map[string]string{
		"it failed": "it failed: do this", "it failed: do this": "it failed: do this",
		"it failed: do this; open a page": "it failed: do this; open a page",
	} {
		if got := withRemedy(text, "do this"); got != want {
			t.Errorf("%q: got %q", text, got)
		}
		if got := withRemedy(text, ""); got != text {
			t.Errorf("%q without a remedy: got %q", text, got)
		}
	}
}

// Status prints the address of the page that connects the account below what to do.
func TestStatusNamesThePage(t *testing.T) {
	st := newAccountStatus(tokensource.Status{Source: "a", State: tokensource.StateLoginRequired}, "authorization_code")
	st.LoginURL = "https://proxy.example.com/connect?source=a"
	var out strings.Builder
	report := &statusReport{accounts: []accountStatus{st}, server: "localhost:2019"}
	if err := report.print(&out, false); err != nil || !strings.Contains(out.String(), "a: the page is "+st.LoginURL+"\n") {
		t.Errorf("%v, %s", err, out.String())
	}
}

// If a storage fails while the token is live, that is a warning with a remedy, and does not change
// the exit status.
func TestStatusOfAStorageThatFails(t *testing.T) {
	failure := &tokensource.Error{Source: "a", Class: tokensource.ClassWait, Reason: "the storage cannot be written, " +
		"so the refresh waits"}
	st := tokensource.Status{Source: "a", State: tokensource.StateStale, Generation: 1, Live: true, Renews: true,
		Err: failure, StorageErr: failure}
	got := newAccountStatus(st, "refresh_token")
	if len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "make the storage writable") ||
		got.exit() != exitFine || len(got.Problems) != 1 {
		t.Errorf("%+v", got)
	}
	var out strings.Builder
	report := &statusReport{accounts: []accountStatus{got}, server: "localhost:2019"}
	if err := report.print(&out, false); err != nil || !strings.Contains(out.String(), "make the storage writable") {
		t.Errorf("%v, %s", err, out.String())
	}
	st.StorageErr = nil
	if got := newAccountStatus(st, "refresh_token"); got.Warnings != nil {
		t.Errorf("another failure: %+v", got)
	}
}

// Each remedy begins with the name of its account or source, as in the table.
func TestStatusNamesWhatItIsAbout(t *testing.T) {
	bob := accountStatus{Source: "a", Account: "bob"}
	bob.Warnings = []string{`token source "a", account "bob": x`, `token source "a": y`, "z"}
	var out strings.Builder
	report := &statusReport{accounts: []accountStatus{bob}, server: "localhost:2019"}
	if err := report.print(&out, false); err != nil || !strings.HasSuffix(out.String(), "\n  account bob of a: x\n  a: y\n  z\n") {
		t.Errorf("%v, %s", err, out.String())
	}
}

// If a refresh fails while the token is live, status shows the remedy. A remedy that several
// problems share is shown once.
func TestStatusHasEachRemedyOnce(t *testing.T) {
	down := &tokensource.Error{Source: "a", Class: tokensource.ClassWait, Reason: "the token endpoint refuses connections"}
	full := &tokensource.Error{Source: "a", Class: tokensource.ClassWait,
		Reason: "the storage cannot be written, so the refresh waits"}
	unsaved := tokensource.Status{Source: "a", Unsaved: true}.Problems()[0]
	for what, c := range map[string]struct {
		st     tokensource.Status
		remedy string
	}{
		"the provider is down": {tokensource.Status{Err: down}, down.Remedy()},
		"the storage is full":  {tokensource.Status{Err: full, StorageErr: errors.New("no space left")}, full.Remedy()},
		"a token is not stored": {tokensource.Status{Err: unsaved, StorageErr: errors.New("no space left"), Unsaved: true},
			"Do not restart or reload the server before that"},
	} {
		c.st.Source, c.st.State, c.st.Generation, c.st.Live, c.st.Renews = "a", tokensource.StateStale, 1, true, true
		c.st.Expiry = time.Now().Add(time.Minute)
		var out strings.Builder
		report := &statusReport{accounts: []accountStatus{newAccountStatus(c.st, "refresh_token")}, server: "localhost:2019"}
		err := report.print(&out, false)
		if n := strings.Count(out.String(), c.remedy); err != nil || c.remedy == "" || n != 1 {
			t.Errorf("%s: %v, the remedy %q comes %d times in %s", what, err, c.remedy, n, out.String())
		}
	}
}

// A problem that is the last failure and the state of the storage is listed once.
func TestStatusListsAProblemOnce(t *testing.T) {
	st := tokensource.Status{Source: "a", Live: true, Unsaved: true}
	st.Err = st.Problems()[0]
	if s := newAccountStatus(st, "refresh_token"); len(s.Problems) != 1 || len(s.Warnings) > 1 {
		t.Errorf("problems %+v, warnings %q", s.Problems, s.Warnings)
	}
}

// An operator gets the storage's own error in front of what to do.
func TestWithCause(t *testing.T) {
	plain := errors.New("a failure")
	if got := withCause(plain); got != plain {
		t.Errorf("got %v", got)
	}
	src, err := tokensource.New(tokensource.Config{
		Name: "a", Grant: tokensource.AuthorizationCode{}, ClientID: "c", ClientAuth: tokensource.ClientAuthNone,
		AuthorizeURL: "https://login.example.com/authorize", TokenURL: "https://login.example.com/token",
		Storage: unlisted{new(tokensource.MemoryStorage)},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = src.Accounts(t.Context())
	failure, ok := errors.AsType[*tokensource.Error](withCause(err))
	if got := withCause(err).Error(); !ok || got != `token source "a": the storage cannot be listed (listing the storage: `+
		"/var/lib/x: I/O error): "+
		failure.Remedy() {
		t.Errorf("got %s", got)
	}
}

// unlisted is a storage that cannot be listed.
type unlisted struct{ *tokensource.MemoryStorage }

func (unlisted) List(context.Context, string, bool) ([]string, error) {
	return nil, errors.New("/var/lib/x: I/O error")
}

// What is lost when the server stops has a line of its own, for each account.
func TestLogOfWhatIsLost(t *testing.T) {
	a := &App{storageTrouble: new(recently)}
	for problem, want := range map[string]string{"token_lost": storageLost, "disconnection_lost": storageKept} {
		at := slices.IndexFunc(tokensource.Remedies(), func(r tokensource.Remedy) bool { return r.Problem == problem })
		e := tokensource.Event{Kind: tokensource.EventStorageFailed, Source: "a",
			Failure: &tokensource.Error{Reason: tokensource.Remedies()[at].Text}}
		if got := storageMessage(e); got != want {
			t.Errorf("%s is logged as %q", problem, got)
		}
		for range 2 {
			if !a.isWorthLogging(e) {
				t.Errorf("%s is logged only once", problem)
			}
		}
	}
}
