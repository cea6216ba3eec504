package tokensource_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

// frozen is the time of a clock that stands still, in the year 2030.
var frozen = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// realAnswer is the response of one provider, and its meaning.
type realAnswer struct {
	name string
	// at is the public page that shows the response. Names and shapes come from the page; the
	// values are invented.
	at       string
	tokenURL string
	grant    string // cc, code, or refresh
	edit     func(*tokensource.Config)
	form     bool // the body is a form, not JSON
	body     string

	token   string
	life    time.Duration // forever: no known end
	scope   string
	refresh string // the record's refresh token afterwards
}

const forever = time.Duration(-1)

func endless(cfg *tokensource.Config) { cfg.DefaultLifetime = tokensource.NeverExpires }

func tokenTypes(words ...string) func(*tokensource.Config) {
	return func(cfg *tokensource.Config) { cfg.TokenTypes = words }
}

func asking(scopes ...string) func(*tokensource.Config) {
	return func(cfg *tokensource.Config) { cfg.Scopes = scopes }
}

var realAnswers = []realAnswer{
	{
		name:     "Salesforce",
		at:       "https://developer.salesforce.com/docs/atlas.en-us.246.0.chatterapi.meta/chatterapi/quickstart_connecting.htm",
		tokenURL: "https://acme.my.salesforce.com/services/oauth2/token", grant: "cc",
		body:  `{"access_token":"00D000000000001!AQ0AQH.made_up.0","signature":"c2ln","scope":"api","instance_url":"https://acme.my.salesforce.com","id":"https://login.salesforce.com/id/00D/005","token_type":"Bearer","issued_at":"1893553445000"}`,
		token: "00D000000000001!AQ0AQH.made_up.0", life: time.Hour, scope: "api",
	},
	{
		name:     "Salesforce, refresh",
		at:       "https://anthonyreilly.github.io/NetCoreForce/api/NetCoreForce.Client.Models.AccessTokenResponse.html",
		tokenURL: "https://login.salesforce.com/services/oauth2/token", grant: "refresh",
		body:  `{"access_token":"00D000000000002!AR8AQ","id_token":"e30.e30.e30","instance_url":"https://acme.my.salesforce.com","id":"https://login.salesforce.com/id/00D/005","issued_at":"1893553445000","signature":"c2ln","scope":"id full refresh_token","token_type":"Bearer"}`,
		token: "00D000000000002!AR8AQ", life: time.Hour, scope: "id full refresh_token", refresh: "seed",
	},
	{
		name: "Facebook, app", at: "https://github.com/facebookarchive/php-graph-sdk/issues/490",
		tokenURL: "https://graph.facebook.com/oauth/access_token", grant: "cc", edit: endless,
		body:  `{"access_token":"100000000000001|made-up_app","token_type":"bearer"}`,
		token: "100000000000001|made-up_app", life: forever,
	},
	{
		name:     "Facebook, app, as a form",
		at:       "https://developers.facebook.com/docs/opengraph/howtos/publishing-with-app-token/",
		tokenURL: "https://graph.facebook.com/oauth/access_token", grant: "cc", edit: endless, form: true,
		body:  `access_token=100000000000001|made-up_app`,
		token: "100000000000001|made-up_app", life: forever,
	},
	{
		name: "Mailchimp", at: "https://github.com/requests/requests-oauthlib/issues/509",
		tokenURL: "https://login.mailchimp.com/oauth2/token", grant: "code", edit: endless,
		body:  `{"access_token":"0123456789abcdef0123456789abcdef","expires_in":0,"scope":null}`,
		token: "0123456789abcdef0123456789abcdef", life: forever,
	},
	{
		name: "VK", at: "https://github.com/spring-attic/spring-security-oauth/issues/1172",
		tokenURL: "https://oauth.vk.com/access_token", grant: "code", edit: endless,
		body:  `{"access_token":"vk-made-up","expires_in":0,"user_id":100001}`,
		token: "vk-made-up", life: forever,
	},
	{
		name: "Slack, bot", at: "https://docs.slack.dev/reference/methods/oauth.v2.access.md",
		tokenURL: "https://slack.com/api/oauth.v2.access", grant: "code", edit: func(cfg *tokensource.Config) {
			asking("commands", "chat:write")(cfg)
			endless(cfg)
		},
		body:  `{"ok":true,"access_token":"xoxb-0-0-madeup","token_type":"bot","scope":"commands,chat:write","bot_user_id":"U0","app_id":"A0","team":{"name":"T","id":"T0"},"enterprise":null,"authed_user":{"id":"U1","scope":"chat:write","access_token":"xoxp-1","token_type":"user"}}`,
		token: "xoxb-0-0-madeup", life: forever, scope: "commands,chat:write",
	},
	{
		name: "Slack, user, renewed", at: "https://github.com/UsefulSoftwareCo/executor/pull/2050",
		tokenURL: "https://slack.com/api/oauth.v2.access", grant: "refresh",
		body:  `{"ok":true,"access_token":"xoxe.xoxp-1-madeup","expires_in":43200,"refresh_token":"xoxe-1-next","token_type":"user","scope":"chat:write"}`,
		token: "xoxe.xoxp-1-madeup", life: 12 * time.Hour, scope: "chat:write", refresh: "xoxe-1-next",
	},
	{
		name: "Apigee", at: "https://github.com/DuendeArchive/Support/issues/1413",
		tokenURL: "https://api.example.com/oauth/client_credential/accesstoken", grant: "cc",
		body:  `{"issued_at":"1893553445000","application_name":"app","scope":"","status":"approved","api_product_list":"[p]","expires_in":"3599","token_type":"BearerToken","organization_name":"org","client_id":"orders-client","access_token":"apigeemadeup","refresh_token_expires_in":"0","refresh_count":"0"}`,
		token: "apigeemadeup", life: 3599 * time.Second,
	},
	{
		name:     "Google, by discovery",
		at:       "https://github.com/iamgbsmith/til/blob/master/security/get-openid-connect-provider-configuration.md",
		tokenURL: "https://oauth2.googleapis.com/token", grant: "refresh", edit: func(cfg *tokensource.Config) {
			cfg.TokenURL, cfg.Issuer = "", "https://accounts.google.com"
		},
		body:  `{"access_token":"ya29.made-up","expires_in":3599,"scope":"https://www.googleapis.com/auth/drive.readonly","token_type":"Bearer"}`,
		token: "ya29.made-up", life: 3599 * time.Second, scope: "https://www.googleapis.com/auth/drive.readonly",
		refresh: "seed",
	},
	{
		name:     "GitHub, as a form",
		at:       "https://github.com/github/docs/blob/029b09ac7206a46ede804fd54fa6273376490c3c/content/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps.md",
		tokenURL: "https://github.com/login/oauth/access_token", grant: "code", form: true,
		edit:  func(cfg *tokensource.Config) { asking("repo", "gist")(cfg); endless(cfg) },
		body:  `access_token=gho_madeup&scope=repo%2Cgist&token_type=bearer`,
		token: "gho_madeup", life: forever, scope: "repo,gist",
	},
	{
		name:     "GitHub, as JSON",
		at:       "https://github.com/github/docs/blob/029b09ac7206a46ede804fd54fa6273376490c3c/content/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps.md",
		tokenURL: "https://github.com/login/oauth/access_token", grant: "code", edit: asking("gist"),
		body:  `{"access_token":"gho_madeup","scope":"repo,gist","token_type":"bearer"}`,
		token: "gho_madeup", life: time.Hour, scope: "repo,gist",
	},
	{
		name:     "GitLab",
		at:       "https://github.com/gitlabhq/gitlabhq/blob/04b8ef1303253eb7059349dfa73dfe25df4ac1fb/doc/api/oauth2.md",
		tokenURL: "https://gitlab.com/oauth/token", grant: "refresh",
		body: fmt.Sprintf(
			`{"access_token":"made0up","token_type":"bearer","expires_in":7200,"refresh_token":"next","created_at":%d}`,
			frozen.Unix()),
		token: "made0up", life: 2 * time.Hour, refresh: "next",
	},
	{
		name:     "Microsoft Entra, version 1",
		at:       "https://github.com/MicrosoftDocs/azure-docs/blob/2348be450b91b501d74ad4e80bea41979d49100e/articles/active-directory/azuread-dev/v1-oauth2-client-creds-grant-flow.md",
		tokenURL: "https://login.microsoftonline.com/contoso/oauth2/token", grant: "cc",
		body: fmt.Sprintf(
			`{"access_token":"eyJ0.eyJ9.made-up","token_type":"Bearer","expires_in":"3599","expires_on":"%d","not_before":"%d","resource":"https://service.contoso.com/"}`, frozen.Unix()+3599, frozen.Unix()-300),
		token: "eyJ0.eyJ9.made-up", life: 3599 * time.Second,
	},
	{
		name: "Microsoft Entra, version 2", at: "https://github.com/MindFlavor/AzureSDKForRust/issues/305",
		tokenURL: "https://login.microsoftonline.com/contoso/oauth2/v2.0/token", grant: "cc",
		body:  `{"token_type":"Bearer","expires_in":3599,"ext_expires_in":7199,"access_token":"eyJ0.eyJ9.made-up"}`,
		token: "eyJ0.eyJ9.made-up", life: 3599 * time.Second,
	},
	{
		name: "PayPal", at: "https://docs.rs/paypal-rs/0.2.0-alpha.4/paypal_rs/struct.AccessToken.html",
		tokenURL: "https://api-m.paypal.com/v1/oauth2/token", grant: "cc",
		body:  `{"scope":"https://uri.paypal.com/services/invoicing openid","access_token":"A21AAmade-up","token_type":"Bearer","app_id":"APP-0","expires_in":31668,"nonce":"2030-01-02T03:04:05Zmadeup"}`,
		token: "A21AAmade-up", life: 31668 * time.Second, scope: "https://uri.paypal.com/services/invoicing openid",
	},
	{
		name: "Stripe Connect", at: "https://stripe.com/docs/connect/oauth-reference",
		tokenURL: "https://connect.stripe.com/oauth/token", grant: "code", edit: endless,
		body:  `{"access_token":"sk_live_madeup","livemode":true,"refresh_token":"rt_madeup","token_type":"bearer","stripe_publishable_key":"pk_live_madeup","stripe_user_id":"acct_0","scope":"read_write"}`,
		token: "sk_live_madeup", life: forever, scope: "read_write", refresh: "rt_madeup",
	},
	{
		name: "Shopify", at: "https://www.github.com/Shopify/omniauth-shopify-oauth2/wiki/Shopify-OAuth",
		tokenURL: "https://acme.myshopify.com/admin/oauth/access_token", grant: "code", edit: func(cfg *tokensource.Config) {
			asking("write_orders", "read_customers")(cfg)
			endless(cfg)
		},
		body:  `{"access_token":"shpat_madeup","scope":"write_orders,read_customers"}`,
		token: "shpat_madeup", life: forever, scope: "write_orders,read_customers",
	},
	{
		name: "Xero", at: "https://github.com/aspnet-contrib/AspNet.Security.OAuth.Providers/issues/547",
		tokenURL: "https://identity.xero.com/connect/token", grant: "code",
		body:  `{"id_token":"e30.e30.e30","access_token":"xero-made-up","expires_in":1800,"token_type":"Bearer","refresh_token":"next","scope":"openid email"}`,
		token: "xero-made-up", life: 30 * time.Minute, scope: "openid email", refresh: "next",
	},
	{
		name: "QuickBooks", at: "https://app.unpkg.com/quickbooks-api@0.11.1/files/dist/types/interfaces/token-response.d.ts",
		tokenURL: "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer", grant: "refresh",
		body:  `{"token_type":"bearer","expires_in":3600,"refresh_token":"RT1-next","x_refresh_token_expires_in":8726400,"access_token":"made-up"}`,
		token: "made-up", life: time.Hour, refresh: "RT1-next",
	},
	{
		name: "Zoho, renewed", at: "https://www.zoho.com/assist/api/refresh-access-token.html",
		tokenURL: "https://accounts.zoho.eu/oauth/v2/token", grant: "refresh",
		body:  `{"access_token":"1000.made.up","expires_in":3600,"api_domain":"https://www.zohoapis.eu","token_type":"Bearer"}`,
		token: "1000.made.up", life: time.Hour, refresh: "seed",
	},
	{
		name: "Strava", at: "https://github.com/dreampowder/strava_flutter/issues/49",
		tokenURL: "https://www.strava.com/oauth/token", grant: "code",
		body: fmt.Sprintf(
			`{"token_type":"Bearer","expires_at":%d,"expires_in":21600,"refresh_token":"next","access_token":"a4made","athlete":{"id":1}}`, frozen.Unix()+21600),
		token: "a4made", life: 6 * time.Hour, refresh: "next",
	},
	{
		name: "Twitch", at: "https://github.com/twitchdev/issues/issues/178",
		tokenURL: "https://id.twitch.tv/oauth2/token", grant: "refresh", edit: asking("chat:read", "user_read"),
		body:  `{"access_token":"madeup","expires_in":14293,"refresh_token":"next","scope":["chat:read","user_read"],"token_type":"bearer"}`,
		token: "madeup", life: 14293 * time.Second, scope: "chat:read user_read", refresh: "next",
	},
	{
		name: "Twitch, without a type", at: "https://github.com/justintv/Twitch-API/issues/691",
		tokenURL: "https://api.twitch.tv/kraken/oauth2/token", grant: "code",
		body:  `{"access_token":"madeup","refresh_token":"next","scope":["user_read"],"expires_in":13293}`,
		token: "madeup", life: 13293 * time.Second, scope: "user_read", refresh: "next",
	},
	{
		name:     "Discord",
		at:       "https://github.com/discord/discord-api-docs/blob/00995c3ea89ff9b40879f1c5b029e04a58666e0e/docs/topics/OAuth2.md",
		tokenURL: "https://discord.com/api/oauth2/token", grant: "code",
		body:  `{"token_type":"Bearer","guild":{"name":"G","roles":[{"id":"0","color":0}],"banner":null},"access_token":"madeup","scope":"bot","expires_in":604800,"refresh_token":"next"}`,
		token: "madeup", life: 7 * 24 * time.Hour, scope: "bot", refresh: "next",
	},
	{
		name: "LinkedIn", at: "https://learn.microsoft.com/en-us/linkedin/shared/authentication/programmatic-refresh-tokens",
		tokenURL: "https://www.linkedin.com/oauth/v2/accessToken", grant: "refresh",
		body:  `{"access_token":"AQXmade-up","expires_in":5184000,"refresh_token":"AQWnext","refresh_token_expires_in":525600}`,
		token: "AQXmade-up", life: 60 * 24 * time.Hour, refresh: "AQWnext",
	},
	{
		name: "Box, for itself", at: "https://developer.box.com/guides/authentication/tokens/access-tokens/",
		tokenURL: "https://api.box.com/oauth2/token", grant: "cc",
		body:  `{"access_token":"madeup","expires_in":4123,"restricted_to":[],"issued_token_type":"bearer"}`,
		token: "madeup", life: 4123 * time.Second,
	},
	{
		name: "Spotify", at: "https://metacpan.org/pod/Net::Async::Spotify::Token",
		tokenURL: "https://accounts.spotify.com/api/token", grant: "code",
		body:  `{"access_token":"NgCmade-up","token_type":"Bearer","scope":"user-read-private user-read-email","expires_in":3600,"refresh_token":"NgAnext"}`,
		token: "NgCmade-up", life: time.Hour, scope: "user-read-private user-read-email", refresh: "NgAnext",
	},
	{
		name: "Square", at: "https://developer.squareup.com/reference/square/objects/ObtainTokenResponse",
		tokenURL: "https://connect.squareup.com/oauth2/token", grant: "code",
		body: fmt.Sprintf(
			`{"access_token":"EAAAmadeup","token_type":"bearer","expires_at":%q,"merchant_id":"M0","refresh_token":"EQAAnext","short_lived":false}`, frozen.Add(30*24*time.Hour).Format(time.RFC3339)),
		token: "EAAAmadeup", life: 30 * 24 * time.Hour, refresh: "EQAAnext",
	},
	{
		name: "eBay", at: "https://github.com/eBay/ebay-oauth-csharp-client/issues/12",
		tokenURL: "https://api.ebay.com/identity/v1/oauth2/token", grant: "code", edit: tokenTypes("user access token"),
		body:  `{"access_token":"v^1.1#i^1#p^3#r^0#made/up==","expires_in":7200,"refresh_token":"v^1.1#i^1#next","refresh_token_expires_in":47304000,"token_type":"User Access Token"}`,
		token: "v^1.1#i^1#p^3#r^0#made/up==", life: 2 * time.Hour, refresh: "v^1.1#i^1#next",
	},
	{
		name:     "ServiceNow",
		at:       "https://www.servicenow.com/docs/r/de-DE/xanadu/platform-security/authentication/r_OAuthAPIResponseParameters.html",
		tokenURL: "https://acme.service-now.com/oauth_token.do", grant: "refresh",
		body:  `{"access_token":"madeup","refresh_token":"seed","scope":"useraccount","token_type":"Bearer","expires_in":1799,"format":"json"}`,
		token: "madeup", life: 1799 * time.Second, scope: "useraccount", refresh: "seed",
	},
}

