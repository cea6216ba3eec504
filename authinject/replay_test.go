package authinject

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource"
)

func TestReplay(t *testing.T) {
	old, next, late := token(canary, 1), token(canaryTwo, 2), token("canary-C", 3)
	for _, test := range []struct {
		name      string
		source    *fakeSource
		answer    func(*http.Request) *http.Response
		statuses  []int
		status    int
		sent      int // requests
		rejected  []*tokensource.Token
		outcome   Outcome
		challenge bool // the client gets the upstream's WWW-Authenticate
	}{
		{name: "replaced", source: newSource(old, next), answer: statusByToken(canary), status: 200, sent: 2,
			rejected: []*tokensource.Token{old}, outcome: OutcomeReplaced},
		{name: "no newer one", source: newSource(old), answer: statusByToken(canary), status: 401, sent: 1,
			rejected: []*tokensource.Token{old}, outcome: OutcomeRefused, challenge: true},
		{name: "the new one is refused too", source: newSource(old, next, late), answer: statusByToken(canary, canaryTwo),
			status: 401, sent: 2, rejected: []*tokensource.Token{old, next}, outcome: OutcomeRefused, challenge: true},
		{name: "the same token again", source: newSource(old, old), answer: statusByToken(canary), status: 401, sent: 1,
			rejected: []*tokensource.Token{old}, outcome: OutcomeRefused, challenge: true},
		{name: "the same text again", source: newSource(old, token(canary, 2)), answer: statusByToken(canary), status: 401,
			sent: 1, rejected: []*tokensource.Token{old}, outcome: OutcomeRefused, challenge: true},
		{name: "nothing returned", source: newSource(old, nil), answer: statusByToken(canary), status: 401, sent: 1,
			rejected: []*tokensource.Token{old}, outcome: OutcomeRefused, challenge: true},
		{name: "not a retry status", source: newSource(old, next), answer: func(r *http.Request) *http.Response {
			return respond(r, 403, nil)
		}, status: 403, sent: 1, outcome: OutcomeInjected},
		{name: "another retry status", source: newSource(old, next), answer: func(r *http.Request) *http.Response {
			return respond(r, 403, nil)
		}, statuses: []int{401, 403}, status: 403, sent: 2, rejected: []*tokensource.Token{old, next},
			outcome: OutcomeRefused},
		{name: "no retry status", source: newSource(old, next), answer: statusByToken(canary), statuses: []int{}, status: 401,
			sent: 1, outcome: OutcomeInjected, challenge: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			up := &upstream{answer: test.answer}
			rt := newTransport(t, up, test.source)
			rt.RetryStatuses, rt.SourceName = test.statuses, "orders"
			var result Result
			rt.OnResult = func(r Result) { result = r }
			res, _ := send(t, rt, get(t, "https://api.example.com/"))
			if res.StatusCode != test.status || len(up.requests) != test.sent {
				t.Errorf("status %d after %d requests", res.StatusCode, len(up.requests))
			}
			for _, want := range test.rejected {
				if got := <-test.source.rejected; got != want {
					t.Errorf("rejected generation %d, want %d", got.Generation, want.Generation)
				}
			}
			if len(test.source.rejected) != 0 {
				t.Errorf("%d refusals too many", len(test.source.rejected))
			}
			if result.Outcome != test.outcome || result.Replayed != (test.sent == 2) || result.Status != test.status {
				t.Errorf("result %+v", result)
			}
			if (res.Header.Get("Www-Authenticate") != "") != test.challenge {
				t.Errorf("header %v", res.Header)
			}
			status := fmt.Sprintf(
				`authinject; received-status=%d; details="source orders: the upstream refused the token that this proxy added; the operator of the proxy must act: caddy authinject status says how"`, test.status)
			if told := res.Header.Get("Proxy-Status") == status; told != (test.outcome == OutcomeRefused) {
				t.Errorf("Proxy-Status %q", res.Header.Values("Proxy-Status"))
			}
		})
	}
}

// accepting is a source that records which tokens the upstream accepted.
type accepting struct {
	*fakeSource
	accepted []*tokensource.Token
}

func (a *accepting) Accept(tok *tokensource.Token) { a.accepted = append(a.accepted, tok) }

