package tokensource_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// wantDisconnected fails the test if the account has a token left, in use or stored.
func wantDisconnected(t *testing.T, src *tokensource.Source, storage tokensource.Storage) {
	t.Helper()
	if e := wantError(t, src, tokensource.ClassLogin); !strings.Contains(e.Reason, "disconnected") {
		t.Errorf("got %v", e)
	}
	rec := stored(t, storage)
	if !rec.Disconnected || !rec.AccessToken.IsZero() || !rec.RefreshToken.IsZero() {
		t.Errorf("stored %+v", rec)
	}
	if st := src.Account("").Status(); !st.Disconnected || st.Live || st.Renews ||
		st.State != tokensource.StateLoginRequired {
		t.Errorf("status %+v", st)
	}
}

// Disconnecting an account revokes the refresh token and then the access token (RFC 7009), as the
// client to which they were issued, and forgets both. A second disconnection does nothing. The
// account can be connected again.
func TestDisconnect(t *testing.T) {
	for _, auth := range tokensource.ClientAuths {
		if auth == tokensource.ClientSecretJWT {
			continue // what it sends is another each time; see TestRevocationWithAnAssertion
		}
		t.Run(string(auth), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := &tokensource.MemoryStorage{}
				ep := rotating(0)
				var ev events
				src := newSource(t, ep, connecting(storage), observed(&ev), proving(auth), func(c *tokensource.Config) {
					c.ClientID = "id@x"
				})
				connect(t, src, "")
				generation := mustToken(t, src).Generation
				disconnect(t, src, "")
				if got := ep.revoked(); !slices.Equal(got, []string{"rt1", "at1"}) {
					t.Fatalf("revoked %v", got)
				}
				want := map[tokensource.ClientAuth][3]string{ // Authorization, query, body
					tokensource.ClientSecretBasic:     {basic("id%40x", clientSecret)},
					tokensource.ClientSecretBasicRaw:  {basic("id@x", clientSecret)},
					tokensource.ClientSecretBasicUser: {basic(clientSecret, "")},
					tokensource.ClientSecretPost:      {"", "", "client_id=id%40x&client_secret=" + clientSecret + "&"},
					tokensource.ClientSecretQuery:     {"", "?client_id=id%40x&client_secret=" + clientSecret},
					tokensource.PrivateKeyJWT: {"", "",
						"client_assertion=a.e30.c&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_id=id%40x&"},
					tokensource.TLSClientAuth:           {"", "", "client_id=id%40x&"},
					tokensource.SelfSignedTLSClientAuth: {"", "", "client_id=id%40x&"},
					tokensource.ClientAuthNone:          {"", "", "client_id=id%40x&"},
				}[auth]
				r := ep.revocation.all()[0]
				if r.header.Get("Authorization") != want[0] || r.url != revokeURL+want[1] ||
					r.form.Encode() != want[2]+"token=rt1&token_type_hint=refresh_token" {
					t.Errorf("got %+v", r)
				}
				if e := wantError(t, src, tokensource.ClassLogin); !strings.Contains(e.Reason, "disconnected") {
					t.Errorf("got %v", e)
				}
				disconnect(t, src, "")
				disconnect(t, newSource(t, ep, connecting(storage), func(c *tokensource.Config) { c.ClientID = "id@x" }), "")
				if ep.revocation.count() != 2 || ev.count(tokensource.EventDisconnected) != 1 ||
					ev.count(tokensource.EventLoginRequired) != 0 {
					t.Errorf("revoked %v, events %+v", ep.revoked(), ev.all())
				}
				connect(t, src, "")
				if tok := wantToken(t, src, "at2"); tok.Generation != generation+2 {
					t.Errorf("generation %d after %d", tok.Generation, generation)
				}
				if st := src.Account("").Status(); st.Disconnected || st.Err != nil {
					t.Errorf("status %+v", st)
				}
			})
		})
	}
}

