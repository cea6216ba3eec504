package tokensourcetest

import (
	"cmp"
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

// StartSalesforce starts a server that takes the assertions of signer as Salesforce does. Its
// answers have no expires_in and no refresh token, and name an instance.
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
			algs:   []jose.SignatureAlgorithm{jose.RS256}, // "Construct a JWT header with this format: {"alg":"RS256"}"
			check: func(s *Server, read grantClaims, now time.Time) (code, description string) {
				switch {
				case read.Issuer != signer.Issuer: // "iss must contain the OAuth client_id"
					return "invalid_client_id", "client identifier invalid"
				// "aud": the authorization server, or the domain of the org
				case !read.isFor("https://login.salesforce.com", s.URL):
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

// StartGoogle starts a server that takes the assertions of a service account as Google does: with
// the scopes as a claim. A Subject is the user for whom the account acts.
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
			// "Service accounts rely on the RSA SHA-256 algorithm and the JWT token format."
			algs: []jose.SignatureAlgorithm{jose.RS256},
			check: func(s *Server, read grantClaims, now time.Time) (code, description string) {
				_, delegated := read.has["sub"]
				switch {
				case read.Issuer != signer.Issuer: // iss: "The email address of the service account."
					return "invalid_grant", "Invalid grant: account not found"
				// aud: "this value is always https://oauth2.googleapis.com/token"
				case !read.isFor("https://oauth2.googleapis.com/token", s.TokenURL()):
					return "invalid_grant", "Invalid JWT: Failed audience check."
				case read.Issued == 0 || read.Issued > now.Unix(): // iat: "The time the assertion was issued"
					return "invalid_grant", "Invalid JWT: Token must be a short-lived token and in a reasonable timeframe."
				case read.End <= now.Unix() || read.End-read.Issued > 3600: // exp: "a maximum of 1 hour after the issued time"
					return "invalid_grant",
						"Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
				case read.Scope == "": // scope: "A space-delimited list of the permissions that the application requests."
					return "invalid_scope", "Invalid OAuth scope or ID token audience provided."
				// sub: "The email address of the user for which the application is requesting delegated access."
				case delegated && (signer.Subject == "" || read.Subject != signer.Subject):
					return "unauthorized_client", "Client is unauthorized to retrieve access tokens using this method, or client " +
						"not authorized for any of the scopes requested."
				}
				return "", ""
			},
		},
	})
}

// docuSignUser is the form of a user id.
var docuSignUser = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// StartDocuSign starts a server that takes the assertions of an integration key as DocuSign does.
// Subject is the id of the user whom the application impersonates.
//
//	https://developers.docusign.com/platform/auth/reference (the hosts), .../obtain-access-token (the path)
//	https://support.docusign.com/s/articles/DocuSign-Developer-FAQs-General-Administration-and-Authentication (what each error means)
//	https://github.com/docusign/docusign-esign-node-client/blob/0d2d64df4b688eaf52ccc95d848f004304ead1cf/src/ApiClient.js (the claims, and RS256)
//
// Fields of cfg may be set that the pages leave open, such as the clock.
func StartDocuSign(t T, signer Signer, cfg Config) *Server {
	t.Helper()
	cfg.TokenPath, cfg.APIPath, cfg.APIQueryParameter = "/oauth/token", "/restapi/v2.1", Absent
	return startSigned(t, cfg, &emulation{
		assertions: &assertionRules{
			signer: signer,
			algs:   []jose.SignatureAlgorithm{jose.RS256}, // ApiClient.js: JWT_SIGNING_ALGO = "RS256"
			// FAQ: "There is an issue with the private key used to sign the assertion"
			unknown: "no_valid_keys_or_signatures",
			check: func(_ *Server, read grantClaims, now time.Time) (code, description string) {
				switch {
				case !read.isFor("account.docusign.com", "account-d.docusign.com"), read.End == 0, read.Begin > now.Unix():
					// FAQ: "confirm the audience value is exactly account.docusign.com or
					// account-d.docusign.com with no https:// prefix or trailing slash (/)", "The
					// assertion is missing an exp", "nbf ... must be a time in the past"
					return "invalid_grant", "no_valid_keys_or_signatures"
				case read.End <= now.Unix(): // FAQ: "The exp (Expiration) parameter must be a time in the future."
					return "invalid_grant", "expired_grant"
				case read.Issuer != signer.Issuer: // FAQ: "The integration key in the iss (issuer) parameter is unavailable"
					return "invalid_grant", "issuer_not_found"
				case !docuSignUser.MatchString(read.Subject): // FAQ: "a valid GUID user ID (not an email address)"
					return "invalid_grant", "invalid_subject"
				case read.Subject != signer.Subject:
					return "invalid_grant", "user_not_found"
				case !slices.Contains(strings.Fields(read.Scope), "signature") ||
					!slices.Contains(strings.Fields(read.Scope), "impersonation"):
					// FAQ: "The signature impersonation scope is the minimum required for JWT
					// authentication"
					return "consent_required", ""
				}
				return "", ""
			},
		},
	})
}

