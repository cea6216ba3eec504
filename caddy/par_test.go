package caddy_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// A provider that takes only pushed authorization requests gets them, each when the person is sent
// there. A link that is opened a second time is refused there, and the next one works.
func TestConnectPushes(t *testing.T) {
	isolate(t)
	addr := rig.FreeAddr(t)
	p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{
		RedirectURIs: []string{"http://" + addr + "/connect/callback"}, RequirePAR: true,
	})
	run(t, loginSite(t, p, "http://"+addr, tokensourcetest.Biggerplate))
	ada := newPerson(t, "http://"+addr+"/connect")
	link := ada.begin("source", "a")
	u, err := url.Parse(link)
	if err != nil || len(u.Query()) != 2 || !u.Query().Has("request_uri") || u.Query().Get("client_id") != p.ClientID() {
		t.Fatalf("the link is %s: %v", link, err)
	}
	rig.Allow(t, p, link)
	if _, err := p.Allow(t.Context(), link); err == nil {
		t.Error("the provider took the link twice")
	}
	consent := rig.Allow(t, p, ada.begin("source", "a"))
	if _, page := ada.open(consent.Redirect); !strings.Contains(notice(page), "Connected a.") {
		t.Fatalf("after the callback: %s", notice(page))
	}
	if status, body, _ := get(t, "http://"+addr+"/api/x"); status != http.StatusOK {
		t.Errorf("after the login: %d %s", status, body)
	}
	for i, push := range p.PushRequests() {
		if push.Outcome != "ok" || push.Params.Get("state") == "" || push.Params.Get("redirect_uri") == "" {
			t.Errorf("push %d: %s", i, push.Outcome)
		}
	}
	if n := len(p.PushRequests()); n != 2 {
		t.Errorf("%d requests were pushed, want 2", n)
	}
	p.SetClientSecrets(p.ClientID(), "another")
	if _, page := ada.press("start", "source", "a"); !strings.Contains(notice(page), "The pushed authorization request "+
		"endpoint answered 401 invalid_client") {
		t.Errorf("a push that is refused: %s", notice(page))
	}
	tokensourcetest.Report(t, p.Check())
}
