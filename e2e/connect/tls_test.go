package connect

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// On a site with TLS, the page, the callback and the clients use https and the name of the site.
func TestTLS(t *testing.T) {
	for _, host := range []string{"localhost", "proxy.test"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			testTLS(t, host)
		})
	}
}

func testTLS(t *testing.T, host string) {
	ca := harness.CA(t)
	cert, key := encode(t, ca.Certificate(t, host))
	emu := tokensourcetest.StartProvider(t, tokensourcetest.Tiltify, tokensourcetest.ProviderConfig{})
	r := startWith(t, emu, setup{
		global:  "auto_https disable_redirects",
		site:    "https://" + host + ":{$PORT}",
		tls:     "tls {$DIR}/cert.pem {$DIR}/key.pem",
		options: []harness.Option{harness.File("cert.pem", cert), harness.File("key.pem", key)},
	})
	home := strings.Replace(r.URL, "http://127.0.0.1", "https://"+host, 1)
	emu.SetRedirectURIs(home + "/connect/callback")
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, r.Addr)
		},
	}}
	ask := func() (int, string) {
		t.Helper()
		res, body, err := rig.Read(client.Get(home + "/api/public/current-user"))
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, body
	}
	status, body := ask()
	if status != http.StatusServiceUnavailable || !contains(body, `"login_url":"`+home+`/connect?source=tiltify"`) {
		t.Errorf("before the login: %d %s", status, body)
	}
	page := &connectPage{profile(t), home + "/connect"}
	page.Open()
	page.Row("tiltify").Connect()
	if !strings.HasPrefix(page.at(), home+"/connect") {
		t.Errorf("the login ends at %s", page.at())
	}
	if status, body = ask(); status != http.StatusOK {
		t.Errorf("after the login: %d %s", status, body)
	}
	wantBearer(t, last(t, emu.APIRequests()))
}

// encode returns certificate and key as PEM.
func encode(t *testing.T, cert tls.Certificate) (chain, key string) {
	t.Helper()
	var certs bytes.Buffer
	for _, der := range cert.Certificate {
		certs.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return certs.String(), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
