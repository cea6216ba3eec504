package tokensource_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// exchanging configures the grant token_exchange.
func exchanging(g tokensource.TokenExchange) func(*tokensource.Config) {
	return func(cfg *tokensource.Config) { cfg.Grant = g }
}

// exchanger grants every subject a token of its own that lives for an hour. It contains the
// subject.
func exchanger() *endpoint {
	return &endpoint{script: func(_ int, form url.Values) reply {
		return reply{body: fmt.Sprintf(`{"access_token":"for-%s","issued_token_type":%q,"token_type":"Bearer","expires_in":3600}`,
			form.Get("subject_token"), tokensource.AccessTokenType)}
	}}
}

// jwtOf returns a token that has the form of a JWT with these claims. Its signature is wrong.
func jwtOf(claims string) string {
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return encode(`{"alg":"RS256"}`) + "." + encode(claims) + "." + encode("signature")
}

// jwtFor returns such a token for a subject; it lives for a while from now.
func jwtFor(sub string, lifetime time.Duration) string {
	return jwtOf(fmt.Sprintf(`{"sub":%q,"exp":%d}`, sub, time.Now().Add(lifetime).Unix()))
}

// exchanged gets the token of a caller like a request.
func exchanged(src *tokensource.Source, subject string) (string, error) {
	account, err := src.Exchange(context.Background(), tokensource.NewSecret(subject))
	if err != nil {
		return "", err
	}
	tok, err := account.Token(context.Background())
	if err != nil {
		return "", err
	}
	return tok.AccessToken(), nil
}

