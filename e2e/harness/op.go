package harness

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// The clients that every provider knows. The secrets hold what a form or a
// basic-auth header must encode, so that a client which forgets to is refused.
const (
	// ServiceClient may use client_credentials.
	ServiceClient = "service:1"
	// ServiceSecret is the secret of ServiceClient.
	ServiceSecret = "s:e+c/r%e t&=ü"
	// WebClient may use authorization_code and refresh_token.
	WebClient = "web"
	// WebSecret is the secret of WebClient.
	WebSecret = "w:e+b/%2f s&=é"
)

// RedirectURL is where WebClient's logins end in [Provider.RefreshToken].
// Nothing listens there.
const RedirectURL = "http://127.0.0.1:1/callback"

// A Provider is an OpenID provider, the example server of zitadel/oidc, in
// this process on a loopback port, over plain HTTP.
type Provider struct {
	Issuer       string
	AuthorizeURL string
	TokenURL     string
	RevokeURL    string

	storage *opStorage
	server  *httptest.Server
	grace   time.Duration

	mu       sync.Mutex
	requests []TokenRequest
	tokens   map[string]issued // access token -> what was said about it
	refusals int
	fault    func(http.Handler) http.Handler
}

// A TokenRequest is a request that reached the token endpoint.
type TokenRequest struct {
	Time   time.Time
	Grant  string
	Header http.Header
	Form   url.Values
	Status int // 0 while it is being answered
}

// issued is what the provider knows of an access token.
type issued struct {
	expires time.Time
	revoked bool
}

// An OPOption changes a provider before it starts.
type OPOption func(*Provider)

// Lifetime sets how long access tokens live, in whole seconds; 5 minutes
// unless said. See also [Provider.SetLifetime].
func Lifetime(d time.Duration) OPOption {
	return func(p *Provider) { p.SetLifetime(d) }
}

// Grace makes [Provider.Protect] and [Provider.ProtectQuery] accept tokens for longer than the
// provider says: a busy machine may take its time between a proxy and the API.
func Grace(d time.Duration) OPOption {
	return func(p *Provider) { p.grace = d }
}

// OP starts a provider that ends with the test.
func OP(t testing.TB, opts ...OPOption) *Provider {
	t.Helper()
	p := &Provider{tokens: map[string]issued{}}
	srv := httptest.NewUnstartedServer(nil)
	p.server = srv
	p.Issuer = "http://" + srv.Listener.Addr().String()
	p.AuthorizeURL = p.Issuer + "/auth"
	p.TokenURL = p.Issuer + "/oauth/token"
	p.RevokeURL = p.Issuer + "/revoke"
	p.storage = newOPStorage(p.Issuer)
	p.SetLifetime(5 * time.Minute)
	for _, opt := range opts {
		opt(p)
	}
	quiet := slog.New(slog.DiscardHandler)
	router := exampleop.SetupServer(p.Issuer, p.storage, quiet, false)

	mux := http.NewServeMux()
	mux.Handle("/", router)
	mux.Handle("/oauth/token", p.recordTokens(router))
	mux.Handle("/revoke", p.recordRevocations(router))
	srv.Config.Handler = mux
	srv.Start()
	t.Cleanup(func() {
		// A handler that a fault holds up waits for its client to leave.
		srv.CloseClientConnections()
		srv.Close()
	})
	return p
}

// SetLifetime sets how long access tokens issued from now on live, in whole
// seconds.
func (p *Provider) SetLifetime(d time.Duration) {
	p.storage.lifetime.Store(int64(d.Truncate(time.Second)))
}

// RequireKey makes WebClient prove itself with a JWT from now on, which the public key verifies.
func (p *Provider) RequireKey(keyID string, public any) {
	p.storage.web.mu.Lock()
	defer p.storage.web.mu.Unlock()
	p.storage.web.key = &jose.JSONWebKey{Key: public, KeyID: keyID, Use: "sig"}
}

// SetFault puts a middleware in front of the token endpoint: to delay an
// answer, lose it, or give another. Requests are recorded before they get
// there, tokens after. Nil takes it away. A handler that waits must end with
// its request's context.
func (p *Provider) SetFault(fault func(http.Handler) http.Handler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

// Slow is a fault: every answer comes d late.
func Slow(d time.Duration) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			timer := time.NewTimer(d)
			defer timer.Stop()
			select {
			case <-timer.C:
				next.ServeHTTP(w, r)
			case <-r.Context().Done():
			}
		})
	}
}

// Down is a fault: every answer is status, with a body that is no OAuth error.
func Down(status int) func(http.Handler) http.Handler {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "down", status)
		})
	}
}

// Requests returns the requests that reached the token endpoint so far, those
// that a fault answered included.
func (p *Provider) Requests() []TokenRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// Count returns how many requests reached the token endpoint: those of the
// given grants, or all of them.
func (p *Provider) Count(grants ...string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, r := range p.requests {
		if len(grants) == 0 || slices.Contains(grants, r.Grant) {
			n++
		}
	}
	return n
}

// Live reports whether token was issued here, has not expired and was not
// revoked. Time runs from the moment when the token was asked for, so no
// client may think that a token lives longer than this does. The access token
// that a refresh replaces lives on to its end.
func (p *Provider) Live(token string) bool { return p.liveAt(token, time.Now()) }

