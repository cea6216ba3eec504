package tokensource

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
)

// ClientCredentials gets tokens for the client itself (RFC 6749 section 4.4). It ignores a refresh
// token in the response, because the same request gets the next token.
type ClientCredentials struct {
	// GrantType is the parameter grant_type, for a provider that has another word for this grant,
	// as Zoom has account_credentials. The default is client_credentials.
	GrantType string
}

const grantClientCredentials = "client_credentials"

// grantOfType names the grant of each value of grant_type that has a grant of its own.
var grantOfType = map[string]string{
	"authorization_code": "authorization_code", "refresh_token": "refresh_token", grantTypeDeviceCode: "device_code",
	grantTypeJWTBearer: "jwt_bearer", grantTypeTokenExchange: "token_exchange",
}

// grantName is the form of a grant_type of a provider's own (RFC 6749 section A.10).
var grantName = regexp.MustCompile(`^[-._0-9A-Za-z]+$|^[a-z][a-z0-9+.-]*:[-._~:/?#@!$&'()*+,;=%0-9A-Za-z]+$`)

// Check reports what is wrong with the fields.
func (g ClientCredentials) Check() error {
	name, known := grantOfType[g.GrantType]
	switch {
	case known:
		return fmt.Errorf("grant_type %s belongs to another grant; write: grant %s", g.GrantType, name)
	case g.GrantType == "password":
		return errors.New("grant_type password is refused: RFC 9700 section 2.4 forbids it")
	case g.GrantType != "" && !grantName.MatchString(g.GrantType):
		return fmt.Errorf("grant_type %q is neither a word nor a URI", g.GrantType)
	}
	return nil
}

// Traits implements [Grant].
func (ClientCredentials) Traits() Traits { return Traits{Renews: true} }

// Next implements [Grant].
func (g ClientCredentials) Next(context.Context, *Record) (Request, error) {
	return Request{Params: url.Values{"grant_type": {cmp.Or(g.GrantType, grantClientCredentials)}}, WithScope: true}, nil
}