// The stored tokens are removed even if the provider does not revoke them. Then the error says that
// the provider did not confirm the revocation. A token that the provider does not know counts as
// revoked (RFC 7009 section 2.2).
func TestDisconnectWhenRevocationFails(t *testing.T) {
	for name, tt := range map[string]struct {
		answer reply
		reason string
	}{
		"503": {reply{status: 503}, "the revocation endpoint answered"},
		"400": {refused(400, "unsupported_token_type"), "the revocation endpoint answered"},
		"redirect": {reply{status: 307, header: http.Header{"Location": {"https://evil.example.com/"}}},
			"the revocation endpoint answered"},
		"down":  {reply{err: errReset}, "the connection to the revocation endpoint broke"},
		"hangs": {reply{delay: time.Hour}, "the revocation endpoint did not answer in time"},
		"200":   {reply{body: "whatever"}, ""},
		"204":   {reply{status: 204}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := &tokensource.MemoryStorage{}
				ep := rotating(0)
				ep.revocation.set(always(tt.answer))
				src := newSource(t, ep, connecting(storage))
				connect(t, src, "")
				err := src.Account("").Disconnect(t.Context())
				if tt.reason == "" && err != nil {
					t.Error(err)
				}
				if tt.reason != "" {
					if e := asError(t, err, tokensource.ClassWait); !strings.Contains(e.Reason, "were removed here") ||
						!strings.Contains(e.Reason, tt.reason) {
						t.Errorf("got %v", err)
					}
				}
				wantDisconnected(t, src, storage)
				if !slices.Equal(ep.revoked(), []string{"rt1", "at1"}) {
					t.Errorf("revoked %v", ep.revoked())
				}
			})
		})
	}
}

// While client secrets are rotated, a revocation also finds the secret that works.
func TestRevocationWithASecondSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		ep := rotating(0)
		connect(t, newSource(t, ep, connecting(storage)), "")
		ep.revocation.set(func(n int, _ url.Values) reply {
			if ep.revocation.all()[n-1].header.Get("Authorization") != basic("orders-client", clientSecret) {
				return refused(401, "invalid_client")
			}
			return reply{}
		})
		src := newSource(t, ep, connecting(storage), func(c *tokensource.Config) {
			c.ClientSecrets = []tokensource.Value{tokensource.Literal("old"), tokensource.Literal(clientSecret)}
		})
		disconnect(t, src, "")
		if !slices.Equal(ep.revoked(), []string{"rt1", "rt1", "at1"}) {
			t.Errorf("revoked %v", ep.revoked())
		}
	})
}

// A disconnection waits for a running refresh, and revokes the tokens that the refresh obtained.
// The disconnection continues if its caller gives up.
func TestDisconnectDuringARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		ep := rotating(0)
		var ev events
		src := newSource(t, ep, connecting(&shelf{Storage: storage}), observed(&ev))
		connect(t, src, "")
		src.Warm()
		ep.set(slowRefresh(rotated(2, time.Hour)))
		for ep.count() < 2 {
			virtual.Advance(time.Second)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := src.Account("").Disconnect(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		virtual.Advance(time.Minute)
		wantDisconnected(t, src, storage)
		if !slices.Equal(ep.revoked(), []string{"rt2", "at2"}) {
			t.Errorf("revoked %v", ep.revoked())
		}
		if ev.count(tokensource.EventStorageFailed) != 0 {
			t.Error("the disconnection was not stored after its caller had left")
		}
		wantCount(t, &ep.endpoint, 2)
	})
}

// If the storage accepts no writes, the tokens are no longer used, and are removed later. A record
// of a newer release is left alone.
func TestDisconnectWithBrokenStorage(t *testing.T) {
	for name, broken := range map[string][2]error{"no writes": {nil, errDisk}, "neither": {errDisk, errDisk}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				memory := &tokensource.MemoryStorage{}
				storage := &shelf{Storage: memory}
				ep := rotating(0)
				var ev events
				src := newSource(t, ep, connecting(storage), observed(&ev))
				connect(t, src, "")
				storage.fail("", broken[0], broken[1])
				asError(t, src.Account("").Disconnect(t.Context()), tokensource.ClassWait)
				if !slices.Equal(ep.revoked(), []string{"rt1", "at1"}) {
					t.Errorf("revoked %v", ep.revoked())
				}
				for range 30 {
					wantError(t, src, tokensource.ClassLogin)
					virtual.Advance(time.Second)
				}
				if ev.count(tokensource.EventDisconnected) != 1 || ev.count(tokensource.EventStorageFailed) == 0 {
					t.Errorf("events %+v", ev.all())
				}
				storage.fail("", nil, nil)
				virtual.Advance(10 * time.Second)
				wantDisconnected(t, src, memory)
			})
		})
	}
	t.Run("newer release", func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		newer := []byte(`{"version":2}`)
		_ = storage.Store(t.Context(), recordKey, newer)
		src := newSource(t, rotating(0), connecting(storage))
		if err := src.Account("").Disconnect(t.Context()); err == nil {
			t.Error("no error")
		}
		same(t, storage, recordKey, newer)
	})
}

