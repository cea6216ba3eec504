package tokensource

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/jwt"
)

// TokenResponse is the result of a token request (RFC 6749 section 5.1). It is read tolerantly.
type TokenResponse struct {
	AccessToken  Secret
	RefreshToken Secret
	// TokenType is the token type as the provider sent it. An empty one counts as Bearer; see
	// [Config.TokenTypes] for other values.
	TokenType string
	// Scope is the scope as the provider sent it, or empty if the provider said nothing. A list of
	// scopes is joined by spaces.
	Scope string
	// Lifetime is the remaining lifetime of the token, if the provider said one. The source counts
	// it from the moment at which it sent the request. If HasLifetime is false, Lifetime is zero,
	// and the provider said nothing.
	Lifetime    time.Duration
	HasLifetime bool
	// ExpiresAt is a fixed end by the local clock, for a token that came without a request.
	ExpiresAt time.Time
}

var errNotAnObject = errors.New("the answer is neither a JSON object nor a form")

// parseMembers reads the members of a token endpoint's response. It accepts a JSON object with any
// content type, or a form, which some providers send unless the client accepts only JSON.
func parseMembers(body []byte) (map[string]json.RawMessage, error) {
	body = bytes.TrimSpace(withoutBOM(body))
	if len(body) > 0 && body[0] == '{' {
		return parseObject(body)
	}
	if bytes.ContainsAny(body, "<> \n") {
		return nil, errNotAnObject
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || !form.Has("access_token") && !form.Has("error") {
		return nil, errNotAnObject
	}
	members := make(map[string]json.RawMessage, len(form))
	for name, values := range form {
		if len(values) > 1 {
			return nil, errors.New("the answer holds a member twice")
		}
		members[name], _ = json.Marshal(values[0]) // a string always marshals
	}
	return members, nil
}

// withoutBOM returns body without the byte order mark in front of it, if there is one (RFC 8259
// section 8.1). Some editors and frameworks write one.
func withoutBOM(body []byte) []byte { return bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")) }

// parseObject reads one JSON object. It refuses a member that appears twice, because parsers differ
// in which one they use.
func parseObject(body []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if _, err := dec.Token(); err != nil {
		return nil, errNotAnObject
	}
	members := make(map[string]json.RawMessage)
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, errNotAnObject
		}
		name, ok := key.(string)
		if !ok {
			return nil, errNotAnObject
		}
		if _, twice := members[name]; twice {
			return nil, errors.New("the answer holds a member twice")
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, errNotAnObject
		}
		members[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, errNotAnObject // the closing brace is missing: the body was cut short
	}
	return members, nil
}

// text returns member name as a string, if it is a JSON string or number.
func text(members map[string]json.RawMessage, name string) string {
	raw := members[name]
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return strings.TrimSpace(s)
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return n.String()
	}
	return ""
}

// seconds returns member name as seconds: a number, a numeric string or a float.
func seconds(members map[string]json.RawMessage, name string) (float64, bool) {
	f, err := strconv.ParseFloat(text(members, name), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}

// moment returns member name as a time: Unix time in seconds, milliseconds or microseconds, or a text
// in one of timeLayouts or of the forms of HTTP (RFC 9110 section 5.6.7).
func moment(members map[string]json.RawMessage, name string) (time.Time, bool) {
	f, ok := seconds(members, name)
	switch {
	case ok && f > 0 && f < math.MaxInt32*8:
		return time.Unix(int64(f), 0), true
	case ok && f > 1e11 && f < 1e14: // milliseconds from 1973 to 5138
		return time.UnixMilli(int64(f)), true
	case ok && f > 1e14 && f < 1e17: // microseconds
		return time.UnixMicro(int64(f)), true
	}
	s := text(members, name)
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, strings.ToUpper(s)); err == nil {
			return t, true
		}
	}
	t, err := http.ParseTime(s)
	return t, err == nil
}

// timeLayouts are RFC 3339 and its relatives. Some frameworks omit the zone and mean UTC.
var timeLayouts = []string{
	time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05",
	"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z0700", time.DateTime,
}

// responseRules are the parts of a [Config] that decide how a response is read.
type responseRules struct {
	// tokenTypes mean Bearer, in addition to the values that always do.
	tokenTypes []string
	// zeroIsNever is true if an expires_in of 0 means that the token does not end.
	zeroIsNever bool
	// notAccess is true if another token than an access token was requested. Then N_A is a good
	// token_type (RFC 8693 section 2.2.1).
	notAccess bool
	// dpop is true if tokens must be bound to a key.
	dpop bool
}

func (cfg *Config) responseRules() responseRules {
	return responseRules{tokenTypes: cfg.TokenTypes, zeroIsNever: cfg.DefaultLifetime < 0, dpop: cfg.DPoP != ""}
}

// parseTokenResponse turns the members of a successful response into a TokenResponse. now is the
// time of the provider's own clock, if the response had a Date field, or else the local time. Times
// in the response are compared with now, so that a wrong local clock neither shortens nor extends a
// token's lifetime.
func parseTokenResponse(members map[string]json.RawMessage, now time.Time,
	rules responseRules) (*TokenResponse, error) {
	ans := &TokenResponse{
		AccessToken:  NewSecret(text(members, "access_token")),
		RefreshToken: NewSecret(text(members, "refresh_token")),
		TokenType:    text(members, "token_type"),
		Scope:        scopeText(members),
	}
	lifetime, ok, err := parseLifetime(members, now, rules)
	if !ok && err == nil {
		lifetime, ok = jwtLifetime(ans.AccessToken, now)
	}
	if ok && lifetime < minLifetime {
		ok, err = false, errNoLifetime
	}
	ans.Lifetime, ans.HasLifetime = lifetime, ok
	return ans, err
}

