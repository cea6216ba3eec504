package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

const deviceURL = "https://login.example.com/oauth/device"

// deviceServer is an [authServer] that also has a device authorization endpoint.
type deviceServer struct {
	authServer
	device endpoint // its script answers; nil: codes that end after ten minutes
}

func (s *deviceServer) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(req.URL.Path, "/device") {
		if s.device.script == nil {
			s.device.set(func(n int, _ url.Values) reply { return codes(n, `"expires_in":600,"interval":5`) })
		}
		return s.device.RoundTrip(req)
	}
	return s.authServer.RoundTrip(req)
}

// codes answers a device authorization request with the codes dcN and UC-N.
func codes(n int, more string) reply {
	return reply{body: fmt.Sprintf(`{"device_code":"dc%d","user_code":"UC-%d","verification_uri":"https://login.example.com/activate",`+
		`"verification_uri_complete":"https://login.example.com/activate?user_code=UC-%d",%s}`, n, n, n, more)}
}

// answers is a token endpoint that gives these answers in order, and then tokens. A word is an
// error code.
func answers(words ...string) *deviceServer {
	s := &deviceServer{}
	s.script = func(n int, _ url.Values) reply {
		switch {
		case n > len(words):
			return rotated(n, time.Hour)
		case words[n-1] == "timeout":
			return reply{delay: time.Hour}
		case words[n-1] == "broken":
			return reply{err: errReset, unsent: true}
		case strings.HasPrefix(words[n-1], "200 "): // as GitHub answers
			return refused(200, words[n-1][4:])
		case words[n-1] == "later":
			return withHeader(refused(429, "slow_down_please"), "Retry-After", "60")
		}
		return refused(400, words[n-1])
	}
	return s
}

// onDevice configures a source whose accounts a person connects with a code.
func onDevice(storage tokensource.Storage) func(*tokensource.Config) {
	return func(cfg *tokensource.Config) {
		cfg.Grant, cfg.Storage = tokensource.DeviceCode{}, storage
		cfg.DeviceURL, cfg.RevokeURL = deviceURL, revokeURL
	}
}

// askedAt returns when the n requests for a token came, in seconds since began.
func askedAt(s *deviceServer, began time.Time) (at []int) {
	for _, c := range s.all() {
		at = append(at, int(c.at.Sub(began).Seconds()))
	}
	return at
}

// await waits for the end of a device login.
func await(t testing.TB, src *tokensource.Source, l *tokensource.Login) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Hour)
	defer cancel()
	return src.AwaitLogin(ctx, l)
}

