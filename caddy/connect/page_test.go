package connect_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/caddy/connect"
	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// tokenEndpoint grants a token for every code.
type tokenEndpoint struct{}

func (tokenEndpoint) RoundTrip(req *http.Request) (*http.Response, error) {
	res := httptest.NewRecorder()
	res.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(res, `{"access_token":"at","token_type":"Bearer","expires_in":3600,"refresh_token":"rt"}`)
	return res.Result(), nil
}

func newSource(t *testing.T) connect.Source {
	t.Helper()
	return newSourceOn(t, nil)
}

// newSourceOn is a source that keeps its records in storage; nil: in memory.
func newSourceOn(t *testing.T, storage tokensource.Storage, edit ...func(*tokensource.Config)) connect.Source {
	t.Helper()
	cfg := tokensource.Config{
		Name: "orders", Grant: tokensource.AuthorizationCode{}, ClientID: "x", Transport: tokenEndpoint{}, Storage: storage,
		AuthorizeURL: "https://login.example.com/authorize", TokenURL: "https://login.example.com/token",
	}
	for _, change := range edit {
		change(&cfg)
	}
	src, err := tokensource.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := src.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return connect.Source{Name: "orders", Title: "The orders", Tokens: src, Variables: cfg.Variables}
}

// answer returns the status and body that h answers req with.
func answer(h http.Handler, req *http.Request) (int, string) {
	res := httptest.NewRecorder()
	h.ServeHTTP(res, req)
	return res.Code, res.Body.String()
}

// outOfReach is a storage that cannot be read.
type outOfReach struct{ tokensource.MemoryStorage }

func (*outOfReach) Load(context.Context, string) ([]byte, error) {
	return nil, errors.New("out of reach")
}

// A page whose storage cannot be read says so once, also after a request failed.
func TestPageSaysOnceThatTheStorageFails(t *testing.T) {
	source := newSourceOn(t, new(outOfReach))
	page := &connect.Page{Path: "/connect", Sources: []connect.Source{source}}
	for range 2 {
		req := httptest.NewRequest(http.MethodGet, "http://localhost/connect", nil)
		req.RemoteAddr = "127.0.0.1:5"
		if _, body := answer(page, req); strings.Count(body, "torage cannot be read") != 1 ||
			strings.Contains(body, "Not connected") {
			t.Errorf("the page says:\n%s", body)
		}
		if _, err := source.Tokens.Token(t.Context()); err == nil {
			t.Fatal("a token without a storage")
		}
	}
}

// The page is served by any server, to callers on the machine, under its own names.
func TestPage(t *testing.T) {
	page := &connect.Page{Path: "/connect", Hosts: []string{"proxy.example.com"}, Sources: []connect.Source{newSource(t)}}
	anyCaller := &connect.Page{Path: "/connect", AnyCaller: true}
	unread := &connect.Page{Path: "/connect", Sources: []connect.Source{newSourceOn(t, &outOfReach{})}}
	for name, row := range map[string]struct {
		page                 *connect.Page
		method, target, from string
		status               int
		body                 string
	}{
		"page":         {page, "GET", "http://localhost/connect", "127.0.0.1:5", 200, `data-source="orders"`},
		"other case":   {page, "GET", "http://localhost/Connect", "127.0.0.1:5", 200, "The orders"},
		"a name of it": {page, "GET", "http://Proxy.example.com:80/connect", "[::1]:5", 200, "The orders"},
		"a name of others": {page, "GET", "http://evil.example/connect", "127.0.0.1:5", 403,
			"not available under this host name"},
		"a zoned address":       {page, "GET", "http://[::1%25lo]/connect", "[::1%lo]:5", 200, "The orders"},
		"another machine":       {page, "GET", "http://localhost/connect", "192.0.2.1:5", 403, "callers any"},
		"any machine":           {anyCaller, "GET", "http://localhost/connect", "192.0.2.1:5", 200, "No token source"},
		"no address of it":      {page, "GET", "http://localhost/connect/x", "127.0.0.1:5", 404, "nothing at this address"},
		"beside it":             {page, "GET", "http://localhost/connected", "127.0.0.1:5", 404, ""},
		"another method":        {page, "PUT", "http://localhost/connect/start", "127.0.0.1:5", 405, "does not take PUT"},
		"a form without a page": {page, "POST", "http://localhost/connect/start", "127.0.0.1:5", 403, "too old"},
		"callback, empty":       {page, "GET", "http://localhost/connect/callback", "127.0.0.1:5", 200, "location.hash"},
		"callback, made up": {page, "GET", "http://localhost/connect/callback?code=1&state=2", "127.0.0.1:5", 400,
			"belongs to no login"},
		"callback, no storage": {unread, "GET", "http://localhost/connect/callback?code=1&state=2", "127.0.0.1:5", 503,
			"storage cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			req := httptest.NewRequest(row.method, row.target, nil)
			req.RemoteAddr = row.from
			if status, body := answer(row.page, req); status != row.status || !strings.Contains(body, row.body) {
				t.Errorf("answered with %d: %s", status, body)
			}
		})
	}
}