// scopeText returns the granted scopes. They are a string (RFC 6749 section 3.3), or a list of
// strings, which some providers send instead.
func scopeText(members map[string]json.RawMessage) string {
	var list []string
	if json.Unmarshal(members["scope"], &list) == nil {
		return strings.Join(list, " ")
	}
	return text(members, "scope")
}

// minLifetime is the shortest lifetime of a token that is used. One that lives shorter has ended when it
// arrives at the upstream, and would be replaced as often as the provider answers.
const minLifetime = 10 * time.Millisecond

var (
	errNoLifetime = errors.New("the token has no lifetime left: the times in the answer say that it has already expired, " +
		"or ends at once")
	errZeroLifetime = errors.New("the token has no lifetime left: the answer has expires_in 0; if this provider means " +
		"that the token does not end, set default_lifetime never")
)

// parseLifetime reads the remaining lifetime of a token. expires_in is the standard (RFC 6749
// section 5.1). Some providers write 0 there for a token that does not end; the rules say whether
// this provider does. If the response has created_at too, the provider may have returned an older
// token again, so the lifetime counts from created_at. If expires_in is missing, an absolute
// expires or expires_at is used.
func parseLifetime(members map[string]json.RawMessage, now time.Time,
	rules responseRules) (time.Duration, bool, error) {
	if in, ok := seconds(members, "expires_in"); ok {
		switch {
		case in == 0 && rules.zeroIsNever:
			return 0, false, nil
		case in == 0:
			return 0, false, errZeroLifetime
		}
		// No token lives that long: some providers send the time of the end here. A time long ago
		// is rather a lifetime of many years.
		if at, ok := moment(members, "expires_in"); ok && in > maxLifetime.Seconds() {
			switch left := at.Sub(now); {
			case left > 0 && left < maxLifetime:
				return left, true, nil
			case left <= 0 && left > -maxPast:
				return 0, false, errNoLifetime
			}
		}
		left := time.Duration(min(in, maxLifetime.Seconds()) * float64(time.Second))
		if created, ok := moment(members, "created_at"); ok {
			// A difference of a second or two is only the clock's resolution. An age beyond the
			// longest lifetime is impossible for a live token, so created_at then means something
			// else.
			if age := now.Sub(created); age > 2*time.Second && age < maxLifetime {
				left -= age
			}
		}
		if left <= 0 {
			return 0, false, errNoLifetime
		}
		return left, true, nil
	}
	for _, name := range []string{"expires_at", "expires", "expires_on"} {
		if in, ok := seconds(members, name); ok && in > 0 && in < maxLifetime.Seconds() {
			return time.Duration(in * float64(time.Second)), true, nil // too early for a date: seconds from now
		}
		if at, ok := moment(members, name); ok {
			left := at.Sub(now)
			if left <= 0 {
				return 0, false, errNoLifetime
			}
			return min(left, maxLifetime), true, nil
		}
	}
	return 0, false, nil
}

// jwtLifetime reads the exp claim of an access token that is a JWT (RFC 9068). It does not check
// the signature, because the claim only tells when to request the next token. The lifetime of a token
// that has ended is 0 or less.
func jwtLifetime(token Secret, now time.Time) (time.Duration, bool) {
	end := jwtTime(token, "exp")
	return min(end.Sub(now), maxLifetime), !end.IsZero()
}

// jwtTime returns the time in a claim of a token that is a JWT, such as exp or nbf (RFC 7519 section
// 4.1), or zero. Nothing is verified.
func jwtTime(token Secret, claim string) time.Time {
	members, _ := parseObject(jwt.Payload(token.Reveal()))
	at, _ := moment(members, claim)
	return at
}

// check reports why ans cannot be used, or returns "". A token of another type would have to be
// sent in another way (RFC 6749 section 7.1).
func (ans *TokenResponse) check(rules responseRules) (reason string) {
	switch {
	case ans.AccessToken.IsZero():
		return "the answer holds no access_token"
	case !rules.isUsable(ans.TokenType):
		return rules.wrongType("the provider", knownType(ans.TokenType))
	case !isSendable(ans.AccessToken.Reveal()):
		return "the access token holds a space, a control character or a character outside ASCII, any of which could " +
			"break a request"
	}
	return ""
}

// isSendable reports whether a header field can hold an access token. RFC 6749 appendix A.12 allows
// all visible ASCII characters and the space. Providers use more of them than the b64token of RFC
// 6750 section 2.1 allows: Salesforce !, Facebook |, eBay ^ and #. A control character could begin
// another field. A space could end the token for its reader. All other visible characters are safe.
// The token is the last part of its field, so a comma or a quote could spoil only the token itself.
// In a URL the token is percent-encoded.
func isSendable(token string) bool {
	for i := range len(token) {
		if c := token[i]; c <= ' ' || c > '~' {
			return false
		}
	}
	return token != ""
}
