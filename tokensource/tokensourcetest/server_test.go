package tokensourcetest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	. "github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

func TestTLS(t *testing.T) {
	srv := Start(t, Config{TLS: true, TLSNames: []string{"login.example"}})
	if !strings.HasPrefix(srv.URL, "https://127.0.0.1:") {
		t.Errorf("URL %s", srv.URL)
	}
	wantToken(t, clientCredentials(t, srv))
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(srv.CACertPEM()) {
		t.Fatal("CACertPEM holds no certificate")
	}
	for _, name := range []string{"localhost", "login.example", "127.0.0.1"} {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(srv.URL, "https://"), &tls.Config{RootCAs: pool, ServerName: name})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		conn.Close()
	}
	stranger := &http.Client{Transport: &http.Transport{}}
	if _, err := stranger.Get(srv.APIURL()); err == nil {
		t.Error("a client that does not know the CA trusted it")
	}
	if plain := Start(t, Config{}); plain.CACertPEM() != nil || !plain.CertPool().Equal(x509.NewCertPool()) {
		t.Error("a server without TLS has a certificate")
	}
}

func TestDown(t *testing.T) {
	srv := Start(t, Config{})
	wantToken(t, clientCredentials(t, srv))
	request := func() error {
		_, err := send(srv, tokenRequest(srv, "grant_type", "client_credentials"))
		return err
	}
	srv.SetDown(true)
	if err := request(); err == nil || errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("down: %v", err)
	}
	srv.SetDown(false)
	if err := request(); err != nil {
		t.Errorf("up again: %v", err)
	}
	for range 3 {
		if err := srv.StopListening(); err != nil {
			t.Fatal(err)
		}
		if err := request(); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("not listening: %v", err)
		}
		for range 2 { // twice does no harm
			if err := srv.StartListening(); err != nil {
				t.Fatal(err)
			}
		}
		if err := request(); err != nil {
			t.Errorf("listening again: %v", err)
		}
	}
	if n := srv.Count(); n != 5 {
		t.Errorf("%d requests arrived, want 5", n)
	}
	srv.Close()
	if err := srv.StartListening(); err == nil {
		t.Error("a closed server listens again")
	}
}

// Going down also closes open connections. Their requests are carried out.
func TestDownDuringRequest(t *testing.T) {
	for name, down := range map[string]func(*Server){
		"down":          func(s *Server) { s.SetDown(true) },
		"not listening": func(s *Server) { _ = s.StopListening() },
	} {
		t.Run(name, func(t *testing.T) {
			srv := Start(t, Config{})
			release := make(chan struct{})
			srv.Script(HoldAnswer(release))
			failed := make(chan error)
			go func() {
				_, err := send(srv, tokenRequest(srv, "grant_type", "client_credentials"))
				failed <- err
			}()
			if err := srv.WaitTokenRequests(soon(t), 1); err != nil {
				t.Fatal(err)
			}
			down(srv)
			if err := <-failed; err == nil {
				t.Error("the client got an answer from a server that is down")
			}
			close(release)
			if err := srv.WaitAnswered(soon(t), 1); err != nil {
				t.Fatal(err)
			}
			if n := len(srv.Issued()); n != 1 {
				t.Errorf("%d tokens issued", n)
			}
		})
	}
}

func TestOwnListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := Start(t, Config{Listener: l, TokenPath: "/t", APIPath: "/v1/"})
	if want := "http://" + l.Addr().String(); srv.TokenURL() != want+"/t" || srv.APIURL() != want+"/v1/" {
		t.Errorf("%s, %s", srv.TokenURL(), srv.APIURL())
	}
	wantToken(t, clientCredentials(t, srv))
	if r := callAPI(t, srv, "x"); r.status != 401 {
		t.Errorf("API: %d", r.status)
	}
	if r := callAPI(t, srv, "/../../other"); r.status != 401 {
		t.Errorf("a path under the API's: %d", r.status)
	}
	req, _ := http.NewRequest("GET", srv.URL+"/other", nil)
	if r, err := send(srv, req); err != nil || r.status != 404 {
		t.Errorf("elsewhere: %d %v", r.status, err)
	}
}

func TestBadConfig(t *testing.T) {
	for _, cfg := range []Config{
		{Expiry: "soon"},
		{TokenPath: "token"},
		{APIPath: "api"},
		{Clients: []Client{{ID: "a"}, {ID: "a"}}},
		{Clients: []Client{{}}},
	} {
		if srv, err := Listen(cfg); err == nil {
			srv.Close()
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

// Many clients use one strictly rotated refresh token at once. It works exactly once.
func TestConcurrent(t *testing.T) {
	const n = 600
	srv := Start(t, Config{Rotation: StrictRotation()})
	refresh := srv.IssueRefreshToken("ada")
	access, _ := srv.IssueTokens(DefaultClientID, "grace")
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	start := make(chan struct{})
	var wg sync.WaitGroup
	var refreshed, issued, served atomic.Int32
	count := func(req *http.Request, into *atomic.Int32) {
		wg.Go(func() {
			<-start
			resp, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			if resp.StatusCode == 200 {
				into.Add(1)
			}
		})
	}
	for range n / 3 {
		count(tokenRequest(srv, "grant_type", "refresh_token", "refresh_token", refresh), &refreshed)
		count(tokenRequest(srv, "grant_type", "client_credentials"), &issued)
		req, _ := http.NewRequest("GET", srv.APIURL(), nil)
		req.Header.Set("Authorization", "Bearer "+access)
		count(req, &served)
	}
	close(start)
	for range 20 { // observers must not race
		srv.TokenRequests()
		srv.APIRequests()
		srv.Check()
		srv.Issued()
	}
	wg.Wait()
	if refreshed.Load() != 1 || issued.Load() != n/3 || served.Load() != n/3 {
		t.Errorf("%d refreshed, %d issued, %d served", refreshed.Load(), issued.Load(), served.Load())
	}
	if srv.Count() != 2*n/3 || srv.CountGrant("refresh_token") != n/3 || len(srv.CheckReuse()) != n/3-1 {
		t.Errorf("%d token requests, %d refreshes, %d reuses", srv.Count(), srv.CountGrant("refresh_token"),
			len(srv.CheckReuse()))
	}
	seen := map[int]bool{}
	for _, r := range srv.TokenRequests() {
		seen[r.Number] = true
	}
	if len(seen) != 2*n/3 {
		t.Errorf("%d different numbers", len(seen))
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	srv := Start(t, Config{})
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	done := make(chan error)
	go func() { done <- srv.WaitAPIRequests(ctx, 1) }()
	cancel(why)
	if err := <-done; !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	callAPI(t, srv, "")
	if err := srv.WaitAPIRequests(soon(t), 1); err != nil {
		t.Error(err)
	}
}