// Responses of real providers, each from a public page, are understood: the token, its lifetime,
// its scopes and its refresh token.
func TestAnswersOfRealProviders(t *testing.T) {
	if len(realAnswers) != 31 {
		t.Fatalf("there are %d answers, want 31: change the number with the table", len(realAnswers))
	}
	for _, c := range realAnswers {
		t.Run(c.name, func(t *testing.T) {
			if page, err := url.Parse(c.at); err != nil || page.Scheme != "https" || page.Host == "" {
				t.Errorf("%q is no address of a public page", c.at)
			}
			c.check(t)
		})
	}
}

func (c realAnswer) check(t *testing.T) {
	var ev events
	storage := new(tokensource.MemoryStorage)
	src := newSource(t, c.provider(t), observed(&ev), func(cfg *tokensource.Config) {
		cfg.TokenURL = c.tokenURL
		cfg.Clock = tokensource.Clock{Now: func() time.Time { return frozen }, Elapsed: func() time.Duration { return 0 }}
		switch c.grant {
		case "refresh":
			refreshing(storage, "seed")(cfg)
		case "code":
			connecting(storage)(cfg)
		}
		if c.edit != nil {
			c.edit(cfg)
		}
	})
	if c.grant == "code" {
		connect(t, src, "")
	}
	tok := wantToken(t, src, c.token)
	switch {
	case c.life == forever && !tok.Expiry.IsZero():
		t.Errorf("the token ends at %s, want no end", tok.Expiry)
	case c.life != forever && !tok.Expiry.Equal(frozen.Add(c.life)):
		t.Errorf("the token lives for %s, want %s", tok.Expiry.Sub(frozen), c.life)
	}
	if got := src.Account("").Status().Scope; got != c.scope {
		t.Errorf("scope %q, want %q", got, c.scope)
	}
	if err := src.Close(t.Context()); err != nil { // after that, every event was reported
		t.Fatal(err)
	}
	for _, e := range ev.all() {
		if len(e.MissingScopes) > 0 {
			t.Errorf("scopes are said to be missing: %q", e.MissingScopes)
		}
	}
	if c.grant == "cc" {
		return // nothing is stored
	}
	records := keys(t, storage, "authinject/records/")
	if len(records) != 1 {
		t.Fatalf("records %q", records)
	}
	if got := decode(storedBytes(t, storage, records[0])).RefreshToken.Reveal(); got != c.refresh {
		t.Errorf("refresh token %q, want %q", got, c.refresh)
	}
}

