package deploy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// Clients use a token through a unix socket that file permissions protect.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	srv := provider(t, tokensourcetest.Config{})
	dir := shortDir(t)
	socket := filepath.Join(dir, "orders.sock")
	write(t, filepath.Join(dir, "orders-secret"), "orders-secret")
	caddyfile := adjust(t, read(t, "examples/unix-socket/Caddyfile"),
		"https://login.example.com/oauth/token", srv.TokenURL(),
		"https://api.example.com", srv.URL,
		"/run/secrets/orders-secret", filepath.Join(dir, "orders-secret"),
		"unix//run/authinject/orders.sock", "unix/"+socket)
	s := serve(t, harness.Binary(t), dir, caddyfile)

	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o660 || info.Mode().Type() != os.ModeSocket {
		t.Fatalf("the socket is %v, %v", info, err)
	}
	through := &http.Client{Timeout: rig.Patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	status, body, err := do(through, http.MethodGet, "http://localhost/api")
	if err != nil || status != http.StatusOK {
		t.Errorf("through the socket: %d %s, %v", status, body, err)
	}
	if code := s.Stop(); code != 0 || exists(socket) {
		t.Errorf("caddy ended with code %d; the socket is there: %t", code, exists(socket))
	}
}

// With Compose, the program shares the sidecar's loopback. The configuration is the one that the
// composition mounts. The secret is where the composition puts it.
func TestComposeConfiguration(t *testing.T) {
	t.Parallel()
	srv := provider(t, tokensourcetest.Config{})
	dir, proxy := shortDir(t), port(t)
	write(t, filepath.Join(dir, "orders-secret"), "orders-secret\n")
	caddyfile := adjust(t, read(t, "examples/compose/Caddyfile"),
		"https://login.example.com/oauth/token", srv.TokenURL(),
		"https://api.example.com", srv.URL,
		"/run/secrets/orders-secret", filepath.Join(dir, "orders-secret"),
		":8080 {", ":"+proxy+" {")
	serve(t, harness.Binary(t), dir, caddyfile)
	wants(t, "http://127.0.0.1:"+proxy+"/api", http.StatusOK)
	if conn, err := net.Dial("tcp", net.JoinHostPort(podAddress(t), proxy)); err == nil && podAddress(t) != "127.0.0.1" {
		conn.Close()
		t.Error("the proxy listens beyond loopback")
	}
}

// nginx ends TLS and asks for a password. A person who knows the password connects the account
// through nginx. Then every client that knows the password can use the API.
func TestBehindNginx(t *testing.T) {
	t.Parallel()
	op := harness.OP(t)
	op.AllowRedirect("https://proxy.example.com/connect/callback")
	api := &http.Server{Handler: op.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("order 7, asked for by " + r.Header.Get("X-Forwarded-Proto") + " from " +
			r.Header.Get("X-Forwarded-For")))
	}))}
	upstream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = api.Serve(upstream) }()
	t.Cleanup(func() { api.Close() })

	dir, inner, outer := shortDir(t), port(t), port(t)
	write(t, filepath.Join(dir, "orders-secret"), harness.WebSecret)
	caddyfile := adjust(t, read(t, "examples/behind-nginx/Caddyfile"),
		"https://login.example.com/oauth/authorize", op.AuthorizeURL,
		"https://login.example.com/oauth/token", op.TokenURL,
		"https://api.example.com", "http://"+upstream.Addr().String(),
		"client_id orders", "client_id "+harness.WebClient+"\n\t\t\tscopes openid offline_access",
		"/run/secrets/orders-secret", filepath.Join(dir, "orders-secret"),
		"http://proxy.example.com:8080 {", "http://proxy.example.com:"+inner+" {")
	s := serve(t, harness.Binary(t), dir, caddyfile)
	ca := startNginx(t, dir, "proxy.example.com", outer, adjust(t, read(t, "examples/behind-nginx/nginx.conf"),
		"127.0.0.1:8080", "127.0.0.1:"+inner))

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{
		Jar: jar, Timeout: rig.Patience, CheckRedirect: client.CheckRedirect,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{RootCAs: ca.Pool()},
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+outer)
			},
		},
	}
	const home = "https://proxy.example.com"
	send := func(method, address, password string, form url.Values) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequest(method, address, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		if password != "" {
			req.SetBasicAuth("fry", password)
		}
		if method == http.MethodPost {
			// The fields that a browser sends with a form of the page itself.
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("Origin", home)
			req.Header.Set("Sec-Fetch-Site", "same-origin")
		}
		res, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var body strings.Builder
		if err := res.Write(&body); err != nil {
			t.Fatal(err)
		}
		return res, body.String()
	}

	for _, path := range []string{"/connect", "/orders", "/connect/callback"} {
		if res, body := send(http.MethodGet, home+path, "", nil); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("without a password, %s is answered with %s", path, body)
		}
	}
	res, body := send(http.MethodGet, home+"/orders", "orange", nil)
	if res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, home+"/connect") {
		t.Errorf("before the login: %s", body)
	}

	_, page := send(http.MethodGet, home+"/connect", "orange", nil)
	form := url.Values{}
	for _, field := range regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)"`).FindAllStringSubmatch(
		page, -1) {
		form.Set(field[1], field[2])
	}
	action := regexp.MustCompile(`action="([^"]+)"`).FindStringSubmatch(page)
	if action == nil {
		t.Fatalf("the page has no form:\n%s", page)
	}
	start, err := (&url.URL{Scheme: "https", Host: "proxy.example.com", Path: "/connect"}).Parse(action[1])
	if err != nil {
		t.Fatal(err)
	}
	res, body = send(http.MethodPost, start.String(), "orange", form)
	authorize := res.Header.Get("Location")
	if !strings.HasPrefix(authorize, op.AuthorizeURL) {
		t.Fatalf("Connect leads to %q:\n%s", authorize, body)
	}
	back := op.Login(t, authorize).String()
	if !strings.HasPrefix(back, home+"/connect/callback?") {
		t.Fatalf("the provider sends the browser to %s", back)
	}
	if res, body = send(http.MethodGet, back, "orange", nil); res.StatusCode >= 400 {
		t.Fatalf("the callback: %s", body)
	}
	if res, body = send(http.MethodGet, home+"/orders", "orange", nil); res.StatusCode != http.StatusOK ||
		!strings.Contains(body, "order 7, asked for by https from 127.0.0.1, 127.0.0.1") {
		t.Errorf("after the login: %s", body)
	}
	if op.Refusals() != 0 {
		t.Errorf("the API refused %d requests", op.Refusals())
	}

	// No access log of nginx contains the code.
	code := codeOf(t, back)
	for _, log := range []string{"access.log", "error.log"} {
		if strings.Contains(readFile(t, filepath.Join(dir, log)), code) {
			t.Errorf("the code of the login is in nginx's %s", log)
		}
	}
	if !strings.Contains(readFile(t, filepath.Join(dir, "access.log")), "GET /orders") {
		t.Error("nginx's access log has no request")
	}
	if code := s.Stop(); code != 0 {
		t.Errorf("caddy ended with code %d", code)
	}
}