func (p *Provider) liveAt(token string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	is, ok := p.tokens[token]
	return ok && !is.revoked && now.Before(is.expires)
}

// accepts reports whether the API accepts token.
func (p *Provider) accepts(token string) bool { return p.liveAt(token, time.Now().Add(-p.grace)) }

// RevokeAll makes every access token issued so far invalid. Refresh tokens
// stay.
func (p *Provider) RevokeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for token, is := range p.tokens {
		is.revoked = true
		p.tokens[token] = is
	}
}

// SubjectToken returns an access token of a user, as another client of this provider would present
// it to the proxy.
func (p *Provider) SubjectToken(t testing.TB, user string) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {actAs + user}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(subjectClient, url.QueryEscape(ServiceSecret))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.AccessToken == "" {
		t.Fatalf("a token of %s: status %d, %v", user, res.StatusCode, err)
	}
	return answer.AccessToken
}

// UserOf returns the user of an access token, which only the provider can decrypt.
func (p *Provider) UserOf(token string) string {
	text, err := op.NewAESCrypto(sha256.Sum256([]byte("test"))).Decrypt(token) // the example's key
	_, user, ok := strings.Cut(text, ":")
	if err != nil || !ok {
		return ""
	}
	return user
}

// EndSubjects makes the provider refuse to exchange any access token issued so far.
func (p *Provider) EndSubjects() { p.storage.endAll() }

// Protect is a protected API: next is reached with a live token alone, as
// exactly one "Authorization: Bearer" field and nothing else that looks like a
// credential. All others get a 401, which is counted.
func (p *Provider) Protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fields := r.Header.Values("Authorization")
		if len(fields) == 1 {
			if token, ok := strings.CutPrefix(fields[0], "Bearer "); ok && p.accepts(token) {
				next.ServeHTTP(w, r)
				return
			}
		}
		p.refuse(w)
	})
}

// ProtectQuery is [Provider.Protect] for an API that takes its token as the
// query parameter param, once, and no Authorization field beside it.
func (p *Provider) ProtectQuery(param string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Not r.URL.Query: a query that does not parse is forwarded as well.
		var tokens []string
		for part := range strings.FieldsFuncSeq(r.URL.RawQuery, func(c rune) bool { return c == '&' }) {
			if value, ok := strings.CutPrefix(part, param+"="); ok {
				token, err := url.QueryUnescape(value)
				if err != nil {
					token = value
				}
				tokens = append(tokens, token)
			}
		}
		if len(tokens) == 1 && p.accepts(tokens[0]) && len(r.Header.Values("Authorization")) == 0 {
			next.ServeHTTP(w, r)
			return
		}
		p.refuse(w)
	})
}

func (p *Provider) refuse(w http.ResponseWriter) {
	p.mu.Lock()
	p.refusals++
	p.mu.Unlock()
	w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	http.Error(w, "no live token", http.StatusUnauthorized)
}

// Refusals returns how many requests [Provider.Protect] and
// [Provider.ProtectQuery] refused.
func (p *Provider) Refusals() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refusals
}

// recordTokens keeps account of what is asked of the token endpoint and of the
// tokens that leave it.
func (p *Provider) recordTokens(next http.Handler) http.Handler {
	record := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := time.Now()
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		var answer struct {
			AccessToken string `json:"access_token"`
			ExpiresIn   int64  `json:"expires_in"`
		}
		if json.Unmarshal(rec.Body.Bytes(), &answer) == nil && answer.AccessToken != "" {
			p.mu.Lock()
			p.tokens[answer.AccessToken] = issued{expires: asked.Add(time.Duration(answer.ExpiresIn) * time.Second)}
			p.mu.Unlock()
		}
		replay(w, rec)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		form := readForm(r)
		p.mu.Lock()
		i := len(p.requests)
		p.requests = append(p.requests, TokenRequest{
			Time:   time.Now(),
			Grant:  form.Get("grant_type"),
			Header: r.Header.Clone(),
			Form:   form,
		})
		h := http.Handler(record)
		if p.fault != nil {
			h = p.fault(h)
		}
		p.mu.Unlock()

		sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			p.mu.Lock()
			p.requests[i].Status = sw.status
			p.mu.Unlock()
		}()
		h.ServeHTTP(sw, r)
	})
}

// recordRevocations makes access tokens that a client revokes stop being live.
func (p *Provider) recordRevocations(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := readForm(r).Get("token")
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		p.mu.Lock()
		if is, ok := p.tokens[token]; ok && rec.Code == http.StatusOK {
			is.revoked = true
			p.tokens[token] = is
		}
		p.mu.Unlock()
		replay(w, rec)
	})
}

// readForm parses the request's body and leaves it to be read again.
func readForm(r *http.Request) url.Values {
	body, _ := io.ReadAll(r.Body) // what is missing will be missed by the provider
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(body))
	return form
}

func replay(w http.ResponseWriter, rec *httptest.ResponseRecorder) {
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
}

// statusWriter remembers the status of a response.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection, which a fault may
// want to cut.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
