package tokensource_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

// count serves h and counts its requests.
func count(t *testing.T, h http.HandlerFunc) (base string, n *atomic.Int64) {
	t.Helper()
	n = new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		_, _ = io.Copy(io.Discard, r.Body) // a server notices that its client left only after that
		h(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, n
}

// pipes serves h over connections in memory, and returns a transport to it. In a bubble, waits on
// these connections follow the bubble's clock, however busy the machine is.
func pipes(t *testing.T, h http.HandlerFunc) *http.Transport {
	t.Helper()
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	var serving sync.WaitGroup
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serving.Add(1)
		defer serving.Done()
		h(w, r)
	})}
	serving.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() {
		_ = srv.Close()
		serving.Wait()
	})
	return &http.Transport{DisableKeepAlives: true, DialContext: l.dial}
}

// pipeListener is a listener whose connections come from [net.Pipe].
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return new(net.UnixAddr) }

// measured counts the bytes of bodies as their reader gets them.
type measured struct {
	http.RoundTripper
	read atomic.Int64
}

func (m *measured) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := m.RoundTripper.RoundTrip(req)
	if err == nil {
		resp.Body = &measuredBody{resp.Body, m}
	}
	return resp, err
}

type measuredBody struct {
	io.ReadCloser
	m *measured
}

func (b *measuredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.m.read.Add(int64(n))
	return n, err
}

func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// Whatever the provider does with a request, it gets the request once per attempt, even over real
// connections. No second method of authentication is tried.
func TestOnePostPerAttempt(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"closes":  func(w http.ResponseWriter, _ *http.Request) { hangUp(w) },
		"503":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"401":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"garbage": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "\x00\xff{") },
	} {
		for _, format := range tokensource.BodyFormats {
			t.Run(name+"/"+string(format), func(t *testing.T) {
				base, n := count(t, h)
				src := newSource(t, nil, func(cfg *tokensource.Config) {
					cfg.TokenURL, cfg.BodyFormat, cfg.Timeout = base, format, time.Minute
				})
				wantError(t, src, tokensource.ClassWait)
				if n.Load() != 1 {
					t.Errorf("%d requests, want 1", n.Load())
				}
			})
		}
	}
}

// A provider that never answers gets only one request as well.
func TestOnePostToAProviderThatHangs(t *testing.T) {
	for _, format := range tokensource.BodyFormats {
		t.Run(string(format), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n atomic.Int64
				way := pipes(t, func(_ http.ResponseWriter, r *http.Request) {
					n.Add(1)
					_, _ = io.Copy(io.Discard, r.Body)
					<-r.Context().Done()
				})
				src := newSource(t, way, func(cfg *tokensource.Config) {
					cfg.BodyFormat, cfg.TokenURL = format, "http://127.0.0.1/token"
				})
				wantError(t, src, tokensource.ClassWait)
				if n.Load() != 1 {
					t.Errorf("%d requests, want 1", n.Load())
				}
			})
		})
	}
}

// A token request that is redirected is not sent anywhere else, whatever the status.
func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{300, 301, 302, 303, 304, 307, 308} {
		elsewhere, stray := count(t, func(http.ResponseWriter, *http.Request) {})
		base, n := count(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", elsewhere)
			w.WriteHeader(status)
		})
		src := newSource(t, nil, func(cfg *tokensource.Config) { cfg.TokenURL = base })
		if e := wantError(t, src, tokensource.ClassOperator); e.Status != status {
			t.Errorf("status %d, want %d", e.Status, status)
		}
		if n.Load() != 1 || stray.Load() != 0 {
			t.Errorf("%d: %d requests, %d of them elsewhere", status, n.Load()+stray.Load(), stray.Load())
		}
	}
}

// The size of a response is limited, even if it grows from a small compressed one. The client stops
// reading at the limit. TestTimeOfAnAnswer tests the other limit.
func TestLimitsOfAnAnswer(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"endless": func(w http.ResponseWriter, r *http.Request) {
			chunk := make([]byte, 64<<10)
			for r.Context().Err() == nil {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		},
		"gzip bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			chunk := make([]byte, 1<<20)
			for range 512 {
				if _, err := z.Write(chunk); err != nil {
					return
				}
			}
			_ = z.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			base, n := count(t, h)
			transport := http.DefaultTransport.(*http.Transport).Clone()
			transport.DisableKeepAlives = true
			way := &measured{RoundTripper: transport}
			src := newSource(t, way, func(cfg *tokensource.Config) { cfg.TokenURL, cfg.Timeout = base, 10*time.Minute })
			if e := wantError(t, src, tokensource.ClassWait); e.Timeout || !strings.Contains(e.Reason, "over 1 MiB") {
				t.Errorf("got %v, want one that says the answer is over 1 MiB", e)
			}
			if read := way.read.Load(); read > 1<<20+1 {
				t.Errorf("%d bytes were read, want at most one more than 1 MiB", read)
			}
			if n.Load() != 1 {
				t.Errorf("%d requests, want 1", n.Load())
			}
		})
	}
}

