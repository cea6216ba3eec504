package tokensource_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

const (
	tokenURL     = "https://login.example.com/oauth/token"
	clientSecret = "client-secret-canary"
)

// endpoint is a token endpoint in memory. It is an [http.RoundTripper] that keeps the requests and
// answers as its script says, on the bubble's clock.
type endpoint struct {
	// script answers the n-th request (from 1). A nil script grants tokens that live for an hour.
	script func(n int, form url.Values) reply

	mu    sync.Mutex
	calls []call
}

type call struct {
	at     time.Time
	url    string
	header http.Header
	form   url.Values
}

// reply is one scripted answer.
type reply struct {
	delay  time.Duration
	status int // default: 200
	header http.Header
	body   string
	err    error // the connection breaks after the request was sent
	unsent bool  // with err: the connection breaks before that
}

func (e *endpoint) RoundTrip(req *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(req.Body)
	form, _ := url.ParseQuery(string(body))
	e.mu.Lock()
	e.calls = append(e.calls, call{time.Now(), req.URL.String(), req.Header.Clone(), form})
	n, script := len(e.calls), e.script
	e.mu.Unlock()
	r := granted(n, time.Hour)
	if script != nil {
		r = script(n, form)
	}
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil && trace.WroteHeaders != nil && !r.unsent {
		trace.WroteHeaders()
	}
	if r.delay > 0 {
		t := time.NewTimer(r.delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	if r.status == 0 {
		r.status = http.StatusOK
	}
	if r.header == nil {
		r.header = http.Header{"Content-Type": {"application/json"}}
	}
	return &http.Response{StatusCode: r.status, Header: r.header, Body: io.NopCloser(bytes.NewReader([]byte(r.body))),
		Request: req}, nil
}

func (e *endpoint) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.calls)
}

func (e *endpoint) all() []call {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.calls)
}

// spent returns the refresh tokens that were sent, in order.
func (e *endpoint) spent() (tokens []string) {
	for _, c := range e.all() {
		tokens = append(tokens, c.form.Get("refresh_token"))
	}
	return tokens
}

// set changes the script. Requests may be under way.
func (e *endpoint) set(script func(n int, form url.Values) reply) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.script = script
}

// always returns a script with one answer for every request.
func always(r reply) func(int, url.Values) reply {
	return func(int, url.Values) reply { return r }
}

func granted(n int, lifetime time.Duration) reply {
	return reply{body: fmt.Sprintf(`{"access_token":"at%d","token_type":"Bearer","expires_in":%v}`, n, lifetime.Seconds())}
}

// rotated grants access token atN and refresh token rtN.
func rotated(n int, lifetime time.Duration) reply {
	return reply{body: fmt.Sprintf(`{"access_token":"at%d","refresh_token":"rt%d","token_type":"Bearer","expires_in":%v}`,
		n, n, lifetime.Seconds())}
}

func refused(status int, code string) reply {
	return reply{status: status, body: fmt.Sprintf(`{"error":%q}`, code)}
}

func withHeader(r reply, name, value string) reply {
	r.header = http.Header{"Content-Type": {"application/json"}, name: {value}}
	return r
}

var errReset = errors.New("connection reset by peer")

// events keeps the events that an observer was told.
type events struct {
	mu   sync.Mutex
	told []tokensource.Event
}

func (ev *events) observe(e tokensource.Event) {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	ev.told = append(ev.told, e)
}

// all returns the events so far.
func (ev *events) all() []tokensource.Event {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	return slices.Clone(ev.told)
}

func (ev *events) forget() {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	ev.told = nil
}