// A device login sends exactly these requests. Its tokens are refreshed as those of a login in a
// browser.
func TestDeviceLoginOnTheWire(t *testing.T) {
	for name, tt := range map[string]struct {
		edit          func(*tokensource.Config)
		device, token string
		basic         bool
	}{
		"plain": {func(*tokensource.Config) {}, "", "device_code=dc1&grant_type=urn:ietf:params:oauth:grant-type:device_code",
			true},
		"a public client, with PKCE, scopes and parameters": {func(c *tokensource.Config) {
			c.Grant, c.ClientSecrets, c.ClientAuth = tokensource.DeviceCode{PKCE: true}, nil, tokensource.ClientAuthNone
			c.Scopes = []string{"openid", "orders:read"}
			c.AuthorizeParams = []tokensource.Param{{Name: "audience", Value: tokensource.Literal("https://api.example.com")}}
			c.Params = []tokensource.Param{{Name: "tenant", Value: tokensource.Literal("t1")}}
		},
			"audience=https://api.example.com&client_id=orders-client&code_challenge=<S256>&code_challenge_method=S256&scope=openid orders:read",
			"client_id=orders-client&code_verifier=<verifier>&device_code=dc1&grant_type=urn:ietf:params:oauth:grant-type:device_code&tenant=t1", false},
		"the secret in the body": {func(c *tokensource.Config) { c.ClientAuth = tokensource.ClientSecretPost },
			"client_id=orders-client&client_secret=" + clientSecret,
			"client_id=orders-client&client_secret=" + clientSecret +
				"&device_code=dc1&grant_type=urn:ietf:params:oauth:grant-type:device_code", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := answers()
				src := newSource(t, s, onDevice(nil), tt.edit)
				l := begin(t, src, tokensource.LoginRequest{})
				if d := l.Device; d.UserCode.Reveal() != "UC-1" || d.VerificationURI != "https://login.example.com/activate" ||
					!strings.HasSuffix(d.VerificationURIComplete.Reveal(), "=UC-1") || d.Interval != 5*time.Second ||
					d.Ends.Sub(l.Begun) != 10*time.Minute ||
					l.Typed() || !src.OnDevice() || !l.URL.Equal(d.VerificationURIComplete) {
					t.Errorf("login %+v of %+v", d, l)
				}
				if err := await(t, src, l); err != nil {
					t.Fatal(err)
				}
				wantToken(t, src, "at1")
				request, poll := s.device.all()[0], s.all()[0]
				challenge := request.form.Get("code_challenge")
				if challenge != "" {
					if want := oauth2.S256ChallengeFromVerifier(l.Verifier.Reveal()); challenge != want ||
						poll.form.Get("code_verifier") != l.Verifier.Reveal() {
						t.Errorf("challenge %q, want %q", challenge, want)
					}
					request.form.Set("code_challenge", "<S256>")
					poll.form.Set("code_verifier", "<verifier>")
				}
				if got := flat(request.form); got != tt.device || request.url != deviceURL {
					t.Errorf("device authorization request %s to %s, want %s", got, request.url, tt.device)
				}
				if got := flat(poll.form); got != tt.token {
					t.Errorf("token request %s, want %s", got, tt.token)
				}
				for _, h := range []http.Header{request.header, poll.header} {
					if h.Get("Accept") != "application/json" || (h.Get("Authorization") != "") != tt.basic {
						t.Errorf("fields %v", h)
					}
				}
				virtual.Advance(time.Hour)
				wantToken(t, src, "at2")
				if got := s.all()[1].form; got.Get("refresh_token") != "rt1" || got.Has("device_code") {
					t.Errorf("refresh request %v", got)
				}
			})
		})
	}
}

// flat returns a form as one readable line.
func flat(form url.Values) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(form)) {
		for _, v := range form[name] {
			parts = append(parts, name+"="+v)
		}
	}
	return strings.Join(parts, "&")
}

// The pause between two requests for the token is what RFC 8628 section 3.5 says.
func TestDevicePauses(t *testing.T) {
	for name, tt := range map[string]struct {
		codes   string
		answers []string
		at      []int
	}{
		"the provider's interval": {`"expires_in":600,"interval":7`,
			[]string{"authorization_pending", "authorization_pending"}, []int{7, 14, 21}},
		"no interval":      {`"expires_in":600`, []string{"authorization_pending"}, []int{5, 10}},
		"an interval of 0": {`"expires_in":600,"interval":0`, []string{"authorization_pending"}, []int{5, 10}},
		"a tiny interval":  {`"expires_in":600,"interval":0.001`, []string{"authorization_pending"}, []int{1, 2}},
		"an interval as text": {`"expires_in":"600","interval":"2"`, []string{"authorization_pending"},
			[]int{2, 4}},
		"slow_down holds for good": {`"expires_in":600,"interval":5`,
			[]string{"slow_down", "authorization_pending", "slow_down", "authorization_pending"}, []int{5, 15, 25, 40, 55}},
		"no answer: twice the pause": {`"expires_in":600,"interval":5`,
			[]string{"timeout", "timeout", "timeout", "authorization_pending"}, []int{5, 25, 55, 105, 110}},
		"no connection: twice the pause": {`"expires_in":600,"interval":5`,
			[]string{"broken", "broken", "authorization_pending", "broken"}, []int{5, 15, 35, 40, 50}},
		"no connection: a minute at most": {`"expires_in":600,"interval":5`,
			[]string{"broken", "broken", "broken", "broken", "broken"}, []int{5, 15, 35, 75, 135, 195}},
		"errors with status 200": {`"expires_in":900,"interval":5`,
			[]string{"200 authorization_pending", "200 slow_down", "200 authorization_pending"}, []int{5, 10, 20, 30}},
		"in trouble": {`"expires_in":600,"interval":5`,
			[]string{"temporarily_unavailable", "server_error"}, []int{5, 15, 35}},
		"told to wait": {`"expires_in":600,"interval":5`, []string{"later", "authorization_pending"},
			[]int{5, 65, 70}},
		"after slow_down, no connection": {`"expires_in":600,"interval":5`,
			[]string{"slow_down", "broken", "authorization_pending"}, []int{5, 15, 35, 45}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := answers(tt.answers...)
				s.device.set(func(n int, _ url.Values) reply { return codes(n, tt.codes) })
				src := newSource(t, s, onDevice(nil))
				began := time.Now()
				if err := await(t, src, begin(t, src, tokensource.LoginRequest{})); err != nil {
					t.Fatal(err)
				}
				if got := askedAt(s, began); !slices.Equal(got, tt.at) {
					t.Errorf("requests after %v s, want %v", got, tt.at)
				}
			})
		})
	}
}

