package tokensource

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// bearerTypes are the values that always mean Bearer. Only the first one is in the standard. Slack
// sends bot and user, and gateways built on Apigee send BearerToken. All of them accept the token
// as Bearer.
var bearerTypes = []string{"bearer", "bearertoken", "bot", "user"}

// otherTypes are registered or well-known token types that must not be sent as Bearer: their
// requests are signed, or contain a proof (RFC 9449, RFC 9200). N_A means that the token is not an
// access token at all (RFC 8693 section 2.2.1).
var otherTypes = []string{"mac", "DPoP", "PoP", "N_A"}

// CheckTokenType reports why a word cannot be one of [Config.TokenTypes].
func CheckTokenType(word string) error {
	switch {
	case strings.TrimSpace(word) == "":
		return errors.New("token_types holds an empty word; a missing token_type means Bearer anyway")
	case knownType(word) != "":
		return fmt.Errorf("token_types must not name %s: a token of that type is presented in another way than as Bearer",
			knownType(word))
	}
	return nil
}

// isUsable reports whether a token of this token_type can be used: with DPoP a token that is bound
// to the key (RFC 9449 section 5), and otherwise a bearer token.
func (rules responseRules) isUsable(tokenType string) bool {
	if rules.dpop {
		return strings.EqualFold(strings.TrimSpace(tokenType), dpopType)
	}
	return rules.isBearer(tokenType)
}

// isBearer reports whether a token_type means Bearer. It ignores case (RFC 6749 section 5.1). A
// missing token_type means Bearer too: no provider that omits it is known to mean anything else.
func (rules responseRules) isBearer(tokenType string) bool {
	same := func(word string) bool { return strings.EqualFold(strings.TrimSpace(word), tokenType) }
	return tokenType == "" || rules.notAccess && strings.EqualFold(tokenType, "N_A") ||
		slices.ContainsFunc(bearerTypes, same) || slices.ContainsFunc(rules.tokenTypes, same)
}

// knownType returns the member of otherTypes that matches a token_type, or "".
func knownType(tokenType string) string {
	for _, word := range otherTypes {
		if strings.EqualFold(word, strings.TrimSpace(tokenType)) {
			return word
		}
	}
	return ""
}

// wrongType returns the reason why the type of a token prevents its use. word is the provider's
// token_type, or empty if that must not be shown.
func (rules responseRules) wrongType(from, word string) string {
	switch {
	case rules.dpop:
		return from + " gave a token that is not bound to the account's key: its token_type is not DPoP"
	case knownType(word) != "":
		return fmt.Sprintf("%s answered token_type %q: such a token is presented in another way than as Bearer, which is "+
			"not supported", from, word)
	case word != "":
		return fmt.Sprintf("%s answered token_type %q: that is not known to mean Bearer; if this provider means Bearer by "+
			"it, add it to token_types", from, word)
	}
	return from + " answered a token_type that is not known to mean Bearer; if this provider means Bearer by it, add " +
		"it to token_types"
}

// longestType bounds the length of a token_type that is shown.
const longestType = 40

// shownType returns a provider's token_type if it can be shown: it has only a few letters and none
// of the digits that credentials have, and it resembles nothing that was sent or granted. Any other
// text could be a credential that a hostile endpoint repeats.
func shownType(tokenType string, secrets []string) string {
	if known := knownType(tokenType); known != "" {
		return known
	}
	if len(tokenType) > longestType || strings.ContainsFunc(tokenType, func(c rune) bool {
		return (c|0x20 < 'a' || c|0x20 > 'z') && !strings.ContainsRune(" _-.", c)
	}) {
		return ""
	}
	word := strings.ToLower(tokenType)
	if slices.ContainsFunc(secrets, func(secret string) bool { return resemble(strings.ToLower(secret), word) }) {
		return ""
	}
	return tokenType
}

// resemble reports whether a secret holds the word, or the word holds the secret.
func resemble(secret, word string) bool {
	return secret != "" && (strings.Contains(secret, word) || strings.Contains(word, secret))
}
