package tokensourcetest_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// clock is a clock that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// reply is a response of the token endpoint as a client sees it.
type reply struct {
	status  int
	header  http.Header
	body    string
	members map[string]any // nil if the body is not a JSON object
}

func (r reply) text(name string) string {
	text, _ := r.members[name].(string)
	return text
}

// send sends one request on its own connection, so that net/http has no reason to repeat it, and
// reads the whole response.
func send(srv *Server, req *http.Request) (reply, error) {
	req.Close = true
	client := *srv.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	r := reply{status: resp.StatusCode, header: resp.Header, body: string(body)}
	_ = json.Unmarshal(body, &r.members)
	return r, err
}

// tokenRequest returns a form request with the default client's Basic credentials.
func tokenRequest(srv *Server, params ...string) *http.Request {
	req, err := http.NewRequest(http.MethodPost, srv.TokenURL(), strings.NewReader(form(params...)))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(DefaultClientID, DefaultClientSecret)
	return req
}

// form encodes alternating names and values in their order.
func form(params ...string) string {
	var b strings.Builder
	for i := 0; i < len(params); i += 2 {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(params[i]) + "=" + url.QueryEscape(params[i+1]))
	}
	return b.String()
}

// ask sends a token request that must be answered.
func ask(t *testing.T, srv *Server, params ...string) reply {
	t.Helper()
	r, err := send(srv, tokenRequest(srv, params...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func clientCredentials(t *testing.T, srv *Server) reply {
	t.Helper()
	return ask(t, srv, "grant_type", "client_credentials")
}

func refreshWith(t *testing.T, srv *Server, token string) reply {
	t.Helper()
	return ask(t, srv, "grant_type", "refresh_token", "refresh_token", token)
}

// wantError checks an error response of RFC 6749 section 5.2.
func wantError(t *testing.T, r reply, status int, code string) {
	t.Helper()
	if r.status != status || r.text("error") != code {
		t.Errorf("got %d %s, want %d %s", r.status, r.body, status, code)
	}
}

func wantToken(t *testing.T, r reply) {
	t.Helper()
	if r.status != http.StatusOK || r.text("access_token") == "" {
		t.Errorf("got %d %s, want a token", r.status, r.body)
	}
}

// callAPI sends a request to the API with these Authorization fields.
func callAPI(t *testing.T, srv *Server, tail string, authorization ...string) reply {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, srv.APIURL()+tail, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header["Authorization"] = authorization
	r, err := send(srv, req)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// soon returns a context for waits that should end at once.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func last(t *testing.T, srv *Server) TokenRequest {
	t.Helper()
	list := srv.TokenRequests()
	if len(list) == 0 {
		t.Fatal("no token request was recorded")
	}
	return list[len(list)-1]
}