// A login that was refused or took too long ends, the account does not change, and every process
// can say why.
func TestDeviceLoginFails(t *testing.T) {
	for name, tt := range map[string]struct {
		answers []string
		class   tokensource.Class
		text    string
		sent    int
	}{
		"denied": {[]string{"authorization_pending", "access_denied"}, tokensource.ClassLogin,
			"access was denied at the provider, error access_denied", 2},
		"denied, at Entra": {[]string{"authorization_declined"}, tokensource.ClassLogin,
			"access was denied at the provider, error access_denied", 1},
		"a code of the provider's": {[]string{"authorization_pending", "device_flow_disabled"}, tokensource.ClassLogin,
			"the token endpoint answered 400 device_flow_disabled", 2},
		"the provider's end": {[]string{"expired_token"}, tokensource.ClassLogin, "the code expired before a person " +
			"allowed access at the provider, error expired_token", 1},
		"the end that it said": {slices.Repeat([]string{"authorization_pending"}, 200), tokensource.ClassLogin,
			"the code expired before a person allowed access at the provider, error expired_token", 119},
		"a code that is not known": {[]string{"invalid_grant"}, tokensource.ClassLogin, "the token endpoint answered 400 " +
			"invalid_grant", 1},
		"a mistake": {[]string{"unauthorized_client"}, tokensource.ClassOperator, "the token endpoint answered 400 " +
			"unauthorized_client: allow the grant for this client at the provider, or configure another grant. If the client " +
			"may use the grant, check client_id, client_secret and client_auth (now client_secret_basic)", 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := &tokensource.MemoryStorage{}
				s := answers(tt.answers...)
				var ev events
				src, other := newSource(t, s, onDevice(storage), observed(&ev)), newSource(t, s, onDevice(storage))
				l := begin(t, src, tokensource.LoginRequest{Account: "alice"})
				err := await(t, src, l)
				if asError(t, err, tt.class); err.Error() != `token source "orders", account "alice": `+tt.text {
					t.Errorf("got %v", err)
				}
				wantCount(t, &s.endpoint, tt.sent)
				pending, err := other.PendingLogin(t.Context(), "alice")
				if err != nil || pending == nil || pending.Device.Failed == nil ||
					!strings.HasPrefix(tt.text, pending.Device.Failed.What()) || !pending.Device.Code.IsZero() {
					t.Fatalf("the other process sees %+v, %v", pending, err)
				}
				if names, _ := src.Accounts(t.Context()); len(names) != 0 {
					t.Errorf("accounts %v", names)
				}
				if ev.count(tokensource.EventLoginFailed) != 1 {
					t.Errorf("events %+v", ev.all())
				}
				virtual.Advance(time.Hour)
				wantCount(t, &s.endpoint, tt.sent)
				if pending, err := other.PendingLogin(t.Context(), "alice"); pending != nil || err != nil {
					t.Errorf("an hour later: %+v, %v", pending, err)
				}
				begin(t, src, tokensource.LoginRequest{Account: "bob"}) // sweeps
				if left := keys(t, storage, "authinject/logins/"); len(left) != 1 {
					t.Errorf("stored are %v", left)
				}
			})
		})
	}
}