// mustExchange is exchanged for a caller who gets a token.
func mustExchange(t *testing.T, src *tokensource.Source, subject string) string {
	t.Helper()
	tok, err := exchanged(src, subject)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// wantSubjectError checks that the caller is told to get another token.
func wantSubjectError(t *testing.T, err error, reason string) {
	t.Helper()
	var e *tokensource.Error
	if !errors.As(err, &e) || !e.Subject || e.Class != tokensource.ClassLogin || !strings.Contains(err.Error(), reason) {
		t.Fatalf("got %v, want that the subject is at fault: %s", err, reason)
	}
}

func TestTokenExchangeWire(t *testing.T) {
	actor := tokensource.Literal("actor-token")
	for name, c := range map[string]struct {
		grant tokensource.TokenExchange
		want  string
	}{
		"plain": {tokensource.TokenExchange{},
			"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&scope=a+b&subject_token=ada&" +
				"subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token"},
		"everything": {tokensource.TokenExchange{
			SubjectTokenType: "urn:ietf:params:oauth:token-type:jwt", RequestedTokenType: tokensource.AccessTokenType,
			Audience: []string{"api", "other"}, ActorToken: actor, ActorTokenType: "urn:ietf:params:oauth:token-type:id_token",
		},
			"actor_token=actor-token&actor_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aid_token&audience=api&audience=other&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&scope=a+b&subject_token=ada&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt"},
		"on behalf of": {tokensource.TokenExchange{OnBehalfOf: true},
			"assertion=ada&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&requested_token_use=on_behalf_of&scope=a+b"},
	} {
		t.Run(name, func(t *testing.T) {
			ep := &endpoint{}
			src := newSource(t, ep, exchanging(c.grant), func(cfg *tokensource.Config) { cfg.Scopes = []string{"a", "b"} })
			if got := mustExchange(t, src, "ada"); got != "at1" {
				t.Errorf("got %s", got)
			}
			if got := ep.all()[0].form.Encode(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestTokenExchangeCheck(t *testing.T) {
	actor := tokensource.Literal("x")
	for want, grant := range map[string]tokensource.TokenExchange{
		"subject_token_type must be a URI":    {SubjectTokenType: "access_token"},
		"requested_token_type must be a URI":  {RequestedTokenType: "jwt"},
		"actor_token needs actor_token_type":  {ActorToken: actor},
		"actor_token_type needs actor_token":  {ActorTokenType: tokensource.AccessTokenType},
		"on_behalf_of sends no":               {OnBehalfOf: true, Audience: []string{"api"}},
		"on_behalf_of sends no subject_token": {OnBehalfOf: true, SubjectTokenType: tokensource.AccessTokenType},
	} {
		if err := grant.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// A hundred callers with tokens of their own cause one token request each, however many requests
// they make at once. Each gets the token that was granted for its own.
func TestHundredSubjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := exchanger()
		src := newSource(t, ep, exchanging(tokensource.TokenExchange{}))
		var callers sync.WaitGroup
		for range 20 {
			for i := range 100 {
				callers.Go(func() {
					subject := fmt.Sprint("caller", i)
					if got, err := exchanged(src, subject); err != nil || got != "for-"+subject {
						t.Errorf("%s got the token %s, %v", subject, got, err)
					}
				})
			}
		}
		callers.Wait()
		wantCount(t, ep, 100)
	})
}

// A token that was exchanged ends when its subject does, whatever lifetime the provider gave it. An
// opaque subject does not say when it ends, so its token is exchanged anew after a few minutes.
func TestExchangedTokenEndsWithItsSubject(t *testing.T) {
	for name, c := range map[string]struct {
		subject func() string
		lives   time.Duration
		sends   bool // a new request is sent after that
	}{
		"the subject ends first":     {func() string { return jwtFor("ada", 10*time.Minute) }, 10 * time.Minute, false},
		"the token ends first":       {func() string { return jwtFor("ada", 5*time.Hour) }, time.Hour, true},
		"an opaque subject":          {func() string { return "opaque" }, 5 * time.Minute, true},
		"a JWT without exp":          {func() string { return jwtOf(`{"sub":"ada"}`) }, 5 * time.Minute, true},
		"exp is a text":              {func() string { return jwtOf(`{"exp":"soon"}`) }, 5 * time.Minute, true},
		"exp is beyond all lifetime": {func() string { return jwtOf(`{"exp":1e300}`) }, 5 * time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ep := exchanger()
				src := newSource(t, ep, exchanging(tokensource.TokenExchange{}))
				subject := c.subject()
				account, err := src.Exchange(t.Context(), tokensource.NewSecret(subject))
				if err != nil {
					t.Fatal(err)
				}
				tok, err := account.Token(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if left := time.Until(tok.Expiry).Round(time.Second); left != c.lives {
					t.Errorf("the token is used for %v, want %v", left, c.lives)
				}
				ep.set(always(refused(400, "invalid_grant")))
				virtual.Advance(c.lives)
				before := ep.count()
				_, err = exchanged(src, subject)
				if c.sends {
					wantSubjectError(t, err, "the provider refuses the caller's token, status 400, error invalid_grant")
				} else {
					wantSubjectError(t, err, "the caller's token has ended")
				}
				if sent := ep.count() > before; sent != c.sends {
					t.Errorf("a request was sent: %v", sent)
				}
				if _, err := account.Token(t.Context()); err == nil {
					t.Error("an account that was kept still gives the token")
				}
			})
		})
	}
}

// Whatever cannot be a token is refused, and nothing is sent.
func TestNoSubject(t *testing.T) {
	ep := exchanger()
	src := newSource(t, ep, exchanging(tokensource.TokenExchange{}))
	for subject, want := range map[string]string{
		"":                          "the request has no token to exchange",
		"a b":                       "has a space",
		"a\nb":                      "a control character",
		"tökén":                     "a character outside ASCII",
		strings.Repeat("x", 33<<10): "longer than 32 KiB",
		jwtOf(`{"exp":1000}`):       "the caller's token has ended",
	} {
		_, err := exchanged(src, subject)
		wantSubjectError(t, err, want)
		if subject != "" && strings.Contains(err.Error(), subject) {
			t.Error("the error holds the subject")
		}
	}
	if _, err := src.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "has none of its own") {
		t.Errorf("got %v", err)
	}
	src.Warm()
	if st := src.Account("").Status(); !st.Exchanges {
		t.Error("the status does not say that the source exchanges tokens")
	}
	wantCount(t, ep, 0)
	if n := tokensource.KeptAccounts(src); n != 0 {
		t.Errorf("%d accounts are in memory", n)
	}
	if _, err := newSource(t, ep).Exchange(t.Context(), tokensource.NewSecret("x")); err == nil {
		t.Error("a source of another grant exchanges a token")
	}
}

// A refused subject is remembered for a while, and other subjects are not affected. A subject that
// is refused while its token lives takes the token with it.
func TestRefusedSubject(t *testing.T) {
	for _, code := range []string{"invalid_grant", "invalid_token", "invalid_request", "interaction_required",
		"invalid_grant Retry-After"} {
		t.Run(code, func(t *testing.T) {
			code, retryAfter, _ := strings.Cut(code, " ")
			synctest.Test(t, func(t *testing.T) {
				ep, ev := exchanger(), new(events)
				grant := ep.script
				bad := map[string]bool{"mallory": true}
				ep.set(func(n int, form url.Values) reply {
					if bad[form.Get("subject_token")] {
						answer := refused(400, code)
						if retryAfter != "" {
							answer = withHeader(answer, retryAfter, "30")
						}
						return answer
					}
					return grant(n, form)
				})
				src := newSource(t, ep, exchanging(tokensource.TokenExchange{}), observed(ev))
				for range 1000 {
					_, err := exchanged(src, "mallory")
					wantSubjectError(t, err, "the provider refuses the caller's token, status 400, error "+code)
				}
				wantCount(t, ep, 1)
				mustExchange(t, src, "ada")
				wantCount(t, ep, 2)
				if st := src.Account("").Status(); st.Err != nil {
					t.Errorf("the source as a whole fails: %v", st.Err)
				}
				for range 600 { // a request each second
					_, _ = exchanged(src, "mallory")
					virtual.Advance(time.Second)
				}
				if n := ep.count() - 2; n < 4 || n > 12 {
					t.Errorf("a refused subject was sent %d times in ten minutes", n)
				}

				mustExchange(t, src, "ada")
				bad["ada"] = true
				virtual.Advance(4*time.Minute + 45*time.Second) // stale: the next call begins an exchange
				_, _ = exchanged(src, "ada")
				synctest.Wait()
				_, err := exchanged(src, "ada")
				wantSubjectError(t, err, "the provider refuses the caller's token")
				synctest.Wait()
				for _, e := range ev.all() {
					if e.Kind == tokensource.EventLoginRequired || e.Account != "" || !e.Subject {
						t.Errorf("event %s, account %q", e.Kind, e.Account)
					}
				}
			})
		})
	}
}

// A failure that has nothing to do with the subject concerns all callers, and all together ask as
// often as one. An answer that may be about the subject does not.
func TestOutage(t *testing.T) {
	for name, c := range map[string]struct {
		answer reply
		shared bool
	}{
		"the client is refused":       {refused(401, "invalid_client"), true},
		"no connection":               {reply{err: errReset, unsent: true}, true},
		"told to wait":                {withHeader(reply{status: 429}, "Retry-After", "50"), true},
		"overloaded":                  {withHeader(reply{status: 503}, "Retry-After", "50"), true},
		"a server error":              {reply{status: 500}, false},
		"a refusal without code":      {reply{status: 403}, false},
		"a policy about this subject": {refused(403, "access_denied"), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ep, ev := &endpoint{script: always(c.answer)}, new(events)
				storage := new(tokensource.MemoryStorage)
				src := newSource(t, ep, exchanging(tokensource.TokenExchange{}), observed(ev), func(cfg *tokensource.Config) {
					cfg.Storage = storage
				})
				defer func() {
					if keys, err := storage.List(t.Context(), "", true); len(keys) != 0 {
						t.Errorf("%d keys are stored, %v", len(keys), err)
					}
				}()
				for i := range 100 {
					_, err := exchanged(src, fmt.Sprint("caller", i))
					var e *tokensource.Error
					if !errors.As(err, &e) || e.Subject || e.RetryAt.IsZero() {
						t.Fatalf("got %v", err)
					}
				}
				synctest.Wait()
				st := src.Account("").Status()
				if !c.shared {
					wantCount(t, ep, 100)
					if st.Err != nil {
						t.Errorf("the source as a whole fails: %v", st.Err)
					}
					return
				}
				wantCount(t, ep, 1)
				if st.Err == nil || st.Attempts != 1 || len(ev.all()) != 1 {
					t.Errorf("status %v after %d attempts, %d events", st.Err, st.Attempts, len(ev.all()))
				}
				for range 60 {
					virtual.Advance(time.Second)
					_, _ = exchanged(src, "caller0")
					_, _ = exchanged(src, "caller1")
				}
				if n := ep.count(); n > 8 {
					t.Errorf("%d requests in a minute", n)
				}
				ep.set(exchanger().script)
				virtual.Advance(3 * time.Minute)
				mustExchange(t, src, "caller0")
				if st := src.Account("").Status(); st.Err != nil {
					t.Errorf("after the outage: %v", st.Err)
				}
			})
		})
	}
}

