package caddy

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/caddy/doctor"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource"
)

// tiltify is a configuration whose site proxies to a host that the preset does not allow.
func tiltify(t *testing.T) rig.Caddyfile {
	t.Helper()
	t.Setenv("CLIENT_SECRET", rig.Canary)
	return stored(t).Source("a", "provider tiltify", "client_id x", "client_secret {env.CLIENT_SECRET}").
		Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", "authinject_connect /connect*", "authinject a https://api.invalid")
}

// doctor says that the preset allows other hosts. Its change corrects the upstream, and removes no
// line that is not in the file.
func TestDoctorDestinationsOfAPreset(t *testing.T) {
	r := diagnose(t, doctorRun{}, tiltify(t))
	wantStep(t, r, doctor.Fail, "destinations",
		"https://api.invalid are refused: it is not among the destinations of the source (https://v5api.tiltify.com), "+
			"which provider tiltify sets",
		"correct the upstream; only if https://api.invalid is to get the token, write the line destinations "+
			"https://v5api.tiltify.com https://api.invalid into the source, which replaces those of the provider")
	if want := []doctor.Change{{In: "the site", Remove: "authinject a https://api.invalid",
		Add: "authinject a https://v5api.tiltify.com"}}; !slices.Equal(r.Changes, want) {
		t.Errorf("%+v", r.Changes)
	}
}

// provisioned returns the app of a configuration that does not run.
func provisioned(t *testing.T, config rig.Caddyfile) *App {
	t.Helper()
	raw, err := (&commandConfig{file: writeFile(t, "Caddyfile", config.String())}).read()
	if err != nil {
		t.Fatal(err)
	}
	var parsed caddy.Config
	if err := json.Unmarshal(raw, &parsed); err != nil {
		t.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(&parsed)
	if err != nil {
		t.Fatal(err)
	}
	app, err := appOf(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = app.Cleanup() })
	return app
}

// Status and /authinject/ready warn of an upstream that gets no token before the first request.
// When a request was refused, that comes before the login, because no login helps it.
func TestStatusOfAnUpstreamThatIsNoDestination(t *testing.T) {
	app := provisioned(t, tiltify(t))
	const why = "no token is sent to https://api.invalid:443: it is not among the destinations of this token source; " +
		"the option destinations lists what is allowed: https://v5api.tiltify.com (set by provider tiltify, unless you " +
		"write the option yourself)"
	remedy := (&authinject.DestinationError{}).Remedy()
	warning := `token source "a": requests to the upstream api.invalid:443 will be refused: ` + why + ": " + remedy
	w := httptest.NewRecorder()
	if err := app.serveReady(w, httptest.NewRequest(http.MethodGet, "/authinject/ready", nil)); err != nil {
		t.Fatal(err)
	}
	var ready struct{ Warnings []string }
	if err := json.Unmarshal(w.Body.Bytes(), &ready); err != nil || !slices.Contains(ready.Warnings, warning) {
		t.Errorf("ready: %v %s", err, w.Body)
	}
	status := func() accountStatus {
		st := app.sourceStatus(t.Context(), "a", false)
		if len(st.Accounts) != 1 {
			t.Fatalf("%+v", st)
		}
		return st.Accounts[0]
	}
	expected := problemStatus{"destination", tokensource.ClassOperator, warning, remedy}
	if st := status(); !slices.Contains(st.Warnings, warning) || st.Class == tokensource.ClassOperator ||
		!slices.Contains(st.Problems, expected) {
		t.Errorf("before a request: %+v", st)
	}
	app.watcher("a")(authinject.Result{Outcome: authinject.OutcomeDestination, Class: tokensource.ClassOperator,
		Problem: "destination", Detail: why, Remedy: remedy, Status: http.StatusBadGateway})
	st := status()
	if st.Class != tokensource.ClassOperator || st.Problem != "destination" ||
		!strings.HasPrefix(st.Remedy, "correct the upstream") ||
		!strings.HasSuffix(st.RefusedRequest, why) || !strings.Contains(st.Words, " But a request was refused ") || slices.Contains(st.Warnings, warning) ||
		slices.Contains(st.Problems, expected) ||
		st.Problems[0] != (problemStatus{"destination", tokensource.ClassOperator, why, remedy}) {
		t.Errorf("after a request: %+v", st)
	}
	login := tokensource.Status{Source: "a", State: tokensource.StateLoginRequired, Interactive: true,
		Err: &tokensource.Error{Class: tokensource.ClassLogin, Reason: "the provider gave no refresh token"}}
	own := newAccountStatus(login, "authorization_code")
	st = app.accountStatus(login, "authorization_code")
	if own.Class != tokensource.ClassLogin || st.Class != tokensource.ClassOperator || st.Problem != "destination" ||
		!strings.HasPrefix(st.Remedy, "correct the upstream") || !strings.HasSuffix(st.Remedy, own.Remedy) ||
		!strings.HasPrefix(st.Error, why) || !strings.HasSuffix(st.Error, own.Error) {
		t.Errorf("of a login: %+v\nits own: %+v", st, own)
	}
	app.watcher("a")(authinject.Result{Outcome: authinject.OutcomeInjected})
	if _, ok := app.refusals.lastOf("a", time.Now()); !ok {
		t.Error("a request to another upstream ends the refusal of this one")
	}
}
