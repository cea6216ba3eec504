package caddy_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// person is a user whose browser runs no scripts and follows no redirect by itself.
type person struct {
	t    *testing.T
	http *http.Client
	page string // the page's address
}

func newPerson(t *testing.T, page string) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &person{t: t, page: page, http: &http.Client{
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (p *person) do(req *http.Request) (*http.Response, string) {
	p.t.Helper()
	res, body, err := rig.Read(p.http.Do(req))
	if err != nil {
		p.t.Fatal(err)
	}
	return res, body
}

// open gets an address. It follows a redirect if that leads to the page.
func (p *person) open(address string) (*http.Response, string) {
	p.t.Helper()
	req, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	res, body := p.do(req)
	if location := res.Header.Get("Location"); res.StatusCode == http.StatusSeeOther && location != "" {
		next, err := res.Location()
		if err != nil {
			p.t.Fatal(err)
		}
		if strings.HasPrefix(next.String(), p.page) {
			return p.open(next.String())
		}
	}
	return res, body
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// press sends one of the page's forms, with the page's CSRF token unless fields has one.
func (p *person) press(action string, fields ...string) (*http.Response, string) {
	p.t.Helper()
	_, page := p.open(p.page)
	form := url.Values{}
	if found := csrfField.FindStringSubmatch(page); found != nil {
		form.Set("csrf", found[1])
	}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	req, err := http.NewRequest(http.MethodPost, p.page+"/"+action, strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", req.URL.Scheme+"://"+req.URL.Host)
	res, body := p.do(req)
	if res.StatusCode == http.StatusSeeOther {
		if next, err := res.Location(); err == nil && strings.HasPrefix(next.String(), p.page) {
			return p.open(next.String())
		}
	}
	return res, body
}

// begin presses Connect and returns the provider's address.
func (p *person) begin(fields ...string) string {
	p.t.Helper()
	res, body := p.press("start", fields...)
	if res.StatusCode != http.StatusSeeOther {
		p.t.Fatalf("Connect was answered with %d: %s", res.StatusCode, notice(body))
	}
	return res.Header.Get("Location")
}

var noticeText = regexp.MustCompile(`(?s)role="(?:alert|status)">(.*?)</div>`)

// notice returns what the page says about the last action.
func notice(body string) string {
	if found := noticeText.FindStringSubmatch(body); found != nil {
		return strings.TrimSpace(found[1])
	}
	return "(no notice)"
}

// loginSite returns a configuration whose source a is connected at p. It has a page for that, and
// serves p's API below /api. The options belong to the directive authinject.
func loginSite(t testing.TB, p *tokensourcetest.Provider, site, provider string, options ...string) rig.Caddyfile {
	t.Helper()
	t.Setenv("CLIENT_SECRET", tokensourcetest.DefaultClientSecret)
	return rig.Caddyfile{}.Source("a", "provider "+provider, rig.Login(p)).
		Site(site, "bind 127.0.0.1", "authinject_connect /connect*", rig.API(p, options...))
}

// Once a person has connected an account at a provider, a client is served, until the person
// disconnects the account.
func TestConnect(t *testing.T) {
	for _, name := range []string{
		tokensourcetest.TinyPlus, tokensourcetest.TinyEmail, tokensourcetest.Accelo,
		tokensourcetest.Biggerplate, tokensourcetest.Tiltify, tokensourcetest.TiltifyV3,
	} {
		t.Run(name, func(t *testing.T) {
			isolate(t)
			addr := rig.FreeAddr(t)
			p := tokensourcetest.StartProvider(t, name,
				tokensourcetest.ProviderConfig{RedirectURIs: []string{"http://" + addr + "/connect/callback"}})
			run(t, loginSite(t, p, "http://"+addr, name))
			ada := newPerson(t, "http://"+addr+"/connect")

			status, body, _ := get(t, "http://"+addr+"/api/x")
			if status != http.StatusServiceUnavailable ||
				!strings.Contains(body, `"login_url":"http://`+addr+`/connect?source=a"`) {
				t.Errorf("before the login: %d %s", status, body)
			}
			wantButton(t, ada, "Connect")
			consent := rig.Allow(t, p, ada.begin("source", "a"))
			if consent.PIN != "" {
				if _, page := ada.press("finish", "source", "a", "code", " "+consent.PIN+" "); !strings.Contains(notice(page),
					"Connected a.") {
					t.Fatalf("after the PIN: %s", notice(page))
				}
			} else if _, page := ada.open(consent.Redirect); !strings.Contains(notice(page), "Connected a.") {
				t.Fatalf("after the callback: %s", notice(page))
			}
			if status, body, _ = get(t, "http://"+addr+"/api/x"); status != http.StatusOK {
				t.Errorf("after the login: %d %s", status, body)
			}
			wantButton(t, ada, "Reconnect")
			if _, page := ada.press("disconnect", "source", "a", "confirm", "yes"); !strings.Contains(notice(page),
				"Disconnected a.") {
				t.Errorf("after disconnecting: %s", notice(page))
			}
			if status, body, _ = get(t, "http://"+addr+"/api/x"); status != http.StatusServiceUnavailable ||
				!strings.Contains(body, "the account was disconnected") {
				t.Errorf("after disconnecting: %d %s", status, body)
			}
			wantButton(t, ada, "Connect")
			tokensourcetest.Report(t, p.Check())
		})
	}
}

// wantButton checks the name of the button that leads to the provider. If an account works, that
// button and the parts that belong to it have the class second.
func wantButton(t *testing.T, p *person, name string) {
	t.Helper()
	_, page := p.open(p.page)
	second := name == "Reconnect"
	for _, button := range regexp.MustCompile(`<button([^>]*)>((?:Rec|C)onnect|Finish)</button>`).FindAllStringSubmatch(
		page, -1) {
		if button[2] != "Finish" && button[2] != name {
			t.Errorf("a button %s, want %s", button[2], name)
		}
		if strings.Contains(button[1], `class="second"`) != second {
			t.Errorf("button %s has the attributes%s", button[2], button[1])
		}
	}
	if !strings.Contains(page, ">"+name+"</button>") {
		t.Errorf("no button %s", name)
	}
	if strings.Contains(page, "Code or PIN") && !strings.Contains(page, "Press "+name+", ") {
		t.Errorf("the field of the code does not name the button %s", name)
	}
}
