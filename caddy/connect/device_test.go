package connect_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/caddy/connect"
	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// deviceProvider gives codes, and a token for each code once its person has allowed access.
type deviceProvider struct {
	begun   atomic.Int64
	refusal atomic.Value // the error code of token requests; "": they are granted
}

func (p *deviceProvider) RoundTrip(req *http.Request) (*http.Response, error) {
	res := httptest.NewRecorder()
	res.Header().Set("Content-Type", "application/json")
	switch code, _ := p.refusal.Load().(string); {
	case strings.HasSuffix(req.URL.Path, "/device"):
		_, _ = fmt.Fprintf(res,
			`{"device_code":"dc%d-canary","user_code":"UC<%[1]d>","verification_uri":"https://login.example.com/activate",`+
				`"verification_uri_complete":"https://login.example.com/activate?c=UC%[1]d","expires_in":900}`, p.begun.Add(1))
	case code != "":
		res.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(res, `{"error":%q}`, code)
	default:
		_, _ = io.WriteString(res, `{"access_token":"at","token_type":"Bearer","expires_in":3600,"refresh_token":"rt"}`)
	}
	return res.Result(), nil
}

// newDeviceSource is a source whose accounts a person connects with a code. Its end is the end of
// the bubble.
func newDeviceSource(t *testing.T, p *deviceProvider) connect.Source {
	t.Helper()
	return newDeviceSourceOn(t, p, nil)
}

// newDeviceSourceOn is a source that keeps its logins in storage.
func newDeviceSourceOn(t *testing.T, p *deviceProvider, storage tokensource.Storage) connect.Source {
	t.Helper()
	src, err := tokensource.New(tokensource.Config{
		Name: "orders", Grant: tokensource.DeviceCode{}, ClientID: "x", Transport: p, Storage: storage,
		DeviceURL: "https://login.example.com/device", TokenURL: "https://login.example.com/token",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := src.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return connect.Source{Name: "orders", Title: "The orders", Tokens: src}
}

// Connect shows a code in the account's row. The page then shows by itself that the account is
// connected.
func TestDevicePage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &deviceProvider{}
		p.refusal.Store("authorization_pending")
		v := visit(t, &connect.Page{Path: "/connect", AnyCaller: true, Sources: []connect.Source{newDeviceSource(t, p)}}, "")
		if body := v.show(); strings.Contains(body, `class="device`) {
			t.Errorf("a code before Connect: %s", body)
		}
		res, _ := v.press("start")
		if to, err := res.Location(); err != nil || res.StatusCode != http.StatusSeeOther ||
			to.String() != "../connect?#source-orders" {
			t.Fatalf("Connect leads to %v, %v", to, err)
		}
		look := func() string {
			_, body := v.send("GET", "/connect", nil, "X-Authinject-Page", v.token(), "Sec-Fetch-Dest", "empty")
			return body
		}
		for _, want := range []string{
			"UC&lt;1&gt;",
			`<a href="https://login.example.com/activate?c=UC1" target="_blank" rel="noopener noreferrer">https://login.example.com/activate</a>`,
			"The code ends in 15 min", `data-pending="true"`, ">Connect</button>",
		} {
			if body := look(); !strings.Contains(body, want) || strings.Contains(body, "canary") {
				t.Errorf("the page has no %s: %s", want, body)
			}
		}
		virtual.Advance(10 * time.Minute)
		if body := look(); !strings.Contains(body, "The code ends in 5 min") {
			t.Errorf("ten minutes later: %s", body)
		}
		p.refusal.Store("")
		virtual.Advance(time.Minute)
		if body := look(); strings.Contains(body, `class="device`) ||
			!strings.Contains(body, "Connected, renews by itself") || !strings.Contains(body, "Reconnect") {
			t.Errorf("at the end: %s", body)
		}
	})
}