// The source learns which replacements the upstream accepted. It is not told of other accepted
// tokens.
func TestAcceptedReplacementIsTold(t *testing.T) {
	old, next := token(canary, 1), token(canaryTwo, 2)
	for name, test := range map[string]struct {
		refused []string
		want    int
	}{
		"never refused": {nil, 0},
		"replaced":      {[]string{canary}, 1},
		"both refused":  {[]string{canary, canaryTwo}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			src := &accepting{fakeSource: newSource(old, next)}
			send(t, newTransport(t, &upstream{answer: statusByToken(test.refused...)}, src), get(t, "https://api.example.com/"))
			if len(src.accepted) != test.want || test.want == 1 && src.accepted[0] != next {
				t.Errorf("accepted %d tokens, want %d", len(src.accepted), test.want)
			}
		})
	}
}

// If there is no new token, the proxy answers itself. The upstream's 401 would ask the client for
// credentials that it does not have.
func TestReplayWithoutANewToken(t *testing.T) {
	for _, test := range []struct {
		err    error
		status int
	}{
		{&tokensource.Error{Class: tokensource.ClassLogin, Reason: "revoked"}, 503},
		{&tokensource.Error{Class: tokensource.ClassWait, Reason: "down"}, 503},
		{&tokensource.Error{Class: tokensource.ClassWait, Timeout: true, Reason: "slow"}, 504},
		{&tokensource.Error{Class: tokensource.ClassOperator, Reason: "wrong secret"}, 502},
		{errors.New("secret " + canaryTwo), 502},
		{context.DeadlineExceeded, 504},
	} {
		s := newSource(token(canary, 1))
		s.onReject = func(context.Context, *tokensource.Token) (*tokensource.Token, error) { return nil, test.err }
		refusal := &closer{Reader: strings.NewReader("upstream's own words")}
		up := &upstream{answer: func(req *http.Request) *http.Response {
			res := respond(req, 401, http.Header{"Www-Authenticate": {"Bearer"}})
			res.Body = refusal
			return res
		}}
		body := &closer{Reader: strings.NewReader("body")}
		req := get(t, "https://api.example.com/")
		req.Body, req.ContentLength = body, 4
		res, text := send(t, newTransport(t, up, s), req)
		problemOf(t, res, text)
		rig.MustNotHold(t, "the answer", text, canary, canaryTwo, "upstream's own words")
		if res.StatusCode != test.status || res.Header["Www-Authenticate"] != nil || len(up.requests) != 1 {
			t.Errorf("%v: status %d, header %v, %d requests", test.err, res.StatusCode, res.Header, len(up.requests))
		}
		if body.closed.Load() == 0 {
			t.Errorf("%v: the request body was not closed", test.err)
		}
	}
}

