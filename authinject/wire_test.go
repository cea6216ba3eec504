package authinject

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// These tests run over real sockets, with HTTP/1.1 and HTTP/2. There the inner transport reads the
// request body in its own goroutine, which may still read when the answer has arrived.

// refuseFirst calls before and answers 401, except to requests with the second token. It echoes the
// body and trailer of those.
func refuseFirst(before func(http.ResponseWriter, *http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+canaryTwo {
			if before != nil {
				before(w, r)
			}
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":"invalid_token"}`)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("X-Sum", r.Trailer.Get("X-Sum"))
		w.Header().Set("X-Evil", r.Trailer.Get("Authorization"))
		_, _ = w.Write(body)
	})
}

func readAll(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }

func TestReplayOverTheWire(t *testing.T) {
	large := make([]byte, 64<<10)
	_, _ = rand.Read(large)
	for _, test := range []struct {
		name   string
		before func(http.ResponseWriter, *http.Request)
		body   []byte
		length int64
		status int
		only   string // the only protocol to test, or empty for both
	}{
		{name: "no body", status: 200},
		{name: "body read", before: readAll, body: large, length: int64(len(large)), status: 200},
		{name: "body read, of unknown length", before: readAll, body: large, length: -1, status: 200},
		{name: "answered before the body", body: large, length: int64(len(large)), status: 200, only: http2},
		{name: "answered before the body, of unknown length", body: large, length: -1, status: 200, only: http2},
		{name: "too large for a second time", before: readAll, body: bytes.Repeat(large, 4), length: 4 * int64(len(large)),
			status: 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			run := protocols
			if test.only != "" {
				// TestReplayAfterAnEarlyRefusal tests HTTP/1.1.
				run = func(t *testing.T, h http.Handler, test wireTest) { overProtocol(t, http2, h, test) }
			}
			run(t, refuseFirst(test.before), func(t *testing.T, srv *httptest.Server, rt *Transport) {
				for range 20 {
					rt.Source = sourceOf(newSource(token(canary, 1), token(canaryTwo, 2)))
					req := get(t, srv.URL)
					if test.body != nil {
						req.Method, req.Body, req.ContentLength = "POST", io.NopCloser(bytes.NewReader(test.body)), test.length
					}
					res, body := send(t, rt, req)
					if res.StatusCode != test.status || test.status == 200 && body != string(test.body) {
						t.Fatalf("status %d, %d bytes of %d", res.StatusCode, len(body), len(test.body))
					}
				}
			})
		})
	}
}

func sourceOf(s TokenSource) func(*http.Request) (TokenSource, error) {
	return func(*http.Request) (TokenSource, error) { return s, nil }
}

// gated is a body whose second half can be read only after gate is closed. It behaves like a client
// that is still sending.
type gated struct {
	first, rest *strings.Reader
	gate        chan struct{}
	waiting     chan struct{} // closed when a Read waits for gate
	isWaiting   atomic.Bool
	closed      atomic.Int32
	atEnd       func()
}

func newGated(first, rest string) *gated {
	return &gated{first: strings.NewReader(first), rest: strings.NewReader(rest), gate: make(chan struct{}),
		waiting: make(chan struct{})}
}

func (g *gated) Read(p []byte) (int, error) {
	if g.first.Len() > 0 {
		return g.first.Read(p)
	}
	if g.isWaiting.CompareAndSwap(false, true) {
		close(g.waiting)
	}
	<-g.gate
	n, err := g.rest.Read(p)
	if err == io.EOF && g.atEnd != nil {
		g.atEnd()
		g.atEnd = nil
	}
	return n, err
}

func (g *gated) Close() error { g.closed.Add(1); return nil }

// The upstream refuses while the client is still sending. The first attempt's transport stays in
// Read until the second request has arrived. No byte is lost, and trailers arrive.
func TestReplayWhileTheFirstAttemptReads(t *testing.T) {
	const first, rest = "the beginning, ", "the rest"
	var sending atomic.Pointer[gated]
	echo := refuseFirst(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadFull(r.Body, make([]byte, len(first)))
		<-sending.Load().waiting
	})
	protocols(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer "+canaryTwo {
			close(sending.Load().gate)
		} else {
			// No other request can follow one whose body never ends.
			w.Header().Set("Connection", "close")
		}
		echo.ServeHTTP(w, r)
	}), func(t *testing.T, srv *httptest.Server, rt *Transport) {
		for range 20 {
			body := newGated(first, rest)
			sending.Store(body)
			req := get(t, srv.URL)
			req.Method, req.Body, req.ContentLength = "POST", body, -1
			req.Trailer = http.Header{"X-Sum": nil, "Authorization": nil}
			body.atEnd = func() { req.Trailer["X-Sum"], req.Trailer["Authorization"] = []string{"42"}, []string{"Bearer evil"} }
			rt.Source = sourceOf(newSource(token(canary, 1), token(canaryTwo, 2)))
			res, got := send(t, rt, req)
			if res.StatusCode != 200 || got != first+rest || res.Header.Get("X-Sum") != "42" || res.Header.Get("X-Evil") != "" {
				t.Fatalf("status %d, body %q, header %v", res.StatusCode, got, res.Header)
			}
		}
	})
}

// earlyServer is an HTTP/1.1 server that refuses the first token as soon as it has read the header.
// Then it reads and discards the body, as proxies do. Go's own server reads the body first.
func earlyServer(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serveEarly(conn)
		}
	}()
	return "http://" + listener.Addr().String()
}

