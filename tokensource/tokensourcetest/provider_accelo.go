package tokensourcetest

import (
	"net/http"
	"regexp"
	"time"
)

// AcceloClientID is the client where Config.Clients is empty: ids hold an @ there,
// which shows who encodes a Basic header and who does not.
const AcceloClientID = "34ad67fa2f@hq.example.com"

// AffinityLiveClientID is the older name of AcceloClientID.
const AffinityLiveClientID = AcceloClientID

// accelo is Accelo, which was AffinityLive, after https://api.accelo.com/docs/ and
// https://affinitylive.jira.com/wiki/pages/viewpage.action?pageId=42762277: HTTP Basic of id
// and secret as they are, or both in the query; a PIN for the users of installed
// applications; scopes joined by commas; a lifetime that may be asked for, and is
// answered as a text; a host for each deployment; a lock-out. Whether refresh
// tokens change is not published: the one sent comes back, unless Config.Rotation says
// otherwise. Config.RefuseLateRefresh takes "if you still have a valid token" at its word.
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
		scopes:        acceloScopes,
		lifetimeParam: "expires_in",
		refuse:        refuseAccelo,
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

// scopeSyntax is read(…) or write(…) of resources, joined by commas.
var scopeSyntax = regexp.MustCompile(`^(?:read|write)\([a-z_]+(?:,[a-z_]+)*\)(?:,(?:read|write)\([a-z_]+(?:,[a-z_]+)*\))*$`)

// acceloScopes keeps the scopes in one piece, since they hold commas themselves.
func acceloScopes(requested string) ([]string, *oauthError) {
	if requested == "" {
		requested = "read(all)"
	}
	if !scopeSyntax.MatchString(requested) {
		return nil, errorf(http.StatusBadRequest, "invalid_scope", "The requested scope does not conform to the scope syntax.")
	}
	return []string{requested}, nil
}

func refuseAccelo(_ *TokenRequest, e *oauthError) *oauthError {
	switch e.code {
	case "invalid_grant":
		return errorf(e.status, e.code, "Grant was not found (possibly expired).")
	case "unauthorized_client":
		return errorf(http.StatusUnauthorized, e.code, e.description)
	}
	return e
}

// refusalAccelo has one code for every bad token, which is not RFC 6750's.
func refusalAccelo(status int, _ string) any {
	code, message := "invalid_client", "Token provided is invalid"
	if status == http.StatusBadRequest {
		code, message = "invalid_request", "The request includes multiple credentials"
	}
	return map[string]any{"response": nil, "meta": map[string]any{
		"status": code, "message": message, "more_info": "https://api.accelo.com/docs/#status-codes",
	}}
}