// The page says why a login with a code has failed.
func TestDevicePageFails(t *testing.T) {
	for code, want := range map[string]string{
		"access_denied": "Access was denied at the provider. Nothing was changed. Press Connect to try again, and " +
			"allow access at the provider.",
		"expired_token": "The code expired before you allowed access. Nothing was changed. Press Connect for a new code.",
		"unauthorized_client": "The operator of this proxy has to correct its configuration before this account can be " +
			"connected. Nothing was changed.",
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &deviceProvider{}
			p.refusal.Store(code)
			v := visit(t, &connect.Page{Path: "/connect", AnyCaller: true, Sources: []connect.Source{newDeviceSource(t, p)}}, "")
			v.press("start")
			virtual.Advance(6 * time.Second)
			if body := v.show(); !strings.Contains(body, want) || strings.Contains(body, "UC&lt;") {
				t.Errorf("%s: %s", code, body)
			}
			p.refusal.Store("")
			v.press("start")
			virtual.Advance(6 * time.Second)
			if body := v.show(); strings.Contains(body, want) || !strings.Contains(body, "Connected, renews") {
				t.Errorf("%s, then: %s", code, body)
			}
		})
	}
}

// A server that shows a code also asks for its token, if the one that began the login has ended.
func TestDevicePageGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, storage := &deviceProvider{}, &tokensource.MemoryStorage{}
		p.refusal.Store("authorization_pending")
		first := newDeviceSourceOn(t, p, storage)
		visit(t, &connect.Page{Path: "/connect", AnyCaller: true, Sources: []connect.Source{first}}, "").press("start")
		if err := first.Tokens.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		next := newDeviceSourceOn(t, p, storage)
		v := visit(t, &connect.Page{Path: "/connect", AnyCaller: true, Sources: []connect.Source{next}}, "")
		p.refusal.Store("")
		if body := v.show(); !strings.Contains(body, "UC&lt;1&gt;") {
			t.Errorf("the page shows %s", body)
		}
		virtual.Advance(time.Minute)
		if !isConnected(next, "") {
			t.Error("the account is not connected")
		}
	})
}

// Users begin logins for their own accounts, and see no code of others.
func TestDeviceCodeIsTheUsersOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &deviceProvider{}
		p.refusal.Store("authorization_pending")
		orders := newDeviceSource(t, p)
		orders.PerAccount = true
		page := usersPage(orders)
		ada, bob := visit(t, page, "ada"), visit(t, page, "bob")
		ada.press("start", "account", "ada")
		if body := ada.show(); !strings.Contains(body, "UC&lt;1&gt;") {
			t.Errorf("ada sees %s", body)
		}
		if body := bob.show(); strings.Contains(body, "UC&lt;") {
			t.Errorf("bob sees %s", body)
		}
		if res, _ := bob.press("start", "account", "ada"); res.StatusCode != http.StatusForbidden {
			t.Errorf("bob began a login of ada: %d", res.StatusCode)
		}
		if res, _ := bob.send("POST", "/connect/start", map[string][]string{"csrf": {ada.token()}, "source": {"orders"},
			"account": {"bob"}}); res.StatusCode != http.StatusForbidden {
			t.Errorf("another page began a login of bob: %d", res.StatusCode)
		}
		if n := p.begun.Load(); n != 1 {
			t.Errorf("%d logins were begun", n)
		}
		p.refusal.Store("")
		virtual.Advance(10 * time.Second)
		if !isConnected(orders, "ada") || isConnected(orders, "bob") {
			t.Error("another account was connected")
		}
	})
}

// The code of an account that is connected for the first time is shown to the person who began its
// login.
func TestDeviceCodeOfANewAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &deviceProvider{}
		p.refusal.Store("authorization_pending")
		orders := newDeviceSource(t, p)
		orders.PerAccount = true
		v := visit(t, &connect.Page{Path: "/connect", AnyCaller: true, Sources: []connect.Source{orders}}, "")
		res, _ := v.press("start", "account", "team 1", "new", "1")
		to, err := res.Location()
		if err != nil || to.RawQuery != "account=team+1&source=orders" {
			t.Fatalf("Connect leads to %v, %v", to, err)
		}
		if _, body := v.send("GET", "/connect?"+to.RawQuery, nil); !strings.Contains(body, "UC&lt;1&gt;") ||
			!strings.Contains(body, `data-account="team 1"`) {
			t.Errorf("the page: %s", body)
		}
		if body := v.show(); strings.Contains(body, "UC&lt;") {
			t.Errorf("without the account: %s", body)
		}
		p.refusal.Store("")
		virtual.Advance(10 * time.Second)
		if body := v.show(); !strings.Contains(body, `data-account="team 1"`) ||
			!strings.Contains(body, "Connected, renews") {
			t.Errorf("connected: %s", body)
		}
	})
}