// A login from a terminal has an address on this machine that leads to the provider. It is good for
// the terminal's login alone.
func TestTerminalLink(t *testing.T) {
	source, results := newSource(t), make(chan error, 1)
	login, err := source.Tokens.BeginLogin(t.Context(),
		tokensource.LoginRequest{RedirectURL: "http://127.0.0.1:1/callback?a=b", Terminal: true})
	if err != nil {
		t.Fatal(err)
	}
	h := connect.Terminal(t.Context(), source, login, results)
	link := connect.TerminalLink(login)
	for target, want := range map[string]int{
		link: 303, link + "x": 404, "http://127.0.0.1:1/callback/start": 404,
		strings.Replace(link, "127.0.0.1", "evil.example", 1): 404,
	} {
		res := httptest.NewRecorder()
		h.ServeHTTP(res, httptest.NewRequest("GET", target, nil))
		if at := res.Header().Get("Location"); res.Code != want ||
			strings.HasPrefix(at, "https://login.example.com/authorize?") != (want == 303) {
			t.Errorf("%s: %d, Location %s", strings.ReplaceAll(target, login.Binding.Reveal(), "…"), res.Code, at)
		}
	}
	if status, _ := answer(h, httptest.NewRequest("POST", link, nil)); status == 303 {
		t.Error("a POST leads to the provider")
	}
}

// The redirect URL of a login from a terminal takes one answer, which must be the login's.
func TestTerminal(t *testing.T) {
	source, results := newSource(t), make(chan error, 1)
	login, err := source.Tokens.BeginLogin(t.Context(),
		tokensource.LoginRequest{RedirectURL: "http://127.0.0.1:1/callback", Terminal: true})
	if err != nil {
		t.Fatal(err)
	}
	h := connect.Terminal(t.Context(), source, login, results)
	state := url.QueryEscape(login.State.Reveal())
	for _, row := range []struct {
		method, target string
		status         int
		body           string
	}{
		{"GET", "http://127.0.0.1:1/", 404, "nothing at this address"},
		{"GET", "http://evil.example/callback?code=c&state=" + state, 404, "nothing at this address"},
		{"GET", "http://127.0.0.1:1/callback", 200, "location.hash"},
		{"PUT", "http://127.0.0.1:1/callback", 405, "does not take PUT"},
		{"GET", "http://127.0.0.1:1/callback?code=c&state=x", 400, "belongs to no login"},
		{"GET", "http://127.0.0.1:1/callback?code=c&state=x&state=" + state, 400, "belongs to no login"},
		{"GET", "http://127.0.0.1:1/callback?code=c&state=" + state, 200, "Connected orders. You can close this page."},
		{"GET", "http://127.0.0.1:1/callback?code=c&state=" + state, 400, "used already"},
	} {
		if status, body := answer(h, httptest.NewRequest(row.method, row.target, nil)); status != row.status ||
			!strings.Contains(body, row.body) {
			t.Errorf("%s %s: %d %s", row.method, strings.ReplaceAll(row.target, state, "…"), status, body)
		}
	}
	if err := <-results; err != nil {
		t.Errorf("the terminal is told: %v", err)
	}
	text, as := connect.Describe(source.Tokens.Account("").Status(), time.Now())
	if got := fmt.Sprint(as, ": ", text); !strings.HasPrefix(got, "good: Connected") {
		t.Error(got)
	}
}

