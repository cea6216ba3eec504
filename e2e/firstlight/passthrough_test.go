package firstlight

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

const bodySize = 100 << 20

// upstream is a server with early hints, trailers, event streams, huge bodies and upgrades.
func upstream(release <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/hints", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "after the hints")
	})
	mux.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %s", body, r.Trailer.Get("X-Check"))
		w.Header().Set("X-Sum", "42")
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: one\n\n")
		_ = http.NewResponseController(w).Flush()
		<-release
		_, _ = io.WriteString(w, "data: two\n\n")
	})
	mux.HandleFunc("/up", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		n, _ := io.Copy(sum, r.Body)
		_, _ = fmt.Fprintf(w, "%d %x %s", n, sum.Sum(nil), r.Proto)
	})
	mux.HandleFunc("/down", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead {
			_, _ = io.Copy(w, pattern(bodySize))
		}
	})
	mux.HandleFunc("/gzip", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, "not really")
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" {
			w.WriteHeader(http.StatusUpgradeRequired)
			return
		}
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "+
			"Upgrade\r\nSec-WebSocket-Accept: "+r.Header.Get("Sec-WebSocket-Key")+"\r\n\r\n")
		_, _ = io.Copy(conn, buf)
	})
	return mux
}

// pattern returns n bytes with a period above 1 MiB.
func pattern(n int64) io.Reader {
	block := make([]byte, 1<<20+7)
	for i := range block {
		block[i] = byte(i * i >> 3)
	}
	return io.LimitReader(&ring{block: block}, n)
}

type ring struct {
	block []byte
	at    int
}

func (r *ring) Read(p []byte) (int, error) {
	n := copy(p, r.block[r.at:])
	r.at = (r.at + n) % len(r.block)
	return n, nil
}

// Requests and answers pass as through a plain reverse_proxy, except for the credential. This holds
// over HTTP/1.1 and over HTTP/2 with TLS.
func TestEverythingElsePassesThrough(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	ca := harness.CA(t)
	release := make(chan struct{}, 16)
	// The upstream accepts any bearer token, and refuses a request without one.
	guarded := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		upstream(release).ServeHTTP(w, r)
	})
	tlsUpstream := ca.Server(t, guarded)
	plainUpstream := serve(t, guarded)
	config := rig.Caddyfile{}.Source("a", "grant client_credentials", rig.Client(srv))
	for path, upstream := range map[string]string{"": plainUpstream, "2": tlsUpstream.URL} {
		config = config.Site("http://{$ADDR}",
			rig.Block("handle_path /ours"+path+"/*", "authinject a "+upstream),
			rig.Block("handle_path /plain"+path+"/*", rig.Block("reverse_proxy "+upstream,
				`header_up Authorization "Bearer fixed"`)))
	}
	p := start(t, config, harness.Trust(ca))

	for name, act := range map[string]func(t *testing.T, p *harness.Proxy, prefix string) string{
		"early hints":   earlyHints,
		"trailers":      trailers,
		"events":        func(t *testing.T, p *harness.Proxy, prefix string) string { return events(t, p, prefix, release) },
		"100 MiB up":    hugeUp,
		"100 MiB down":  hugeDown,
		"HEAD":          head,
		"gzip":          gzip,
		"100-continue":  expectContinue,
		"upgrade":       upgrade,
		"upgrade plain": noUpgrade,
	} {
		t.Run(name, func(t *testing.T) {
			for _, pair := range [][2]string{{"/ours", "/plain"}, {"/ours2", "/plain2"}} {
				if name == "upgrade" && pair[0] == "/ours2" {
					continue // HTTP/2 has no upgrade
				}
				plain := act(t, p, pair[1])
				if ours := act(t, p, pair[0]); ours != plain || plain == "" {
					t.Errorf("through authinject\n%s\nthrough reverse_proxy\n%s", ours, plain)
				}
			}
		})
	}
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return "http://" + listener.Addr().String()
}

// do sends a request and describes the answer.
func do(t *testing.T, p *harness.Proxy, req *http.Request) (*http.Response, string) {
	t.Helper()
	res, body, err := rig.Read(p.Client().Do(req))
	if err != nil {
		t.Fatal(err)
	}
	return res, fmt.Sprintf("%d %q", res.StatusCode, body)
}

func request(t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func earlyHints(t *testing.T, p *harness.Proxy, prefix string) string {
	var hints string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints += fmt.Sprintf("%d %s ", code, h.Get("Link"))
		return nil
	}}
	req := request(t, http.MethodGet, p.URL+prefix+"/hints", nil)
	_, answer := do(t, p, req.WithContext(httptrace.WithClientTrace(context.Background(), trace)))
	if hints == "" {
		return ""
	}
	return hints + answer
}

func trailers(t *testing.T, p *harness.Proxy, prefix string) string {
	req := request(t, http.MethodPost, p.URL+prefix+"/trailers", io.MultiReader(strings.NewReader("body")))
	req.Trailer = http.Header{"X-Check": {"7"}}
	res, answer := do(t, p, req)
	return answer + res.Trailer.Get("X-Sum")
}

// events reads the first event while the upstream holds the second back.
func events(t *testing.T, p *harness.Proxy, prefix string, release chan<- struct{}) string {
	res, err := p.Client().Get(p.URL + prefix + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	in := bufio.NewReader(res.Body)
	first, err := in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	release <- struct{}{}
	rest, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return first + string(rest)
}

func hugeUp(t *testing.T, p *harness.Proxy, prefix string) string {
	req := request(t, http.MethodPost, p.URL+prefix+"/up", pattern(bodySize))
	req.ContentLength = bodySize
	_, answer := do(t, p, req)
	return answer
}

func hugeDown(t *testing.T, p *harness.Proxy, prefix string) string {
	res, err := p.Client().Get(p.URL + prefix + "/down")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, want := sha256.New(), sha256.New()
	for _, c := range []struct {
		sum hash.Hash
		src io.Reader
	}{{got, res.Body}, {want, pattern(bodySize)}} {
		if _, err := io.Copy(c.sum, c.src); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		t.Error("the body differs")
	}
	return fmt.Sprintf("%d %x", res.StatusCode, got.Sum(nil))
}

func head(t *testing.T, p *harness.Proxy, prefix string) string {
	res, answer := do(t, p, request(t, http.MethodHead, p.URL+prefix+"/down", nil))
	return answer + res.Header.Get("Content-Type")
}

func gzip(t *testing.T, p *harness.Proxy, prefix string) string {
	req := request(t, http.MethodGet, p.URL+prefix+"/gzip", nil)
	req.Header.Set("Accept-Encoding", "gzip")
	res, answer := do(t, p, req)
	return answer + res.Header.Get("Content-Encoding")
}

func expectContinue(t *testing.T, p *harness.Proxy, prefix string) string {
	req := request(t, http.MethodPost, p.URL+prefix+"/up", strings.NewReader("small"))
	req.Header.Set("Expect", "100-continue")
	_, answer := do(t, p, req)
	return answer
}

func upgrade(t *testing.T, p *harness.Proxy, prefix string) string {
	conn, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "GET %s/echo HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: "+
		"websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a2V5\r\n\r\n", prefix, p.Addr)
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.WriteString(conn, "ping\n"); err != nil {
		t.Fatal(err)
	}
	echo, err := in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s %s", res.StatusCode, res.Header.Get("Upgrade"), echo)
}

func noUpgrade(t *testing.T, p *harness.Proxy, prefix string) string {
	_, answer := do(t, p, request(t, http.MethodGet, p.URL+prefix+"/echo", nil))
	return answer
}
