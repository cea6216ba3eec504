package firstlight

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// The admin API shows the state of the sources, requests a token when asked to, and shows no
// secret.
func TestAdminAPI(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{AccessTokenLifetime: time.Hour})
	srv.SetDown(true)
	p := start(t, proxied(srv, srv.URL))
	call := func(method, path string, want int) string {
		t.Helper()
		status, body, err := p.Admin(method, "/authinject/"+path, "", nil)
		if err != nil || status != want {
			t.Errorf("%s %s: status %d, want %d, %v: %s", method, path, status, want, err, body)
		}
		tokensourcetest.Report(t, srv.CheckAbsent(path, string(body)))
		if strings.Contains(string(body), rig.Canary) {
			t.Errorf("%s shows a secret", path)
		}
		return string(body)
	}

	// While the provider is down, Caddy runs, is not ready, and says why.
	rig.Eventually(t, func() bool {
		_, body, err := p.Admin(http.MethodGet, "/authinject/ready", "", nil)
		return err == nil && strings.Contains(string(body), `"class":"wait"`)
	}, "the first failure to be reported")
	if body := call(http.MethodGet, "ready", http.StatusServiceUnavailable); !strings.Contains(body, `"ready":false`) ||
		!strings.Contains(body, `"source":"a"`) {
		t.Errorf("ready: %s", body)
	}
	srv.SetDown(false)
	rig.Eventually(t, func() bool {
		status, _, err := p.Admin(http.MethodGet, "/authinject/ready", "", nil)
		return err == nil && status == http.StatusOK
	}, "Caddy to become ready")

	var list []struct {
		Source, Grant string
		Accounts      []struct {
			State      string
			Generation int
			Live       bool
			Expiry     time.Time
		}
	}
	if err := json.Unmarshal([]byte(call(http.MethodGet, "sources", http.StatusOK)), &list); err != nil ||
		len(list) != 1 ||
		list[0].Source != "a" || list[0].Grant != "client_credentials" || len(list[0].Accounts) != 1 {
		t.Fatalf("sources: %+v, %v", list, err)
	}
	if a := list[0].Accounts[0]; a.State != "fresh" || a.Generation != 1 || !a.Live ||
		time.Until(a.Expiry) < 50*time.Minute {
		t.Errorf("sources: %+v", a)
	}
	if body := call(http.MethodPost, "sources/a/refresh", http.StatusOK); !strings.Contains(body, `"generation":2`) {
		t.Errorf("refresh: %s", body)
	}
	srv.SetDown(true)
	if body := call(http.MethodPost, "sources/a/refresh", http.StatusBadGateway); !strings.Contains(body, `"live":true`) ||
		!strings.Contains(body, `"class":"wait"`) {
		t.Errorf("refresh while the provider is down: %s", body)
	}
	call(http.MethodGet, "sources/a", http.StatusOK)
	if body := call(http.MethodPost, "sources/a/sync", http.StatusOK); !strings.Contains(body, `"generation":2`) {
		t.Errorf("sync: %s", body)
	}
	call(http.MethodPost, "sources/b/sync", http.StatusNotFound)
	call(http.MethodPost, "sources/a/nobody/sync", http.StatusNotFound)
	call(http.MethodGet, "sources/a/sync", http.StatusNotFound)
	for path, want := range map[string]int{
		"": 404, "nothing": 404, "sources/b": 404, "sources/a/nobody": 404, "sources/a/x/y/z": 404,
	} {
		call(http.MethodGet, path, want)
	}
	call(http.MethodDelete, "sources/a", http.StatusMethodNotAllowed)
	call(http.MethodPost, "ready", http.StatusMethodNotAllowed)
}

// The metrics count requests and token requests. Their labels are names from the configuration and
// fixed words.
func TestMetrics(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{AccessTokenLifetime: time.Hour})
	p := start(t, proxied(srv, srv.URL))
	for range 3 {
		if status, body := p.Get("/api/x"); status != http.StatusOK {
			t.Fatalf("the proxy answered %d: %s", status, body)
		}
	}
	srv.RefuseAll(true)
	p.Get("/api/x")
	status, body, err := p.Admin(http.MethodGet, "/metrics", "", nil)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%d %v", status, err)
	}
	for _, want := range []string{
		`authinject_requests_total{class="",outcome="injected",source="a"} 3`,
		`authinject_requests_total{class="",outcome="refused",source="a"} 1`,
		`authinject_token_requests_total{result="obtained",source="a"}`,
		`authinject_token_live{source="a"} 1`,
		`authinject_token_expiry_timestamp_seconds{source="a"} `,
	} {
		if !strings.Contains(string(body), "\n"+want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
	tokensourcetest.Report(t, srv.CheckAbsent("the metrics", string(body)))
}

// If a new configuration cannot start, the admin API still shows and controls the one that runs. An
// address that only the new configuration has is not reported as shared. The log names the process
// that has it.
func TestAdminAPIAfterAFailedReload(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{AccessTokenLifetime: time.Hour})
	p := start(t, proxied(srv, srv.URL))
	p.Get("/")
	taken := strings.TrimPrefix(srv.URL, "http://")
	err := p.Reload(rig.Caddyfile{}.Source("b", "grant client_credentials", rig.Client(srv)).
		Site("http://"+taken, "bind 127.0.0.1", "authinject b "+srv.URL).String())
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Fatalf("the reload: %v", err)
	}
	_, body, err := p.Admin(http.MethodGet, "/authinject/sources", "", nil)
	if err != nil || !strings.Contains(string(body), `"source":"a"`) || strings.Contains(string(body), `"source":"b"`) {
		t.Errorf("sources: %v %s", err, body)
	}
	status, body, err := p.Admin(http.MethodGet, "/authinject/ready", "", nil)
	if err != nil || status != http.StatusOK || strings.Contains(string(body), taken) {
		t.Errorf("ready: %d %v %s", status, err, body)
	}
	status, body, err = p.Admin(http.MethodPost, "/authinject/sources/a/refresh", "", nil)
	if err != nil || status != http.StatusOK || !strings.Contains(string(body), `"live":true`) {
		t.Errorf("refresh: %d %v %s", status, err, body)
	}
	named := p.WaitLog("the configuration was not started, because another process listens at its address")
	if want := fmt.Sprintf("(process %d)", os.Getpid()); runtime.GOOS == "linux" && !strings.Contains(named, want) {
		t.Errorf("logged %s, want %s", named, want)
	}
	for _, line := range p.Logs() {
		if strings.Contains(line, "another process listens at the same address") {
			t.Errorf("logged %s", line)
		}
	}
}