// A login outlives its process: another one asks on, never sooner than the interval allows.
func TestDeviceLoginOutlivesItsProcess(t *testing.T) {
	for name, resume := range map[string]func(src *tokensource.Source, account string){
		"at its start": func(src *tokensource.Source, _ string) { src.ResumeLogins() },
		"from the page": func(src *tokensource.Source, account string) {
			l, err := src.PendingLogin(context.Background(), account)
			if err != nil || l == nil {
				panic(fmt.Sprint(l, err))
			}
			src.ResumeLogin(l)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := &tokensource.MemoryStorage{}
				s := answers("slow_down", "authorization_pending", "authorization_pending", "authorization_pending")
				first := newSource(t, s, onDevice(storage))
				began := time.Now()
				l := begin(t, first, tokensource.LoginRequest{Account: "alice"})
				virtual.Advance(16 * time.Second)
				if err := first.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := await(t, first, l); !errors.Is(err, tokensource.ErrClosed) {
					t.Errorf("got %v", err)
				}
				next := newSource(t, s, onDevice(storage))
				resume(next, "alice")
				virtual.Advance(2 * time.Minute)
				if names, err := next.Accounts(t.Context()); len(names) != 1 {
					t.Errorf("connected %v, %v", names, err)
				}
				at := askedAt(s, began)
				for i := 1; i < len(at); i++ {
					if at[i]-at[i-1] < 10 { // after slow_down
						t.Errorf("requests after %v s", at)
					}
				}
				if len(at) != 5 || len(keys(t, storage, "authinject/logins/")) != 0 {
					t.Errorf("requests after %v s", at)
				}
			})
		})
	}
}

// A login can be finished for as long as its codes last, which is an hour at most. Nothing removes
// it sooner.
func TestDeviceLoginLastsAsItsCodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		s := answers(slices.Repeat([]string{"authorization_pending"}, 300)...)
		s.device.set(func(n int, _ url.Values) reply { return codes(n, `"expires_in":1800,"interval":10`) })
		src := newSource(t, s, onDevice(storage))
		l := begin(t, src, tokensource.LoginRequest{Account: "alice"})
		virtual.Advance(25 * time.Minute)
		begin(t, src, tokensource.LoginRequest{Account: "bob"}) // sweeps
		if pending, err := src.PendingLogin(t.Context(), "alice"); err != nil || pending == nil ||
			pending.Device.Failed != nil {
			t.Errorf("after 25 minutes: %+v, %v", pending, err)
		}
		s.set(always(rotated(1, time.Hour)))
		if err := await(t, src, l); err != nil {
			t.Error(err)
		}
		s.device.set(func(n int, _ url.Values) reply { return codes(n, `"expires_in":1000000,"interval":1000000`) })
		if d := begin(t, src, tokensource.LoginRequest{}).Device; time.Until(d.Ends) != time.Hour || d.Interval != time.Hour {
			t.Errorf("codes that end at %v, asked for each %v", d.Ends, d.Interval)
		}
	})
}

// Several processes that know of a login ask no more often than one.
func TestDeviceProcessesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		s := answers(slices.Repeat([]string{"authorization_pending"}, 20)...)
		a, b := newSource(t, s, onDevice(storage)), newSource(t, s, onDevice(storage))
		began := time.Now()
		l := begin(t, a, tokensource.LoginRequest{})
		b.ResumeLogin(l)
		b.ResumeLogins()
		a.ResumeLogin(l)
		if err := await(t, a, l); err != nil {
			t.Fatal(err)
		}
		for i, at := range askedAt(s, began) {
			if at != 5*(i+1) {
				t.Fatalf("requests after %v s", askedAt(s, began))
			}
		}
		if err := await(t, b, l); err != nil {
			t.Error(err)
		}
		virtual.Advance(time.Minute)
		wantCount(t, &s.endpoint, 21)
		wantToken(t, b, "at21")
	})
}

