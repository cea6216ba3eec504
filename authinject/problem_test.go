package authinject

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource"
)

func TestFailureAnswers(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, test := range []struct {
		name       string
		err        error
		status     int
		kind       string
		class      tokensource.Class
		retryAfter string
		proxy      string // error of Proxy-Status
		detail     string // part of it
	}{
		{
			"wait", &tokensource.Error{Source: "orders", Class: tokensource.ClassWait,
				Reason: "the provider answered with an error", Status: 503, RetryAt: now.Add(1500 * time.Millisecond)},
			503, "wait", tokensource.ClassWait, "2", "proxy_internal_response",
			`token source "orders": the provider answered with an error, status 503`,
		},
		{"wait, no time known", &tokensource.Error{Class: tokensource.ClassWait}, 503, "wait", tokensource.ClassWait, "1",
			"proxy_internal_response", ""},
		{"wait, time is past", &tokensource.Error{Class: tokensource.ClassWait, RetryAt: now.Add(-time.Hour)}, 503, "wait",
			tokensource.ClassWait, "1", "proxy_internal_response", ""},
		{"too slow", &tokensource.Error{Source: "orders", Class: tokensource.ClassWait, Timeout: true,
			Reason: "still waiting"}, 504, "timeout", tokensource.ClassWait, "", "http_response_timeout", "still waiting"},
		{"too slow, of another kind", fmt.Errorf("x: %w", context.DeadlineExceeded), 504, "timeout", tokensource.ClassWait,
			"", "http_response_timeout", "no token came in time"},
		{
			"login", fmt.Errorf("wrapped with a secret %s: %w", canary,
				&tokensource.Error{Source: "orders", Account: "acme", Class: tokensource.ClassLogin,
					Reason: "the refresh token was refused", Code: "invalid_grant"}),
			503, "login", tokensource.ClassLogin, "", "proxy_internal_response",
			`to connect the account, open https://proxy.example/connect/orders/acme`,
		},
		{"no subject", &tokensource.Error{Source: "orders", Class: tokensource.ClassLogin, Subject: true,
			Reason: "the request has no token to exchange"}, 401, "subject", tokensource.ClassLogin, "", "http_request_denied",
			"has no token to exchange"},
		{"a refused subject", &tokensource.Error{Source: "orders", Class: tokensource.ClassLogin, Subject: true,
			Reason: "the provider refuses the caller's token", Code: "invalid_grant"}, 401, "subject", tokensource.ClassLogin,
			"", "http_request_denied", "invalid_grant"},
		{"operator", &tokensource.Error{Source: "orders", Class: tokensource.ClassOperator, Reason: "the client was refused",
			Code: "invalid_client"}, 502, "operator", tokensource.ClassOperator, "", "proxy_configuration_error",
			"invalid_client"},
		{"no class", &tokensource.Error{Source: "orders"}, 502, "operator", tokensource.ClassOperator,
			"", "proxy_configuration_error", ""},
		{"another error", errors.New("Post \"https://login.example/?client_secret=" + canary), 502, "operator",
			tokensource.ClassOperator, "", "proxy_configuration_error", "not shown"},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			t.Run(test.name+" "+method, func(t *testing.T) {
				up := &upstream{}
				rt := newTransport(t, up, failing(test.err))
				rt.ConnectURL, rt.now = connectURL, func() time.Time { return now }
				var result Result
				rt.OnResult = func(r Result) { result = r }
				body := &closer{Reader: strings.NewReader("body")}
				req := get(t, "https://api.example.com/")
				req.Method, req.Body, req.ContentLength = method, body, 4
				res, text := send(t, rt, req)

				if len(up.requests) != 0 {
					t.Error("the request was sent")
				}
				if body.closed.Load() != 1 {
					t.Error("the request body was not closed")
				}
				if res.StatusCode != test.status || res.Header.Get("Retry-After") != test.retryAfter {
					t.Errorf("status %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
				}
				if got, want := res.Header.Get("Proxy-Status"), "authinject; error="+test.proxy+
					`; details="`; !strings.HasPrefix(got, want) {
					t.Errorf("Proxy-Status %q, want %q…", got, want)
				}
				if res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("WWW-Authenticate") != challenges[test.name] {
					t.Errorf("header %v", res.Header)
				}
				if res.Request != req || res.Proto != "HTTP/1.1" ||
					res.Status != fmt.Sprintf("%d %s", test.status, http.StatusText(test.status)) {
					t.Errorf("answer %q %q to %p", res.Proto, res.Status, res.Request)
				}
				rig.MustNotHold(t, "the answer", text+fmt.Sprint(res.Header), canary)
				outcome := OutcomeNoToken
				if test.kind == "subject" {
					outcome = OutcomeSubject
				}
				if want := (Result{Outcome: outcome, Class: test.class, Status: test.status}); result.Outcome != want.Outcome ||
					result.Class != want.Class || result.Status != want.Status {
					t.Errorf("result %+v", result)
				}
				if method == "HEAD" {
					if text != "" || res.Header.Get("Content-Length") == "0" {
						t.Errorf("body %q, Content-Length %s", text, res.Header.Get("Content-Length"))
					}
					return
				}
				if res.Header.Get("Content-Length") != strconv.Itoa(len(text)) || res.ContentLength != int64(len(text)) {
					t.Errorf("Content-Length %s of %d", res.Header.Get("Content-Length"), len(text))
				}
				p := problemOf(t, res, text)
				if p.Type != ProblemTypes+test.kind || p.Class != test.class || p.Title == "" ||
					!strings.Contains(p.Detail, test.detail) {
					t.Errorf("problem %+v", p)
				}
				if want, _ := strconv.Atoi(test.retryAfter); p.RetryAfter != want {
					t.Errorf("retry_after %d, want %d", p.RetryAfter, want)
				}
				if test.kind == "login" && (p.LoginURL != "https://proxy.example/connect/orders/acme" || p.Account != "acme" ||
					p.Source != "orders") {
					t.Errorf("problem %+v", p)
				}
			})
		}
	}
}

