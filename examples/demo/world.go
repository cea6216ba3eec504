package main

import (
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// tokenLifetime is short, so that one can watch tokens being replaced.
const tokenLifetime = 20 * time.Second

// loginLifetime is the lifetime of the providers' tokens. It is short enough that one can watch
// these tokens, too, and see how the login of a provider without refresh tokens ends.
const loginLifetime = 5 * time.Minute

// world is everything that the proxy talks to.
type world struct {
	server    *tokensourcetest.Server
	providers []*provider
}

// provider is one of the five providers, which runs on this machine.
type provider struct {
	*tokensourcetest.Provider
	preset string
	title  string
}

// theFive are the providers, in the order of the guide.
var theFive = []struct{ preset, title string }{
	{tokensourcetest.TinyPlus, "tiny+"},
	{tokensourcetest.TinyEmail, "tinyEmail"},
	{tokensourcetest.Accelo, "Accelo"},
	{tokensourcetest.Biggerplate, "Biggerplate"},
	{tokensourcetest.Tiltify, "Tiltify"},
}

// startWorld starts the authorization servers. port is the port of the proxy, to which they send
// people back.
func startWorld(port int) (*world, error) {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", providerPort)) //nolint:noctx // a moment at start
	if err != nil {
		listener, err = net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // as above
	}
	if err != nil {
		return nil, err
	}
	w := new(world)
	w.server, err = tokensourcetest.Listen(tokensourcetest.Config{Listener: listener, AccessTokenLifetime: tokenLifetime})
	if err != nil {
		return nil, err
	}
	for _, p := range theFive {
		started, err := tokensourcetest.ListenProvider(p.preset, tokensourcetest.ProviderConfig{
			Config: tokensourcetest.Config{AccessTokenLifetime: loginLifetime},
			RedirectURIs: []string{
				fmt.Sprintf("http://127.0.0.1:%d/connect/callback", port),
				fmt.Sprintf("http://localhost:%d/connect/callback", port),
			},
		})
		if err != nil {
			w.close()
			return nil, fmt.Errorf("%s: %w", p.title, err)
		}
		w.providers = append(w.providers, &provider{Provider: started, preset: p.preset, title: p.title})
	}
	return w, nil
}

func (w *world) close() {
	w.server.Close()
	for _, p := range w.providers {
		p.Close()
	}
}

// api returns the origin and the path of the provider's API.
func (p *provider) api() (origin, path string) {
	u, err := url.Parse(p.Endpoints().API)
	if err != nil {
		return "", "" // it is what the server listens on
	}
	return u.Scheme + "://" + u.Host, u.Path
}
