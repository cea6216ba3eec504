package connect_test

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/caddy/connect"
	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// usersPage is a page whose visitors name themselves in the header field X-User, in place of
// authentication.
func usersPage(sources ...connect.Source) *connect.Page {
	return &connect.Page{
		Path: "/connect", AnyCaller: true, Sources: sources,
		User: func(r *http.Request) string { return r.Header.Get("X-User") },
	}
}

// visitor is a person with a browser.
type visitor struct {
	t       *testing.T
	page    *connect.Page
	user    string
	cookies map[string]string
}

func visit(t *testing.T, page *connect.Page, user string) *visitor {
	return &visitor{t, page, user, map[string]string{}}
}

// send sends a request, with header fields as pairs of name and value, and keeps its cookies.
func (v *visitor) send(method, target string, form url.Values, header ...string) (*http.Response, string) {
	v.t.Helper()
	req := httptest.NewRequest(method, "http://localhost"+target, strings.NewReader(form.Encode()))
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if v.user != "" {
		req.Header["X-User"] = []string{v.user}
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	for name, value := range v.cookies {
		req.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	recorder := httptest.NewRecorder()
	v.page.ServeHTTP(recorder, req)
	res := recorder.Result()
	for _, cookie := range res.Cookies() {
		v.cookies[cookie.Name] = cookie.Value
		if cookie.MaxAge < 0 {
			delete(v.cookies, cookie.Name)
		}
	}
	return res, recorder.Body.String()
}

// show returns the page.
func (v *visitor) show() string {
	v.t.Helper()
	res, body := v.send(http.MethodGet, "/connect", nil)
	if res.StatusCode != http.StatusOK {
		v.t.Fatalf("the page came with %d: %s", res.StatusCode, body)
	}
	return body
}

var tokenOfPage = regexp.MustCompile(`data-page="([^"]+)"`)

// token returns the token of the page's forms.
func (v *visitor) token() string {
	v.t.Helper()
	found := tokenOfPage.FindStringSubmatch(v.show())
	if found == nil {
		v.t.Fatal("the page has no token")
	}
	return found[1]
}

// press sends a form of the page for the source orders, with more fields as pairs.
func (v *visitor) press(action string, fields ...string) (*http.Response, string) {
	v.t.Helper()
	form := url.Values{"csrf": {v.token()}, "source": {"orders"}}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return v.send(http.MethodPost, "/connect/"+action, form)
}

// begin presses Connect for an account, and returns the callback's address with the provider's
// answer.
func (v *visitor) begin(account string) string {
	v.t.Helper()
	res, body := v.press("start", "account", account)
	to, err := res.Location()
	if res.StatusCode != http.StatusSeeOther || err != nil || to.Query().Get("state") == "" {
		v.t.Fatalf("Connect was answered with %d: %s", res.StatusCode, body)
	}
	return "/connect/callback?code=c&state=" + url.QueryEscape(to.Query().Get("state"))
}

// connect connects an account.
func (v *visitor) connect(account string) {
	v.t.Helper()
	if res, body := v.send(http.MethodGet, v.begin(account), nil); res.StatusCode != http.StatusSeeOther {
		v.t.Fatalf("the callback was answered with %d: %s", res.StatusCode, body)
	}
}

// isConnected reports whether an account has a token.
func isConnected(s connect.Source, account string) bool {
	return s.Tokens.Account(account).Status().Live
}

// Each user sees the account of their name in every source, and no other.
func TestUsersSeeTheirOwnAccounts(t *testing.T) {
	orders := newSource(t)
	orders.PerAccount = true
	everyone := visit(t, &connect.Page{Path: "/connect", AnyCaller: true, Sources: []connect.Source{orders}}, "")
	for _, account := range []string{"ada", "bob", "Ada"} {
		everyone.connect(account)
	}
	page := usersPage(orders)
	for user, state := range map[string]string{"ada": "fresh", "bob": "fresh", "Ada": "fresh", "eve": "none",
		"<i>": "none"} {
		body := visit(t, page, user).show()
		for _, other := range []string{"ada", "bob", "Ada", "eve"} {
			if shown := strings.Contains(body, `data-account="`+other+`"`) ||
				strings.Contains(body, `value="`+other+`"`); shown != (user == other) {
				t.Errorf("%s sees %s: %t", user, other, shown)
			}
		}
		if n := strings.Count(body, "data-state="); n != 1 || !strings.Contains(body, `data-state="`+state+`"`) {
			t.Errorf("%s sees %d accounts", user, n)
		}
		if strings.Contains(body, "Another account") || strings.Contains(body, "<i>") {
			t.Errorf("%s is shown\n%s", user, body)
		}
	}
	if body := everyone.show(); strings.Count(body, "data-state=") != 3 || !strings.Contains(body, "Another account") {
		t.Errorf("without users the page is\n%s", body)
	}
}

// A request that names no user, or one whose name cannot be an account's, is refused at every
// address. It never gets the unnamed account.
func TestRequestsWithoutAUserAreRefused(t *testing.T) {
	orders := newSource(t)
	page := usersPage(orders)
	callback := visit(t, page, "ada").begin("ada")
	for _, user := range []string{"", "a\x00b", strings.Repeat("a", 257), "\xff"} {
		v := visit(t, page, user)
		for _, target := range []string{"/connect", "/connect/", callback} {
			if res, body := v.send(http.MethodGet, target, nil); res.StatusCode != http.StatusForbidden ||
				strings.Contains(body, "data-state") || strings.Contains(body, "csrf") {
				t.Errorf("user %.5q, %s: %d %s", user, target, res.StatusCode, body)
			}
		}
		for _, action := range []string{"start", "finish", "disconnect"} {
			if res, _ := v.send(http.MethodPost, "/connect/"+action,
				url.Values{"source": {"orders"}, "account": {""}}); res.StatusCode != http.StatusForbidden {
				t.Errorf("user %.5q, %s: %d", user, action, res.StatusCode)
			}
		}
	}
	if res, body := visit(t, page, "").send(http.MethodGet, "/connect", nil); !strings.Contains(body,
		"does not say who you are") || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("it says %s", body)
	}
}

// A user who sends a form with the name of another account changes nothing. Names are compared byte
// by byte.
func TestUsersChangeOnlyTheirOwnAccounts(t *testing.T) {
	orders := newSource(t)
	page := usersPage(orders)
	ada, bob := visit(t, page, "ada"), visit(t, page, "bob")
	ada.connect("ada")
	for _, action := range []string{"start", "finish", "disconnect"} {
		for _, fields := range [][]string{
			{"account", "ada"}, {"account", ""}, {}, {"account", "Bob"}, {"account", " bob"}, {"account", "bob "},
			{"account", "ada", "new", "1"},
		} {
			res, body := bob.press(action, append(fields, "confirm", "yes", "code", "c")...)
			if res.StatusCode != http.StatusForbidden || !strings.Contains(body, "only your own") || len(res.Cookies()) > 0 {
				t.Errorf("%s %q: %d %s", action, fields, res.StatusCode, body)
			}
		}
	}
	if !isConnected(orders, "ada") || isConnected(orders, "bob") || isConnected(orders, "") {
		t.Error("an account has changed")
	}
	bob.connect("bob")
	if res, _ := bob.press("disconnect", "account", "bob", "confirm", "yes"); res.StatusCode != http.StatusSeeOther ||
		isConnected(orders, "bob") || !isConnected(orders, "ada") {
		t.Errorf("after Disconnect of their own account: %d", res.StatusCode)
	}
}

// The answer to a login is refused in the session of another user, even in the same browser. The
// user who began the login can still finish it.
func TestCallbackOfAnotherUser(t *testing.T) {
	orders := newSource(t)
	page := usersPage(orders)
	ada, bob := visit(t, page, "ada"), visit(t, page, "bob")
	callback := ada.begin("ada")
	for name, cookies := range map[string]map[string]string{"another browser": bob.cookies,
		"the same browser": ada.cookies} {
		bob.cookies = cookies
		if res, body := bob.send(http.MethodGet, callback, nil); res.StatusCode != http.StatusBadRequest ||
			!strings.Contains(body, "begun by another user") {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
	}
	if isConnected(orders, "ada") || isConnected(orders, "bob") {
		t.Error("an account was connected")
	}
	if res, body := ada.send(http.MethodGet, callback, nil); res.StatusCode != http.StatusSeeOther ||
		!isConnected(orders, "ada") || isConnected(orders, "bob") {
		t.Errorf("the right user: %d %s", res.StatusCode, body)
	}
}

// The page accepts the answer to a login from a terminal only from the user of that account.
func TestTerminalLoginOfAUser(t *testing.T) {
	orders := newSource(t)
	page := usersPage(orders)
	for account, wrong := range map[string]string{"ada": "bob", "": "ada"} {
		login, err := orders.Tokens.BeginLogin(t.Context(), tokensource.LoginRequest{
			Account: account, RedirectURL: "http://localhost/connect/callback", Terminal: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		callback := "/connect/callback?code=c&state=" + url.QueryEscape(login.State.Reveal())
		if res, body := visit(t, page, wrong).send(http.MethodGet, callback, nil); res.StatusCode != http.StatusBadRequest ||
			isConnected(orders, account) {
			t.Errorf("%q, by %s: %d %s", account, wrong, res.StatusCode, body)
		}
		if account == "" {
			continue
		}
		if res, body := visit(t, page, account).send(http.MethodGet, callback, nil); res.StatusCode != http.StatusSeeOther ||
			!isConnected(orders, account) {
			t.Errorf("%q, by its user: %d %s", account, res.StatusCode, body)
		}
	}
}

// A typed code does not finish a login that another user began in the same browser.
func TestTypedCodeOfAnotherUser(t *testing.T) {
	orders := newSource(t)
	orders.RedirectURL = provider.RedirectManual
	page := usersPage(orders)
	ada, bob := visit(t, page, "ada"), visit(t, page, "bob")
	bob.cookies = ada.cookies
	for _, fields := range [][]string{{"account", "ada"}, {"account", "ada", "new", "1"}} {
		if res, _ := ada.press("start", fields...); res.StatusCode != http.StatusSeeOther {
			t.Fatalf("Connect: %d", res.StatusCode)
		}
		for _, more := range [][]string{{}, {"new", "1"}} {
			if res, body := bob.press("finish", append([]string{"account", "bob", "code", "c"},
				more...)...); res.StatusCode != http.StatusSeeOther || isConnected(orders, "ada") || isConnected(orders, "bob") {
				t.Errorf("%q: %d %s, ada %t, bob %t", more, res.StatusCode, body, isConnected(orders, "ada"),
					isConnected(orders, "bob"))
			}
		}
	}
	if ada.press("finish", "account", "ada", "code", "c"); !isConnected(orders, "ada") {
		t.Error("the right user could not finish it")
	}
}

// An attacker who puts their own cookie into another user's browser knows the form token that
// belongs to the cookie. The page does not accept that token from the other user.
func TestTokensOfFormsBelongToUsers(t *testing.T) {
	orders := newSource(t)
	page := usersPage(orders)
	ada, bob := visit(t, page, "ada"), visit(t, page, "bob")
	token := bob.token()
	ada.cookies = bob.cookies
	form := url.Values{"csrf": {token}, "source": {"orders"}, "account": {"ada"}}
	if res, body := ada.send(http.MethodPost, "/connect/start", form); res.StatusCode != http.StatusForbidden ||
		!strings.Contains(body, "too old") {
		t.Errorf("the form: %d %s", res.StatusCode, body)
	}
	if res, body := ada.send(http.MethodGet, "/connect", nil, "Sec-Fetch-Dest", "empty", "X-Authinject-Page",
		token); res.StatusCode != http.StatusForbidden {
		t.Errorf("the page: %d %s", res.StatusCode, body)
	}
}

// Disconnect asks first.
func TestDisconnectAsks(t *testing.T) {
	orders := newSource(t)
	v := visit(t, &connect.Page{Path: "/connect", Sources: []connect.Source{orders}, AnyCaller: true}, "")
	for _, account := range []string{"", "acme <b>"} {
		fields, name := []string{"account", account}, "account acme &lt;b&gt; of orders"
		if account == "" {
			fields, name = nil, "orders"
		}
		res, body := v.press("start", fields...)
		to, err := res.Location()
		if err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		v.send(http.MethodGet, "/connect/callback?code=c&state="+url.QueryEscape(to.Query().Get("state")), nil)
		if !isConnected(orders, account) {
			t.Fatalf("%q is not connected", account)
		}
		res, body = v.press("disconnect", fields...)
		if res.StatusCode != http.StatusOK || !strings.Contains(body, "<h1>Disconnect "+name+"?</h1>") ||
			!strings.Contains(body, `name="confirm" value="yes"`) || !isConnected(orders, account) {
			t.Errorf("%q: %d, connected %t: %s", account, res.StatusCode, isConnected(orders, account), body)
		}
		if !strings.Contains(body, `href="../connect"`) ||
			strings.Contains(res.Header.Get("Content-Security-Policy"), "script-src") {
			t.Errorf("the question is\n%s", body)
		}
		if strings.Contains(body, `name="account"`) != (account != "") {
			t.Errorf("%q: the form is for another account\n%s", account, body)
		}
		if res, body = v.press("disconnect", append(fields, "confirm", "yes")...); res.StatusCode != http.StatusSeeOther ||
			isConnected(orders, account) {
			t.Errorf("%q, confirmed: %d %s", account, res.StatusCode, body)
		}
	}
}

// The page's script may read the page, to show the present states. A script that does not know the
// page's token may not.
func TestPageIsReadByItsOwnScriptOnly(t *testing.T) {
	v := visit(t, &connect.Page{Path: "/connect", Sources: []connect.Source{newSource(t)}, AnyCaller: true}, "")
	token := v.token()
	for name, row := range map[string]struct {
		method, target, token string
		status                int
	}{
		"its own":        {"GET", "/connect", token, 200},
		"no token":       {"GET", "/connect", "", 403},
		"wrong token":    {"GET", "/connect", token[1:], 403},
		"another method": {"POST", "/connect/start", token, 403},
	} {
		if res, body := v.send(row.method, row.target, url.Values{"csrf": {token}, "source": {"orders"}}, "Sec-Fetch-Dest",
			"empty", "Sec-Fetch-Site", "same-origin", "X-Authinject-Page", row.token); res.StatusCode != row.status {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
	}
}

// A page that stays open does not use its accounts. They are not loaded into memory, and no token
// is requested.
func TestRefreshIsNoUse(t *testing.T) {
	storage := new(tokensource.MemoryStorage)
	first, second := newSourceOn(t, storage), newSourceOn(t, storage)
	visit(t, &connect.Page{Path: "/connect", Sources: []connect.Source{first}, AnyCaller: true}, "").connect("acme")
	v := visit(t, &connect.Page{Path: "/connect", Sources: nil, AnyCaller: true}, "")
	token := v.token()
	v.page.Sources = []connect.Source{second}
	for range 2 {
		res, body := v.send(http.MethodGet, "/connect", nil, "Sec-Fetch-Dest", "empty", "X-Authinject-Page", token)
		if res.StatusCode != http.StatusOK || !strings.Contains(body, `data-state="fresh" data-account="acme"`) ||
			!strings.Contains(body, "Connected, renews by itself") {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
	}
	if _, loaded := second.Tokens.Loaded("acme"); loaded {
		t.Error("the account is in memory")
	}
	v.show()
	if _, loaded := second.Tokens.Loaded("acme"); !loaded {
		t.Error("the page that a person opens does not load the account")
	}
	// The page shows what a person decided in another process.
	if err := first.Tokens.Account("acme").Disconnect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, body := v.send(http.MethodGet, "/connect", nil, "Sec-Fetch-Dest", "empty", "X-Authinject-Page",
		token); !strings.Contains(body, `data-state="login_required" data-account="acme"`) {
		t.Errorf("after it was disconnected elsewhere: %s", body)
	}
}

// Times are in UTC and say so. Their markup lets the script show them in the browser's time zone.
func TestTimesOfThePage(t *testing.T) {
	v := visit(t, &connect.Page{Path: "/connect", Sources: []connect.Source{newSource(t)}, AnyCaller: true}, "")
	v.connect("acme")
	if body := v.show(); !regexp.MustCompile(
		`<time datetime="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ">\d{4}-\d\d-\d\d \d\d:\d\d UTC</time>`).MatchString(body) {
		t.Error(body)
	}
}

// Callers are accepted by their address. A caller behind a proxy that is not trusted is refused,
// because its address is not known.
func TestCallersByAddress(t *testing.T) {
	page := &connect.Page{
		Path: "/connect", Ranges: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"),
			netip.MustParsePrefix("2001:db8::/32")},
		Client: func(r *http.Request) string { return r.Header.Get("X-Trusted") },
	}
	for name, row := range map[string]struct {
		from    string
		header  []string
		allowed bool
	}{
		"in the range":         {"192.0.2.7:5", nil, true},
		"beside it":            {"192.0.3.7:5", nil, false},
		"mapped":               {"[::ffff:192.0.2.7]:5", nil, true},
		"version 6":            {"[2001:db8::7]:5", nil, true},
		"version 6, elsewhere": {"[2001:db9::7]:5", nil, false},
		"this machine":         {"127.0.0.1:5", nil, true},
		"through a proxy":      {"192.0.2.7:5", []string{"X-Forwarded-For", "192.0.2.9"}, false},
		"through a trusted proxy": {"198.51.100.1:5", []string{"X-Forwarded-For", "192.0.2.9", "X-Trusted", "192.0.2.9"},
			true},
		"a stranger through a proxy": {"192.0.2.7:5", []string{"X-Forwarded-For", "198.51.100.9", "X-Trusted",
			"198.51.100.9"}, false},
		"a proxy on this machine": {"127.0.0.1:5", []string{"X-Forwarded-For", "192.0.2.9"}, false},
		"no address":              {"somewhere", nil, false},
	} {
		req := httptest.NewRequest(http.MethodGet, "http://localhost/connect", nil)
		req.RemoteAddr = row.from
		for i := 0; i < len(row.header); i += 2 {
			req.Header.Set(row.header[i], row.header[i+1])
		}
		status, body := answer(page, req)
		if (status == http.StatusOK) != row.allowed ||
			status != http.StatusOK && !strings.Contains(body, "the option callers names") {
			t.Errorf("%s: %d %s", name, status, cmp.Or(body, "(empty)"))
		}
	}
}

// A user whose name cannot be an account's name gets no link to the page, which would be refused too.
func TestNoLinkToARefusedPage(t *testing.T) {
	for user, linked := range map[string]bool{"": false, strings.Repeat("x", 300): false, "ada": true} {
		res, body := visit(t, usersPage(newSource(t)), user).send(http.MethodPost, "/connect/start", nil)
		if res.StatusCode != http.StatusForbidden || strings.Contains(body, "<a href") != linked {
			t.Errorf("user %.9q: %d %s", user, res.StatusCode, body)
		}
	}
}

// A button acts on the account in whose row it is, also if its name ends with a space.
func TestButtonsActOnTheirOwnRow(t *testing.T) {
	source := newSource(t)
	// Two users of a page with the option user, whose names differ in a space.
	visit(t, usersPage(source), "ada").connect("ada")
	visit(t, usersPage(source), "ada ").connect("ada ")
	if !isConnected(source, "ada") || !isConnected(source, "ada ") {
		t.Fatal("not connected")
	}
	operator := visit(t, &connect.Page{Path: "/connect", AnyCaller: true, Sources: []connect.Source{source}}, "")
	if body := operator.show(); !strings.Contains(body, `name="account" value="ada "`) {
		t.Fatalf("no row: %s", body)
	}
	operator.press("disconnect", "account", "ada ", "confirm", "yes") // what the browser sends for that row
	if !isConnected(source, "ada") {
		t.Error("the operator pressed Disconnect of \"ada \", and \"ada\" was disconnected")
	}
	if isConnected(source, "ada ") {
		t.Error("\"ada \" is still connected")
	}
}