// StartBox starts a server that takes the assertions of a Box application. Subject is the id of the
// enterprise. The client authenticates as well: it has the id and the secret of cfg.Clients, or the
// default ones, and Issuer is its id.
//
//	https://developer.box.com/guides/authentication/jwt/without-sdk, whose source is
//	https://github.com/box/developer.box.com/blob/18899f901ec06494e4b73129505c81c0180d9fc0/content/guides/authentication/jwt/without-sdk.md
//	https://support.box.com/hc/en-us/articles/360043691734 (the error about sub; the others have its form)
//
// Fields of cfg may be set that the pages leave open, such as the clock.
func StartBox(t T, signer Signer, cfg Config) *Server {
	t.Helper()
	cfg.TokenPath, cfg.APIPath, cfg.APIQueryParameter = "/oauth2/token", "/2.0", Absent
	used := make(map[string]bool) // under the lock of the server
	return startSigned(t, cfg, &emulation{
		assertions: &assertionRules{
			signer: signer,
			// "This can be one of RS256, RS384, or RS512."
			algs:   []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512},
			client: true, // the examples send client_id and client_secret in the body
			check: func(s *Server, read grantClaims, now time.Time) (code, description string) {
				switch {
				case read.Issuer != signer.Issuer: // "The Box Application's OAuth client ID"
					return "invalid_grant", "Please check the 'iss' claim."
				case read.BoxSubType != "enterprise" && read.BoxSubType != "user": // "`enterprise` or `user`"
					return "invalid_grant", "Please check the 'box_sub_type' claim."
				// "The Box Enterprise ID if this app is to act on behalf of the Service Account"
				case read.Subject != signer.Subject:
					return "invalid_grant", "Please check the 'sub' claim. The 'sub' specified is invalid."
				case !read.isFor("https://api.box.com/oauth2/token", s.TokenURL()): // "Always `https://api.box.com/oauth2/token`"
					return "invalid_grant", "Please check the 'aud' claim."
				// "A unique string of at least 16 characters and at most 128 characters."
				case len(read.ID) < 16 || len(read.ID) > 128 || used[read.ID]:
					return "invalid_grant", "Please check the 'jti' claim."
				case read.Issued > now.Unix() || read.Begin > now.Unix(): // "The token cannot be used before this time."
					return "invalid_grant", "Please check the 'iat' claim."
				case read.End <= now.Unix() || read.End > now.Unix()+60 || read.Issued != 0 && read.End > read.Issued+60:
					// "Can be set to a maximum value of 60 seconds beyond the issue time."
					return "invalid_grant", "Please check the 'exp' claim."
				}
				used[read.ID] = true
				return "", ""
			},
		},
	})
}

// StartZoom starts a server that gives tokens to a Server-to-Server OAuth app of Zoom. Its client
// is that of cfg.Clients, or the default one.
//
//	https://developers.zoom.us/docs/internal-apps/s2s-oauth/
//	https://developers.zoom.us/docs/integrations/oauth-error-messages/
//
// Fields of cfg may be set that the pages leave open, such as the clock.
func StartZoom(t T, account string, cfg Config) *Server {
	t.Helper()
	// no refresh token: "There is no refresh token."
	cfg.TokenPath, cfg.APIPath, cfg.APIQueryParameter = "/oauth/token", "/v2", Absent
	// "The token's time to live is one hour (3600 seconds)."
	cfg.AccessTokenLifetime = cmp.Or(cfg.AccessTokenLifetime, time.Hour)
	return startSigned(t, cfg, &emulation{
		grants:              []string{grantClientCredentials},
		clientCredentialsAs: "account_credentials", // "Use the `account_credentials` grant type to generate an access token."
		checkToken: func(rec *TokenRequest, in input) *oauthError {
			switch {
			// "Encode the client ID and client secret in base64 format (with a colon between them"
			case in.presented.method != AuthBasic:
				return errorf(http.StatusBadRequest, "invalid_client", "Invalid client.")
			case rec.Params.Get("grant_type") == "account_credentials" && rec.Params.Get("account_id") != account:
				return errorf(http.StatusBadRequest, "invalid_request", "Bad Request")
			}
			return nil
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

// StartGitHub starts a server with the part of GitHub's API that makes tokens of an installation.
// They live for an hour.
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
		writeJSON(w, status, map[string]any{"message": message, "documentation_url": "https://docs.github.com/rest",
			"status": fmt.Sprint(status)})
	}
	app, now := s.emulation.app, s.cfg.Now()
	// "must be signed using the RS256 algorithm"
	rules := &assertionRules{signer: app.Signer, algs: []jose.SignatureAlgorithm{jose.RS256}}
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
		refuse(http.StatusForbidden, "Request forbidden by administrative rules. Please make sure your request has a "+
			"User-Agent header.")
		return
	case !bearer || !verified:
		refuse(http.StatusUnauthorized, "A JSON web token could not be decoded")
		return
	case read.Issuer != app.Issuer: // iss: "The client ID or application ID of your GitHub App."
		refuse(http.StatusUnauthorized, "Integration must generate a public key")
		return
	// exp: "no more than 10 minutes into the future"
	case read.End <= now.Unix() || read.End > now.Add(10*time.Minute).Unix():
		refuse(http.StatusUnauthorized, "'Expiration time' claim ('exp') is too far in the future")
		return
	case read.Issued == 0 || read.Issued > now.Unix(): // iat: "The time that the JWT was created."
		refuse(http.StatusUnauthorized, "'Issued at' claim ('iat') must be an Integer representing the time that the "+
			"assertion was issued")
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
			refuse(http.StatusUnprocessableEntity, "There is at least one repository that does not exist or is not "+
				"accessible to the parent installation.")
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
	access := s.newAccess(&login{client: app.Issuer, subject: app.Installation, grant: "github_app", lifetime: time.Hour},
		nil, now)
	writeJSON(w, http.StatusCreated, map[string]any{
		"token": access.value, "expires_at": access.expiry.UTC().Format(time.RFC3339), "permissions": permissions,
		"repository_selection": selection,
	})
}