// The client may leave while the request waits for a new token.
func TestReplayWithoutAClient(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newSource(token(canary, 1))
	s.onReject = func(ctx context.Context, _ *tokensource.Token) (*tokensource.Token, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	rt := newTransport(t, &upstream{answer: statusByToken(canary)}, s)
	if res, err := rt.RoundTrip(get(t, "https://api.example.com/").WithContext(ctx)); !errors.Is(err, context.Canceled) {
		t.Errorf("answer %v, error %v", res, err)
	}
}

// The second request is the first one with another token. It has neither the client's credentials
// nor the old token.
func TestReplaySendsTheSame(t *testing.T) {
	for name, in := range map[string]Injection{"header": {}, "query": queryInjection(t, "")} {
		t.Run(name, func(t *testing.T) {
			up := &upstream{}
			up.answer = func(req *http.Request) *http.Response {
				return respond(req, map[int]int{1: 401, 2: 200}[len(up.requests)], nil)
			}
			rt := newTransport(t, up, newSource(token(canary, 1), token(canaryTwo, 2)))
			rt.Injection = in
			req, err := http.NewRequest("POST", "https://api.example.com/?x=1;y&access_token=evil",
				io.NopCloser(strings.NewReader("body")))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = http.Header{"Authorization": {"Basic x"}, "X-A": {"1", "2"}}
			send(t, rt, req)
			first, second := up.requests[0], up.requests[1]
			if first.Header.Get("X-A") != "1" || second.Header["X-A"][1] != "2" || up.bodies[0] != "body" ||
				up.bodies[1] != "body" {
				t.Errorf("bodies %q, header %v", up.bodies, second.Header)
			}
			want := [2]string{"x=1;y&_bearer_token=" + canary, "x=1;y&_bearer_token=" + canaryTwo}
			if name == "header" {
				want = [2]string{"x=1;y", "x=1;y"}
				if first.Header.Get("Authorization") != "Bearer "+canary ||
					second.Header.Get("Authorization") != "Bearer "+canaryTwo {
					t.Errorf("%v and %v", first.Header, second.Header)
				}
			} else if first.Header["Authorization"] != nil || second.Header["Authorization"] != nil {
				t.Error("the client's Authorization was sent")
			}
			if first.URL.RawQuery != want[0] || second.URL.RawQuery != want[1] {
				t.Errorf("queries %q and %q", first.URL.RawQuery, second.URL.RawQuery)
			}
		})
	}
}

func TestReplayBodyLimit(t *testing.T) {
	for _, test := range []struct {
		name    string
		limit   int64
		size    int
		unknown bool // no Content-Length
		getBody bool
		sent    int
	}{
		{name: "fits", size: 64 << 10, sent: 2},
		{name: "fits, of unknown length", size: 64 << 10, unknown: true, sent: 2},
		{name: "too large", size: 64<<10 + 1, sent: 1},
		{name: "too large, of unknown length", size: 64<<10 + 1, unknown: true, sent: 1},
		{name: "own limit", limit: 4, size: 4, sent: 2},
		{name: "own limit, too large", limit: 4, size: 5, sent: 1},
		{name: "none", limit: -1, size: 1, sent: 1},
		{name: "GetBody", size: 1 << 20, getBody: true, sent: 2},
		{name: "GetBody, but none wanted", limit: -1, size: 1, getBody: true, sent: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.Repeat("x", test.size)
			body := &closer{Reader: strings.NewReader(text)}
			s := newSource(token(canary, 1), token(canaryTwo, 2))
			up := &upstream{answer: statusByToken(canary)}
			rt := newTransport(t, up, s)
			rt.RetryBody = test.limit
			req := get(t, "https://api.example.com/")
			req.Method, req.Body, req.ContentLength = "POST", body, int64(test.size)
			if test.unknown {
				req.ContentLength = -1
			}
			if test.getBody {
				req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
			}
			res, _ := send(t, rt, req)
			if len(up.requests) != test.sent {
				t.Fatalf("sent %d times", len(up.requests))
			}
			for i, got := range up.bodies {
				if got != text || up.requests[i].ContentLength != req.ContentLength {
					t.Errorf("body %d: %d bytes of %d", i, len(got), test.size)
				}
			}
			if want := map[int]int{1: 401, 2: 200}[test.sent]; res.StatusCode != want {
				t.Errorf("status %d", res.StatusCode)
			}
			// Nothing is wrong with the configuration, so the client is told to send the request again.
			if got := res.Header.Get("Proxy-Status"); strings.Contains(got, "send the request again. If it is refused again") !=
				(test.sent == 1) {
				t.Errorf("Proxy-Status %q", got)
			}
			// The refusal is reported in any case, so that the next request has a new token.
			if got := <-s.rejected; got.Generation != 1 {
				t.Errorf("rejected %d", got.Generation)
			}
			if body.closed.Load() != 1 {
				t.Errorf("the body was closed %d times", body.closed.Load())
			}
		})
	}
}

// A client is not told to send a long request again if the source has no other token.
func TestLongBodyWithoutAnotherToken(t *testing.T) {
	s := newSource(token(canary, 1))
	s.fixed = true
	rt := newTransport(t, &upstream{answer: statusByToken(canary)}, s)
	rt.RetryBody = -1
	req := get(t, "https://api.example.com/")
	req.Method, req.Body, req.ContentLength = "POST", io.NopCloser(strings.NewReader("x")), 1
	res, _ := send(t, rt, req)
	if got := res.Header.Get("Proxy-Status"); strings.Contains(got, "again") || !strings.Contains(got, "the operator of the proxy must act") {
		t.Errorf("Proxy-Status %q", got)
	}
}

