package tokensource_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// bindingEndpoint is an endpoint that checks every proof, and binds each refresh token to the key
// of the proof with which it was granted.
type bindingEndpoint struct {
	endpoint
	t      testing.TB
	proofs tokensourcetest.Proofs

	mu    sync.Mutex
	keys  []string          // thumbprints of the requests, in order
	bound map[string]string // refresh token or code -> thumbprint
}

func (b *bindingEndpoint) RoundTrip(req *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(req.Body)
	req.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(body))
	if req.URL.String() == revokeURL {
		return b.endpoint.RoundTrip(req)
	}
	seen := req.Clone(req.Context())
	seen.Host, seen.TLS = req.URL.Host, new(tls.ConnectionState)
	key, err := b.proofs.Check(seen, "")
	if err != nil {
		b.t.Errorf("the proof of a request to %s: %v", req.URL.Path, err)
	}
	b.mu.Lock()
	b.keys = append(b.keys, key)
	for _, name := range []string{"refresh_token", "code"} {
		if want := b.bound[form.Get(name)]; want != "" && want != key {
			b.t.Errorf("%s %s is bound to another key", name, form.Get(name))
		}
	}
	b.mu.Unlock()
	res, err := b.endpoint.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	answer, _ := io.ReadAll(res.Body)
	res.Body = io.NopCloser(bytes.NewReader(answer))
	var members struct {
		Refresh string `json:"refresh_token"`
	}
	if json.Unmarshal(answer, &members) == nil && members.Refresh != "" {
		b.bind(members.Refresh, key)
	}
	return res, nil
}

func (b *bindingEndpoint) bind(what, key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bound == nil {
		b.bound = make(map[string]string)
	}
	b.bound[what] = key
}

// wantKeys checks how many requests there were, and how many keys signed their proofs.
func (b *bindingEndpoint) wantKeys(requests, keys int) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	different := slices.Compact(slices.Sorted(slices.Values(b.keys)))
	if len(b.keys) != requests || len(different) != keys {
		b.t.Errorf("%d requests with %d keys, want %d with %d", len(b.keys), len(different), requests, keys)
	}
}

// provenRotation grants bound tokens that rotate.
func provenRotation(t testing.TB, lifetime time.Duration) *bindingEndpoint {
	b := &bindingEndpoint{t: t}
	b.proofs.Now = time.Now
	b.script = func(n int, _ url.Values) reply { return asBound(rotated(n, lifetime)) }
	return b
}

// asBound makes an answer one with token_type DPoP.
func asBound(r reply) reply {
	r.body = strings.Replace(r.body, `"Bearer"`, `"DPoP"`, 1)
	return r
}

func withDPoP(c *tokensource.Config) { c.DPoP = "ES256" }

// claimsOf returns the header and the claims of a proof, unverified.
func claimsOf(t testing.TB, proof string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(proof, ".")
	if len(parts) != 3 {
		t.Fatalf("no JWT: %q", proof)
	}
	for i, into := range []*map[string]any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	return header, claims
}

// Each token request carries one new proof (RFC 9449 sections 4.2 and 5): of the method, the URL
// without its query, and the time; with the public key, and no part of the private one.
func TestProofOfATokenRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := provenRotation(t, time.Hour)
		src := newSource(t, ep, refreshing(new(tokensource.MemoryStorage), "seed"), withDPoP, func(c *tokensource.Config) {
			c.TokenURL = "https://Login.Example.com:443/oauth/token?tenant=a"
		})
		tok := mustToken(t, src)
		if !tok.IsBound() {
			t.Error("the token is not bound")
		}
		virtual.Advance(90 * time.Second)
		if err := src.Account("").Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		ids := make(map[any]bool)
		for i, c := range ep.all() {
			header, claims := claimsOf(t, c.header.Get("DPoP"))
			jwk, _ := header["jwk"].(map[string]any)
			if header["typ"] != "dpop+jwt" || header["alg"] != "ES256" || len(header) != 3 || jwk["kty"] != "EC" ||
				jwk["crv"] != "P-256" || len(jwk) != 4 {
				t.Errorf("request %d: the header is %v", i+1, header)
			}
			if claims["htm"] != "POST" || claims["htu"] != "https://login.example.com/oauth/token" ||
				claims["iat"] != float64(c.at.Unix()) || len(claims) != 4 {
				t.Errorf("request %d: the claims are %v", i+1, claims)
			}
			ids[claims["jti"]] = true
		}
		if len(ids) != 2 {
			t.Errorf("%d different jti", len(ids))
		}
		ep.wantKeys(2, 1)
	})
}

