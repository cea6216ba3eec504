package provider

import "time"

// The pages, as they stood when this was written:
//
//	wiki   https://affinitylive.jira.com/wiki/pages/viewpage.action?pageId=42762277
//	       ("Using OAuth 2.0 for Installed Applications", of AffinityLive's days)
//	docs   https://api.accelo.com/docs/ ("Authentication")
//	codes  https://api.accelo.com/docs/#status-codes
func init() {
	register(Preset{
		Name:    "accelo",
		Aliases: []string{"affinitylive"}, // the company's name until it was renamed
		Title:   "Accelo",
		Summary: "Client work in Accelo, which was AffinityLive: a person types back a PIN, or a service application gets " +
			"tokens for itself.",
		Docs: []string{
			"https://api.accelo.com/docs/",
			"https://affinitylive.jira.com/wiki/pages/viewpage.action?pageId=42762277",
		},
		// Register: the API control panel of the user's deployment, which has no fixed address.

		// docs: installed and web applications have the code grant and a refresh token. Service
		// applications have client_credentials and no refresh token.
		Grants: []string{GrantAuthorizationCode, GrantClientCredentials, GrantRefreshToken},
		// docs, "OAuth2.0 URI". The host is the host of the user's deployment.
		AuthorizeURL: "https://{deployment}.api.accelo.com/oauth2/v0/authorize",
		TokenURL:     "https://{deployment}.api.accelo.com/oauth2/v0/token",
		RevokeURL:    "https://{deployment}.api.accelo.com/oauth2/v0/revoke",
		// wiki and docs require HTTP Basic. The header in docs decodes to id:secret unencoded, with
		// an @ that RFC 6749 section 2.3.1 would have encoded as %40.
		ClientAuth:             AuthBasicRaw,
		ClientAuthAlternatives: []ClientAuth{AuthQuery}, // wiki: "as a last option"
		BodyFormat:             BodyForm,                // docs: Content-Type of the samples

		// docs: optional, and read(all) by default. It is left out, so that nothing depends on how
		// parentheses are encoded.
		KnownScopes: []Scope{
			{"read(all)", "read what the user may read; the default"},
			{"write(all)", "read and write what the user may"},
			{"read(companies,contacts)", "read the resources named, any of the API's"},
			{"write(companies,contacts)", "read and write the resources named"},
		},
		ScopeSeparator: ",", // wiki: "concatenated and delimited by a comma"
		// wiki: the provider shows a PIN to the user of an installed application. The user of a web
		// application overrides this with the registered redirect URL.
		RedirectURL: RedirectManual,
		PKCE:        PKCES256, // the pages do not mention it, and an unknown parameter is ignored

		// wiki: the header is preferred, and the query works too. docs: both at once is an error.
		Inject:             Injection{PlaceHeader, "Authorization", "Bearer"},
		InjectAlternatives: []Injection{{PlaceQuery, "_bearer_token", ""}},
		Destinations:       []string{"https://{deployment}.api.accelo.com"}, // docs: /api/v0/…

		Variables: []Variable{{
			Name:  "deployment",
			Title: "Deployment",
			Help:  "The first part of the address at which you use Accelo: planet-express for planet-express.accelo.com.",
			// The characters are those that integrations in the field allow. A label of a host name
			// has at most 63 of them (RFC 1035 section 2.3.4).
			Pattern:    "^[a-z0-9_-]{1,63}$",
			Allowed:    "lower-case letters, digits, - and _",
			Example:    "planet-express", // from docs
			PerAccount: true,             // docs: one client serves many deployments
		}},

		DefaultLifetime: 30 * 24 * time.Hour, // docs: "defaults to 30 days"
		// docs list it for the exchange and for client_credentials, not for the refresh.
		LifetimeParam: TokenParam{Name: "expires_in", Requests: []string{GrantAuthorizationCode, GrantClientCredentials}},
		// docs: "if you still have a valid token, you may request a new token using the refresh
		// token".
		RefreshBeforeExpiry: true,
		// docs, "Lockout": 100 failures in 5 minutes; "any attempt to authenticate during this
		// 'lockout' period will restart the 5 minute timer".
		LockOut: LockOut{Code: "too_many_failed_logins", Member: "status", MinWait: 5 * time.Minute, Restarts: true},

		Notes: []string{
			"Register an application in your deployment's API control panel. Its type decides the grant: installed (a PIN, " +
				"the default here), web (set redirect_url), service (grant client_credentials).",
			"Scopes are passed on as they are, commas inside included: read(all) write(companies,contacts).",
			"Tokens live 30 days unless you ask for another lifetime with: token_param expires_in <seconds>.",
			"If Accelo cannot be reached until a token has ended, a person may have to connect again.",
			"After 100 failures in 5 minutes Accelo locks you out, and each further attempt begins the 5 minutes anew.",
			"A deployment that still answers at affinitylive.com needs its URLs and destinations set by hand.",
		},
		Unknown: []string{
			"Whether a refresh ends the refresh token that was sent.",
			"Whether a refresh works after the access token's end.",
			"How long a PIN is good.",
			"The HTTP status of the lock-out.",
			"Whether percent-encoded parentheses are accepted in a scope.",
		},
	})
}
