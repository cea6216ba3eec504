package caddy

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/caddy/doctor"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// Doctor sends DPoP proofs as the server does, with the nonces of the provider and of the API. If
// the API refuses a proof, doctor says so and does not report that the API fails.
func TestDoctorWithDPoP(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{DPoP: true})
	srv.TokenProofs.RequireNonce()
	srv.APIProofs.RequireNonce()
	report := diagnose(t, doctorRun{options: doctor.Options{Probe: srv.APIURL() + "/x"}},
		clientCredentials(t, srv).Source("a", "dpop"))
	wantStep(t, report, doctor.OK, "upstream", "answered 200 to a request with the token", "")
	if !report.OK {
		t.Error("the report says that something failed")
	}
	for i, proof := range append(srv.TokenProofs.Texts(), srv.APIProofs.Texts()...) {
		var text strings.Builder
		if err := report.WriteText(&text); err != nil || strings.Contains(text.String(), proof) {
			t.Errorf("proof %d is in the report: %v", i, err)
		}
	}

	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `DPoP error="invalid_dpop_proof"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(refusing.Close)
	report = diagnose(t, doctorRun{options: doctor.Options{Probe: refusing.URL + "/x"}},
		clientCredentials(t, srv).Source("a", "dpop", "destinations "+refusing.URL+" "+srv.URL))
	wantStep(t, report, doctor.Fail, "upstream", "the upstream refused the DPoP proof", "compare the clocks")
}