// The codes of one account connect no other. A newer login of an account replaces the older one.
func TestDeviceLoginBelongsToItsAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := answers()
		s.script = func(n int, form url.Values) reply {
			if form.Get("device_code") == "dc1" {
				return refused(400, "authorization_pending")
			}
			return reply{body: fmt.Sprintf(`{"access_token":"of-%s","expires_in":3600}`, form.Get("device_code"))}
		}
		src := newSource(t, s, onDevice(nil))
		old := begin(t, src, tokensource.LoginRequest{Account: "alice"})
		virtual.Advance(7 * time.Second)
		bob := begin(t, src, tokensource.LoginRequest{Account: "bob"})
		alice := begin(t, src, tokensource.LoginRequest{Account: "alice"})
		alice.Account, bob.Account = "bob", "alice" // a caller cannot change it later
		wantNoLogin(t, await(t, src, old))
		virtual.Advance(time.Minute)
		for name, want := range map[string]string{"alice": "of-dc3", "bob": "of-dc2"} {
			tok, err := src.Account(name).Token(t.Context())
			if err != nil || tok.AccessToken() != want {
				t.Errorf("%s has %v, %v", name, tok, err)
			}
		}
		for _, c := range s.all() {
			if c.form.Get("device_code") == "dc1" && c.at.Sub(old.Begun) > 7*time.Second {
				t.Error("a login that was replaced was asked for")
			}
		}
	})
}

// A cancelled login connects nothing. A token that was granted at that moment is revoked.
func TestCancelledDeviceLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		s := answers()
		s.script = func(n int, _ url.Values) reply {
			r := rotated(n, time.Hour)
			r.delay = 3 * time.Second
			return r
		}
		src := newSource(t, s, onDevice(storage))
		l := begin(t, src, tokensource.LoginRequest{})
		virtual.Advance(6 * time.Second)
		if err := src.CancelLogin(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		wantNoLogin(t, await(t, src, l))
		virtual.Advance(time.Minute)
		wantCount(t, &s.endpoint, 1)
		if got := s.revoked(); !slices.Equal(got, []string{"rt1", "at1"}) {
			t.Errorf("revoked %v", got)
		}
		wantError(t, src, tokensource.ClassLogin)
		if left := keys(t, storage, ""); len(left) != 0 {
			t.Errorf("stored %v", left)
		}
		newer := begin(t, src, tokensource.LoginRequest{})
		if err := src.CancelLogin(t.Context(), l); err != nil { // of the older login
			t.Fatal(err)
		}
		if err := await(t, src, newer); err != nil {
			t.Error(err)
		}
	})
}

// While the storage cannot be written, no token is asked for, because it would be lost.
func TestDeviceLoginWaitsForTheStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const offBeat = 61 * time.Second // so that the storage changes between two turns, and not in one
		s := answers()
		storage := &shelf{Storage: &tokensource.MemoryStorage{}}
		src := newSource(t, s, onDevice(storage))
		storage.fail("logins", nil, errDisk)
		_, err := src.BeginLogin(t.Context(), tokensource.LoginRequest{})
		asError(t, err, tokensource.ClassWait)
		storage.fail("logins", nil, nil)
		l := begin(t, src, tokensource.LoginRequest{})
		storage.fail("logins", nil, errDisk)
		virtual.Advance(offBeat)
		wantCount(t, &s.endpoint, 0)
		storage.fail("logins", errDisk, nil)
		virtual.Advance(offBeat)
		wantCount(t, &s.endpoint, 0)
		storage.fail("logins", nil, nil)
		if err := await(t, src, l); err != nil {
			t.Fatal(err)
		}
		wantToken(t, src, "at1")
	})
}