func serveEarly(conn net.Conn) {
	defer conn.Close()
	reader := bufio.NewReader(conn)
	req, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	if req.Header.Get("Authorization") != "Bearer "+canaryTwo {
		_, _ = io.WriteString(conn, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
		_, _ = io.Copy(io.Discard, reader)
		return
	}
	if req.Header.Get("Expect") != "" {
		_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	_ = (&http.Response{StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Close: true, ContentLength: int64(len(body)),
		Body: io.NopCloser(bytes.NewReader(body))}).Write(conn)
}

// An HTTP/1.1 upstream may refuse a request after it has read only the header.
func TestReplayAfterAnEarlyRefusal(t *testing.T) {
	url := earlyServer(t)
	large := make([]byte, 64<<10)
	_, _ = rand.Read(large)
	for _, test := range []struct {
		name   string
		body   []byte
		length int
		expect bool
	}{
		{"length known", large, len(large), false},
		{"length unknown", large, -1, false},
		{"expecting 100 Continue", large, len(large), true},
		{"expecting 100 Continue, more than is kept", bytes.Repeat(large, 16), 16 * len(large), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			inner := &http.Transport{ExpectContinueTimeout: time.Minute}
			defer inner.CloseIdleConnections()
			rt := newTransport(t, inner, nil)
			rt.Destinations = destinations(t, url)
			for range 20 {
				rt.Source = sourceOf(newSource(token(canary, 1), token(canaryTwo, 2)))
				req := get(t, url)
				req.Method, req.Body, req.ContentLength = "POST", io.NopCloser(bytes.NewReader(test.body)), int64(test.length)
				if test.expect {
					req.Header.Set("Expect", "100-continue")
				}
				if res, body := send(t, rt, req); res.StatusCode != 200 || body != string(test.body) {
					t.Fatalf("status %d, %d bytes of %d", res.StatusCode, len(body), len(test.body))
				}
			}
		})
	}
}

// Keeping the body does not delay it. The upstream answers the first part before the client sends
// the second part.
func TestBodyStreams(t *testing.T) {
	body := newGated("ping", "pong")
	protocols(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 4)
		if _, err := io.ReadFull(r.Body, buf); err != nil {
			t.Error(err)
		}
		_, _ = w.Write(buf)
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(w, r.Body)
	}), func(t *testing.T, srv *httptest.Server, rt *Transport) {
		body = newGated("ping", "pong")
		req := get(t, srv.URL)
		req.Method, req.Body, req.ContentLength = "POST", body, -1
		res, err := rt.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		buf := make([]byte, 4)
		if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != "ping" {
			t.Fatalf("%q, %v", buf, err)
		}
		close(body.gate)
		if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "pong" {
			t.Fatalf("%q, %v", rest, err)
		}
	})
}

// The second request uses the connection of the refused one.
func TestReplayReusesTheConnection(t *testing.T) {
	addresses := make(chan string, 2)
	protocols(t, refuseFirst(nil), func(t *testing.T, srv *httptest.Server, rt *Transport) {
		handler := srv.Config.Handler
		srv.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			addresses <- r.RemoteAddr
			handler.ServeHTTP(w, r)
		})
		if res, _ := send(t, rt, get(t, srv.URL)); res.StatusCode != 200 {
			t.Fatalf("status %d", res.StatusCode)
		}
		if first, second := <-addresses, <-addresses; first != second {
			t.Errorf("requests from %s and %s", first, second)
		}
	})
}

// Trailers arrive, whether they were announced or not, except credentials (RFC 9110 section 6.5).
// Their values come from the map that is filled at the end of the client's body.
func TestTrailers(t *testing.T) {
	got := make(chan http.Header, 1)
	for _, check := range []bool{false, true} {
		protocols(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			got <- r.Trailer
		}), func(t *testing.T, srv *httptest.Server, rt *Transport) {
			rt.Injection = headerInjection(t, "X-Api-Key", "")
			rt.HealthCheck, rt.InjectHealthChecks = func(*http.Request) bool { return check }, true
			body := newGated("a", "b")
			close(body.gate)
			req := get(t, srv.URL)
			req.Method, req.Body, req.ContentLength = "POST", body, -1
			req.Trailer = http.Header{"X-Sum": nil, "Authorization": nil, "X-Api-Key": nil}
			body.atEnd = func() {
				clear(req.Trailer)
				for _, name := range []string{"Authorization", "authorization", "X-Api-Key", "X_Api_Key", "Proxy-Authorization"} {
					req.Trailer[name] = []string{"evil"}
				}
				req.Trailer["X-Sum"] = []string{"42"}
			}
			send(t, rt, req)
			if trailer := <-got; len(trailer) != 1 || trailer.Get("X-Sum") != "42" {
				t.Errorf("upstream saw the trailers %v", trailer)
			}
		})
	}
}

// An upgraded connection can be read and written as the inner transport returned it, and the answer
// keeps its header.
func TestUpgrade(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+canary {
			t.Errorf("handshake with %q", r.Header.Get("Authorization"))
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nCache-Control: " +
			"public\r\n\r\n")
		_ = rw.Flush()
		line, _ := rw.ReadString('\n')
		_, _ = rw.WriteString(line)
		_ = rw.Flush()
	}))
	defer srv.Close()
	rt := newTransport(t, srv.Client().Transport, newSource(token(canary, 1)))
	rt.Destinations, rt.PerAccount = destinations(t, srv.URL), true
	req := get(t, srv.URL)
	req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"echo"}}
	res, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	conn, ok := res.Body.(io.ReadWriteCloser)
	if !ok || res.StatusCode != 101 || res.Header.Get("Cache-Control") != "public" {
		t.Fatalf("%d %v, body %T", res.StatusCode, res.Header, res.Body)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "hello\n")
	if echo, err := io.ReadAll(conn); err != nil || string(echo) != "hello\n" {
		t.Errorf("%q, %v", echo, err)
	}
}
