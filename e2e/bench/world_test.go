//go:build linux

package bench

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/certmagic"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// users is the number of accounts whose tokens the kind account sends in turn.
const users = 1000

// caddies is one Caddy that serves every kind, and the upstreams behind it.
type caddies struct {
	proxy *harness.Proxy
	addrs map[string]string // of each kind's site, by protocol and kind
	plain string            // the URL of the upstream with HTTP/1.1
}

// startCaddy starts a Caddy that serves every kind twice: in front of an upstream with HTTP/1.1,
// and in front of one with HTTP/2 over TLS. Each has a site of its own, because what Caddy spends
// on finding a route grows with the routes that come before it.
func startCaddy(b *testing.B, options ...harness.Option) *caddies {
	b.Helper()
	srv, ca, home := startProvider(b), harness.CA(b), b.TempDir()
	connectUsers(b, files(home), userSource("account", tokenURL), users)
	config := rig.Caddyfile{}.Global(rig.Block("log", "level ERROR")).
		Source("header", "grant client_credentials", rig.Client(srv)).
		Source("query", "grant client_credentials", "inject query", rig.Client(srv)).
		Source("account", userOptions(tokenURL))
	plain, addrs := plainUpstream(b), make(map[string]string)
	for protocol, upstream := range map[string]string{"http1": plain, "http2": tlsUpstream(b, ca)} {
		for kind, directive := range map[string]string{
			kindPlain:     "reverse_proxy " + upstream,
			kindHardCoded: rig.Block("reverse_proxy "+upstream, `header_up Authorization "Bearer `+token+`"`),
			kindHeader:    "authinject header " + upstream,
			kindQuery:     "authinject query " + upstream,
			kindAccount:   rig.Block("authinject account "+upstream, "account {http.request.header.X-User}"),
		} {
			addr := rig.FreeAddr(b)
			addrs[protocol+"/"+kind] = addr
			config = config.Site("http://"+addr, directive)
		}
	}
	options = append(options, harness.Home(home), harness.Trust(ca),
		harness.Env("CLIENT_SECRET", tokensourcetest.DefaultClientSecret))
	config = config.Site("http://{$ADDR}", "respond 204")
	p := harness.Start(b, config.String(), options...)
	return &caddies{proxy: p, addrs: addrs, plain: plain}
}

// startProvider starts an authorization server whose tokens the upstreams accept.
func startProvider(b *testing.B) *tokensourcetest.Server {
	b.Helper()
	return tokensourcetest.Start(b, tokensourcetest.Config{NewAccessToken: func(n uint64) string {
		return fmt.Sprintf("%s%d", token, n)
	}})
}

// load returns a load on one kind, with the header fields that the requests of that kind or of
// another one need.
func (c *caddies) load(b *testing.B, protocol, kind string, size int, fields []string) *load {
	b.Helper()
	return newLoad(b, c.addrs[protocol+"/"+kind], fmt.Sprintf("/%s/%s/%d", protocol, kind, size), fields...)
}

// fieldsOf returns the header fields that requests of a kind need: those of the kind account name n
// users.
func fieldsOf(kind string, n int) (fields []string) {
	if kind != kindAccount {
		return nil // Go's map of the fields takes more allocations from the ninth on
	}
	for i := range n {
		fields = append(fields, "X-User: "+userName(i))
	}
	return fields
}

func userName(i int) string { return fmt.Sprintf("user-%06d@example.com", i) }

const (
	authorizeURL = "https://login.example.com/authorize"
	tokenURL     = "https://login.example.com/token"
	clientID     = "bench"
	redirectURL  = "http://127.0.0.1/callback"
)

// userOptions configures a source whose accounts people connect.
func userOptions(tokenURL string) string {
	return strings.Join([]string{
		"grant authorization_code", "authorize_url " + authorizeURL, "token_url " + tokenURL,
		"client_id " + clientID, "client_secret {env.CLIENT_SECRET}", "redirect_url " + redirectURL,
	}, "\n")
}

// userSource is the configuration of userOptions in Go, with a provider in memory.
func userSource(name, tokenURL string) tokensource.Config {
	return tokensource.Config{
		Name: name, Grant: tokensource.AuthorizationCode{}, Transport: new(provider),
		AuthorizeURL: authorizeURL, TokenURL: tokenURL, ClientID: clientID,
		ClientSecrets: []tokensource.Value{tokensource.Literal(tokensourcetest.DefaultClientSecret)},
	}
}

// connectUsers connects n accounts, as the page where people connect accounts does, and so leaves
// their records in storage.
func connectUsers(b *testing.B, storage tokensource.Storage, cfg tokensource.Config, n int) {
	b.Helper()
	cfg.Storage = storage
	src, err := tokensource.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer closeSource(b, src)
	var logins sync.WaitGroup
	names := make(chan string)
	for range 4 {
		logins.Go(func() {
			for name := range names {
				if err := connectUser(src, name); err != nil {
					b.Errorf("connecting %s: %v", name, err)
				}
			}
		})
	}
	for i := range n {
		names <- userName(i)
	}
	close(names)
	logins.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

func connectUser(src *tokensource.Source, name string) error {
	l, err := src.BeginLogin(context.Background(), tokensource.LoginRequest{Account: name, RedirectURL: redirectURL})
	if err != nil {
		return err
	}
	return src.FinishLogin(context.Background(), l, url.Values{"code": {"c"}, "state": {l.State.Reveal()}})
}

func closeSource(b *testing.B, src *tokensource.Source) {
	b.Helper()
	if err := src.Close(rig.Soon(b)); err != nil {
		b.Error(err)
	}
}

// provider is a token endpoint in memory.
type provider struct {
	lifetime int // of its tokens, in seconds; 0: a day
	n        atomic.Int64
}

// RoundTrip implements [http.RoundTripper].
func (p *provider) RoundTrip(req *http.Request) (*http.Response, error) {
	n := p.n.Add(1)
	body := fmt.Appendf(nil,
		`{"access_token":"%[1]s%08[2]d","refresh_token":"%[1]s%08[2]d","token_type":"Bearer","expires_in":%[3]d}`,
		token, n, cmp.Or(p.lifetime, 86400))
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}, nil
}

// quickFiles is Caddy's storage in files for one process, without waiting for the disk at each
// write.
type quickFiles struct{ *certmagic.FileStorage }

// files returns the storage of a Caddy that is started with home.
func files(home string) quickFiles {
	return quickFiles{&certmagic.FileStorage{Path: filepath.Join(home, "data", "caddy")}}
}

// Store implements [tokensource.Storage].
func (f quickFiles) Store(_ context.Context, key string, value []byte) error {
	file := f.Filename(key)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, value, 0o600)
}

// Lock implements [tokensource.Storage].
func (quickFiles) Lock(context.Context, string) error { return nil }

// Unlock implements [tokensource.Storage].
func (quickFiles) Unlock(context.Context, string) error { return nil }
