package firstlight

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// recorder is an upstream that keeps the bytes it gets.
type recorder struct {
	addr string
	mu   sync.Mutex
	seen []string
}

// record answers 200 to every request and keeps the bytes of its head and trailers.
func record(t *testing.T) *recorder {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	r := &recorder{addr: listener.Addr().String()}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go r.serve(conn)
		}
	}()
	return r
}

func (r *recorder) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	var head strings.Builder
	chunked := false
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		head.WriteString(line)
		chunked = chunked || strings.HasPrefix(strings.ToLower(line), "transfer-encoding: chunked")
		if line == "\r\n" && chunked {
			// The body is one chunk or none, then the trailers.
			chunked = false
			for {
				size, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if size == "0\r\n" {
					break
				}
				var n int64
				if _, err := fmt.Sscanf(size, "%x", &n); err != nil {
					return
				}
				if _, err := io.CopyN(io.Discard, in, n+2); err != nil {
					return
				}
			}
			continue
		}
		if line == "\r\n" {
			r.mu.Lock()
			r.seen = append(r.seen, head.String())
			r.mu.Unlock()
			head.Reset()
			if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
				return
			}
		}
	}
}

func (r *recorder) last(t *testing.T) string {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) == 0 {
		t.Fatal("the upstream saw no request")
	}
	return r.seen[len(r.seen)-1]
}

// raw sends the bytes of one request and returns the status line.
func raw(t *testing.T, addr, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, strings.ReplaceAll(request, "ADDR", addr)); err != nil {
		t.Fatal(err)
	}
	status, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// Whatever credentials a client sends, the upstream gets exactly one, the source's token. The rest
// of the query is unchanged.
func TestTheClientsCredentialsStopHere(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{NewAccessToken: func(n uint64) string {
		return fmt.Sprintf("ours-%d", n)
	}})
	up := record(t)
	header := start(t, proxied(srv, up.addr))
	query := start(t, proxied(srv, up.addr).Source("a", "inject query"))
	custom := start(t, proxied(srv, up.addr).Source("a", `inject header X-Api-Key ""`))

	const smuggled = "_bearer_token=junk&x=1;y=2&bad=%zz&_BEARER_TOKEN=x"
	for name, c := range map[string]struct{ lines, query, left string }{
		"plain":               {"", "", ""},
		"once":                {"Authorization: Bearer junk\r\n", "", ""},
		"twice":               {"Authorization: Bearer junk\r\nauthorization: Basic junk\r\n", "", ""},
		"odd case":            {"aUTHORIZATION: junk\r\n", "", ""},
		"connection":          {"Authorization: junk\r\nConnection: Authorization\r\n", "", ""},
		"connection, close":   {"Connection: close, Authorization\r\nConnection: X-Api-Key\r\n", "", ""},
		"proxy-authorization": {"Proxy-Authorization: Basic junk\r\n", "", ""},
		"query":               {"", smuggled, "x=1;y=2&bad=%zz"},
		"encoded query":       {"", "a=%20&%5Fbearer%5ftoken=junk&b=+&_bearer_token[]=junk", "a=%20&b=+"},
		"both":                {"Authorization: Bearer junk\r\n", smuggled, "x=1;y=2&bad=%zz"},
	} {
		t.Run(name, func(t *testing.T) {
			request := func(query string) string {
				if query != "" {
					query = "?" + query
				}
				return "GET /p" + query + " HTTP/1.1\r\nHost: ADDR\r\n" + c.lines + "\r\n"
			}
			raw(t, header.Addr, request(c.query))
			wantOne(t, up.last(t), "Authorization: Bearer ours-", "/p", c.left, "")
			raw(t, custom.Addr, request(c.query))
			wantOne(t, up.last(t), "X-Api-Key: ours-", "/p", c.left, "")
			raw(t, query.Addr, request(c.query))
			wantOne(t, up.last(t), "_bearer_token=ours-", "/p", c.left, "_bearer_token=ours-")
		})
	}

	t.Run("aliases", func(t *testing.T) {
		raw(t, custom.Addr, "GET /p HTTP/1.1\r\nHost: ADDR\r\nX_Api_Key: junk\r\nX.Api.Key: junk\r\nx-api-key: "+
			"junk\r\nX-API-KEY: junk\r\n\r\n")
		wantOne(t, up.last(t), "X-Api-Key: ours-", "/p", "", "")
	})

	t.Run("trailers", func(t *testing.T) {
		for _, announced := range []string{"", "Trailer: Authorization, X-Sum\r\n"} {
			raw(t, header.Addr, "POST /p HTTP/1.1\r\nHost: ADDR\r\nTransfer-Encoding: chunked\r\n"+announced+
				"\r\n2\r\nhi\r\n0\r\nAuthorization: Bearer junk\r\nX-Sum: 7\r\n\r\n")
			seen := up.last(t)
			wantOne(t, seen, "Authorization: Bearer ours-", "/p", "", "")
			if announced != "" && !strings.Contains(seen, "X-Sum: 7") {
				t.Errorf("the other trailer is lost:\n%s", seen)
			}
		}
	})
}

// wantOne checks that a recorded request has one credential of the source, none of the client, and
// this query.
func wantOne(t *testing.T, seen, credential, path, query, appended string) {
	t.Helper()
	if strings.Count(seen, "ours-") != 1 || !strings.Contains(seen, credential) || strings.Contains(seen, "junk") {
		t.Errorf("want one %q and nothing else in\n%s", credential, seen)
	}
	target := strings.Fields(seen)[1]
	want := path
	switch {
	case query != "" && appended != "":
		want += "?" + query + "&" + appended
	case query+appended != "":
		want += "?" + query + appended
	}
	if appended != "" {
		target = strings.TrimRight(target, "0123456789")
	}
	if target != want {
		t.Errorf("the upstream was asked for %q, want %q", target, want)
	}
}

// If a source has no token, the client's own credential is not sent instead.
func TestNoTokenNoRequest(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	srv.AlwaysFault(tokensourcetest.OAuthError(http.StatusUnauthorized, "invalid_client"))
	up := record(t)
	p := start(t, proxied(srv, up.addr))
	if status := raw(t, p.Addr, "GET / HTTP/1.1\r\nHost: ADDR\r\nAuthorization: Bearer junk\r\n\r\n"); !strings.Contains(
		status, "502") {
		t.Errorf("answered %q", status)
	}
	if len(up.seen) != 0 {
		t.Errorf("the upstream saw %v", up.seen)
	}
}