// If a person disconnects an account while the code of a login is redeemed, and the storage takes
// no writes, the disconnection is stored later: the end of the login does not make it forgotten.
func TestDisconnectDuringALoginWithBrokenStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := &tokensource.MemoryStorage{}
		storage := &shelf{Storage: memory}
		ep := rotating(0)
		var ev events
		src := newSource(t, ep, connecting(storage), observed(&ev))
		connect(t, src, "")
		l := begin(t, src, inBrowser)
		ep.set(always(reply{delay: 5 * time.Second, body: rotated(2, time.Hour).body}))
		done := make(chan error)
		go func() { done <- finish(t, src, l, "code=c") }()
		virtual.Advance(time.Second)
		storage.fail("", nil, errDisk)
		asError(t, src.Account("").Disconnect(t.Context()), tokensource.ClassWait)
		asError(t, <-done, tokensource.ClassLogin)
		if ev.count(tokensource.EventStorageRecovered) != 0 {
			t.Error("it was told that the storage works again")
		}
		storage.fail("", nil, nil)
		virtual.Advance(10 * time.Second)
		if !stored(t, memory).Disconnected {
			t.Error("the disconnection is not stored")
		}
		wantDisconnected(t, src, memory)
		if !slices.Equal(ep.revoked(), []string{"rt1", "at1", "rt2", "at2"}) {
			t.Errorf("revoked %v", ep.revoked())
		}
	})
}

// Disconnecting an account that was never connected does nothing, and leaves nothing behind.
func TestDisconnectOfNobody(t *testing.T) {
	storage := &tokensource.MemoryStorage{}
	ep := rotating(0)
	disconnect(t, newSource(t, ep, connecting(storage)), "nobody")
	if left := keys(t, storage, ""); len(left) != 0 || ep.revocation.count() != 0 {
		t.Errorf("stored %v, revoked %v", left, ep.revoked())
	}
}

// Over real connections: a person types a PIN at a provider with deployments, the token works, is
// refreshed, and ends with the disconnection.
func TestLoginAtAnEmulatedProvider(t *testing.T) {
	p := tokensourcetest.StartProvider(t, tokensourcetest.Accelo, tokensourcetest.ProviderConfig{})
	at := p.Endpoints()
	src := newSource(t, nil, connecting(nil), func(c *tokensource.Config) {
		c.TokenURL, c.AuthorizeURL, c.RevokeURL = at.Token, at.Authorize, at.Revoke
		c.ClientID, c.ClientAuth = p.ClientID(), tokensource.ClientSecretBasicRaw
		c.ClientSecrets = []tokensource.Value{tokensource.Literal(tokensourcetest.DefaultClientSecret)}
		c.Scopes, c.ScopeSeparator = []string{"read(all)", "write(companies,contacts)"}, ","
		c.Params = []tokensource.Param{{Name: "expires_in", Value: tokensource.Literal("86400"),
			Requests: []string{"authorization_code"}}}
	})
	l := begin(t, src, typed)
	consent, err := p.Allow(t.Context(), linkOf(t, src, l))
	if err != nil || consent.PIN == "" {
		t.Fatalf("%+v, %v", consent, err)
	}
	asError(t, finish(t, src, l, "code=000000000"), tokensource.ClassLogin)
	if err := finish(t, src, l, "code="+consent.PIN); err != nil {
		t.Fatal(err)
	}
	tok := mustToken(t, src)
	if left := time.Until(tok.Expiry); left > 24*time.Hour || left < 23*time.Hour {
		t.Errorf("the token lives for %s, want the requested day", left)
	}
	next, err := src.Account("").Reject(t.Context(), tok)
	if err != nil || next.AccessToken() == tok.AccessToken() {
		t.Fatalf("%v, %v", next, err)
	}
	disconnect(t, src, "")
	if all := p.RevokeRequests(); len(all) != 2 || all[0].Outcome != "ok" || all[1].Outcome != "ok" ||
		all[1].Token != next.AccessToken() {
		t.Errorf("%d revocations", len(all))
	}
	tokensourcetest.Report(t, p.Check())
}