func (ev *events) count(kind tokensource.EventKind) (n int) {
	for _, e := range ev.all() {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// newSource returns a source with client_credentials on ep, changed by edits. The end of the test
// closes it.
func newSource(t testing.TB, ep http.RoundTripper, edits ...func(*tokensource.Config)) *tokensource.Source {
	t.Helper()
	cfg := tokensource.Config{
		Name: "orders", Grant: tokensource.ClientCredentials{}, TokenURL: tokenURL, ClientID: "orders-client",
		ClientSecrets: []tokensource.Value{tokensource.Literal(clientSecret)}, Transport: ep,
	}
	for _, edit := range edits {
		edit(&cfg)
	}
	src, err := tokensource.New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := src.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return src
}

// refreshing configures the grant refresh_token with seed as its first refresh token.
func refreshing(storage tokensource.Storage, seed string) func(*tokensource.Config) {
	return func(cfg *tokensource.Config) {
		cfg.Grant = tokensource.RefreshToken{Initial: tokensource.Literal(seed)}
		cfg.Storage = storage
	}
}

func observed(ev *events) func(*tokensource.Config) {
	return func(cfg *tokensource.Config) { cfg.Observer = ev.observe }
}

// mustToken returns the token now, and fails the test if there is none.
func mustToken(t testing.TB, src *tokensource.Source) *tokensource.Token {
	t.Helper()
	tok, err := src.Token(t.Context())
	if err != nil {
		t.Fatalf("Token: %v", err)
	}
	return tok
}

func wantToken(t testing.TB, src *tokensource.Source, want string) *tokensource.Token {
	t.Helper()
	tok := mustToken(t, src)
	if tok.AccessToken() != want {
		t.Fatalf("got token %q, want %q", tok.AccessToken(), want)
	}
	return tok
}

// wantError returns the error of a source that has no token.
func wantError(t testing.TB, src *tokensource.Source, class tokensource.Class) *tokensource.Error {
	t.Helper()
	tok, err := src.Token(t.Context())
	if err == nil {
		t.Fatalf("got token %q, want an error of class %s", tok.AccessToken(), class)
	}
	return asError(t, err, class)
}

func asError(t testing.TB, err error, class tokensource.Class) *tokensource.Error {
	t.Helper()
	var e *tokensource.Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v (%T), want an *Error", err, err)
	}
	if e.Class != class {
		t.Fatalf("got class %s (%v), want %s", e.Class, e, class)
	}
	return e
}

func wantCount(t testing.TB, ep *endpoint, want int) {
	t.Helper()
	if got := ep.count(); got != want {
		t.Fatalf("the provider got %d token requests, want %d", got, want)
	}
}

// steps is a storage that notes the calls, and fails the calls that it is told to fail.
type steps struct {
	tokensource.MemoryStorage
	mu         sync.Mutex
	log        []string
	failLoad   error
	failStore  error
	afterStore func(rec *tokensource.Record) // before the write returns
}

func (s *steps) note(step string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, step)
}

func (s *steps) fail(load, store error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failLoad, s.failStore = load, store
}

func (s *steps) failures() (load, store error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failLoad, s.failStore
}

func (s *steps) Load(ctx context.Context, key string) ([]byte, error) {
	if err, _ := s.failures(); err != nil {
		return nil, err
	}
	return s.MemoryStorage.Load(ctx, key)
}

func (s *steps) Store(ctx context.Context, key string, value []byte) error {
	if _, err := s.failures(); err != nil {
		s.note("store failed")
		return err
	}
	if key != recordKey {
		return s.MemoryStorage.Store(ctx, key, value)
	}
	rec := decode(value)
	s.note(fmt.Sprintf("store gen=%d rt=%s marked=%t failed=%t", rec.Generation, rec.RefreshToken.Reveal(),
		rec.Intent != nil, rec.Failure != nil))
	err := s.MemoryStorage.Store(ctx, key, value)
	if s.afterStore != nil {
		s.afterStore(rec)
	}
	return err
}

func (s *steps) Lock(ctx context.Context, name string) error {
	s.note("lock")
	return s.MemoryStorage.Lock(ctx, name)
}

func (s *steps) Unlock(ctx context.Context, name string) error {
	s.note("unlock")
	return s.MemoryStorage.Unlock(ctx, name)
}

func (s *steps) steps() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// plainSettings is the digest of settings in the records of a source without scopes and parameters.
var plainSettings = tokensource.Digest([]byte(" "))[:16]

// recordKey is the storage key of the record of those sources.
var recordKey = tokensource.RecordKey("orders", "", tokenURL, "orders-client")

func decode(value []byte) *tokensource.Record {
	rec, err := tokensource.DecodeRecord(value, "orders", "")
	if err != nil {
		panic(err)
	}
	return rec
}

// stored returns the record in the storage.
func stored(t testing.TB, s tokensource.Storage) *tokensource.Record {
	t.Helper()
	value, err := s.Load(context.Background(), recordKey)
	if err != nil {
		t.Fatalf("loading the record: %v", err)
	}
	return decode(value)
}

// put stores a record, as another process would.
func put(t testing.TB, s tokensource.Storage, rec *tokensource.Record) {
	t.Helper()
	rec.Source = "orders"
	if rec.Config == "" {
		rec.Config = plainSettings
	}
	value, err := tokensource.EncodeRecord(rec)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Store(context.Background(), recordKey, value); err != nil {
		t.Fatal(err)
	}
}
