package doctor

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/tokensource"
)

// examOf returns an examination with a report of its own.
func examOf(p Patient) *exam { return &exam{Patient: p, report: NewReport(), recorder: new(recorder)} }

// wantOnly asserts that a report has one step with that status, whose text and remedy hold these
// words.
func wantOnly(t *testing.T, x *exam, status Status, name, text, remedy string) {
	t.Helper()
	if len(x.report.Steps) != 1 {
		t.Fatalf("steps: %+v", x.report.Steps)
	}
	if s := x.report.Steps[0]; s.Status != status || s.Name != name || !strings.Contains(s.Text, text) ||
		!strings.Contains(s.Remedy, remedy) {
		t.Errorf("got %+v, want %s %s with the text %q and the remedy %q", s, status, name, text, remedy)
	}
}

// What to do about a storage depends on why it fails. Some storages keep only the text of the
// error.
func TestStorageRemedy(t *testing.T) {
	for err, want := range map[error]string{
		&fs.PathError{Op: "write", Path: "/store/x",
			Err: syscall.ENOSPC}: "free space, or inodes, in the file system of /store",
		errors.New("creating lock file: open /store/locks/x.lock: " +
			syscall.ENOSPC.Error()): "free space, or inodes, in the file system of /store",
		&fs.PathError{Op: "mkdir", Path: "/store/x", Err: syscall.EROFS}: "mount the file system of " +
			"/store writable",
		fmt.Errorf("x: %w", &fs.PathError{Op: "write", Path: "/store/x", Err: syscall.EDQUOT}): "raise the quota",
		&fs.PathError{Op: "mkdir", Path: "/store/x",
			Err: syscall.EACCES}: "let the user that runs Caddy read and write its storage",
		&fs.PathError{Op: "mkdir", Path: "/store/x", Err: syscall.ENOTDIR}: "move the file away",
	} {
		if got := examOf(Patient{StorageDir: "/store"}).storageRemedy(err); !strings.Contains(got, want) {
			t.Errorf("%v: %s", err, got)
		}
	}
	// A source can have a storage of its own.
	for _, err := range []error{syscall.ENOTDIR, syscall.EACCES, syscall.EROFS} {
		p := Patient{StorageDir: t.TempDir(), OwnStorage: true}
		if err := os.WriteFile(filepath.Join(p.StorageDir, "login"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		p.Config.Name = "orders"
		if got := examOf(p).storageRemedy(err); !strings.Contains(strings.ToLower(got), "the option storage of source orders") ||
			strings.Contains(got, "global") {
			t.Errorf("of an own storage, %v: %s", err, got)
		}
	}
	// Nothing is copied from an empty directory.
	if got := examOf(Patient{StorageDir: t.TempDir()}).storageRemedy(syscall.EROFS); strings.Contains(got, "copy") {
		t.Error(got)
	}
	// While the newest token is only in memory, a new path would lose it.
	unsaved := examOf(Patient{StorageDir: "/store"})
	unsaved.Running.Unsaved = true
	if got := unsaved.storageRemedy(syscall.ENOTDIR); strings.Contains(got, "correct the path") {
		t.Error(got)
	}
	got := unsaved.storageRemedy(syscall.EROFS)
	if !strings.Contains(got, "mount the file system of /store writable") || strings.Contains(got, "another path") ||
		!strings.HasSuffix(got, "Do not restart or reload the server before that, because the server's newest token is "+
			"only in memory") {
		t.Error(got)
	}
}

// A secret of a running server that lives on a token is lost soon if its file is gone. Only of an
// environment variable, or of a file that doctor may not read, can the server know more than
// doctor.
func TestSecretRemedy(t *testing.T) {
	const file, restore = "{file./run/secret}", "its next token request will fail; "
	for _, c := range []struct {
		from string
		err  error
		live bool
		want string
	}{
		{file, fs.ErrNotExist, true, restore + "restore the file"},
		{file, errors.New("empty"), true, restore + "write the secret into that file"},
		{file, fs.ErrPermission, true, "so only doctor lacks the value"},
		{"{env.SECRET}", errors.New("empty"), true, "so only doctor lacks the value"},
		{file, fs.ErrNotExist, false, "write the secret into that file"},
		{"{env.SECRET}", errors.New("empty"), false, "set the environment variable SECRET"},
	} {
		x := examOf(Patient{Running: Running{Live: c.live}})
		if got := x.secretRemedy(c.from, c.err); !strings.Contains(got, c.want) {
			t.Errorf("%s, %v, live %t: %s", c.from, c.err, c.live, got)
		}
	}
}

// Blanks around a secret are reported, and never the secret. A key is a text of several lines.
func TestBlanks(t *testing.T) {
	for value, want := range map[string]string{
		"secret value ": "client_secret ends in a space,", "secret\n": "ends in a line break,", "secret\t": "ends in a tab,",
		" secret\r\n": "begins with a space and ends in a line break,",
	} {
		x := examOf(Patient{})
		x.blanks(Secret{Option: "client_secret", From: "{env.SECRET}"}, value)
		wantOnly(t, x, Warn, "secrets", want, "remove it from the value of {env.SECRET}")
		if strings.Contains(x.report.Steps[0].Text, "secret value") {
			t.Error("the report holds the secret")
		}
	}
	x := examOf(Patient{})
	x.blanks(Secret{Option: "client_secret"}, "secret value")
	x.blanks(Secret{Option: "client_secret"}, "")
	x.blanks(Secret{Option: "key"}, "-----BEGIN\n")
	if len(x.report.Steps) != 0 {
		t.Errorf("%+v", x.report.Steps)
	}
}

// Where doctor has a token and the server has none, the server's own error says why.
func TestWithout(t *testing.T) {
	wait, operator := tokensource.ClassWait, tokensource.ClassOperator
	for name, c := range map[string]struct {
		running Running
		want    string
	}{
		"nothing known": {Running{}, "another environment or an older configuration"},
		"other client": {Running{Class: operator, Problem: "invalid_client"}, "another environment or an older " +
			"configuration"},
		"wait":       {Running{Class: wait, Problem: "provider_wait"}, `run caddy authinject refresh a --account fry`},
		"429":        {Running{Class: wait, Problem: "rate_limited"}, "run caddy authinject refresh a"},
		"locked out": {Running{Class: wait, Problem: "locked_out", Remedy: "wait until noon"}, "wait until noon"},
		"storage":    {Running{Class: wait, Problem: "storage_unwritable", Remedy: "make room"}, "make room"},
		"file": {Running{Class: operator, Problem: "client_secret", Error: "open /run/secret: permission denied"},
			"let the user that runs the server read /run/secret. The server may not"},
	} {
		c.running.At = "here"
		x := examOf(Patient{Running: c.running, Account: "fry",
			Secrets: []Secret{{From: "{env.X}"}, {From: "{file./run/secret}"}},
			Config:  tokensource.Config{Name: "a", Grant: tokensource.ClientCredentials{}}})
		x.without()
		t.Run(name, func(t *testing.T) {
			wantOnly(t, x, Warn, "server", "doctor has a token, and the running server (here) has none", c.want)
		})
	}
}

// doctor names the accounts that requests ask for and that are not connected, and the accounts that
// have a problem.
func TestOthers(t *testing.T) {
	x := examOf(Patient{ConnectURL: "https://x/connect", Config: tokensource.Config{Name: "a"}, Others: []Other{
		{Account: "fine"}, {Account: "leela", Wanted: true},
		{Account: "bender", Words: "The login has ended.", Remedy: "connect it"},
	}})
	x.others()
	want := []Step{
		{"a", "accounts", Warn, `requests ask for the account "leela", which is not connected`,
			`open https://x/connect and press Connect, or run caddy authinject login a --account leela`},
		{"a", "accounts", Warn, `the account "bender": The login has ended.`, "connect it"},
	}
	if fmt.Sprint(x.report.Steps) != fmt.Sprint(want) {
		t.Errorf("got  %+v\nwant %+v", x.report.Steps, want)
	}
	for i := range 20 {
		x.Others = append(x.Others, Other{Account: fmt.Sprint(i), Wanted: true})
	}
	x.report = NewReport()
	x.others()
	if n := len(x.report.Steps); n != maxOthers+1 || x.report.Steps[maxOthers].Text != "12 more accounts need something" {
		t.Errorf("%d steps, the last is %+v", n, x.report.Steps[n-1])
	}
}

// A clock that is off is a failure only where it lets requests fail.
func TestClock(t *testing.T) {
	for name, c := range map[string]struct {
		config tokensource.Config
		grant  string
		timed  bool
		want   Status
	}{
		"secret": {tokensource.Config{}, "client_credentials", false, Warn},
		"timed":  {tokensource.Config{}, "client_credentials", true, Fail},
		"DPoP":   {tokensource.Config{DPoP: "ES256"}, "client_credentials", false, Fail},
		"key":    {tokensource.Config{ClientAuth: tokensource.PrivateKeyJWT}, "client_credentials", false, Fail},
		"assertion of file": {tokensource.Config{ClientAuth: tokensource.PrivateKeyJWT,
			ClientAssertion: tokensource.Literal("x")}, "client_credentials", false, Warn},
		"grant": {tokensource.Config{}, "jwt_bearer", false, Fail},
	} {
		c.config.Grant = tokensource.ClientCredentials{}
		x := examOf(Patient{Config: c.config, GrantName: c.grant})
		x.timed = c.timed
		now := time.Now()
		x.recorder.answers, x.recorder.arrived, x.recorder.date = 1, now, now.Add(time.Hour)
		x.clock()
		t.Run(name, func(t *testing.T) {
			wantOnly(t, x, c.want, "clock", "the clock of this machine is 1h0m0s behind the provider's", "synchronize the clock")
		})
	}
}

// An upstream keeps its port where https is proposed.
func TestPlainUpstreamKeepsItsPort(t *testing.T) {
	for port, want := range map[string]string{"8000": "https://192.0.2.1:8000", "80": "https://192.0.2.1"} {
		only, err := authinject.ParseDestinations("192.0.2.1:" + port)
		if err != nil {
			t.Fatal(err)
		}
		address := strings.TrimSuffix("http://192.0.2.1:"+port, ":80")
		x := examOf(Patient{Config: tokensource.Config{Name: "a"}, Destinations: only, Upstreams: []Upstream{
			{Address: address, Target: authinject.Target{Network: "tcp", Scheme: "http", Host: "192.0.2.1", Port: port}},
		}})
		x.report.Caddyfile("authinject a " + address)
		x.upstreams(t.Context())
		wantOnly(t, x, Fail, "destinations", "it is plain http", "add "+address+" to destinations")
		want := Change{In: "the site", Remove: "authinject a " + address, Add: "authinject a " + want}
		if len(x.report.Changes) != 1 || x.report.Changes[0] != want {
			t.Errorf("changes %+v, want %+v", x.report.Changes, want)
		}
	}
}

// storageOf is a storage in memory with one method that fails.
type storageOf struct {
	tokensource.MemoryStorage
	load func() ([]byte, error)
}

func (s *storageOf) Load(context.Context, string) ([]byte, error) { return s.load() }

// The step says whether the storage cannot be read or returns other bytes, and leaves nothing there.
func TestStorageThatCannotBeRead(t *testing.T) {
	for _, c := range []struct {
		found        []byte
		err          error
		text, remedy string
	}{
		{nil, &fs.PathError{Op: "open", Path: "/store/x", Err: syscall.EACCES},
			"what was written cannot be read: this user has no permission", "let the user that runs Caddy read and write"},
		{nil, context.DeadlineExceeded, "what was written cannot be read: it did not answer within", ""},
		{nil, fs.ErrNotExist, "does not return what was written", "a cache in front of it"},
		{[]byte("other"), nil, "does not return what was written", "a cache in front of it"},
	} {
		storage := &storageOf{load: func() ([]byte, error) { return c.found, c.err }}
		x := examOf(Patient{Config: tokensource.Config{Grant: tokensource.RefreshToken{}, Storage: storage}})
		if x.storage(t.Context()) {
			t.Errorf("%v: the storage counts as good", c.err)
		}
		wantOnly(t, x, Fail, "storage", c.text, c.remedy)
		if left, err := storage.List(t.Context(), "", true); err == nil && len(left) > 0 {
			t.Errorf("left in the storage: %q", left)
		}
	}
}

// recorderOf returns a recorder of one token request and its answer.
func recorderOf(t *testing.T, query string, status int, answer string) *recorder {
	t.Helper()
	r := newRecorder(answers{status, answer})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://login.example.com/token"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := r.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return r
}

// answers is a transport with one answer to all requests.
type answers struct {
	status int
	body   string
}

func (a answers) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Body: io.NopCloser(strings.NewReader(a.body)), Request: req}, nil
}

