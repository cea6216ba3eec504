package tokensource

import (
	"context"
	"encoding/json"
	"net/url"
)

// Implicit implements the implicit grant (RFC 6749 section 4.2). When a person connects an account
// in a browser, the provider puts the access token into the address to which it redirects the
// browser. No token request is sent, and the token cannot be refreshed. When the token is due for a
// refresh, the account's state becomes [StateLoginRequired]. The token stays in use until it
// expires. Use Implicit only if the provider offers nothing better: the browser may keep the token
// in its history.
type Implicit struct{}

// Traits implements [Grant].
func (Implicit) Traits() Traits { return Traits{Stored: true, NoTokenURL: true} }

// Next implements [Grant].
func (Implicit) Next(_ context.Context, rec *Record) (Request, error) {
	return Request{}, notConnected(rec)
}

// Authorize implements [Interactive].
func (Implicit) Authorize(*Login) url.Values { return url.Values{"response_type": {"token"}} }

// Redeem implements [Interactive]. It takes the access token from the parameters of the redirect.
// It ignores a refresh token among them, because the implicit grant issues none (RFC 6749 section
// 4.2.2).
func (Implicit) Redeem(l *Login, answer url.Values) (Request, error) {
	members := make(map[string]json.RawMessage, len(answer))
	for name, values := range answer {
		if len(values) != 1 {
			return Request{}, &Error{Class: ClassLogin, Reason: "the provider's answer contains a parameter more than once"}
		}
		members[name], _ = json.Marshal(values[0]) // a string always marshals
	}
	granted, err := parseTokenResponse(members, l.answered, l.rules)
	granted.Scope = publicScope(granted) // drops a scope that repeats the token
	granted.RefreshToken = Secret{}
	reason := granted.check(l.rules)
	if reason == "" && err != nil { // without a token, a bad lifetime does not matter
		reason = err.Error()
	}
	if reason != "" {
		return Request{}, &Error{Class: ClassLogin, Reason: reason}
	}
	return Request{Response: granted}, nil
}