// provider returns a server that gives the response, for requests to any host.
func (c realAnswer) provider(t *testing.T) http.RoundTripper {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", frozen.Format(http.TimeFormat))
		asked := "https://" + r.Host + r.URL.Path
		switch {
		case asked == "https://accounts.google.com/.well-known/openid-configuration":
			fmt.Fprint(w,
				`{"issuer":"https://accounts.google.com","authorization_endpoint":"https://accounts.google.com/o/oauth2/v2/auth","token_endpoint":"https://oauth2.googleapis.com/token","revocation_endpoint":"https://oauth2.googleapis.com/revoke"}`)
		case r.Method != http.MethodPost || asked != c.tokenURL:
			http.NotFound(w, r)
		case c.form:
			w.Header().Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
			fmt.Fprint(w, c.body)
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, c.body)
		}
	}))
	t.Cleanup(server.Close)
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		sent := req.Clone(req.Context())
		sent.Host, sent.URL.Scheme, sent.URL.Host = req.URL.Host, "http", strings.TrimPrefix(server.URL, "http://")
		return server.Client().Transport.RoundTrip(sent)
	})
}

// If a response is not used, the reason says what to do. A provider's word for a token's type is
// quoted only if it cannot contain a credential.
func TestReasonsOfAnswersThatAreRefused(t *testing.T) {
	const add = "if this provider means Bearer by it, add it to token_types"
	const unnamed = "the token endpoint answered a token_type that is not known to mean Bearer; " + add
	for name, c := range map[string]struct{ body, want string }{
		"a word": {`"token_type":"JWT"`,
			`the token endpoint answered token_type "JWT": that is not known to mean Bearer; ` + add},
		"words": {`"token_type":"Application Access Token"`,
			`token_type "Application Access Token": that is not known`},
		"mac": {`"token_type":"MAC"`,
			`the token endpoint answered token_type "mac": such a token is presented in another way than as Bearer, which is not supported`},
		"DPoP":                     {`"token_type":"dpop"`, `token_type "DPoP": such a token`},
		"digits":                   {`"token_type":"hunter2"`, unnamed},
		"a URN":                    {`"token_type":"urn:ietf:params:oauth:token-type:saml2"`, unnamed},
		"too long":                 {`"token_type":"` + strings.Repeat("a", 41) + `"`, unnamed},
		"markup":                   {`"token_type":"<b>x</b>"`, unnamed},
		"a line break":             {`"token_type":"a\nb"`, unnamed},
		"the client secret":        {`"token_type":"` + clientSecret + `"`, unnamed},
		"a part of it, other case": {`"token_type":"SECRET-canary"`, unnamed},
		"the refresh token":        {`"token_type":"seed"`, unnamed},
		"the new refresh token":    {`"refresh_token":"successor","token_type":"successor"`, unnamed},
		"the access token":         {`"token_type":"granted"`, unnamed},
		"the ID token":             {`"id_token":"identity","token_type":"identity"`, unnamed},
		"expires_in 0": {`"expires_in":0`, "the answer has expires_in 0; if this provider means that the " +
			"token does not end, set default_lifetime never"},
		"expires_in 0, as text": {`"expires_in":"0"`, "set default_lifetime never"},
		"expires_in below 0":    {`"expires_in":-1`, "the times in the answer say that it has already expired"},
		"a line break in it":    {`"access_token":"a\r\nb"`, "a space, a control character or a character outside ASCII"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(c.body, `"access_token"`) {
				c.body = `"access_token":"granted",` + c.body
			}
			src := newSource(t, &endpoint{script: always(reply{body: "{" + c.body + "}"})},
				refreshing(new(tokensource.MemoryStorage), "seed"))
			_, err := src.Token(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// token_types lists additional values that mean Bearer. They apply wherever the token comes from.
func TestTokenTypes(t *testing.T) {
	const body = `{"access_token":"at","token_type":"Access Token","expires_in":60}`
	for _, configured := range []bool{false, true} {
		edit := func(cfg *tokensource.Config) {
			if configured {
				cfg.TokenTypes = []string{"jwt", "access TOKEN"}
			}
		}
		src := newSource(t, &endpoint{script: always(reply{body: body})}, edit)
		if _, err := src.Token(t.Context()); (err == nil) != configured {
			t.Errorf("configured %t: token endpoint: %v", configured, err)
		}
		src = newSource(t, &authServer{}, implicit(nil), edit)
		if err := finish(t, src, begin(t, src, inBrowser),
			"access_token=at&token_type=Access+Token&expires_in=60"); (err == nil) != configured {
			t.Errorf("configured %t: redirect: %v", configured, err)
		}
		src = newSource(t, nil, edit, func(cfg *tokensource.Config) { cfg.Grant = ready{"Access Token"} })
		if _, err := src.Token(t.Context()); (err == nil) != configured {
			t.Errorf("configured %t: a grant of another module: %v", configured, err)
		}
	}
	for word, want := range map[string]string{"mac": "must not name mac", "dpop": "must not name DPoP",
		"PoP": "must not name PoP", " n_a ": "must not name N_A", " ": "empty word"} {
		_, err := tokensource.New(tokensource.Config{Name: "a", Grant: tokensource.ClientCredentials{}, ClientID: "x",
			TokenURL: tokenURL, TokenTypes: []string{"jwt", word}})
		if err == nil || !strings.Contains(err.Error(), "token_types") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", word, err, want)
		}
	}
}

// ready is a grant that already has its token.
type ready struct{ tokenType string }

func (ready) Traits() tokensource.Traits { return tokensource.Traits{Local: true} }

func (g ready) Next(context.Context, *tokensource.Record) (tokensource.Request, error) {
	return tokensource.Request{Response: &tokensource.TokenResponse{AccessToken: tokensource.NewSecret("at"),
		TokenType: g.tokenType}}, nil
}

// A token may contain every visible ASCII character and no other character, wherever it comes from.
func TestCharactersOfTokens(t *testing.T) {
	var refused []byte
	for c := range 256 {
		text := "a" + string([]byte{byte(c)}) + "b"
		src := newSource(t, nil, static(&file{value: text}))
		tok, err := src.Token(t.Context())
		switch {
		case err != nil:
			refused = append(refused, byte(c))
		case tok.AccessToken() != text:
			t.Errorf("%q became %q", text, tok.AccessToken())
		}
	}
	var want []byte
	for c := range 256 {
		if c <= ' ' || c >= 0x7f {
			want = append(want, byte(c))
		}
	}
	if !slices.Equal(refused, want) {
		t.Errorf("refused %q, want %q", refused, want)
	}
	// A refresh token is sent only in a form or in JSON, which can contain any character (RFC 6749
	// appendix A.17).
	for _, format := range []tokensource.BodyFormat{tokensource.BodyForm, tokensource.BodyQuery} {
		ep := &endpoint{}
		src := newSource(t, ep, refreshing(new(tokensource.MemoryStorage), "seed "+visible), func(cfg *tokensource.Config) {
			cfg.BodyFormat = format
		})
		wantToken(t, src, "at1")
		sent := ep.all()[0].form.Get("refresh_token")
		if format == tokensource.BodyQuery {
			u, _ := url.Parse(ep.all()[0].url)
			sent = u.Query().Get("refresh_token")
		}
		if sent != "seed "+visible {
			t.Errorf("%s: sent %q", format, sent)
		}
	}
}

// An expires_in of 0 means that the token does not end only if default_lifetime is never. That
// holds for the token endpoint and for a redirect.
func TestZeroMeansNever(t *testing.T) {
	for _, never := range []bool{false, true} {
		edit := func(cfg *tokensource.Config) {
			if never {
				endless(cfg)
			}
		}
		check := func(way string, tok *tokensource.Token, err error) {
			t.Helper()
			if (err == nil) != never || never && !tok.Expiry.IsZero() {
				t.Errorf("%s, never %t: %v %v", way, never, tok, err)
			}
		}
		src := newSource(t, &endpoint{script: always(reply{body: `{"access_token":"at","expires_in":0,"created_at":1}`})},
			edit)
		tok, err := src.Token(t.Context())
		check("token endpoint", tok, err)
		src = newSource(t, &authServer{}, implicit(nil), edit)
		if err = finish(t, src, begin(t, src, inBrowser), "access_token=at&expires_in=0"); err == nil {
			tok, err = src.Token(t.Context())
		}
		check("redirect", tok, err)
		src = newSource(t, &endpoint{script: always(reply{body: `{"access_token":"at","expires_in":-1}`})}, edit)
		if _, err := src.Token(t.Context()); err == nil {
			t.Errorf("below 0, never %t: the token was accepted", never)
		}
	}
}
