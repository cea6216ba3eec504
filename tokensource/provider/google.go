package provider

// The pages, as they stood when this was written:
//
//	web        https://developers.google.com/identity/protocols/oauth2/web-server
//	overview   https://developers.google.com/identity/protocols/oauth2
//	account    https://developers.google.com/identity/protocols/oauth2/service-account
//	device     https://developers.google.com/identity/protocols/oauth2/limited-input-device
//	metadata   https://accounts.google.com/.well-known/openid-configuration
//	drive      https://developers.google.com/workspace/drive/api/reference/rest/v3
//	calendar   https://developers.google.com/workspace/calendar/api/v3/reference
//	gmail      https://developers.google.com/workspace/gmail/api/reference/rest
//	docs       https://developers.google.com/workspace/docs/api/reference/rest
//	sheets     https://developers.google.com/workspace/sheets/api/reference/rest
//	slides     https://developers.google.com/workspace/slides/api/reference/rest
//	tasks      https://developers.google.com/workspace/tasks/reference/rest
//	people     https://developers.google.com/people/api/rest
func init() {
	register(Preset{
		Name:  "google",
		Title: "Google Workspace",
		Summary: "Drive, Calendar, Gmail, Docs, Sheets, Slides, Tasks and contacts at Google, for a person who logs in or " +
			"for a service account.",
		Docs: []string{
			"https://developers.google.com/identity/protocols/oauth2/web-server",
			"https://developers.google.com/identity/protocols/oauth2",
			"https://developers.google.com/identity/protocols/oauth2/service-account",
			"https://developers.google.com/identity/protocols/oauth2/limited-input-device",
			"https://accounts.google.com/.well-known/openid-configuration",
			"https://developers.google.com/workspace/drive/api/reference/rest/v3",
			"https://developers.google.com/workspace/calendar/api/v3/reference",
			"https://developers.google.com/workspace/gmail/api/reference/rest",
			"https://developers.google.com/workspace/docs/api/reference/rest",
			"https://developers.google.com/workspace/sheets/api/reference/rest",
			"https://developers.google.com/workspace/slides/api/reference/rest",
			"https://developers.google.com/workspace/tasks/reference/rest",
			"https://developers.google.com/people/api/rest",
		},
		Register: "https://console.cloud.google.com/apis/credentials",

		Grants:       []string{GrantAuthorizationCode, GrantRefreshToken},
		AuthorizeURL: "https://accounts.google.com/o/oauth2/v2/auth", // web, metadata
		DeviceURL:    "https://oauth2.googleapis.com/device/code",    // device, metadata
		TokenURL:     "https://oauth2.googleapis.com/token",          // web, account, metadata
		RevokeURL:    "https://oauth2.googleapis.com/revoke",         // web, metadata

		AuthorizeParams: []Param{
			{"access_type", "offline"}, // web: needed for a refresh token
			// Without it, only a user's first login brings a refresh token (golang.org/x/oauth2,
			// AccessTypeOffline), so a person who connects again would get none.
			{"prompt", "consent"},
		},
		ClientAuth:             AuthPost,                // web, metadata
		ClientAuthAlternatives: []ClientAuth{AuthBasic}, // metadata
		BodyFormat:             BodyForm,

		PKCE: PKCES256, // metadata: code_challenge_methods_supported

		Inject: Injection{PlaceHeader, "Authorization", "Bearer"},
		// The "service endpoint" of each API's page. Not all of *.googleapis.com: a token for one
		// API of Google has no business at the others, and script.googleapis.com runs the code of
		// others.
		Destinations: []string{
			"https://www.googleapis.com", // drive, calendar
			"https://gmail.googleapis.com",
			"https://docs.googleapis.com",
			"https://sheets.googleapis.com",
			"https://slides.googleapis.com",
			"https://tasks.googleapis.com",
			"https://people.googleapis.com",
		},

		Rotates: RotationNo, // overview: "continue to use them as long as they remain valid"
		Notes: []string{
			"Name scopes: Google grants nothing without them.",
			"For another API of Google, set destinations to the service endpoint that its reference names.",
			"For a service account, use grant jwt_bearer, which needs no client_id and no client_secret. For the APIs of " +
				"Google Cloud, use grant google, a package of its own.",
			"With grant device_code, Google allows only the few scopes that its page about devices lists.",
			// overview
			"If the consent screen of the project is for external users and in testing, refresh tokens end after 7 days.",
		},
	})
}
