package caddy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource"
)

// An account that was never connected is logged once a minute, with what to do. However many names
// requests make up, few are logged and remembered, and other failures are not.
func TestWantedAccounts(t *testing.T) {
	var out strings.Builder
	w := wanted{logger: zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg",
		LevelKey: "level", EncodeLevel: zapcore.LowercaseLevelEncoder}), zapcore.AddSync(&out), zap.DebugLevel))}
	missing := func(account string) error {
		return &tokensource.Error{Source: "a", Account: account, Class: tokensource.ClassLogin,
			Reason: "the account is not connected yet"}
	}
	w.note("a", "x", nil, "")
	w.note("a", "x", errors.New("no such account"), "")
	w.note("a", "x", &tokensource.Error{Class: tokensource.ClassWait, Reason: "the storage cannot be read"}, "")
	if names, _ := w.of("a", time.Now(), nil); names != nil || out.String() != "" {
		t.Fatalf("remembered %q, logged %s", names, out.String())
	}
	began := time.Now()
	for range 3 {
		w.note("a", "leela", missing("leela"), "")
	}
	want := `{"level":"warn","msg":"a request needs an account that is not connected","source":"a","account":"leela","class":"login","problem":"not_connected",` +
		`"remedy":"connect the account on the page of authinject_connect, or run: caddy authinject login a --account leela"}` + "\n"
	if out.String() != want {
		t.Errorf("got  %s\nwant %s", out.String(), want)
	}
	if names, at := w.of("a", time.Now(), nil); len(names) != 1 || at["leela"].Before(began) ||
		at["leela"].After(time.Now()) {
		t.Errorf("remembered %v", at)
	}
	if names, _ := w.of("b", time.Now(), nil); names != nil {
		t.Errorf("remembered for another source: %q", names)
	}
	for i := range 1000 {
		name := fmt.Sprint(i)
		w.note("a", name, missing(name), "https://proxy.example.com/connect")
	}
	if names, _ := w.of("a", time.Now(), nil); len(names) != maxWanted || strings.Count(out.String(), "\n") > maxNews ||
		!strings.Contains(out.String(), `"login_url":"https://proxy.example.com/connect"`) {
		t.Errorf("%d names, log %s", len(names), out.String())
	}
	if names, _ := w.of("a", time.Now().Add(showWanted), nil); names != nil {
		t.Errorf("remembered for ever: %q", names)
	}
}

// While the storage cannot be read, the state of a wanted account is unknown, and is not reported.
func TestWantedAccountWhileTheStorageCannotBeRead(t *testing.T) {
	app := provisioned(t, implicitSite(t, writeFile(t, "a-file", "")))
	app.wanted.remember("a", "leela", time.Now())
	st := app.sourceStatus(t.Context(), "a", false)
	if len(st.Accounts) != 0 || st.Error == "" {
		t.Errorf("%+v", st)
	}
}

// While the storage takes no writes, a request for an account that was never connected, the log and
// the state name the storage, and no address to connect the account at.
func TestWantedAccountWhileTheStorageTakesNoWrites(t *testing.T) {
	var out strings.Builder
	dir := t.TempDir()
	// it stops root, too
	if err := os.Symlink(filepath.Join(dir, "missing"), filepath.Join(dir, "authinject")); err != nil {
		t.Fatal(err)
	}
	app := provisioned(t, implicitSite(t, dir))
	app.wanted.logger = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg"}),
		zapcore.AddSync(&out), zap.DebugLevel))
	for _, account := range []string{"leela", ""} {
		chooser, err := app.chooser("a", account)
		if err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:1/api/", nil)
		req = req.WithContext(context.WithValue(req.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer()))
		_, err = chooser.choose(req)
		if e, ok := errors.AsType[*tokensource.Error](err); !ok || !e.LoginWouldBeLost() {
			t.Errorf("account %q: %v", account, err)
		}
	}
	if got := out.String(); !strings.Contains(got, `"problem":"storage_login"`) || strings.Contains(got, "login_url") {
		t.Errorf("logged %s", got)
	}
	st := app.sourceStatus(t.Context(), "a", false)
	const want = "The storage cannot be written, so a login would be lost; the account is not connected yet."
	if len(st.Accounts) != 1 || st.Accounts[0].Words != want ||
		!strings.HasSuffix(st.Accounts[0].StorageError, "file exists") {
		t.Errorf("%+v", st)
	}
}

// A person has connected an account after a request asked for it. A look at the state does not read
// the account into memory, where it would be kept fresh.
func TestWantedAccountThatIsConnected(t *testing.T) {
	config := implicitSite(t, t.TempDir())
	app := provisioned(t, config)
	source := app.pooled["a"].source
	login, err := source.BeginLogin(t.Context(), tokensource.LoginRequest{Account: "leela",
		RedirectURL: "http://127.0.0.1:1/connect/callback"})
	if err != nil {
		t.Fatal(err)
	}
	if err := source.FinishLogin(t.Context(), login,
		url.Values{"state": {login.State.Reveal()}, "access_token": {rig.Canary}, "token_type": {"Bearer"},
			"expires_in": {"3600"}}); err != nil {
		t.Fatal(err)
	}
	if err := app.Cleanup(); err != nil {
		t.Fatal(err)
	}
	app = provisioned(t, config)
	app.wanted.remember("a", "leela", time.Now())
	st := app.sourceStatus(t.Context(), "a", false)
	if len(st.Accounts) != 1 || st.Accounts[0].Account != "leela" || !st.Accounts[0].Live {
		t.Errorf("%+v", st)
	}
	if _, loaded := app.pooled["a"].source.Loaded("leela"); loaded {
		t.Error("the account is in memory")
	}
	if names, _ := app.wanted.of("a", time.Now(), nil); names != nil {
		t.Errorf("still wanted: %q", names)
	}
}

// implicitSite is a configuration whose requests choose an account of a source of grant implicit.
func implicitSite(t *testing.T, storage string) rig.Caddyfile {
	t.Helper()
	return rig.Caddyfile{}.Global("admin off", "storage file_system "+storage).
		Source("a", "grant implicit", "client_id c", "authorize_url https://login.example.com/authorize",
			"default_lifetime 1h").
		Site("http://127.0.0.1:1", "bind 127.0.0.1", "authinject_connect /connect*",
			rig.Block("authinject /api/* a https://api.example.com", "account {http.auth.user.id}"))
}
