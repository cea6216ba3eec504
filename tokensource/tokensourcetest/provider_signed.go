package tokensourcetest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// StartSalesforce starts a server that takes the assertions of signer as Salesforce does. Its answers have no
// expires_in and no refresh token, and name an instance.
//
//	https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_jwt_flow.htm
//
// Fields of cfg may be set that the page leaves open, such as the lifetime and the clock.
func StartSalesforce(t T, signer Signer, cfg Config) *Server {
	t.Helper()
	cfg.TokenPath, cfg.Expiry, cfg.APIPath = "/services/oauth2/token", ExpiryAbsent, "/services/data"
	cfg.APIQueryParameter = Absent
	if cfg.NewAccessToken == nil {
		cfg.NewAccessToken = func(n uint64) string { return fmt.Sprintf("00Dxx0000001gER!AQ%d.%s", n, rand.Text()) }
	}
	return startSigned(t, cfg, &emulation{
		assertions: &assertionRules{
			signer: signer,
			alg:    jose.RS256, // "Construct a JWT header with this format: {"alg":"RS256"}"
			check: func(s *Server, read grantClaims, now time.Time) (code, description string) {
				switch {
				case read.Issuer != signer.Issuer: // "iss must contain the OAuth client_id"
					return "invalid_client_id", "client identifier invalid"
				case !read.isFor("https://login.salesforce.com", s.URL): // "aud": the authorization server, or the domain of the org
					return "invalid_grant", "audience is invalid"
				case read.End <= now.Unix():
					return "invalid_grant", "expired authorization code"
				case read.End > now.Add(3*time.Minute).Unix(): // "exp ... within 3 minutes"
					return "invalid_grant", "assertion expiry is too far in the future"
				case read.Subject != signer.Subject: // "sub must contain the username of the user"
					return "invalid_grant", "user hasn't approved this consumer"
				}
				return "", ""
			},
		},
		members: func(_ *issuance, m map[string]any) {
			m["scope"] = "api web"
			m["instance_url"] = "https://acme.my.salesforce.com"
			m["id"] = "https://login.salesforce.com/id/00Dxx0000001gEREAY/005xx000001SwiUAAS"
		},
	})
}

// StartGoogle starts a server that takes the assertions of a service account as Google does: with the scopes as a claim.
// A Subject is the user for whom the account acts.
//
//	https://developers.google.com/identity/protocols/oauth2/service-account#httprest
//
// Fields of cfg may be set that the page leaves open, such as the lifetime and the clock.
func StartGoogle(t T, signer Signer, cfg Config) *Server {
	t.Helper()
	cfg.TokenPath, cfg.APIQueryParameter = "/token", Absent
	return startSigned(t, cfg, &emulation{
		assertions: &assertionRules{
			signer: signer,
			alg:    jose.RS256, // "Service accounts rely on the RSA SHA-256 algorithm and the JWT token format."
			check: func(s *Server, read grantClaims, now time.Time) (code, description string) {
				_, delegated := read.has["sub"]
				switch {
				case read.Issuer != signer.Issuer: // iss: "The email address of the service account."
					return "invalid_grant", "Invalid grant: account not found"
				case !read.isFor("https://oauth2.googleapis.com/token", s.TokenURL()): // aud: "this value is always https://oauth2.googleapis.com/token"
					return "invalid_grant", "Invalid JWT: Failed audience check."
				case read.Issued == 0 || read.Issued > now.Unix(): // iat: "The time the assertion was issued"
					return "invalid_grant", "Invalid JWT: Token must be a short-lived token and in a reasonable timeframe."
				case read.End <= now.Unix() || read.End-read.Issued > 3600: // exp: "a maximum of 1 hour after the issued time"
					return "invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
				case read.Scope == "": // scope: "A space-delimited list of the permissions that the application requests."
					return "invalid_scope", "Invalid OAuth scope or ID token audience provided."
				case delegated && (signer.Subject == "" || read.Subject != signer.Subject): // sub: "The email address of the user for which the application is requesting delegated access."
					return "unauthorized_client", "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested."
				}
				return "", ""
			},
		},
	})
}