// An account that needs a person says why, also after a restart: one that was disconnected, and one
// whose grant ended.
func TestWhyALoginIsNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := rotating(0)
		storage := &tokensource.MemoryStorage{}
		src := newSource(t, ep, connecting(storage))
		connect(t, src, "gone")
		connect(t, src, "ended")
		if err := src.Account("gone").Disconnect(t.Context()); err != nil {
			t.Fatal(err)
		}
		connect(t, src, "")
		disconnect(t, src, "")
		if st := src.Account("").Status(); st.Err == nil || st.Err.Problem() != "not_connected" {
			t.Errorf("just disconnected: %s, %v", st.State, st.Err)
		}
		ep.set(always(refused(400, "invalid_grant")))
		virtual.Advance(2 * time.Hour)
		_, err := src.Account("ended").Token(t.Context())
		asError(t, err, tokensource.ClassLogin)
		for range 5 { // each of them reads the storage, and none sends a request
			virtual.Advance(10 * time.Second)
			_, _ = src.Account("ended").Token(t.Context())
		}
		if st := src.Account("ended").Status(); st.Attempts != 1 {
			t.Errorf("%d attempts after one token request", st.Attempts)
		}
		for moment, src := range map[string]*tokensource.Source{"before": src,
			"after a restart": newSource(t, ep, connecting(storage))} {
			for account, want := range map[string]string{"gone": "not_connected", "ended": "grant_ended"} {
				stored, err := src.Stored(t.Context(), account)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = src.Lookup(t.Context(), account)
				synctest.Wait()
				for _, st := range []tokensource.Status{stored, src.Account(account).Status()} {
					if st.State != tokensource.StateLoginRequired || st.Err == nil || st.Err.Problem() != want ||
						st.Err.Remedy() == "" {
						t.Errorf("%s, %s: %s, %v", moment, account, st.State, st.Err)
					}
				}
			}
		}
	})
}

// After a restart, an account whose grant ended says so from the beginning, even while its token is
// live.
func TestAGrantThatEndedWhileTheTokenServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		put(t, storage, &tokensource.Record{
			Generation: 4, AccessToken: tokensource.NewSecret("at4"), RefreshToken: tokensource.NewSecret("rt4"),
			Obtained: time.Now(), Expiry: time.Now().Add(time.Hour),
			Failure: &tokensource.Failure{Class: tokensource.ClassLogin, Code: "invalid_grant", Status: 400,
				Reason: "the token endpoint answered", At: time.Now()},
		})
		src := newSource(t, &endpoint{}, connecting(storage))
		wantToken(t, src, "at4")
		if st := src.Account("").Status(); st.State != tokensource.StateLoginRequired || st.Err == nil ||
			st.Err.Problem() != "grant_ended" {
			t.Errorf("%s, %v", st.State, st.Err)
		}
	})
}

// A person who disconnects an account while the code of a login is redeemed decides last: the account is
// not connected, and the new tokens are revoked, too.
func TestDisconnectDuringALogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &authServer{}
		ep.script = func(n int, _ url.Values) reply { return rotated(n, time.Hour) }
		src := newSource(t, ep, connecting(nil))
		connect(t, src, "")
		ep.set(func(n int, _ url.Values) reply { r := rotated(n, time.Hour); r.delay = 5 * time.Second; return r })
		l, ended := begin(t, src, inBrowser), make(chan error, 1)
		go func() { ended <- finish(t, src, l, "code=c") }()
		virtual.Advance(time.Second)
		disconnect(t, src, "")
		asError(t, <-ended, tokensource.ClassLogin)
		synctest.Wait()
		if st := src.Account("").Status(); st.Live || !st.Disconnected || !slices.Equal(ep.revoked(), []string{"rt1", "at1", "rt2", "at2"}) {
			t.Errorf("got %+v, revoked %v", st, ep.revoked())
		}
	})
}