// The inner transport may send a body again by itself after a connection broke. The trailers of
// that attempt arrive, without credentials.
func TestGetBody(t *testing.T) {
	const text = "body"
	req := get(t, "https://api.example.com/")
	req.Body, req.ContentLength = io.NopCloser(strings.NewReader(text)), -1
	req.Trailer = http.Header{"X-Sum": {"1"}, "Authorization": {"evil"}}
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
	up := &upstream{answer: statusByToken(canary)}
	anew := baseFunc(func(out *http.Request) (*http.Response, error) {
		clear(out.Trailer)
		body, err := out.GetBody()
		if err != nil {
			return nil, err
		}
		if got := readString(t, body); got != text || len(out.Trailer) != 1 || out.Trailer.Get("X-Sum") != "1" {
			t.Errorf("body %q, trailers %v", got, out.Trailer)
		}
		return up.RoundTrip(out)
	})
	if res, _ := send(t, newTransport(t, anew, newSource(token(canary, 1), token(canaryTwo, 2))),
		req); res.StatusCode != 200 || len(up.requests) != 2 {
		t.Errorf("status %d after %d requests", res.StatusCode, len(up.requests))
	}
	req.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("gone") }
	if res, _ := send(t, newTransport(t, up, newSource(token(canary, 1), token(canaryTwo, 2))),
		req); res.StatusCode != 401 {
		t.Errorf("without a body to send again: status %d", res.StatusCode)
	}
}

// The first attempt's transport may still write its trailers when the second attempt begins. So
// each request has its own map of trailers, with the same names.
func TestReplayHasItsOwnTrailers(t *testing.T) {
	var maps []http.Header
	up := &upstream{answer: statusByToken(canary)}
	base := baseFunc(func(out *http.Request) (*http.Response, error) {
		if _, announced := out.Trailer["X-Sum"]; !announced || len(out.Trailer) != 1 {
			t.Errorf("announced are %v", out.Trailer)
		}
		maps = append(maps, out.Trailer)
		return up.RoundTrip(out)
	})
	req := get(t, "https://api.example.com/")
	req.Body, req.ContentLength = io.NopCloser(strings.NewReader("x")), -1
	req.Trailer = http.Header{"X-Sum": nil, "Authorization": nil}
	send(t, newTransport(t, base, newSource(token(canary, 1), token(canaryTwo, 2))), req)
	if len(maps) != 2 {
		t.Fatalf("%d requests", len(maps))
	}
	clear(maps[0])
	clear(req.Trailer)
	if len(maps[1]) != 1 {
		t.Error("the two requests share their trailers")
	}
}

// A request that cannot be sent again does not wait for the new token.
func TestUnreplayableDoesNotWait(t *testing.T) {
	s := newSource(token(canary, 1))
	s.onReject = func(context.Context, *tokensource.Token) (*tokensource.Token, error) {
		t.Error("the request waits for a new token")
		return nil, tokensource.ErrNoReplacement
	}
	rt := newTransport(t, &upstream{answer: statusByToken(canary)}, s)
	rt.RetryBody, rt.Wait = -1, -1
	req := get(t, "https://api.example.com/")
	req.Body, req.ContentLength = io.NopCloser(strings.NewReader("x")), 1
	if res, _ := send(t, rt, req); res.StatusCode != 401 {
		t.Errorf("status %d", res.StatusCode)
	}
	if len(s.rejected) != 1 {
		t.Errorf("the source learned of %d refusals, want 1", len(s.rejected))
	}
}

// If an upstream does not end the body of its refusal, the second request waits for it for
// drainWait and no longer.
func TestRefusalHeldOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		defer w.Close()
		up := &upstream{answer: func(req *http.Request) *http.Response {
			res := statusByToken(canary)(req)
			if res.StatusCode == 401 {
				res.Body = r
			}
			return res
		}}
		start := time.Now()
		res, _ := send(t, newTransport(t, up, newSource(token(canary, 1), token(canaryTwo, 2))),
			get(t, "https://api.example.com/"))
		if took := time.Since(start); res.StatusCode != 200 || took != drainWait {
			t.Errorf("status %d after %v of the bubble's time, want %v", res.StatusCode, took, drainWait)
		}
	})
}

// At most 4 KiB of a refusal are read.
func TestRefusalIsNotReadToItsEnd(t *testing.T) {
	refusal := &counted{closer: closer{Reader: strings.NewReader(strings.Repeat("x", 1<<20))}}
	up := &upstream{answer: func(req *http.Request) *http.Response {
		res := statusByToken(canary)(req)
		if res.StatusCode == 401 {
			res.Body = refusal
		}
		return res
	}}
	send(t, newTransport(t, up, newSource(token(canary, 1), token(canaryTwo, 2))), get(t, "https://api.example.com/"))
	if refusal.read > drainMost || refusal.closed.Load() != 1 {
		t.Errorf("read %d bytes, closed %d times", refusal.read, refusal.closed.Load())
	}
}

type counted struct {
	closer
	read int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read += n
	return n, err
}
