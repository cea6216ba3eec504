package terminal

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// If a program that is not the server listens at the redirect URL, the login says which one. The
// address at which the browser ends still finishes the login.
func TestLoginWhoseRedirectURLIsTaken(t *testing.T) {
	t.Parallel()
	p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{})
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	redirect := other.URL + "/connect/callback"
	proxy := start(t, p, "provider biggerplate\nredirect_url "+redirect, false)
	p.SetRedirectURIs(redirect)
	login := proxy.Terminal(nil, "authinject", "login", "a")
	consent := rig.Allow(t, p, login.Address())
	login.Type(consent.Redirect)
	want := fmt.Sprintf("The answer to the login comes to another process: %s is taken by ", other.Listener.Addr())
	if code, text := login.Wait(), login.Text(); code != 0 || !strings.Contains(text, want) ||
		!strings.Contains(text, fmt.Sprintf("(process %d): stop that process, or choose another port. You can also paste "+
			"the address at which the browser ends.", os.Getpid())) {
		t.Errorf("code %d:\n%s", code, text)
	}

	paged := start(t, p, "provider biggerplate", true)
	login = paged.Terminal(nil, "authinject", "login", "a")
	_ = login.Address()
	if text := login.Text(); strings.Contains(text, "another process") {
		t.Errorf("the server is called another process:\n%s", text)
	}
}