// GitHubApp is the installation of a GitHub App.
type GitHubApp struct {
	// Key verifies the app's JWTs. Issuer is the app's client id, or its number.
	Signer
	// Installation is the number of the installation.
	Installation string
	// Repositories and Permissions are what the installation was granted.
	Repositories []string
	Permissions  map[string]string
}

// StartGitHub starts a server with the part of GitHub's API that makes tokens of an installation. They live for an hour.
//
//	https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app
//	https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
//
// Fields of cfg may be set that the pages leave open, such as the clock.
func StartGitHub(t T, app GitHubApp, cfg Config) *Server {
	t.Helper()
	cfg.APIQueryParameter = Absent
	if cfg.NewAccessToken == nil {
		cfg.NewAccessToken = func(n uint64) string { return fmt.Sprintf("ghs_%d%s", n, rand.Text()) }
	}
	return startSigned(t, cfg, &emulation{noTokenEndpoint: true, app: &app})
}

// installationPath is the path of an installation's tokens.
var installationPath = regexp.MustCompile(`^/app/installations/([0-9]+)/access_tokens$`)

// serveInstallation makes a token of an installation.
func (s *Server) serveInstallation(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	refuse := func(status int, message string) {
		writeJSON(w, status, map[string]any{"message": message, "documentation_url": "https://docs.github.com/rest", "status": fmt.Sprint(status)})
	}
	app, now := s.emulation.app, s.cfg.Now()
	rules := &assertionRules{signer: app.Signer, alg: jose.RS256} // "must be signed using the RS256 algorithm"
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	read, verified := rules.verify(token)
	var limits struct {
		Repositories []string          `json:"repositories"`
		Permissions  map[string]string `json:"permissions"`
	}
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	body.DisallowUnknownFields()
	switch {
	case r.Method != http.MethodPost:
		refuse(http.StatusNotFound, "Not Found")
		return
	case r.UserAgent() == "": // "All API requests MUST include a valid User-Agent header."
		refuse(http.StatusForbidden, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.")
		return
	case !bearer || !verified:
		refuse(http.StatusUnauthorized, "A JSON web token could not be decoded")
		return
	case read.Issuer != app.Issuer: // iss: "The client ID or application ID of your GitHub App."
		refuse(http.StatusUnauthorized, "Integration must generate a public key")
		return
	case read.End <= now.Unix() || read.End > now.Add(10*time.Minute).Unix(): // exp: "no more than 10 minutes into the future"
		refuse(http.StatusUnauthorized, "'Expiration time' claim ('exp') is too far in the future")
		return
	case read.Issued == 0 || read.Issued > now.Unix(): // iat: "The time that the JWT was created."
		refuse(http.StatusUnauthorized, "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued")
		return
	case installationPath.FindStringSubmatch(r.URL.Path)[1] != app.Installation:
		refuse(http.StatusNotFound, "Not Found")
		return
	case r.ContentLength != 0 && body.Decode(&limits) != nil:
		refuse(http.StatusBadRequest, "Problems parsing JSON")
		return
	}
	selection := "all"
	for _, name := range limits.Repositories {
		selection = "selected"
		if !slices.Contains(app.Repositories, name) {
			refuse(http.StatusUnprocessableEntity, "There is at least one repository that does not exist or is not accessible to the parent installation.")
			return
		}
	}
	permissions := app.Permissions
	for name, level := range limits.Permissions {
		if granted := app.Permissions[name]; granted != level && granted != "write" {
			refuse(http.StatusUnprocessableEntity, "The permissions requested are not granted to this installation.")
			return
		}
		permissions = limits.Permissions
	}
	access := s.newAccess(&login{client: app.Issuer, subject: app.Installation, grant: "github_app", lifetime: time.Hour}, nil, now)
	writeJSON(w, http.StatusCreated, map[string]any{
		"token": access.value, "expires_at": access.expiry.UTC().Format(time.RFC3339), "permissions": permissions, "repository_selection": selection,
	})
}