// A server that wants its nonce in the proof gets the request once more with it, and every later
// request has the newest nonce (section 8).
func TestNonceOfTheTokenEndpoint(t *testing.T) {
	wantsNonce := func(nonce string) reply { return withHeader(refused(400, "use_dpop_nonce"), "Dpop-Nonce", nonce) }
	nonces := func(t *testing.T, ep *bindingEndpoint) (found []any) {
		for _, c := range ep.all() {
			_, claims := claimsOf(t, c.header.Get("DPoP"))
			found = append(found, claims["nonce"])
		}
		return found
	}
	want := func(t *testing.T, ep *bindingEndpoint, nonce ...any) {
		t.Helper()
		if got := nonces(t, ep); !slices.Equal(got, nonce) {
			t.Errorf("the proofs have the nonces %v, want %v", got, nonce)
		}
	}
	t.Run("once", func(t *testing.T) {
		ep := provenRotation(t, time.Hour)
		ep.script = func(n int, _ url.Values) reply {
			if n == 1 {
				return wantsNonce("n1")
			}
			return withHeader(asBound(rotated(n, time.Hour)), "Dpop-Nonce", fmt.Sprint("n", n))
		}
		src := newSource(t, ep, refreshing(new(tokensource.MemoryStorage), "seed"), withDPoP)
		mustToken(t, src)
		want(t, ep, nil, "n1")
		if calls := ep.all(); calls[0].form.Encode() != calls[1].form.Encode() {
			t.Error("the second request is another one")
		}
		if err := src.Account("").Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		want(t, ep, nil, "n1", "n2")
	})
	t.Run("twice", func(t *testing.T) {
		ep := provenRotation(t, time.Hour)
		ep.script = func(n int, _ url.Values) reply { return wantsNonce(fmt.Sprint("n", n)) }
		e := wantError(t, newSource(t, ep, withDPoP), tokensource.ClassOperator)
		want(t, ep, nil, "n1")
		if e.Problem() != "use_dpop_nonce" || !strings.Contains(e.Error(), "do not share their nonces") {
			t.Errorf("%s: %v", e.Problem(), e)
		}
	})
	t.Run("without a nonce, or with one that no proof can hold", func(t *testing.T) {
		for _, nonce := range []string{"", `a"b`, "a b", strings.Repeat("x", 2000)} {
			ep := provenRotation(t, time.Hour)
			ep.script = always(wantsNonce(nonce))
			wantError(t, newSource(t, ep, withDPoP), tokensource.ClassOperator)
			want(t, ep, nil)
		}
	})
	t.Run("without dpop", func(t *testing.T) {
		ep := &endpoint{script: always(wantsNonce("n1"))}
		wantError(t, newSource(t, ep), tokensource.ClassOperator)
		wantCount(t, ep, 1)
	})
}

// A pushed authorization request carries a proof and dpop_jkt, and takes part in the exchange of
// nonces (section 10.1). Another process that finishes the login proves with the same key.
func TestLoginIsBoundToTheKey(t *testing.T) {
	storage := new(tokensource.MemoryStorage)
	ep := provenRotation(t, time.Hour)
	ep.script = func(n int, form url.Values) reply {
		switch {
		case n == 1:
			return withHeader(refused(400, "use_dpop_nonce"), "Dpop-Nonce", "n1")
		case form.Has("response_type"):
			return pushed(n)
		}
		return asBound(rotated(n, time.Hour))
	}
	on := func() *tokensource.Source {
		return newSource(t, ep, pushing, withDPoP, func(c *tokensource.Config) { c.Storage = storage })
	}
	a, b := on(), on()
	l := begin(t, a, inBrowser)
	linkOf(t, a, l)
	for i, c := range ep.all() {
		if jkt := c.form.Get("dpop_jkt"); jkt == "" || jkt != ep.keys[i] {
			t.Errorf("push %d has dpop_jkt %q", i+1, jkt)
		}
	}
	ep.bind("c", ep.keys[0])
	found, err := b.FindLogin(t.Context(), l.State)
	if err != nil {
		t.Fatal(err)
	}
	if err := finish(t, b, found, "code=c"); err != nil {
		t.Fatal(err)
	}
	if err := b.Account("").Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	ep.wantKeys(4, 1)
	// Without PAR the link has dpop_jkt too.
	plain := newSource(t, ep, connecting(storage), withDPoP)
	u, err := url.Parse(linkOf(t, plain, begin(t, plain, inBrowser)))
	if err != nil || u.Query().Get("dpop_jkt") != ep.keys[0] {
		t.Errorf("the link is %s: %v", u, err)
	}
}

