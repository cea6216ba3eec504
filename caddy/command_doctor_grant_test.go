package caddy

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/authinject/caddy-authinject/caddy/doctor"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// doctor says what is wrong with the assertions of a grant, and does not look for the fault at the
// client.
func TestDoctorAssertions(t *testing.T) {
	pair := func() (string, *rsa.PublicKey) {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
			&key.PublicKey
	}
	private, public := pair()
	other, _ := pair()
	app := tokensourcetest.GitHubApp{Signer: tokensourcetest.Signer{Key: public, Issuer: "Iv23"}, Installation: "42"}
	github := tokensourcetest.StartGitHub(t, app, tokensourcetest.Config{})
	salesforce := tokensourcetest.StartSalesforce(t,
		tokensourcetest.Signer{Key: public, Issuer: "app", Subject: "user@example.com"}, tokensourcetest.Config{})
	installation := func(id string) []string {
		return []string{rig.Block("grant github_app", "app_id Iv23", "installation_id "+id, "key {env.SIGNING_KEY}",
			"api_url "+github.URL)}
	}
	bearer := []string{
		rig.Block("grant jwt_bearer", "key {env.SIGNING_KEY}", "issuer app", "subject user@example.com",
			"audience https://login.salesforce.com"),
		"token_url " + salesforce.TokenURL(),
	}
	for name, row := range map[string]struct {
		key          string
		options      []string
		text, remedy string // empty: nothing is wrong
	}{
		"an installation":      {private, installation("42"), "", ""},
		"another installation": {private, installation("43"), "the app has no such installation", "install the app"},
		"another app's key": {other, installation("42"), "the assertion of the grant was refused",
			"check the options of the grant: key"},
		"Salesforce": {private, bearer, "", ""},
		"Salesforce, refused": {other, bearer, "the assertion of the grant was refused",
			"check the options of the grant: key"},
		"no key": {"no key", bearer, "key of the grant: it is neither a PEM file", "check alg, and the variable or file " +
			"that key names"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("SIGNING_KEY", row.key)
			config := stored(t).Source("a", row.options...).Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1",
				"authinject a http://127.0.0.1:1")
			r := diagnose(t, doctorRun{}, config)
			if row.text == "" {
				wantNoFailure(t, r)
				return
			}
			wantStep(t, r, doctor.Fail, "grant", row.text, row.remedy)
		})
	}
}

// --refresh sends no refresh token that the provider refused before. doctor then says which steps it
// did not try, and why, and what to do. It does not say that the provider accepted the client.
func TestDoctorRefusedBefore(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{Rotation: tokensourcetest.StrictRotation()})
	for name, live := range map[string]bool{"live token": true, "no token": false} {
		t.Run(name, func(t *testing.T) {
			config, token := refreshTokens(t, srv)
			if live {
				wantNoFailure(t, diagnose(t, doctorRun{}, config, token))
			}
			srv.RevokeAll()
			refresh := doctorRun{options: doctor.Options{Refresh: true}}
			r := diagnose(t, refresh, config, token)
			wantStep(t, r, doctor.OK, "client_authentication", "the provider accepted the client", "")
			wantStep(t, r, doctor.Fail, "grant", "invalid_grant", "")
			before := srv.Count()
			r = diagnose(t, refresh, config, token)
			if srv.Count() != before {
				t.Error("a refused refresh token was sent again")
			}
			for _, step := range []string{"client_authentication", "early_refresh"} {
				if live || step != "early_refresh" {
					wantStep(t, r, doctor.Skip, step,
						"no token request was sent, because the provider refused the refresh token before", "")
				}
			}
			wantStep(t, r, doctor.Fail, "grant", "the provider refused the refresh token before, and it is not sent again: "+
				"the token endpoint answered 400 invalid_grant",
				"get a new refresh token from the provider, and write it into the environment variable REFRESH_TOKEN")
			for _, s := range r.Steps {
				if s.Status == doctor.OK && s.Name == "client_authentication" {
					t.Errorf("%s: %s", s.Name, s.Text)
				}
			}
			wantNoRefresh(t, r)
			r = diagnose(t, doctorRun{}, config, token)
			wantStep(t, r, doctor.Fail, "grant", "the provider refused the refresh token before",
				"get a new refresh token from the provider")
			wantNoRefresh(t, r)
		})
	}
}

// A preset knows other codes for a dead refresh token than invalid_grant. doctor does not blame the
// client for them.
func TestDoctorDeadGrantOfAPreset(t *testing.T) {
	t.Setenv("REFRESH_TOKEN", rig.Canary)
	t.Setenv("CLIENT_SECRET", rig.Canary)
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":"invalid_request"}`)
	}))
	t.Cleanup(provider.Close)
	config := stored(t).Source("a", "provider tiltify", "token_url "+provider.URL+"/token", "destinations "+provider.URL,
		"refresh_token {env.REFRESH_TOKEN}", "client_id me", "client_secret {env.CLIENT_SECRET}").
		Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", "authinject a "+provider.URL)
	r := diagnose(t, doctorRun{}, config)
	wantStep(t, r, doctor.Fail, "grant", "400 invalid_request (the provider no longer accepts the refresh token)",
		"get a new refresh token from the provider")
	for _, s := range r.Steps {
		if s.Name == "client_authentication" {
			t.Errorf("%s %s: %s", s.Status, s.Name, s.Text)
		}
	}
}
