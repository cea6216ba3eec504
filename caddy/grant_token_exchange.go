package caddy

import (
	"cmp"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/tokensource"
)

func init() { caddy.RegisterModule(TokenExchangeGrant{}) }

// TokenExchangeGrant exchanges the token of each caller for one that the API accepts (RFC 8693), so
// that the API sees the caller and not the proxy. The provider validates the caller's token. The
// new token is kept in memory for further requests of the same caller, at most until the caller's
// own token ends. A request without a token, or with one that the provider refuses, is answered
// with 401.
type TokenExchangeGrant struct {
	// SubjectToken is the caller's token, as a placeholder of the request. The scheme `Bearer` is
	// taken off. Default: `{http.request.header.Authorization}`.
	SubjectToken string `json:"subject_token,omitempty"`
	// SubjectTokenType is the type of the caller's token. Default:
	// `urn:ietf:params:oauth:token-type:access_token`.
	SubjectTokenType string `json:"subject_token_type,omitempty"`
	// RequestedTokenType is the type of the token to get. Default: the provider decides.
	RequestedTokenType string `json:"requested_token_type,omitempty"`
	// Audience names the services that the token is for.
	Audience []string `json:"audience,omitempty"`
	// ActorToken is the token of the party that acts for the caller, such as the proxy's own. Use a
	// placeholder, `{file.*}` or `{env.*}`, which is read for each token request.
	ActorToken string `json:"actor_token,omitempty"`
	// ActorTokenType is the type of ActorToken. Required with it.
	ActorTokenType string `json:"actor_token_type,omitempty"`
	// OnBehalfOf uses the on-behalf-of flow of Microsoft Entra ID in place of RFC 8693. The scopes
	// of the source name the API. Of the other options only SubjectToken is allowed.
	OnBehalfOf bool `json:"on_behalf_of,omitempty"`

	tokensource.TokenExchange `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (TokenExchangeGrant) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject.grants.token_exchange", New: func() caddy.Module {
		return new(TokenExchangeGrant)
	}}
}

func (*TokenExchangeGrant) options() options {
	return options{
		{name: "subject_token", field: "SubjectToken", parse: into(oneText)},
		{name: "subject_token_type", field: "SubjectTokenType", parse: into(oneText)},
		{name: "requested_token_type", field: "RequestedTokenType", parse: into(oneText)},
		{name: "audience", repeat: true, field: "Audience", parse: into(list)},
		{name: "actor_token", field: "ActorToken", parse: withPlaceholders},
		{name: "actor_token_type", field: "ActorTokenType", parse: into(oneText)},
		{name: "on_behalf_of", field: "OnBehalfOf", parse: into(noValue)},
	}
}

// UnmarshalCaddyfile sets up the grant. Syntax:
//
//	grant token_exchange {
//	    subject_token        <placeholder>
//	    subject_token_type   <uri>
//	    requested_token_type <uri>
//	    audience             <audience...>
//	    actor_token          <token>
//	    actor_token_type     <uri>
//	    on_behalf_of
//	}
func (g *TokenExchangeGrant) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalGrant(d, g, g.options())
}

// SecretOptions returns the options that hold secrets.
func (g *TokenExchangeGrant) SecretOptions() map[string]string {
	if g.ActorToken == "" {
		return nil
	}
	return map[string]string{"actor_token": g.ActorToken}
}

// Check reports what is wrong with the options.
func (g TokenExchangeGrant) Check() error { return g.Provision(caddy.Context{}) }

// Sends returns the names of the parameters of token requests. It also works before Provision.
func (g TokenExchangeGrant) Sends() map[string][]string {
	_ = g.Provision(caddy.Context{}) // Check reports the error
	return g.TokenExchange.Sends()
}

// Provision sets up the grant.
func (g *TokenExchangeGrant) Provision(caddy.Context) error {
	if err := firstError(checkSubject(g.Subject()), checkBraces("actor_token", g.ActorToken)); err != nil {
		return err
	}
	g.TokenExchange = tokensource.TokenExchange{
		SubjectTokenType: g.SubjectTokenType, RequestedTokenType: g.RequestedTokenType, Audience: g.Audience,
		ActorToken: valueIfSet(g.ActorToken), ActorTokenType: g.ActorTokenType, OnBehalfOf: g.OnBehalfOf,
	}
	return g.TokenExchange.Check()
}

// Subject returns the placeholder of the caller's token.
func (g *TokenExchangeGrant) Subject() string {
	return cmp.Or(g.SubjectToken, defaultSubject)
}

// defaultSubject is where a caller's token is, unless a grant says otherwise.
const defaultSubject = "{http.request.header.Authorization}"

// subjectPlaceholder matches one placeholder in its full form, which is the same in every part of a
// Caddyfile.
var subjectPlaceholder = regexp.MustCompile(`^\{(?:http|env|file)\.[^{}]+\}$`)

// checkSubject reports a subject_token that is not one placeholder.
func checkSubject(text string) error {
	if subjectPlaceholder.MatchString(text) {
		return nil
	}
	// The text is not quoted: it may be a token.
	if !hasPlaceholder(text) {
		return errors.New("subject_token must be a placeholder, such as " + defaultSubject +
			": each request brings its own token")
	}
	return errors.New("subject_token must be one placeholder and nothing else, which begins with {http., {env. or " +
		"{file., such as " + defaultSubject)
}

// subjectOf returns the placeholder of the callers' tokens that a grant exchanges; empty for a
// grant that exchanges none.
func subjectOf(grant tokensource.Grant) string {
	if _, ok := grant.(tokensource.Exchanger); !ok {
		return ""
	}
	if g, ok := grant.(interface{ Subject() string }); ok {
		return g.Subject()
	}
	return defaultSubject
}

// isOfCaller reports whether the subject comes with the request.
func isOfCaller(subject string) bool { return strings.HasPrefix(subject, "{http.") }

// subjectIn returns the subject token of a request, or a zero Secret if it has none. In a value of
// several words, the first one must be the scheme Bearer.
func subjectIn(req *http.Request, subject string) tokensource.Secret {
	text := strings.TrimSpace(resolveIn(req, subject))
	scheme, token, words := strings.Cut(text, " ")
	switch {
	case words && strings.EqualFold(scheme, "Bearer"):
		return tokensource.NewSecret(strings.TrimLeft(token, " "))
	case words, strings.EqualFold(text, "Bearer"):
		return tokensource.Secret{}
	}
	return tokensource.NewSecret(text)
}

// stripSubject makes the injection remove the caller's token from requests. The field Authorization
// is removed anyway.
func stripSubject(in *authinject.Injection, subject string) {
	inner := strings.TrimSuffix(strings.TrimPrefix(subject, "{"), "}")
	if name, ok := strings.CutPrefix(inner, "http.request.header."); ok {
		in.StripHeader = append(slices.Clone(in.StripHeader), name)
	}
	if name, ok := strings.CutPrefix(inner, "http.request.uri.query."); ok {
		in.AddStripQuery(name)
	}
}

// Interface guard
var _ tokensource.Exchanger = (*TokenExchangeGrant)(nil)