// challenges are the WWW-Authenticate fields of answers (RFC 6750 section 3). Only a caller whose
// own token is exchanged gets one.
var challenges = map[string]string{"no subject": "Bearer", "a refused subject": `Bearer error="invalid_token"`}

// connectURL is a page with a place for each account.
func connectURL(source, account string) string {
	return "https://proxy.example/connect/" + source + "/" + account
}

// Without a page to connect accounts on, the answer has only the hint.
func TestLoginWithoutConnectURL(t *testing.T) {
	rt := newTransport(t, &upstream{},
		failing(&tokensource.Error{Source: "orders", Class: tokensource.ClassLogin, Reason: "never connected"}))
	rt.LoginHint = func(source, _ string) string { return "to connect the account, run: caddy authinject login " + source }
	res, text := send(t, rt, get(t, "https://api.example.com/"))
	if p := problemOf(t, res,
		text); p.Detail != `token source "orders": never connected; to connect the account, run: caddy authinject login orders` ||
		strings.Contains(text, "login_url") {
		t.Errorf("problem %s", text)
	}
}

// An answer shows no address to connect the account at if no person can connect it there: because
// the refresh token is configured, or because the storage would lose the login.
func TestLoginThatIsNotPossible(t *testing.T) {
	source := func(storage tokensource.Storage, grant tokensource.Grant) *tokensource.Source {
		refuses := roundTrip(func(req *http.Request) *http.Response {
			return &http.Response{StatusCode: http.StatusBadRequest,
				Body: io.NopCloser(strings.NewReader(`{"error":"invalid_grant"}`)), Request: req}
		})
		src, err := tokensource.New(tokensource.Config{
			Name: "orders", Grant: grant, Storage: storage, ClientID: "c", ClientAuth: tokensource.ClientAuthNone,
			Transport:    refuses,
			AuthorizeURL: "https://login.example.com/authorize", TokenURL: "https://login.example.com/token",
			TokenIn: "the file /run/rt",
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = src.Close(context.Background()) })
		return src
	}
	for title, row := range map[string]struct {
		src    *tokensource.Source
		detail string
	}{
		"The refresh token must be replaced": {
			source(new(tokensource.MemoryStorage), tokensource.RefreshToken{Initial: tokensource.Literal("rt")}),
			`token source "orders": the token endpoint answered 400 invalid_grant (the provider no longer accepts the refresh token): ` +
				`get a new refresh token from the provider, and write it into the file /run/rt`,
		},
		"The storage of the tokens cannot be used": {
			source(new(readOnly), tokensource.AuthorizationCode{}),
			`token source "orders": the storage cannot be written, so a login would be lost; the account is not connected yet`,
		},
	} {
		t.Run(title, func(t *testing.T) {
			rt := newTransport(t, &upstream{}, row.src.Account(""))
			rt.ConnectURL, rt.LoginHint = connectURL, func(string, string) string { return "to connect it, log in" }
			res, text := send(t, rt, get(t, "https://api.example.com/"))
			p := problemOf(t, res, text)
			if p.Title != title || p.Detail != row.detail || p.Class != tokensource.ClassLogin ||
				p.Type != ProblemTypes+"login" || p.LoginURL != "" {
				t.Errorf("got %s", text)
			}
		})
	}
}

// roundTrip answers requests.
type roundTrip func(*http.Request) *http.Response

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req), nil }

// readOnly is a storage that takes no writes.
type readOnly struct{ tokensource.MemoryStorage }

func (*readOnly) Store(context.Context, string, []byte) error { return errors.New("read-only") }