// What a provider answers in place of codes is an error that says what to do, and shows nothing of
// the answer.
func TestDeviceAuthorizationFails(t *testing.T) {
	body := func(text string) reply { return reply{body: text} }
	for name, tt := range map[string]struct {
		answer reply
		class  tokensource.Class
		text   string
	}{
		"a refusal": {refused(401, "invalid_client"), tokensource.ClassOperator,
			"the device authorization endpoint answered 401 invalid_client: check client_id, client_secret and client_auth " +
				"(now client_secret_basic). If the client_secret is wrong, write the right one into the option client_secret. " +
				"If the secret is right, try client_auth client_secret_post"},
		"not offered to this client": {refused(400, "unauthorized_client"), tokensource.ClassOperator,
			"the device authorization endpoint answered 400 unauthorized_client: allow the grant for this client at the " +
				"provider, or configure another grant. If the client may use the grant, check client_id, client_secret and " +
				"client_auth (now client_secret_basic)"},
		"nothing there": {reply{status: 404, body: "no"}, tokensource.ClassOperator,
			"there is no device authorization endpoint at device_url, status 404: check the path of device_url"},
		"in trouble": {reply{status: 503}, tokensource.ClassWait, "the device authorization endpoint answered 503"},
		"a page": {body("<html>canary"), tokensource.ClassWait, "the device authorization endpoint's answer is no " +
			"device code: the answer is neither a JSON object nor a form, status 200"},
		"no code": {body(`{"user_code":"canary","verification_uri":"https://a.example"}`), tokensource.ClassWait,
			"the device authorization endpoint's answer holds no device_code, status 200"},
		"no user code": {body(`{"device_code":"canary","verification_uri":"https://a.example"}`), tokensource.ClassWait,
			"the device authorization endpoint's answer holds no user_code that can be shown, status 200"},
		"an evil code": {body(`{"device_code":"d","user_code":"canary\u001b[2J","verification_uri":"https://a.example"}`),
			tokensource.ClassWait,
			"the device authorization endpoint's answer holds no user_code that can be shown, status 200"},
		"an evil page": {body(`{"device_code":"d","user_code":"u","verification_uri":"javascript:canary"}`),
			tokensource.ClassWait, "the device authorization endpoint's answer holds no verification_uri that a browser can " +
				"open safely: https, or http on this machine, status 200"},
		"a plain page": {body(`{"device_code":"d","user_code":"u","verification_uri":"http://canary.example/"}`),
			tokensource.ClassWait, "the device authorization endpoint's answer holds no verification_uri that a browser can " +
				"open safely: https, or http on this machine, status 200"},
		"a broken line": {reply{err: errReset}, tokensource.ClassWait, "the device authorization endpoint could not be " +
			"reached: check the network, HTTPS_PROXY and the host login.example.com in device_url"},
		"silence": {reply{delay: time.Hour}, tokensource.ClassWait, "the device authorization endpoint did not answer in " +
			"time: check the network between this machine and the provider (login.example.com). If the provider is always " +
			"that slow, set timeout higher (now 10s)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, storage := answers(), &tokensource.MemoryStorage{}
				s.device.set(always(tt.answer))
				src := newSource(t, s, onDevice(storage))
				_, err := src.BeginLogin(t.Context(), tokensource.LoginRequest{})
				if asError(t, err, tt.class); err.Error() != `token source "orders": `+tt.text {
					t.Errorf("got %v, want %s", err, tt.text)
				}
				if left := keys(t, storage, ""); len(left) != 0 {
					t.Errorf("stored %v", left)
				}
				virtual.Advance(time.Minute)
				wantCount(t, &s.endpoint, 0)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // Google's word, and a page with the code that is not safe
		s := answers()
		s.device.set(
			always(
				body(
					`{"device_code":"d","user_code":"u","verification_url":"https://a.example/d","verification_uri_complete":"data:x","expires_in":1800}`)))
		src := newSource(t, s, onDevice(nil))
		if d := begin(t, src, tokensource.LoginRequest{}).Device; d.VerificationURI != "https://a.example/d" ||
			!d.VerificationURIComplete.IsZero() {
			t.Errorf("%+v", d)
		}
	})
}

// The endpoint may come from the issuer's metadata. Without one, the error names the option.
func TestDeviceURLFromTheIssuer(t *testing.T) {
	cfg := tokensource.Config{Name: "orders", Grant: tokensource.DeviceCode{}, TokenURL: tokenURL, ClientID: "c"}
	if err := cfg.Check(); err == nil || err.Error() != "device_url is needed, or issuer" {
		t.Errorf("got %v", err)
	}
	cfg.DeviceURL = "http://login.example.com/device"
	if err := cfg.Check(); err == nil || !strings.HasPrefix(err.Error(), "device_url must be https") {
		t.Errorf("got %v", err)
	}
}