func codeOf(t *testing.T, callback string) string {
	t.Helper()
	u, err := url.Parse(callback)
	if err != nil || u.Query().Get("code") == "" {
		t.Fatalf("%s has no code: %v", callback, err)
	}
	return u.Query().Get("code")
}

// startNginx runs nginx with that site, as nginx's own main configuration would include it. The
// user is fry, with the password orange.
func startNginx(t *testing.T, dir, host, port, site string) *harness.Authority {
	t.Helper()
	ca := harness.CA(t)
	cert := ca.Certificate(t, host)
	var chain, key strings.Builder
	for _, der := range cert.Certificate {
		if err := pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			t.Fatal(err)
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := pem.Encode(&key, &pem.Block{Type: "PRIVATE KEY", Bytes: der}); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "crt"), chain.String())
	write(t, filepath.Join(dir, "key"), key.String())
	write(t, filepath.Join(dir, "htpasswd"), "fry:{PLAIN}orange\n")
	write(t, filepath.Join(dir, "site.conf"), adjust(t, site,
		"listen 443 ssl;", "listen 127.0.0.1:"+port+" ssl;",
		"/etc/nginx/tls/"+host+".crt", filepath.Join(dir, "crt"),
		"/etc/nginx/tls/"+host+".key", filepath.Join(dir, "key"),
		"/etc/nginx/authinject.htpasswd;", filepath.Join(dir, "htpasswd")+";"))
	write(t, filepath.Join(dir, "nginx.conf"), `
daemon off;
user root;
pid `+dir+`/nginx.pid;
error_log `+dir+`/error.log;
events {}
http {
    access_log `+dir+`/access.log;
    client_body_temp_path `+dir+`/body;
    proxy_temp_path `+dir+`/proxy;
    fastcgi_temp_path `+dir+`/fastcgi;
    uwsgi_temp_path `+dir+`/uwsgi;
    scgi_temp_path `+dir+`/scgi;
    include `+dir+`/site.conf;
}
`)
	if os.Geteuid() != 0 {
		config := readFile(t, filepath.Join(dir, "nginx.conf"))
		write(t, filepath.Join(dir, "nginx.conf"), strings.Replace(config, "user root;\n", "", 1))
	}
	nginx := launch(t, dir, nil, harness.Tool(t, "nginx", "nginx-light"), "-c", filepath.Join(dir, "nginx.conf"), "-e",
		filepath.Join(dir, "error.log"))
	nginx.until(func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, "nginx to listen")
	return ca
}
