package connect

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// The emulators' own pages work: all other tests use them.
func TestProviderPages(t *testing.T) {
	t.Parallel()
	var arrived string
	client := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived = r.URL.RawQuery
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!DOCTYPE html><link rel=icon href=data:,><p>back"))
	}))
	defer client.Close()
	cfg := tokensourcetest.ProviderConfig{RedirectURIs: []string{client.URL + "/cb"}}
	emu := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, cfg)
	authorize := func() string {
		return emu.Endpoints().Authorize + "?" + url.Values{
			"client_id": {emu.ClientID()}, "response_type": {"code"}, "redirect_uri": {client.URL + "/cb"}, "state": {"xyz"},
		}.Encode()
	}
	b := profile(t)
	b.open(authorize())
	providerPage{b}.Allow()
	if b.text("body") != "back" || !strings.Contains(arrived, "state=xyz") || !strings.Contains(arrived, "code=") {
		t.Errorf("at %s with %s", b.at(), arrived)
	}
	b.open(authorize())
	providerPage{b}.Deny()
	if !strings.Contains(arrived, "error=access_denied") {
		t.Errorf("at %s with %s", b.at(), arrived)
	}
	if list := emu.AuthorizeRequests(); len(list) != 2 || list[0].Outcome != tokensourcetest.OutcomeIssued ||
		list[1].Outcome != "access_denied" {
		t.Errorf("authorize requests %+v", list)
	}
}