// Each account has one key. A restart, another process and a new login keep it. Disconnecting the
// account removes it with the tokens.
func TestOneKeyPerAccount(t *testing.T) {
	storage := new(tokensource.MemoryStorage)
	ep := provenRotation(t, time.Hour)
	on := func() *tokensource.Source { return newSource(t, ep, connecting(storage), withDPoP) }
	refresh := func(src *tokensource.Source, account string) {
		t.Helper()
		if _, err := src.Account(account).Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := src.Account(account).Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	a := on()
	connect(t, a, "alice")
	refresh(a, "alice")
	refresh(on(), "alice")
	connect(t, on(), "alice")
	ep.wantKeys(4, 1)
	connect(t, a, "bob")
	refresh(a, "bob")
	ep.wantKeys(6, 2)
	if err := a.Account("alice").Disconnect(t.Context()); err != nil {
		t.Error(err)
	}
	connect(t, a, "alice")
	if keys := ep.keys; keys[len(keys)-1] == keys[0] {
		t.Error("the key outlived the disconnection")
	}
}

// The key is stored before a refresh token is sent with it. So a process that takes over after a
// lost answer proves with the key to which the provider may have bound the new refresh token.
func TestKeyOutlivesALostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := new(tokensource.MemoryStorage)
		ep := provenRotation(t, time.Hour)
		ep.script = func(n int, _ url.Values) reply {
			if n <= 2 {
				return reply{err: errReset}
			}
			return asBound(rotated(n, time.Hour))
		}
		a := newSource(t, ep, refreshing(storage, "seed"), withDPoP)
		wantError(t, a, tokensource.ClassWait)
		if err := a.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		virtual.Advance(time.Minute)
		mustToken(t, newSource(t, ep, refreshing(storage, "seed"), withDPoP))
		ep.wantKeys(3, 1)
	})
}

// Processes that begin at once with one refresh token end with one record and its key.
func TestProcessesShareTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := new(tokensource.MemoryStorage)
		ep := provenRotation(t, 20*time.Second)
		var group sync.WaitGroup
		sources := make([]*tokensource.Source, 4)
		for i := range sources {
			sources[i] = newSource(t, ep, refreshing(storage, "seed"), withDPoP)
			group.Go(func() { mustToken(t, sources[i]) })
		}
		group.Wait()
		for range 20 {
			virtual.Advance(5 * time.Second)
			for _, src := range sources {
				mustToken(t, src)
			}
		}
		synctest.Wait()
		ep.mu.Lock()
		defer ep.mu.Unlock()
		if n := len(ep.keys); n < 4 || len(slices.Compact(slices.Clone(ep.keys))) != 1 {
			t.Errorf("%d requests with the keys %v", n, ep.keys)
		}
	})
}

