package tokensource

import (
	"context"
	"net/url"

	"golang.org/x/oauth2"
)

// AuthorizationCode gets tokens for an account that a person connects once, in a browser (RFC 6749
// section 4.1), and refreshes them from then on. If the provider gives no refresh token, a person
// has to connect the account again when its token ends or is refused.
type AuthorizationCode struct {
	// NoPKCE leaves out the code challenge (RFC 7636), for a provider that refuses it. Otherwise
	// the code challenge is sent with method S256, also if the client has a secret.
	NoPKCE bool
}

// Traits implements [Grant].
func (AuthorizationCode) Traits() Traits { return Traits{Stored: true, Renews: true} }

// Next implements [Grant].
func (AuthorizationCode) Next(_ context.Context, rec *Record) (Request, error) {
	if rec.RefreshToken.IsZero() {
		return Request{}, notConnected(rec)
	}
	return refreshRequest(rec.RefreshToken), nil
}

// Sends returns the names of the parameters of token requests. The parameter redirect_uri is not
// one of them: it is missing if the provider shows the code.
func (AuthorizationCode) Sends() map[string][]string {
	return map[string][]string{"authorization_code": {"code", "code_verifier"}}
}

// Authorize implements [Interactive].
func (g AuthorizationCode) Authorize(l *Login) url.Values {
	params := url.Values{"response_type": {"code"}}
	if !g.NoPKCE {
		params.Set("code_challenge", oauth2.S256ChallengeFromVerifier(l.Verifier.Reveal()))
		params.Set("code_challenge_method", "S256")
	}
	return params
}

// Redeem implements [Interactive].
func (g AuthorizationCode) Redeem(l *Login, answer url.Values) (Request, error) {
	code := answer.Get("code")
	if code == "" {
		return Request{}, &Error{Class: ClassLogin, Reason: "the provider sent neither a code nor an error"}
	}
	req := Request{
		Params:  url.Values{"grant_type": {"authorization_code"}},
		Secrets: map[string]Secret{"code": NewSecret(code)},
	}
	if l.RedirectURL != "" {
		req.Params.Set("redirect_uri", l.RedirectURL) // the same value as before (RFC 6749 section 4.1.3)
	}
	if !g.NoPKCE {
		req.Secrets["code_verifier"] = l.Verifier
	}
	return req, nil
}

// notConnected returns the error for a record without tokens. It says why the account is not
// connected.
func notConnected(rec *Record) *Error {
	e := &Error{Class: ClassLogin, Reason: "the provider gave no refresh token, so the account has to be connected " +
		"again when its token ends"}
	switch {
	case rec.Disconnected:
		e.Reason = "the account was disconnected"
	case rec.Generation == 0:
		e.Reason = "the account is not connected yet"
	}
	return e
}