// The time of a response is limited.
func TestTimeOfAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		way := pipes(t, func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			_, _ = io.Copy(io.Discard, r.Body)
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for r.Context().Err() == nil {
				fmt.Fprint(w, " ")
				_ = http.NewResponseController(w).Flush()
				select {
				case <-tick.C:
				case <-r.Context().Done():
				}
			}
		})
		src := newSource(t, way, func(cfg *tokensource.Config) {
			cfg.TokenURL, cfg.Timeout = "http://127.0.0.1/token", time.Second
		})
		began := time.Now()
		if e := wantError(t, src, tokensource.ClassWait); e.Timeout || !strings.Contains(e.Reason, "did not end in time") {
			t.Errorf("got %v, want one that says the answer did not end in time", e)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("after %v of the bubble's time, want the 1 s of the option timeout", took)
		}
		if n.Load() != 1 {
			t.Errorf("%d requests, want 1", n.Load())
		}
	})
}

// A server whose certificate is not trusted gets nothing, and the error is of class operator.
func TestUntrustedCertificate(t *testing.T) {
	got := new(atomic.Int64)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { got.Add(1) }))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	src := newSource(t, nil, func(cfg *tokensource.Config) { cfg.TokenURL = srv.URL })
	wantError(t, src, tokensource.ClassOperator)
	if got.Load() != 0 {
		t.Error("the server got the request")
	}
}

// A port on which no server listens is not a lost answer.
func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	src := newSource(t, nil, func(cfg *tokensource.Config) { cfg.TokenURL = "http://" + l.Addr().String() })
	if e := wantError(t, src, tokensource.ClassWait); e.Lost {
		t.Errorf("%v is marked as lost", e)
	}
}

// If a token endpoint cannot be reached, the error says why as far as that is known. It names the
// endpoint's origin and not the rest of its URL.
func TestUnreachableTokenEndpoint(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for name, tt := range map[string]struct {
		endpoint string
		class    tokensource.Class
		reason   string
	}{
		"nobody listens": {closed.URL, tokensource.ClassWait, "refuses connections"},
		"no TLS":         {strings.Replace(plain.URL, "http:", "https:", 1), tokensource.ClassOperator, "speaks no TLS"},
		"not there":      {plain.URL, tokensource.ClassOperator, "there is no token endpoint"},
	} {
		src := newSource(t, nil, func(cfg *tokensource.Config) { cfg.TokenURL = tt.endpoint + "/token?secret" })
		if e := wantError(t, src, tt.class); !strings.Contains(e.Reason, tt.reason) || e.Endpoint != tt.endpoint {
			t.Errorf("%s: %q at %q", name, e.Reason, e.Endpoint)
		}
	}
}

// All attempts with several client secrets end within one Timeout. Other processes count the time of
// a request from its mark, and send the refresh token themselves when it is over.
func TestAttemptsShareOneTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{script: func(n int, _ url.Values) reply {
			if n == 1 {
				slow := refused(http.StatusUnauthorized, "invalid_client")
				slow.delay = 9 * time.Second
				return slow
			}
			return reply{delay: time.Hour}
		}}
		src := newSource(t, ep, func(cfg *tokensource.Config) {
			cfg.ClientSecrets = append(cfg.ClientSecrets, tokensource.Literal("second"))
		})
		began := time.Now()
		_, err := src.Token(context.Background())
		asError(t, err, tokensource.ClassWait)
		if took := time.Since(began); ep.count() != 2 || took != 10*time.Second {
			t.Errorf("%d attempts took %v", ep.count(), took)
		}
	})
}

// If an answer was lost, the refresh token may be spent, so no other client secret is tried with it.
func TestNoOtherSecretAfterALostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{script: always(refused(http.StatusServiceUnavailable, "invalid_client"))}
		src := newSource(t, ep, refreshing(new(tokensource.MemoryStorage), "rt0"), func(cfg *tokensource.Config) {
			cfg.ClientSecrets = append(cfg.ClientSecrets, tokensource.Literal("second"))
		})
		src.Warm()
		synctest.Wait()
		wantCount(t, ep, 1)
	})
}