// A source that stores nothing keeps its key as long as it lives, also after a failure.
func TestKeyInMemory(t *testing.T) {
	ep := provenRotation(t, time.Hour)
	ep.script = func(n int, _ url.Values) reply {
		if n == 1 {
			return refused(400, "invalid_scope")
		}
		return asBound(granted(n, time.Hour))
	}
	src := newSource(t, ep, withDPoP)
	wantError(t, src, tokensource.ClassOperator)
	for range 2 {
		if err := src.Account("").Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ep.wantKeys(3, 1)
}

// With dpop, a token that is not bound is refused, and its refresh token is not lost (section 5).
// Without dpop, a bound token is refused.
func TestTokenTypeWithDPoP(t *testing.T) {
	for _, word := range []string{`"DPoP"`, `"dpop"`, `"DPOP"`} {
		src := newSource(t, &endpoint{script: always(reply{body: `{"access_token":"at1","token_type":` + word + `}`})},
			withDPoP)
		if !wantToken(t, src, "at1").IsBound() {
			t.Errorf("%s: the token is not bound", word)
		}
	}
	for _, word := range []string{`"Bearer"`, `"bearer"`, `""`, `null`, `"mac"`, `"canary-token-type"`} {
		storage := new(tokensource.MemoryStorage)
		ep := &endpoint{script: always(reply{body: `{"access_token":"at1","refresh_token":"rt1","token_type":` + word + `}`})}
		e := wantError(t, newSource(t, ep, refreshing(storage, "seed"), withDPoP), tokensource.ClassOperator)
		if e.Problem() != "not_bound" || strings.Contains(e.Error(), "canary") ||
			!strings.Contains(e.Remedy(), "remove dpop") {
			t.Errorf("%s: %s: %v", word, e.Problem(), e)
		}
		if got := stored(t, storage).RefreshToken.Reveal(); got != "rt1" {
			t.Errorf("%s: the stored refresh token is %q", word, got)
		}
	}
	e := wantError(t, newSource(t, &endpoint{script: always(asBound(granted(1, time.Hour)))}), tokensource.ClassOperator)
	if e.Problem() != "token_type_unsupported" || !strings.Contains(e.Remedy(), "set the option dpop") {
		t.Errorf("%s: %v", e.Problem(), e)
	}
}

// A bearer token from before dpop was configured is not used, and neither is a bound one after.
func TestTokensOfTheOtherKindAreReplaced(t *testing.T) {
	storage := new(tokensource.MemoryStorage)
	mustToken(t, newSource(t, &endpoint{script: always(rotated(1, time.Hour))}, refreshing(storage, "seed")))
	bound := provenRotation(t, time.Hour)
	if tok := mustToken(t, newSource(t, bound, refreshing(storage, "seed"), withDPoP)); !tok.IsBound() {
		t.Error("a bearer token is used with dpop")
	}
	bound.wantKeys(1, 1)
	ep := &endpoint{script: func(n int, _ url.Values) reply { return rotated(n+1, time.Hour) }}
	if tok := mustToken(t, newSource(t, ep, refreshing(storage, "seed"))); tok.IsBound() {
		t.Error("a bound token is used without dpop")
	}
	if c := ep.all()[0]; c.header.Get("DPoP") != "" {
		t.Error("a request without dpop has a proof")
	}
}

// A proof that is refused for its time names both clocks.
func TestProofRefusedForItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for off, want := range map[time.Duration]string{
			-7 * time.Minute: "which is 7m0s ahead of the server's", 90 * time.Second: "which is 1m30s behind the server's",
			time.Second: "now 2000-",
		} {
			ep := &endpoint{script: func(int, url.Values) reply {
				return withHeader(refused(400, "invalid_dpop_proof"), "Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
			}}
			e := wantError(t, newSource(t, ep, withDPoP), tokensource.ClassOperator)
			if e.Problem() != "invalid_dpop_proof" || !strings.Contains(e.Error(), want) ||
				!strings.Contains(e.Error(), "check this machine's clock") {
				t.Errorf("%s: %v", off, e)
			}
			wantCount(t, ep, 1)
		}
	})
}

