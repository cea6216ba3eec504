package rig

import (
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// Canary is the secret of [Server]'s client. Tests look for it where no secret may be.
const Canary = "canary-client-secret-51c2"

// Server starts an authorization server whose client has [Canary] as its secret.
func Server(t testing.TB, config tokensourcetest.Config) *tokensourcetest.Server {
	t.Helper()
	config.Clients = []tokensourcetest.Client{{ID: tokensourcetest.DefaultClientID, Secrets: []string{Canary}}}
	return tokensourcetest.Start(t, config)
}

// Client returns the options of a source that name srv's token endpoint and its default client. Its
// secret is in the environment variable CLIENT_SECRET.
func Client(srv *tokensourcetest.Server) string {
	return "client_id " + tokensourcetest.DefaultClientID + "\n" +
		Endpoints(tokensourcetest.Endpoints{Token: srv.TokenURL()})
}

// Endpoints returns the options of a source that name a provider's endpoints and, if it has a token
// endpoint, the client's secret, which is in the environment variable CLIENT_SECRET.
func Endpoints(at tokensourcetest.Endpoints) string {
	var options []string
	for _, option := range [][2]string{{"authorize_url", at.Authorize}, {"token_url", at.Token}, {"par_url", at.PAR},
		{"revoke_url", at.Revoke}} {
		if option[1] != "" {
			options = append(options, option[0]+" "+option[1])
		}
	}
	if at.Token != "" {
		options = append(options, "client_secret {env.CLIENT_SECRET}")
	}
	return strings.Join(options, "\n")
}

// Login returns the options of a source whose accounts people connect at emu. It does not return
// the option provider.
func Login(emu *tokensourcetest.Provider) string {
	return "client_id " + emu.ClientID() + "\n" + Endpoints(emu.Endpoints()) + "\ndestinations " + emu.URL
}

// API returns a directive that serves emu's API below /api, with tokens of source a and with
// options of the directive authinject.
func API(emu *tokensourcetest.Provider, options ...string) string {
	path := strings.TrimPrefix(emu.Endpoints().API, emu.URL)
	return Block("handle_path /api/*", "rewrite * "+path+"{uri}", Block("authinject a "+emu.URL, options...))
}

// Allow logs a user in at emu and allows what address asks for.
func Allow(t testing.TB, emu *tokensourcetest.Provider, address string) tokensourcetest.Consent {
	t.Helper()
	consent, err := emu.Allow(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return consent
}
