package tokensource

import (
	"context"
	"encoding/json"
	"net/url"
)

// Implicit gets the token of an account from the provider's redirect itself, when a person connects
// the account in a browser (RFC 6749 section 4.2). There is no token endpoint and no refresh. When
// the token is close to its end, the account's state becomes [StateLoginRequired], and the token
// stays in use until it ends. The grant is for providers that offer nothing better: the token
// passes through the browser, whose history may keep it.
type Implicit struct{}

// Traits implements [Grant].
func (Implicit) Traits() Traits { return Traits{Stored: true, NoTokenURL: true} }

// Next implements [Grant].
func (Implicit) Next(_ context.Context, rec *Record) (Request, error) {
	return Request{}, notConnected(rec)
}

// Authorize implements [Interactive].
func (Implicit) Authorize(*Login) url.Values { return url.Values{"response_type": {"token"}} }

// Redeem implements [Interactive]. It ignores a refresh token in the response, because the implicit
// grant issues none (RFC 6749 section 4.2.2).
func (Implicit) Redeem(l *Login, answer url.Values) (Request, error) {
	members := make(map[string]json.RawMessage, len(answer))
	for name, values := range answer {
		if len(values) != 1 {
			return Request{}, &Error{Class: ClassLogin, Reason: "the provider's answer holds a parameter twice"}
		}
		members[name], _ = json.Marshal(values[0]) // a string always marshals
	}
	ans, err := parseTokenResponse(members, l.answered, l.rules)
	ans.Scope = publicScope(ans)
	ans.RefreshToken = Secret{}
	reason := ans.check(l.rules)
	if reason == "" && err != nil {
		reason = err.Error()
	}
	if reason != "" {
		return Request{}, &Error{Class: ClassLogin, Reason: reason}
	}
	return Request{Response: ans}, nil
}