// Subjects that are not used leave memory. Nothing of them was ever listed or stored.
func TestIdleSubjectsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep, storage := exchanger(), new(tokensource.MemoryStorage)
		src := newSource(t, ep, exchanging(tokensource.TokenExchange{}), func(cfg *tokensource.Config) {
			cfg.Storage = storage
		})
		for i := range 10_000 {
			mustExchange(t, src, jwtFor(fmt.Sprint("caller", i), time.Hour))
		}
		wantKept(t, src, "used", 10_000)
		if names, err := src.Accounts(t.Context()); err != nil || len(names) != 0 {
			t.Errorf("%d subjects are listed, %v", len(names), err)
		}
		virtual.Advance(30 * time.Minute)
		wantKept(t, src, "idle for 30 minutes", 0)
		if keys, err := storage.List(t.Context(), "", true); len(keys) != 0 {
			t.Errorf("%d keys are stored, %v", len(keys), err)
		}
	})
}

// A subject that was dropped for want of room, and came back while idle accounts are dropped, stays:
// its callers share one token request.
func TestSubjectThatCameBackStays(t *testing.T) {
	defer tokensource.SetSubjectsLimit(16)()
	synctest.Test(t, func(t *testing.T) {
		ep := exchanger()
		grant := ep.script
		ep.set(always(refused(400, "invalid_grant"))) // so ada leaves first
		src := newSource(t, ep, exchanging(tokensource.TokenExchange{}))
		_, _ = exchanged(src, "ada")
		ep.set(grant)
		virtual.Advance(19 * time.Minute)
		end := tokensource.DropLater(src)
		for i := range 16 {
			mustExchange(t, src, fmt.Sprint("caller", i))
		}
		ep.set(always(reply{delay: 5 * time.Second, body: granted(1, time.Hour).body}))
		before := ep.count()
		var callers sync.WaitGroup
		callers.Go(func() { mustExchange(t, src, "ada") })
		virtual.Advance(time.Second)
		end()
		callers.Go(func() { mustExchange(t, src, "ada") })
		callers.Wait()
		wantCount(t, ep, before+1)
	})
}