// An answer to a login that no configured key opens is refused with the reason. It is the operator who
// has to act, not the storage.
func TestCallbackOfASealedLogin(t *testing.T) {
	memory := new(tokensource.MemoryStorage)
	with := func(key string) connect.Source {
		return newSourceOn(t, memory, func(cfg *tokensource.Config) {
			cfg.EncryptionKeys = []tokensource.Value{tokensource.Literal(strings.Repeat(key, 32))}
		})
	}
	login, err := with("a").Tokens.BeginLogin(t.Context(), tokensource.LoginRequest{RedirectURL: "http://localhost/connect/callback"})
	if err != nil {
		t.Fatal(err)
	}
	page := &connect.Page{Path: "/connect", Sources: []connect.Source{with("b")}}
	req := httptest.NewRequest(http.MethodGet, "http://localhost/connect/callback?code=c&state="+login.State.Reveal(), nil)
	req.RemoteAddr = "127.0.0.1:5"
	if status, body := answer(page, req); status != http.StatusServiceUnavailable ||
		!strings.Contains(body, "which is not configured") || !strings.Contains(body, "Tell the operator") {
		t.Errorf("answered with %d: %s", status, body)
	}
}

// A page of a source whose records cannot be read says so, without their paths.
func TestPageNamesNoPath(t *testing.T) {
	memory := new(tokensource.MemoryStorage)
	readable := newSourceOn(t, memory)
	visit(t, &connect.Page{Path: "/connect", AnyCaller: true, Sources: []connect.Source{readable}}, "").connect("ada")
	source := newSourceOn(t, pathStorage{memory})
	req := httptest.NewRequest(http.MethodGet, "http://localhost/connect", nil)
	req.RemoteAddr = "127.0.0.1:5"
	_, body := answer(&connect.Page{Path: "/connect", Sources: []connect.Source{source}}, req)
	if strings.Contains(body, "/var/lib") ||
		!strings.Contains(body, "Some accounts are not shown. 1 of the source&#39;s stored records cannot be read.") {
		t.Errorf("the page says:\n%s", body)
	}
}

// pathStorage is a storage whose files cannot be read.
type pathStorage struct{ *tokensource.MemoryStorage }

func (pathStorage) Load(_ context.Context, key string) ([]byte, error) {
	return nil, &fs.PathError{Op: "open", Path: "/var/lib/caddy/" + key, Err: fs.ErrPermission}
}

// A person who empties the field of a variable is asked for its value, also if the account has one.
func TestEmptiedField(t *testing.T) {
	source := newSourceOn(t, nil, func(cfg *tokensource.Config) {
		cfg.AuthorizeURL, cfg.TokenURL = "https://{shop}.example.com/authorize", "https://{shop}.example.com/token"
		cfg.Variables = []provider.Variable{{Name: "shop", Title: "Shop", Pattern: "^[a-z]+$", Allowed: "letters", Example: "acme",
			PerAccount: true}}
	})
	ada := visit(t, &connect.Page{Path: "/connect", AnyCaller: true, Sources: []connect.Source{source}}, "")
	res, body := ada.press("start", "account", "ada", "shop", "acme")
	to, err := res.Location()
	if err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	ada.send(http.MethodGet, "/connect/callback?code=c&state="+url.QueryEscape(to.Query().Get("state")), nil)
	if !isConnected(source, "ada") {
		t.Fatal("the account is not connected")
	}
	res, _ = ada.press("start", "account", "ada", "shop", " ")
	if to, err = res.Location(); err != nil {
		t.Fatalf("an empty field was answered with %d", res.StatusCode)
	}
	const want = "Shop is needed. Allowed are letters, such as acme."
	if _, body := ada.send(http.MethodGet, "/connect?"+to.RawQuery, nil); !strings.Contains(body, want) {
		t.Errorf("the page says: %s", body)
	}
}

// After the answer, the cookie of the login is removed with the path with which it was set.
func TestLoginCookieIsRemoved(t *testing.T) {
	source := newSource(t)
	source.RedirectURL = "http://localhost/app/connect/callback" // a proxy in front removes /app
	page := &connect.Page{Path: "/connect", AnyCaller: true, Sources: []connect.Source{source}}
	ada := visit(t, page, "")
	res, body := ada.press("start")
	to, err := res.Location()
	if err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	set := map[string]string{}
	for _, c := range res.Cookies() {
		set[c.Name] = c.Path
	}
	res, _ = ada.send("GET", "/connect/callback?code=c&state="+url.QueryEscape(to.Query().Get("state")), nil)
	for _, c := range res.Cookies() {
		if strings.HasPrefix(c.Name, "authinject-login-") && c.Path != set[c.Name] {
			t.Errorf("set with path %s, removed with path %s: browsers keep it", set[c.Name], c.Path)
		}
	}
}
