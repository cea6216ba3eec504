package tokensourcetest

import (
	"crypto/tls"
	"errors"
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

	// TokenProofs and APIProofs check the proofs that come to the provider's endpoints and to the
	// API, if Config.DPoP is set.
	TokenProofs, APIProofs Proofs

	cfg      Config
	ca       *authority // nil without TLS
	listener *switchable
	more     []*switchable // additional addresses of this server
	http     *http.Server
	client   *http.Client
	// emulation says how the server differs from a plain one. It is never nil.
	emulation *emulation

	closeOnce sync.Once
	closing   chan struct{}  // closed when Close begins, which ends pauses
	serving   sync.WaitGroup // calls of Serve
	running   sync.WaitGroup // connections and handlers

	mu      sync.Mutex // guards the fields below
	clients map[string]*Client
	tokens  tokens
	devices map[string]*deviceLogin // by device code
	faults  faults
	records records
	// refuseAll makes the API refuse every token.
	refuseAll bool
}

// Listen starts a server. The caller must close it.
func Listen(cfg Config) (*Server, error) {
	return listen(cfg, &emulation{})
}

func listen(cfg Config, e *emulation) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg:       cfg,
		emulation: e,
		closing:   make(chan struct{}),
		clients:   map[string]*Client{},
		tokens:    newTokens(),
		devices:   make(map[string]*deviceLogin),
		records:   newRecords(),
	}
	s.TokenProofs.Now, s.APIProofs.Now = cfg.Now, cfg.Now
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
	for _, further := range e.further {
		s.more = append(s.more, newSwitchable(further))
	}
	e.locate(s.listeners())
	s.serve()
	return s, nil
}

// NewServer is [Listen] for tests: it panics on an error.
func NewServer(cfg Config) *Server {
	s, err := Listen(cfg)
	if err != nil {
		panic("tokensourcetest: " + err.Error())
	}
	return s
}

func (s *Server) serve() {
	api := s.API()
	// Only HTTP/1.1 is enabled: faults take over the connection, which HTTP/2 does not allow.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	s.http = &http.Server{
		Protocols: protocols,
		ErrorLog:  log.New(panicsOnly{}, "tokensourcetest: ", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.running.Add(1)
			defer s.running.Done()
			// A ServeMux is not used, because it redirects unclean paths. The API must see what a
			// proxy really sent.
			switch path := r.URL.Path; {
			case s.emulation.serve(s, w, r):
			case path == s.cfg.TokenPath:
				s.serveToken(w, r)
			case path == s.cfg.DevicePath:
				s.serveDevice(w, r)
			case under(path, s.cfg.APIPath), under(path, s.emulation.apiPath):
				api.ServeHTTP(w, r)
			default:
				http.NotFound(w, r)
			}
		}),
		// A hijacked connection belongs to its handler, which is counted itself.
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
	if s.ca != nil {
		transport.TLSClientConfig = &tls.Config{RootCAs: s.CertPool()}
	}
	s.client = &http.Client{Transport: transport}
	s.URL = s.accept(s.listener)
	for _, l := range s.more {
		s.accept(l)
	}
}

// accept serves requests at listener, and returns its URL.
func (s *Server) accept(listener *switchable) string {
	var l net.Listener = listener
	scheme := "http"
	if s.ca != nil {
		scheme = "https"
		l = tls.NewListener(l, &tls.Config{
			Certificates: []tls.Certificate{s.ca.leaf}, NextProtos: []string{"http/1.1"},
			ClientAuth: tls.RequestClientCert, // the endpoints decide
		})
	}
	s.serving.Go(func() { _ = s.http.Serve(l) })
	return scheme + "://" + listener.Addr().String()
}

// under reports whether path is base or below it. base may be empty.
func under(path, base string) bool {
	return base != "" && (path == base || strings.HasPrefix(path, strings.TrimSuffix(base, "/")+"/"))
}

// listeners returns all listeners, the main one first.
func (s *Server) listeners() []*switchable { return append([]*switchable{s.listener}, s.more...) }

// TokenURL returns the URL of the token endpoint (RFC 6749 section 3.2).
func (s *Server) TokenURL() string { return s.URL + s.cfg.TokenPath }

// APIURL returns the URL of the protected API. Any path may be appended to it.
func (s *Server) APIURL() string { return s.URL + s.cfg.APIPath }

// Client returns a plain HTTP client that trusts the server's certificate. Close closes its idle
// connections.
func (s *Server) Client() *http.Client { return s.client }

// SetDown takes the server down, or brings it back if down is false. While it is down, the server
// closes every connection as soon as it is accepted. Going down also closes all open connections at
// once: requests under way are carried out, but their responses are lost. The port stays in use
// meanwhile. To have connections refused, see [Server.StopListening].
func (s *Server) SetDown(down bool) {
	for _, l := range s.listeners() {
		l.setDown(down)
	}
}

// StopListening closes the listening socket and all connections: clients see
// "connection refused".
func (s *Server) StopListening() error {
	var errs []error
	for _, l := range s.listeners() {
		errs = append(errs, l.stop())
	}
	return errors.Join(errs...)
}

// StartListening listens again on the same address after [Server.StopListening]. It fails if
// another program has taken the port in between.
func (s *Server) StartListening() error {
	var errs []error
	for _, l := range s.listeners() {
		errs = append(errs, l.start())
	}
	return errors.Join(errs...)
}

// Close ends all pauses, closes all connections and waits until every goroutine of the server has
// ended. The records can still be read afterwards. Close does not wait for handlers that
// [Server.Protect] mounted in another server.
func (s *Server) Close() {
	s.closeOnce.Do(func() {
		close(s.closing)
		_ = s.http.Close()
		for _, l := range s.listeners() {
			_ = l.Close()
			l.closeConns() // including connections that a handler has taken over
		}
		s.client.CloseIdleConnections()
	})
	// Serve must end first, because it adds to running.
	s.serving.Wait()
	s.running.Wait()
}

// panicsOnly is the output of net/http's log. Panics of a caller's callbacks must be visible, but
// broken connections are normal for this server.
type panicsOnly struct{}

// Write implements io.Writer.
func (panicsOnly) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "http: panic serving") {
		return os.Stderr.Write(p)
	}
	return len(p), nil
}
