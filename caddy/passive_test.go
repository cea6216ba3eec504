package caddy_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
)

// An answer that the transport makes itself does not make its upstream count as down, whatever
// unhealthy_status says. An answer of the upstream does. The client gets the whole answer.
func TestOwnAnswersPassHealthChecks(t *testing.T) {
	replaced := []string{`@own header Proxy-Status "authinject; error=*"`,
		rig.Block("handle_response @own", `respond "ask the operator" 502`)}
	for name, c := range map[string]struct {
		options []string
		body    string // of the answer without a token
		down    bool   // the answer without a token counts
	}{
		"5xx":                         {options: []string{"unhealthy_status 5xx"}, body: `"class":"operator"`},
		"the same status":             {options: []string{"unhealthy_status 502"}, body: `"class":"operator"`},
		"another answer is handled":   {[]string{"unhealthy_status 5xx", "@x status 501", "handle_response @x"}, `"status":502`, false},
		"handle_response looks at it": {append(replaced, "unhealthy_status 5xx"), "ask the operator", true},
	} {
		t.Run(name, func(t *testing.T) {
			isolate(t)
			t.Setenv("EMPTY", "")
			t.Setenv("TOKEN", "canary-static-token")
			upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/some/trouble" {
					http.Error(w, "of the upstream", http.StatusBadGateway)
				}
			}))
			t.Cleanup(upstream.Close)
			addr := rig.FreeAddr(t)
			options := append(c.options, "max_fails 1", "fail_duration 1h")
			run(t, rig.Caddyfile{}.Source("none", "token {env.EMPTY}").Source("some", "token {env.TOKEN}").
				Site("http://"+addr, "bind 127.0.0.1", rig.Block("authinject /none none "+upstream.URL, options...),
					rig.Block("authinject /some* some "+upstream.URL, options...)))
			status, body, _ := get(t, "http://"+addr+"/none")
			if status != http.StatusBadGateway || !strings.Contains(body, c.body) {
				t.Errorf("without a token: %d %s", status, body)
			}
			status, body, _ = get(t, "http://"+addr+"/some")
			if down := status == http.StatusServiceUnavailable; down != c.down {
				t.Errorf("then: %d %s", status, body)
			}
			if c.down {
				return
			}
			status, body, _ = get(t, "http://"+addr+"/some/trouble")
			if status != http.StatusBadGateway || body != "of the upstream\n" {
				t.Errorf("the upstream's answer: %d %s", status, body)
			}
			if status, body, _ := get(t, "http://"+addr+"/some"); status != http.StatusServiceUnavailable {
				t.Errorf("after the upstream's answer: %d %s", status, body)
			}
		})
	}
}