func TestDPoPIsChecked(t *testing.T) {
	for name, tt := range map[string]struct {
		edit func(*tokensource.Config)
		want string
	}{
		"algorithm": {func(c *tokensource.Config) { c.DPoP = "RS256" },
			`dpop "RS256" is not known (did you mean ES256?); allowed are ES256`},
		"static": {func(c *tokensource.Config) { c.Grant = tokensource.Static{Token: tokensource.Literal("t")} },
			"dpop needs a grant that sends token requests"},
		"implicit": {func(c *tokensource.Config) { implicit(nil)(c) }, "dpop needs a grant that sends token requests"},
		"header": {func(c *tokensource.Config) { c.TokenHeaders = []tokensource.Param{literal("dpop", "x")} },
			"token_header dpop is set by dpop; remove it"},
		"parameter": {func(c *tokensource.Config) {
			c.AuthorizeParams = []tokensource.Param{literal("dpop_jkt", "x")}
		}, "authorize_param dpop_jkt is sent by dpop"},
	} {
		cfg := tokensource.Config{
			Name: "orders", Grant: tokensource.ClientCredentials{}, TokenURL: tokenURL, ClientID: "orders-client", DPoP: "ES256",
			ClientSecrets: []tokensource.Value{tokensource.Literal(clientSecret)},
		}
		tt.edit(&cfg)
		if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}

// A proof for an API is of that request alone, and of that token (section 7.1).
func TestProofOfAnAPIRequest(t *testing.T) {
	tok := tokensource.NewBoundToken("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU", 1, time.Time{}, time.Now)
	u, _ := url.Parse("https://API.example.com:443/a%2Fb/?page=2#x")
	proof, err := tok.Proof("GET", u)
	if err != nil {
		t.Fatal(err)
	}
	_, claims := claimsOf(t, proof)
	if claims["ath"] != "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo" { // section 7.1
		t.Errorf("ath is %v", claims["ath"])
	}
	if claims["htm"] != "GET" || claims["htu"] != "https://api.example.com/a%2Fb/" || len(claims) != 5 {
		t.Errorf("the claims are %v", claims)
	}
	root, _ := url.Parse("http://api.example.com:8080")
	if !tok.NoteNonce(root, http.Header{"Dpop-Nonce": {"n1"}}) || tok.NoteNonce(root, http.Header{}) {
		t.Error("NoteNonce is wrong about a nonce")
	}
	for target, want := range map[*url.URL]any{root: "n1", u: nil} {
		proof, _ := tok.Proof("GET", target)
		if _, claims := claimsOf(t, proof); claims["nonce"] != want {
			t.Errorf("%s: the nonce is %v", target, claims["nonce"])
		}
	}
}

// No verb and no encoder prints a key.
func TestKeysNeverPrint(t *testing.T) {
	storage := new(tokensource.MemoryStorage)
	ep := provenRotation(t, time.Hour)
	src := newSource(t, ep, connecting(storage), withDPoP)
	l := begin(t, src, inBrowser)
	secrets := []string{l.DPoPKey.Reveal()}
	if err := finish(t, src, l, "code=c"); err != nil {
		t.Fatal(err)
	}
	tok, err := src.Token(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var key map[string]string
	if err := json.Unmarshal([]byte(secrets[0]), &key); err != nil || key["d"] == "" {
		t.Fatal("the key is no private JWK")
	}
	secrets = append(secrets, key["d"])
	rec := stored(t, storage)
	for name, v := range map[string]any{"login": l, "record": rec, "its value": *rec, "token": tok,
		"its value ": reflect.ValueOf(tok).Elem().Interface(), "status": src.Account("").Status()} {
		for _, text := range printed(t, v) {
			rig.MustNotHold(t, name, text, secrets...)
		}
	}
}

// A login on another device is bound to one key, from its first token request to its refreshes.
func TestDeviceLoginIsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := provenRotation(t, time.Hour)
		ep.script = func(n int, form url.Values) reply {
			switch {
			case n <= 2 && form.Has("device_code"):
				return refused(400, "authorization_pending")
			case form.Has("grant_type"):
				return asBound(rotated(n, time.Hour))
			}
			return reply{
				body: `{"device_code":"dc","user_code":"UC","verification_uri":"https://login.example.com/activate","expires_in":600}`}
		}
		src := newSource(t, unproved{ep, "/device"}, withDPoP, func(c *tokensource.Config) {
			c.Grant, c.Storage, c.DeviceURL = tokensource.DeviceCode{}, new(tokensource.MemoryStorage),
				"https://login.example.com/device"
		})
		l := begin(t, src, typed)
		if err := src.AwaitLogin(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		if err := src.Account("").Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		ep.wantKeys(len(ep.all())-1, 1)
	})
}

// unproved sends requests to a path past the check of proofs.
type unproved struct {
	*bindingEndpoint
	path string
}

func (u unproved) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path == u.path {
		return u.endpoint.RoundTrip(req)
	}
	return u.bindingEndpoint.RoundTrip(req)
}