// Callers choose the number of subjects, so it is bounded: those leave that are not in use.
func TestNumberOfSubjectsIsBounded(t *testing.T) {
	defer tokensource.SetSubjectsLimit(100)()
	synctest.Test(t, func(t *testing.T) {
		ep := exchanger()
		src := newSource(t, ep, exchanging(tokensource.TokenExchange{}))
		for i := range 1000 {
			mustExchange(t, src, fmt.Sprint("caller", i))
			if n := tokensource.KeptAccounts(src); n > 100 {
				t.Fatalf("%d subjects are in memory", n)
			}
		}
		wantCount(t, ep, 1000)

		// Tokens that are refused leave first.
		grant := ep.script
		ep.set(func(n int, form url.Values) reply {
			if strings.HasPrefix(form.Get("subject_token"), "bogus") {
				return refused(400, "invalid_grant")
			}
			return grant(n, form)
		})
		virtual.Advance(30 * time.Minute)
		mustExchange(t, src, "ada")
		for i := range 1000 {
			_, _ = exchanged(src, fmt.Sprint("bogus", i))
		}
		before := ep.count()
		mustExchange(t, src, "ada")
		wantCount(t, ep, before)

		// If all are in use, a new caller has to wait.
		ep.set(always(reply{delay: 5 * time.Second, body: granted(1, time.Hour).body}))
		var callers sync.WaitGroup
		for i := range 200 {
			callers.Go(func() { _, _ = exchanged(src, fmt.Sprint("slow", i)) })
			synctest.Wait()
		}
		_, err := exchanged(src, "late")
		var e *tokensource.Error
		if !errors.As(err, &e) || e.Class != tokensource.ClassWait || !strings.Contains(err.Error(), "too many callers") {
			t.Errorf("got %v", err)
		}
		callers.Wait()
	})
}

// A token that the API refuses is exchanged once more, for that caller alone.
func TestRefusedExchangedToken(t *testing.T) {
	ep := &endpoint{}
	src := newSource(t, ep, exchanging(tokensource.TokenExchange{}))
	mustExchange(t, src, "grace")
	account, err := src.Exchange(t.Context(), tokensource.NewSecret("ada"))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := account.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	next, err := account.Reject(t.Context(), tok)
	if err != nil || next.AccessToken() != "at3" {
		t.Errorf("got %v", err)
	}
	if mustExchange(t, src, "grace") != "at1" || mustExchange(t, src, "ada") != "at3" {
		t.Error("the refusal changed another caller's token")
	}
	wantCount(t, ep, 3)
}

