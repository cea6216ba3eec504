package tokensource

import (
	"context"
	"encoding/json"
	"net/url"
)

// Implicit gets the token of an account that a person connects in a browser from
// the provider's redirect itself (RFC 6749 section 4.2). There is no token endpoint
// and nothing to refresh: when the token is due to end, the account's state becomes
// [StateLoginRequired], while the token serves on. It is for providers that offer nothing
// better: the token passes through the browser, whose history may keep it.
type Implicit struct{}

// Traits implements [Grant].
func (Implicit) Traits() Traits { return Traits{Stored: true, NoTokenURL: true} }

// Next implements [Grant].
func (Implicit) Next(_ context.Context, rec *Record) (Request, error) {
	return Request{}, notConnected(rec)
}

// Authorize implements [Interactive].
func (Implicit) Authorize(*Login) url.Values { return url.Values{"response_type": {"token"}} }

// Redeem implements [Interactive]. A refresh token in the answer is ignored: the
// implicit grant has none (RFC 6749 section 4.2.2).
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
