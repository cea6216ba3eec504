package tokensource

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
)

// TokenExchange exchanges the token of each caller for a token that the API accepts (RFC 8693). If
// OnBehalfOf is set, it uses the form of Microsoft Entra ID. The tokens are not stored.
type TokenExchange struct {
	// SubjectTokenType is the type of the caller's token (RFC 8693 section 3). Empty means
	// [AccessTokenType].
	SubjectTokenType string
	// RequestedTokenType is the type of the token to get. Empty means that the provider decides.
	RequestedTokenType string
	// Audience names the services that the token is for (RFC 8693 section 2.1).
	Audience []string
	// ActorToken is the token of the party that acts for the subject, and ActorTokenType its type.
	// The token is read again for each token request. Set both fields or neither.
	ActorToken     Value
	ActorTokenType string
	// OnBehalfOf sends the caller's token as the assertion of the grant type jwt-bearer (RFC 7523
	// section 2.1) with requested_token_use=on_behalf_of. This is the form that Microsoft Entra ID
	// accepts. Then the fields above must be empty, and the scopes name the API.
	OnBehalfOf bool
}

// AccessTokenType is the token type identifier of an access token (RFC 8693 section 3).
const AccessTokenType = "urn:ietf:params:oauth:token-type:access_token"

const (
	grantTypeTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	grantTypeJWTBearer     = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// Check reports what is wrong with the fields.
func (g TokenExchange) Check() error {
	for _, option := range [][2]string{
		{"subject_token_type", g.SubjectTokenType}, {"requested_token_type", g.RequestedTokenType},
		{"actor_token_type", g.ActorTokenType},
	} {
		if option[1] != "" && !isURI(option[1]) {
			return fmt.Errorf("%s must be a URI such as %s (RFC 8693 section 3), not %q", option[0], AccessTokenType, option[1])
		}
	}
	others := g.SubjectTokenType != "" || g.RequestedTokenType != "" || g.Audience != nil || g.ActorToken != nil ||
		g.ActorTokenType != ""
	switch {
	case g.OnBehalfOf && others:
		return errors.New("on_behalf_of sends no subject_token_type, requested_token_type, audience, actor_token or " +
			"actor_token_type; remove them, and name the API in scopes")
	case g.ActorToken != nil && g.ActorTokenType == "":
		return errors.New("actor_token needs actor_token_type (RFC 8693 section 2.1), such as " + AccessTokenType)
	case g.ActorToken == nil && g.ActorTokenType != "":
		return errors.New("actor_token_type needs actor_token (RFC 8693 section 2.1)")
	}
	return nil
}

func isURI(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.IsAbs()
}

// Traits implements [Grant].
func (TokenExchange) Traits() Traits { return Traits{Renews: true} }

// Sends returns the names of the parameters of token requests: those that are always sent, and
// those of the options that are set.
func (g TokenExchange) Sends() map[string][]string {
	if g.OnBehalfOf {
		return map[string][]string{grantTypeJWTBearer: {"assertion", "requested_token_use"}}
	}
	names := []string{"subject_token", "subject_token_type"}
	for name, set := range map[string]bool{
		"requested_token_type": g.RequestedTokenType != "", "audience": g.Audience != nil,
		"actor_token": g.ActorToken != nil, "actor_token_type": g.ActorTokenType != "",
	} {
		if set {
			names = append(names, name)
		}
	}
	return map[string][]string{grantTypeTokenExchange: names}
}

// Next implements [Grant]. It returns an error, because the grant needs the token of a caller.
func (TokenExchange) Next(context.Context, *Record) (Request, error) {
	return Request{}, &Error{Class: ClassOperator, Reason: noCallerReason}
}

// Exchange implements [Exchanger].
func (g TokenExchange) Exchange(ctx context.Context, subject Secret) (Request, error) {
	if g.OnBehalfOf {
		return Request{
			Params:    url.Values{"grant_type": {grantTypeJWTBearer}, "requested_token_use": {"on_behalf_of"}},
			Secrets:   map[string]Secret{"assertion": subject},
			WithScope: true,
		}, nil
	}
	req := Request{
		Params: url.Values{
			"grant_type":           {grantTypeTokenExchange},
			"subject_token_type":   {cmp.Or(g.SubjectTokenType, AccessTokenType)},
			"requested_token_type": {g.RequestedTokenType},
			"audience":             g.Audience,
			"actor_token_type":     {g.ActorTokenType},
		},
		Secrets:   map[string]Secret{"subject_token": subject},
		WithScope: true,
	}
	if g.ActorToken == nil {
		return req, nil
	}
	actor, err := g.ActorToken(ctx)
	if err == nil && actor.IsZero() {
		err = errors.New("it is empty")
	}
	if err != nil {
		return Request{}, fmt.Errorf("reading actor_token: %w", err)
	}
	req.Secrets["actor_token"] = actor
	return req, nil
}

// Interface guard
var _ Exchanger = TokenExchange{}