// A token is cached for the scopes and parameters for which it was requested.
func TestExchangedTokenBelongsToItsParameters(t *testing.T) {
	ep, resource := &endpoint{}, "https://a.example"
	src := newSource(t, ep, exchanging(tokensource.TokenExchange{}), func(cfg *tokensource.Config) {
		cfg.Params = []tokensource.Param{{Name: "resource", Value: func(context.Context) (tokensource.Secret, error) {
			return tokensource.NewSecret(resource), nil
		}}}
	})
	first := mustExchange(t, src, "ada")
	resource = "https://b.example"
	if second := mustExchange(t, src, "ada"); second == first {
		t.Error("the token for another resource is used")
	}
	if got := ep.all()[1].form.Get("resource"); got != resource {
		t.Errorf("the request is for %s", got)
	}
}

// N_A is the type of a token that is no access token. It is taken if such a token was requested.
func TestTokenTypeNA(t *testing.T) {
	const idToken = "urn:ietf:params:oauth:token-type:id_token"
	answer := reply{body: fmt.Sprintf(`{"access_token":"at1","issued_token_type":%q,"token_type":"N_A","expires_in":60}`,
		idToken)}
	for requested, good := range map[string]bool{"": false, tokensource.AccessTokenType: false, idToken: true} {
		src := newSource(t, &endpoint{script: always(answer)},
			exchanging(tokensource.TokenExchange{RequestedTokenType: requested}))
		if _, err := exchanged(src, "ada"); (err == nil) != good {
			t.Errorf("requested %q: got %v", requested, err)
		}
	}
}

// An actor's token is read anew for each request. Its error names the option, and is told once for
// all callers.
func TestActorToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fail error
		actor := func(context.Context) (tokensource.Secret, error) { return tokensource.NewSecret("actor"), fail }
		ep, ev := &endpoint{}, new(events)
		src := newSource(t, ep, exchanging(tokensource.TokenExchange{ActorToken: actor,
			ActorTokenType: tokensource.AccessTokenType}), observed(ev))
		mustExchange(t, src, "ada")
		fail = errors.New("open /run/actor: no such file or directory")
		synctest.Wait()
		told := len(ev.all())
		for i := range 10 {
			_, err := exchanged(src, fmt.Sprint("grace", i))
			if err == nil || !strings.Contains(err.Error(), "reading actor_token") {
				t.Errorf("got %v", err)
			}
		}
		wantCount(t, ep, 1)
		synctest.Wait()
		if n := len(ev.all()) - told; n != 1 {
			t.Errorf("%d events for ten callers", n)
		}
	})
}

// A grant can be replaced only by a grant of the same kind.
func TestRebindExchange(t *testing.T) {
	src := newSource(t, exchanger(), exchanging(tokensource.TokenExchange{}))
	mustExchange(t, src, "ada")
	if err := src.Rebind(tokensource.TokenExchange{}, nil, nil); err != nil {
		t.Error(err)
	}
	mustExchange(t, src, "grace")
	if err := src.Rebind(tokensource.ClientCredentials{}, nil, nil); err == nil {
		t.Error("client_credentials replaces token_exchange")
	}
}

// storing is an [tokensource.Exchanger] that cannot be one.
type storing struct {
	tokensource.TokenExchange
	traits tokensource.Traits
}

func (s storing) Traits() tokensource.Traits { return s.traits }

// A grant that exchanges tokens stores nothing.
func TestExchangerStoresNothing(t *testing.T) {
	for _, traits := range []tokensource.Traits{{Stored: true}, {Local: true}} {
		cfg := tokensource.Config{Name: "a", Grant: storing{traits: traits}, TokenURL: tokenURL, ClientID: "c"}
		if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), "stores nothing") {
			t.Errorf("%+v: got %v", traits, err)
		}
	}
}

// No verb prints the subject of an account.
func TestSubjectIsNotPrinted(t *testing.T) {
	src := newSource(t, exchanger(), exchanging(tokensource.TokenExchange{}))
	account, err := src.Exchange(t.Context(), tokensource.NewSecret("subject-canary"))
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", account, account, account, account.Name()); strings.Contains(text, "canary") {
		t.Error("the subject is printed")
	}
}