// Addresses and names stand in the body as they are, so that they can be copied from it. No browser
// takes it for a page.
func TestProblemIsReadable(t *testing.T) {
	const page = "https://proxy.example/connect?source=orders&account=%3Cb%3E"
	rt := newTransport(t, &upstream{},
		failing(&tokensource.Error{Source: "orders", Account: "<b>", Class: tokensource.ClassLogin,
			Reason: "never connected"}))
	rt.ConnectURL = func(string, string) string { return page }
	res, text := send(t, rt, get(t, "https://api.example.com/"))
	for _, want := range []string{`"login_url":"` + page + `"`, `"account":"<b>"`, `open ` + page} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if !strings.HasSuffix(text, "}\n") || strings.Count(text, "\n") != 1 {
		t.Errorf("it is not one line: %q", text)
	}
	if res.Header.Get("Content-Type") != "application/problem+json" ||
		res.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("header %v", res.Header)
	}
}

// RFC 9651 section 3.3.3: details are printable ASCII, and cannot end early.
func TestProxyStatusCannotBeBroken(t *testing.T) {
	rt := newTransport(t, &upstream{}, newSource(token(canary, 1)))
	rt.Target = func(*http.Request) (Target, error) {
		return Target{Scheme: "https", Host: "evil\"; received-status=200; x=\"\\\r\nX-Evil: 1é"}, nil
	}
	res, text := send(t, rt, get(t, "https://api.example.com/"))
	problemOf(t, res, text)
	got := res.Header.Get("Proxy-Status")
	if strings.ContainsAny(got, "\r\né") || !strings.Contains(got, `evil\"; received-status=200; x=\"\\??X-Evil: 1?`) {
		t.Errorf("Proxy-Status %q", got)
	}
}

// A request waits for a token as long as Wait says, and no longer.
func TestWait(t *testing.T) {
	for _, test := range []struct{ wait, want time.Duration }{{0, 10 * time.Second}, {3 * time.Second, 3 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			s := newSource(nil)
			s.onToken = func(ctx context.Context) (*tokensource.Token, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			rt := newTransport(t, &upstream{}, s)
			rt.Wait = test.wait
			var result Result
			rt.OnResult = func(r Result) { result = r }
			start := time.Now()
			res, _ := send(t, rt, get(t, "https://api.example.com/"))
			if took := time.Since(start); res.StatusCode != 504 || took != test.want || result.Waited != test.want {
				t.Errorf("status %d after %v, waited %v", res.StatusCode, took, result.Waited)
			}
		})
	}
}

// With a negative Wait, only the request's context ends the wait.
func TestWaitForever(t *testing.T) {
	s := newSource(nil)
	s.onToken = func(ctx context.Context) (*tokensource.Token, error) {
		if _, limited := ctx.Deadline(); limited {
			t.Error("the waiting is limited")
		}
		return token(canary, 1), nil
	}
	rt := newTransport(t, &upstream{}, s)
	rt.Wait = -1
	send(t, rt, get(t, "https://api.example.com/"))
}

// A client that goes away gets its context's error, which is no upstream's fault.
func TestClientGoesAway(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newSource(nil)
	s.onToken = func(ctx context.Context) (*tokensource.Token, error) {
		cancel()
		<-ctx.Done()
		return nil, &tokensource.Error{Class: tokensource.ClassWait, Timeout: true}
	}
	up := &upstream{}
	rt := newTransport(t, up, s)
	var result Result
	rt.OnResult = func(r Result) { result = r }
	body := &closer{Reader: strings.NewReader("x")}
	req := get(t, "https://api.example.com/").WithContext(ctx)
	req.Body = body
	res, err := rt.RoundTrip(req)
	if res != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("answer %v, error %v", res, err)
	}
	if body.closed.Load() != 1 || result.Outcome != OutcomeCanceled || len(up.requests) != 0 {
		t.Errorf("closed %d, result %+v", body.closed.Load(), result)
	}
}

// The remedy and the problem stand in the body, from the same table as everywhere.
func TestProblemHasTheRemedy(t *testing.T) {
	for problem, test := range map[string]struct {
		err error
		url string
	}{
		"invalid_client": {&tokensource.Error{Class: tokensource.ClassOperator, Reason: "refused",
			Code: "invalid_client"}, "https://api.example.com/"},
		"destination":          {nil, "https://elsewhere.example.com/"},
		"destination_insecure": {nil, "http://api.example.com/"},
	} {
		t.Run(problem, func(t *testing.T) {
			rt := newTransport(t, &upstream{}, failing(test.err))
			req := httptest.NewRequest(http.MethodGet, test.url, nil)
			res, err := rt.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			var body struct{ Detail, Problem, Remedy string }
			if err := json.NewDecoder(res.Body).Decode(&body); err != nil || body.Problem != problem {
				t.Fatalf("got %+v, %v", body, err)
			}
			for _, r := range tokensource.Remedies() {
				if r.Problem == problem && problem != "invalid_client" &&
					(!strings.Contains(body.Detail, r.Text) || body.Remedy != r.Do) {
					t.Errorf("got %+v, want the text %q and the remedy %q", body, r.Text, r.Do)
				}
			}
			if problem == "invalid_client" && body.Remedy != "check client_id, client_secret and client_auth" {
				t.Errorf("got %+v", body)
			}
		})
	}
}
