package tokensourcetest

import (
	"net/http"
	"regexp"
	"time"
)

// AcceloClientID is the default client if Config.Clients is empty. Accelo's ids contain an @, which
// shows whether a client encodes a Basic header.
const AcceloClientID = "34ad67fa2f@hq.example.com"

// AffinityLiveClientID is the older name of AcceloClientID.
const AffinityLiveClientID = AcceloClientID

// accelo emulates Accelo, which was AffinityLive, after https://api.accelo.com/docs/ and
// https://affinitylive.jira.com/wiki/pages/viewpage.action?pageId=42762277. It uses HTTP Basic with
// unencoded id and secret, or both in the query. Users of installed applications see a PIN. Scopes
// are joined by commas. A lifetime may be requested, and the response states it as a string. Each
// deployment has its own host. There is a lock-out. The pages do not say whether refresh tokens
// change: the response repeats the refresh token, unless Config.Rotation says otherwise.
// Config.RefuseLateRefresh applies "if you still have a valid token" literally.
func accelo(cfg *ProviderConfig) *emulation {
	cfg.TokenPath, cfg.APIPath = "/oauth2/v0/token", "/api/v0"
	cfg.client(AcceloClientID, []AuthMethod{AuthBasicRaw, AuthQuery}, FormatForm)
	if cfg.AccessTokenLifetime == 0 {
		cfg.AccessTokenLifetime = 30 * 24 * time.Hour
	}
	if cfg.Expiry == "" {
		cfg.Expiry = ExpiryString
	}
	if cfg.Rotation == (Rotation{}) {
		cfg.Rotation = Rotation{Repeat: true}
	}
	if cfg.Application == "" {
		cfg.Application = ApplicationInstalled
	}
	if cfg.Deployments == nil {
		cfg.Deployments = []string{"acme"}
	}
	cfg.TLSNames = append(cfg.TLSNames, "*"+deploymentDomain)
	grants := []string{grantAuthorizationCode, grantRefreshToken}
	if cfg.Application == ApplicationService {
		grants = []string{grantClientCredentials}
	}
	for i := range cfg.Clients {
		cfg.Clients[i].Grants = grants
	}
	return &emulation{
		authorizePath: "/oauth2/v0/authorize",
		revokePath:    "/oauth2/v0/revoke",
		apiPath:       "/public_api/v0",
		grants:        []string{grantAuthorizationCode, grantClientCredentials, grantRefreshToken},
		authorize: authorizeRules{
			responseType: "code", redirectOptional: true, post: true, pin: cfg.Application == ApplicationInstalled,
		},
		scopes:         acceloScopes,
		lifetimeParam:  "expires_in",
		translateError: acceloError,
		members: func(issued *issuance, m map[string]any) {
			delete(m, "scope") // no page lists it
			deployment := issued.access.login.deployment
			m["deployment"], m["deployment_name"] = deployment, deployment
			m["deployment_uri"] = "https://" + deployment + ".accelo.com"
			m["account_id"] = "1"
			m["account_details"] = map[string]any{"user_access": map[string]any{}, "locale": map[string]any{}}
		},
		refusal:     refusalAccelo,
		lockout:     lockout{rules: cfg.LockOut.withDefaults()},
		deployments: cfg.Deployments,
	}
}

// scopeSyntax matches read(…) or write(…) of resources, joined by commas.
var scopeSyntax = regexp.MustCompile(
	`^(?:read|write)\([a-z_]+(?:,[a-z_]+)*\)(?:,(?:read|write)\([a-z_]+(?:,[a-z_]+)*\))*$`)

// acceloScopes keeps the scopes together in one string, because they contain commas themselves.
func acceloScopes(requested string) ([]string, *oauthError) {
	if requested == "" {
		requested = "read(all)"
	}
	if !scopeSyntax.MatchString(requested) {
		return nil, errorf(http.StatusBadRequest, "invalid_scope",
			"The requested scope does not conform to the scope syntax.")
	}
	return []string{requested}, nil
}

func acceloError(_ *TokenRequest, e *oauthError) *oauthError {
	switch e.code {
	case "invalid_grant":
		return errorf(e.status, e.code, "Grant was not found (possibly expired).")
	case "unauthorized_client":
		return errorf(http.StatusUnauthorized, e.code, e.description)
	}
	return e
}

// refusalAccelo returns one code for every bad token. It differs from the codes of RFC 6750.
func refusalAccelo(status int, _ string) any {
	code, message := "invalid_client", "Token provided is invalid"
	if status == http.StatusBadRequest {
		code, message = "invalid_request", "The request includes multiple credentials"
	}
	return map[string]any{"response": nil, "meta": map[string]any{
		"status": code, "message": message, "more_info": "https://api.accelo.com/docs/#status-codes",
	}}
}