// No device code is in what a login prints.
func TestDeviceLoginPrintsNoCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := answers()
		// %#v prints addresses, so the code has letters that no address has.
		s.device.set(func(int, url.Values) reply {
			return reply{
				body: `{"device_code":"polled","user_code":"typed","verification_uri":"https://login.example.com/activate","expires_in":600}`}
		})
		src := newSource(t, s, onDevice(nil))
		l := begin(t, src, tokensource.LoginRequest{})
		if l.Device.Code.Reveal() != "polled" || l.Device.UserCode.Reveal() != "typed" {
			t.Fatalf("codes %q and %q", l.Device.Code.Reveal(), l.Device.UserCode.Reveal())
		}
		for _, text := range []string{fmt.Sprintf("%v %+v %#v", *l, *l, *l),
			fmt.Sprintf("%v %+v %#v", *l.Device, *l.Device, *l.Device)} {
			if strings.Contains(text, "polled") || strings.Contains(text, "typed") {
				t.Error(text)
			}
		}
	})
}

// While the storage of a device login cannot be read, the login is looked for after pauses, also after its
// code has ended.
func TestDeviceLoginWithBrokenStorageRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := answers()
		s.script = func(int, url.Values) reply { return refused(400, "authorization_pending") }
		storage := &shelf{Storage: &tokensource.MemoryStorage{}}
		src := newSource(t, s, onDevice(storage))
		begin(t, src, tokensource.LoginRequest{})
		virtual.Advance(9*time.Minute + 59*time.Second)
		var reads atomic.Int64
		storage.hook(func() {
			storage.load = func(key string) error {
				if !strings.Contains(key, "logins") {
					return nil
				}
				if reads.Add(1) > 10_000 {
					return fs.ErrNotExist // ends the loop, so that the test ends
				}
				return errDisk
			}
		})
		virtual.Advance(time.Minute)
		if n := reads.Load(); n > 100 {
			t.Errorf("%d reads in one minute", n)
		}
	})
}

// An older device login that stores its turn slowly does not replace a newer one.
func TestNewerDeviceLoginStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := answers()
		s.script = func(int, url.Values) reply { return refused(400, "authorization_pending") }
		memory := &tokensource.MemoryStorage{}
		view := &shelf{Storage: memory}
		a, b := newSource(t, s, onDevice(view)), newSource(t, s, onDevice(memory))
		begin(t, a, tokensource.LoginRequest{})
		view.hook(func() {
			view.store = func(key string, _ []byte) error {
				if strings.Contains(key, "logins") {
					virtual.Sleep(100 * time.Millisecond) // a slow write
				}
				return nil
			}
		})
		virtual.Advance(5*time.Second + 50*time.Millisecond) // a is storing its turn
		newer := begin(t, b, tokensource.LoginRequest{})
		virtual.Advance(time.Second)
		pending, err := b.PendingLogin(t.Context(), "")
		if err != nil || pending == nil || !pending.State.Equal(newer.State) {
			t.Errorf("the newer login was replaced by the older one: shown is the code %s, want %s",
				pending.Device.UserCode.Reveal(), newer.Device.UserCode.Reveal())
		}
		s.set(func(n int, form url.Values) reply { // the person types the code of the newer login
			if form.Get("device_code") == newer.Device.Code.Reveal() {
				return rotated(n, time.Hour)
			}
			return refused(400, "authorization_pending")
		})
		if err := await(t, b, newer); err != nil {
			t.Errorf("the newer login: %v", err)
		}
	})
}

// A disconnection ends the account's device login, which would connect it again.
func TestDisconnectEndsADeviceLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := answers()
		src := newSource(t, s, onDevice(nil))
		l := begin(t, src, tokensource.LoginRequest{})
		if err := await(t, src, l); err != nil {
			t.Fatal(err)
		}
		begin(t, src, tokensource.LoginRequest{}) // someone presses Reconnect
		virtual.Advance(time.Second)
		disconnect(t, src, "")
		virtual.Advance(time.Minute)
		if st := src.Account("").Status(); st.Live {
			t.Errorf("a minute after Disconnect the account is connected again: %+v", st.State)
		}
	})
}
