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
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

// count serves h and counts its requests.
func count(t *testing.T, h http.HandlerFunc) (base string, n *atomic.Int64) {
	t.Helper()
	n = new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		_, _ = io.Copy(io.Discard, r.Body) // only then does a server notice that its client left
		h(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, n
}

func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// Whatever the provider does to a request, it gets that request once per attempt, over
// real connections too; no second way of authentication is tried.
func TestOnePostPerAttempt(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"closes":  func(w http.ResponseWriter, _ *http.Request) { hangUp(w) },
		"503":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"401":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"garbage": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "\x00\xff{") },
		"hangs":   func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		for _, format := range tokensource.BodyFormats {
			t.Run(name+"/"+string(format), func(t *testing.T) {
				base, n := count(t, h)
				src := newSource(t, nil, func(cfg *tokensource.Config) {
					cfg.TokenURL, cfg.BodyFormat, cfg.Timeout = base, format, 200*time.Millisecond
				})
				wantError(t, src, tokensource.ClassWait)
				if n.Load() != 1 {
					t.Errorf("%d requests, want 1", n.Load())
				}
			})
		}
	}
}

// A redirected token request goes nowhere else, whatever the status.
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

// An answer has a size, also when it grows from a small compressed one, and a time to end.
func TestLimitsOfAnAnswer(t *testing.T) {
	endless := func(w http.ResponseWriter, r *http.Request) {
		chunk := make([]byte, 64<<10)
		for r.Context().Err() == nil {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	for name, tt := range map[string]struct {
		reason string
		h      http.HandlerFunc
	}{
		"endless": {"over 1 MiB", endless},
		"gzip bomb": {"over 1 MiB", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			chunk := make([]byte, 1<<20)
			for range 512 {
				if _, err := z.Write(chunk); err != nil {
					return
				}
			}
			_ = z.Close()
		}},
		"slow drip": {"did not end in time", func(w http.ResponseWriter, r *http.Request) {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for r.Context().Err() == nil {
				fmt.Fprint(w, " ")
				_ = http.NewResponseController(w).Flush()
				<-tick.C
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			base, n := count(t, tt.h)
			src := newSource(t, nil, func(cfg *tokensource.Config) { cfg.TokenURL, cfg.Timeout = base, time.Second })
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err := src.Token(ctx)
			if e := asError(t, err, tokensource.ClassWait); e.Timeout || !strings.Contains(e.Reason, tt.reason) {
				t.Errorf("got %v, want one that says %q", e, tt.reason)
			}
			if n.Load() != 1 {
				t.Errorf("%d requests, want 1", n.Load())
			}
		})
	}
}

// A server whose certificate nobody vouches for gets nothing, and the operator is told.
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

// A port where nobody listens is no lost answer.
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

// What stands in the way of a token request is said as far as it is known, with the place that it is
// about and without the rest of its URL.
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
