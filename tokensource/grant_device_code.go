package tokensource

import (
	"context"
	"net/url"

	"golang.org/x/oauth2"
)

// DeviceCode gets tokens for an account that a person connects in a browser on any device (RFC
// 8628), and refreshes them from then on, as [AuthorizationCode] does. It needs no redirect URL, so
// it suits a machine without a browser.
type DeviceCode struct {
	// PKCE sends a code challenge with method S256 (RFC 7636) with the device authorization
	// request. RFC 8628 does not have it, but some providers require it.
	PKCE bool
}

// Traits implements [Grant].
func (DeviceCode) Traits() Traits { return Traits{Stored: true, Renews: true, Device: true} }

// Next implements [Grant].
func (DeviceCode) Next(ctx context.Context, rec *Record) (Request, error) {
	return AuthorizationCode{}.Next(ctx, rec)
}

// Authorize implements [Interactive]. The parameters are those of the device authorization request
// (RFC 8628 section 3.1).
func (g DeviceCode) Authorize(l *Login) url.Values {
	params := make(url.Values)
	if g.PKCE {
		params.Set("code_challenge", oauth2.S256ChallengeFromVerifier(l.Verifier.Reveal()))
		params.Set("code_challenge_method", "S256")
	}
	return params
}

// grantTypeDeviceCode is the grant_type of RFC 8628 section 3.4.
const grantTypeDeviceCode = "urn:ietf:params:oauth:grant-type:device_code"

// Sends returns the names of the parameters of token requests.
func (DeviceCode) Sends() map[string][]string {
	return map[string][]string{grantTypeDeviceCode: {"device_code", "code_verifier"}}
}

// Redeem implements [Interactive]. It returns the request by which the source asks whether the
// person is done (RFC 8628 section 3.4).
func (g DeviceCode) Redeem(l *Login, _ url.Values) (Request, error) {
	req := Request{
		Params:  url.Values{"grant_type": {grantTypeDeviceCode}},
		Secrets: map[string]Secret{"device_code": l.Device.Code},
	}
	if g.PKCE {
		req.Secrets["code_verifier"] = l.Verifier
	}
	return req, nil
}

// Interface guard
var _ Interactive = DeviceCode{}
