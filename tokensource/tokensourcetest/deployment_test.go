package tokensourcetest_test

import (
	"net/http"
	"strings"
	"testing"

	. "github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// Each deployment has its own users and tokens, and is found by its port or its name.
func TestDeployments(t *testing.T) {
	p := StartProvider(t, Accelo, ProviderConfig{Deployments: []string{"acme", "globex"}})
	acme, globex := p.EndpointsAt(p.DeploymentURL("acme")), p.EndpointsAt(p.DeploymentURL("globex"))
	if acme != p.Endpoints() || acme.API == globex.API || p.DeploymentURL("initech") != "" {
		t.Errorf("acme is at %+v, globex at %+v", acme, globex)
	}
	c := allow(t, p, globex.Authorize+"?"+form(acceloAuthorize...))
	if !strings.HasPrefix(c.QR, "globex;ada;") {
		t.Errorf("the user saw %+v", c)
	}
	// A page of one deployment does not exist at another one.
	begun := tokenCall{url: globex.Authorize, body: form(acceloAuthorize...)}.send(t, p).header.Get("Location")
	if r := get(t, p, p.DeploymentURL("acme")+begun, ""); r.status != 400 {
		t.Errorf("acme shows a page of globex: %d", r.status)
	}
	if r := get(t, p, p.DeploymentURL("globex")+begun, ""); r.status != 200 {
		t.Errorf("globex does not show its own page: %d", r.status)
	}
	call := pinCall(c.PIN)
	call.url = acme.Token
	wantError(t, call.send(t, p), 400, "invalid_grant")
	call.url = globex.Token
	r := call.send(t, p)
	wantToken(t, r)
	if r.text("deployment") != "globex" {
		t.Errorf("answer %s", r.body)
	}
	wantStatus(t, p, globex.API+"/x", "Bearer "+r.text("access_token"), 200)
	wantStatus(t, p, acme.API+"/x", "Bearer "+r.text("access_token"), 401)
	refresh := acceloCall("grant_type", "refresh_token", "refresh_token", r.text("refresh_token"))
	refresh.url = acme.Token
	wantError(t, refresh.send(t, p), 400, "invalid_grant")
	refresh.url = globex.Token
	wantToken(t, refresh.send(t, p))
	revoke := acceloCall("token", r.text("access_token"))
	revoke.url = acme.Revoke
	revoke.send(t, p)
	wantStatus(t, p, globex.API+"/x", "Bearer "+r.text("access_token"), 200)
	if requests := p.APIRequests(); requests[0].Deployment != "globex" || requests[1].Deployment != "acme" {
		t.Errorf("API requests %+v", requests)
	}

	named := func(host string) reply {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, acme.API+"/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		req.Header.Set("Authorization", "Bearer "+r.text("access_token"))
		r, err := send(p.Server, req)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for host, status := range map[string]int{
		"globex.api.localhost": 200, "globex.api.localhost:8080": 200, "acme.api.localhost": 401, "localhost": 401,
		"initech.api.localhost": 500, "127.0.0.1:1": 401,
	} {
		if r := named(host); r.status != status {
			t.Errorf("Host %s: %d %s, want %d", host, r.status, r.body, status)
		}
	}
}

func TestDeploymentNames(t *testing.T) {
	cfg := ProviderConfig{Deployments: []string{"acme", "globex"}}
	cfg.TLS = true
	p := StartProvider(t, Accelo, cfg)
	base := strings.ReplaceAll(p.DeploymentHosts(), "{deployment}", "globex")
	c := allow(t, p, p.EndpointsAt(base).Authorize+"?"+form(acceloAuthorize...))
	if !strings.HasPrefix(c.QR, "globex;") || !strings.HasPrefix(base, "https://globex.api.localhost:") {
		t.Errorf("the user saw %+v at %s", c, base)
	}
}

// Taking the server away takes all of its ports away.
func TestDeploymentsGoDownTogether(t *testing.T) {
	p := StartProvider(t, Accelo, ProviderConfig{Deployments: []string{"acme", "globex"}})
	reach := func(name string) error {
		req, err := http.NewRequest(http.MethodGet, p.EndpointsAt(p.DeploymentURL(name)).API, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = send(p.Server, req)
		return err
	}
	check := func(when string, reachable bool) {
		t.Helper()
		for _, name := range []string{"acme", "globex"} {
			if err := reach(name); (err == nil) != reachable {
				t.Errorf("%s, %s: %v", when, name, err)
			}
		}
	}
	check("at first", true)
	p.SetDown(true)
	check("down", false)
	p.SetDown(false)
	check("up", true)
	if err := p.StopListening(); err != nil {
		t.Fatal(err)
	}
	check("stopped", false)
	if err := p.StartListening(); err != nil {
		t.Fatal(err)
	}
	check("started", true)
	p.Close()
	check("closed", false)
}
