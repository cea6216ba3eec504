package tokensourcetest

import (
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
)

// Server is a running authorization server with its protected API.
type Server struct {
	// URL is scheme, host and port, without a path: http://127.0.0.1:41234.
	URL string

	cfg      Config
	ca       *authority // nil without TLS
	listener *switchable
	http     *http.Server
	client   *http.Client

	closeOnce sync.Once
	closing   chan struct{}  // closed when Close begins: pauses end
	serving   chan struct{}  // closed when Serve has returned
	running   sync.WaitGroup // connections and handlers

	mu      sync.Mutex // guards what follows
	clients map[string]*Client
	tokens  tokens
	faults  faults
	records records
	// refuseAll makes the API refuse every token.
	refuseAll bool
}

// Listen starts a server. The caller closes it.
func Listen(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg:     cfg,
		closing: make(chan struct{}),
		serving: make(chan struct{}),
		clients: map[string]*Client{},
		tokens:  newTokens(),
		records: newRecords(),
	}
	for _, c := range cfg.Clients {
		c.Secrets = slices.Clone(c.Secrets)
		s.clients[c.ID] = &c
	}
	if cfg.TLS {
		var err error
		if s.ca, err = newAuthority(cfg.TLSNames); err != nil {
			return nil, err
		}
	}
	inner := cfg.Listener
	if inner == nil {
		var err error
		if inner, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("listening on loopback: %w", err)
		}
	}
	s.listener = newSwitchable(inner)
	s.serve()
	return s, nil
}

// NewServer is [Listen] for tests: it panics where that returns an error.
func NewServer(cfg Config) *Server {
	s, err := Listen(cfg)
	if err != nil {
		panic("tokensourcetest: " + err.Error())
	}
	return s
}

func (s *Server) serve() {
	api := s.API()
	// HTTP/1.1 only: faults take the connection over, which HTTP/2 does not allow.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	s.http = &http.Server{
		Protocols: protocols,
		ErrorLog:  log.New(panicsOnly{}, "tokensourcetest: ", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.running.Add(1)
			defer s.running.Done()
			// Not a ServeMux: it redirects paths that it finds unclean, and an
			// API sees what a proxy really sent.
			switch path := r.URL.Path; {
			case path == s.cfg.TokenPath:
				s.serveToken(w, r)
			case path == s.cfg.APIPath, strings.HasPrefix(path, strings.TrimSuffix(s.cfg.APIPath, "/")+"/"):
				api.ServeHTTP(w, r)
			default:
				http.NotFound(w, r)
			}
		}),
		// A hijacked connection belongs to the handler, which is counted itself.
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.running.Add(1)
			case http.StateClosed, http.StateHijacked:
				s.running.Done()
			}
		},
	}
	transport := &http.Transport{Proxy: nil}
	var l net.Listener = s.listener
	scheme := "http"
	if s.ca != nil {
		scheme = "https"
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{s.ca.leaf}, NextProtos: []string{"http/1.1"}})
		transport.TLSClientConfig = &tls.Config{RootCAs: s.CertPool()}
	}
	s.client = &http.Client{Transport: transport}
	s.URL = scheme + "://" + s.listener.Addr().String()
	go func() {
		defer close(s.serving)
		_ = s.http.Serve(l)
	}()
}

// TokenURL is the token endpoint (RFC 6749 section 3.2).
func (s *Server) TokenURL() string { return s.URL + s.cfg.TokenPath }

// APIURL is the protected API; any path may be appended to it.
func (s *Server) APIURL() string { return s.URL + s.cfg.APIPath }

// Client returns a plain HTTP client that trusts the server's certificate.
// Close closes its idle connections.
func (s *Server) Client() *http.Client { return s.client }

// SetDown makes the server close every connection as soon as it is accepted,
// and at once those that are open: requests under way are carried out, and
// their answers lost. SetDown(false) brings it back. The port stays taken
// meanwhile; for connections that are refused see [Server.StopListening].
func (s *Server) SetDown(down bool) { s.listener.setDown(down) }

// StopListening closes the listening socket and all connections: clients see
// "connection refused".
func (s *Server) StopListening() error { return s.listener.stop() }

// StartListening listens again on the same address after [Server.StopListening].
// It fails if somebody else has taken the port in between.
func (s *Server) StartListening() error { return s.listener.start() }

// Close ends all pauses, closes all connections and waits until every goroutine
// of the server is done. Records can still be read after it. Handlers that were
// mounted in another server by [Server.Protect] are not waited for.
func (s *Server) Close() {
	s.closeOnce.Do(func() {
		close(s.closing)
		_ = s.http.Close()
		_ = s.listener.Close()
		s.listener.closeConns() // also those that a handler has taken over
		s.client.CloseIdleConnections()
	})
	// Serve must be over first: it is what adds to running.
	<-s.serving
	s.running.Wait()
}

// panicsOnly is where net/http logs to: panics of a caller's callbacks must be
// seen, but broken connections are this server's trade.
type panicsOnly struct{}

// Write implements io.Writer.
func (panicsOnly) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "http: panic serving") {
		return os.Stderr.Write(p)
	}
	return len(p), nil
}