// The step asks for default_lifetime only if the answer names no end and the option is not set. Only
// a JWT with the claim exp names its end.
func TestAssumedLifetime(t *testing.T) {
	named := "h." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":4000000000}`)) + ".s"
	for _, c := range []struct {
		answer string
		set    time.Duration
		want   Status
	}{
		{`{"access_token":"at"}`, 0, Warn},
		{`{"access_token":"at"}`, time.Hour, OK},
		{`{"access_token":"at"}`, tokensource.NeverExpires, OK},
		{`{"access_token":"at","expires_in":3600}`, 0, OK},
		{`{"access_token":"a.b.c"}`, 0, Warn},
		{`{"access_token":"` + named + `"}`, 0, OK},
	} {
		x := examOf(Patient{Config: tokensource.Config{Grant: tokensource.ClientCredentials{}, DefaultLifetime: c.set}})
		x.recorder = recorderOf(t, "", http.StatusOK, c.answer)
		x.lifetime(tokensource.Status{Obtained: time.Now(), Expiry: time.Now().Add(time.Hour)})
		remedy := ""
		if c.want == Warn {
			remedy = "set default_lifetime"
		}
		wantOnly(t, x, c.want, "lifetime", "the token lasts", remedy)
	}
}

// The step compares the refresh token of the request with the one of the answer, wherever the
// request had it and whatever the status of success. A grant without refresh tokens has no such step.
func TestRotation(t *testing.T) {
	for _, c := range []struct {
		grant  tokensource.Grant
		query  string
		status int
		want   string
	}{
		{tokensource.RefreshToken{}, "?refresh_token=rt1", http.StatusOK, "keeps the refresh token"},
		{tokensource.RefreshToken{}, "?refresh_token=rt0", http.StatusCreated, "replaced the refresh token"},
		{tokensource.Implicit{}, "", http.StatusOK, ""},
	} {
		x := examOf(Patient{Config: tokensource.Config{Grant: c.grant}})
		x.recorder = recorderOf(t, c.query, c.status, `{"access_token":"at","refresh_token":"rt1"}`)
		x.rotation(tokensource.Status{})
		if c.want != "" {
			wantOnly(t, x, OK, "rotation", c.want, "")
		} else if len(x.report.Steps) > 0 {
			t.Errorf("steps of a grant without refresh tokens: %+v", x.report.Steps)
		}
	}
}
