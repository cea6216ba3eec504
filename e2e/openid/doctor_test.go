package openid

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

// The Caddyfile that init writes gets a token, as doctor finds out, without a change.
func TestInitAndDoctor(t *testing.T) {
	op := harness.OP(t)
	api := httptest.NewServer(op.Protect(hello))
	t.Cleanup(api.Close)
	written := harness.Command(t, []string{
		"authinject", "init", api.URL, "--issuer", op.Issuer, "--grant", "client_credentials", "--from", rig.FreeAddr(t),
	})
	if written.Code != 0 {
		t.Fatalf("init: code %d:\n%s", written.Code, written.Stderr)
	}
	opts := []harness.Option{
		harness.File("Made", written.Stdout), harness.Env("API_CLIENT_ID", harness.ServiceClient),
		harness.Env("API_CLIENT_SECRET", harness.ServiceSecret),
	}
	check := []string{"authinject", "doctor", "--config", "Made", "--adapter", "caddyfile", "--probe", api.URL + "/x"}
	result := harness.Command(t, check, opts...)
	for _, want := range []string{"ok    metadata: ", "ok    grant: ", "ok    upstream: " + api.URL + " answered 200",
		" 0 failed"} {
		if !strings.Contains(result.Stdout, want) {
			t.Errorf("there is no %q", want)
		}
	}
	if result.Code != 0 {
		t.Errorf("doctor: code %d:\n%s\n%s", result.Code, result.Stdout, result.Stderr)
	}
	rig.MustNotHold(t, "doctor's output", result.Stdout+result.Stderr, harness.ServiceSecret)

	const wrong = "canary-wrong-secret"
	result = harness.Command(t, check, append(opts, harness.Env("API_CLIENT_SECRET", wrong))...)
	if result.Code != 1 || !strings.Contains(result.Stdout, "fail  client authentication: ") {
		t.Errorf("doctor with a wrong secret: code %d:\n%s\n%s", result.Code, result.Stdout, result.Stderr)
	}
	rig.MustNotHold(t, "doctor's output", result.Stdout+result.Stderr, wrong)
}

// Doctor runs beside a server, and gets its own token.
func TestDoctorBesideTheServer(t *testing.T) {
	op := harness.OP(t)
	api := httptest.NewServer(op.Protect(hello))
	t.Cleanup(api.Close)
	p := harness.Start(t, site("grant client_credentials", "issuer {$ISSUER}"),
		append(service(op, api.URL), harness.Env("ISSUER", op.Issuer))...)
	want(t, p, "hello over HTTP/1.1")
	doctor := p.Terminal(nil, "authinject", "doctor", "--probe", api.URL+"/x")
	code := doctor.Wait()
	if text := doctor.Text(); code != 0 || !strings.Contains(text, "is in use by the server of this configuration") ||
		!strings.Contains(text, "answered 200") {
		t.Errorf("code %d:\n%s", code, text)
	}
	want(t, p, "hello over HTTP/1.1")
}
