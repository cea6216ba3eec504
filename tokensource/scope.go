package tokensource

import (
	"slices"
	"strings"
)

// publicScope returns the scope that the provider said it granted. The status shows it, so it is
// kept only if it looks like scopes (RFC 6749 section 3.3) and does not repeat a credential.
func publicScope(ans *TokenResponse, sent ...string) string {
	if strings.ContainsFunc(ans.Scope, func(c rune) bool { return c < ' ' || c > '~' || c == '"' || c == '\\' }) {
		return ""
	}
	for _, secret := range append(sent, ans.AccessToken.Reveal(), ans.RefreshToken.Reveal()) {
		if len(secret) >= shortestSecret && strings.Contains(ans.Scope, secret) {
			return ""
		}
	}
	return ans.Scope
}

// shortestSecret is the shortest parameter that counts as a secret. A parameter such as "1" would
// be found in every text.
const shortestSecret = 4

// missingScopes returns the configured scopes that were not granted. A provider that says nothing
// about scopes granted the requested ones (RFC 6749 section 5.1). A token with fewer scopes is used
// all the same: some providers rename scopes, and leave out scopes that are meant for themselves.
// If a token is not sufficient for a request, the upstream refuses it.
func (s *Source) missingScopes(granted string) (missing []string) {
	if granted == "" {
		return nil
	}
	for _, scope := range s.cfg.Scopes {
		switch {
		case scope == "openid", scope == "offline_access": // these request an ID token and a refresh token
		case !holdsScope(granted, scope, " ,"+s.cfg.ScopeSeparator):
			missing = append(missing, scope)
		}
	}
	return missing
}

// scopesFailure returns what scopes that were not granted mean for an account, or nil if all were
// granted.
func (s *Source) scopesFailure(account string, missing []string) *Error {
	if len(missing) == 0 {
		return nil
	}
	return s.named(account, &Error{Class: ClassOperator, Reason: missingScopesReason + strings.Join(missing, " ")})
}

// InsufficientScope returns the error for an API that answered that the account's token lacks a scope
// (RFC 6750 section 3.1). needed is the scope that the API named; it may be empty. The error says what
// to do.
func (h *Account) InsufficientScope(needed string) *Error {
	e := h.src.named(h.Name(), &Error{Class: ClassOperator, Reason: insufficientScopeReason})
	if cure := h.scopeCure(strings.Fields(needed)); cure != "" {
		e = e.withFacts(facts{"scope_cure": cure})
	}
	return e
}

// scopeCure says how the account gets a token with these scopes, which may be unknown. It returns ""
// if nothing more is known than that the option scopes may have to change.
func (h *Account) scopeCure(needed []string) string {
	cfg, traits := &h.src.cfg, h.src.traits
	_, exchanges := cfg.Grant.(Exchanger)
	var keeps string
	switch {
	case traits.Local:
		return "write a token that has " + scopeWords(needed) + " into " + cfg.tokenIn()
	case traits.NoTokenURL && len(cfg.Scopes) == 0: // such as the grant command
		return "let the grant's program, app or identity give a token that has " + scopeWords(needed)
	case traits.Stored && !h.src.Interactive():
		return "get a new refresh token that has " + scopeWords(needed) + " from the provider, and write it into " + cfg.tokenIn()
	case h.src.Interactive():
		keeps = ". Then " + connectAgain
	case exchanges:
		keeps = ". The callers' tokens in use keep their scopes until they end"
	default:
		keeps = ". The token in use keeps its scopes " + cfg.facts()["rescope"]
	}
	if len(needed) == 0 {
		return ""
	}
	if unasked := without(needed, cfg.Scopes); len(unasked) > 0 {
		return "add " + scopeWords(unasked) + " to the option scopes, and allow it for this client at the provider" + keeps
	}
	if ungranted := without(needed, without(needed, h.Status().MissingScopes)); len(ungranted) > 0 {
		return "allow " + scopeWords(ungranted) + " for this client at the provider: the option scopes asks for it, and the " +
			"provider did not grant it" + keeps
	}
	if h.Status().Scope == "" {
		return "allow " + scopeWords(needed) + " for this client at the provider, which does not say which scopes it granted" +
			keeps + ". If it is allowed, check the rights of the account at the API"
	}
	if h.src.Interactive() {
		return "connect the account again, if the option scopes got " + scopeWords(needed) + " after the last login. " +
			"Otherwise check the rights of the account at the API"
	}
	return "check the rights of the account at the API: the option scopes asks for " + scopeWords(needed)
}

// scopeWords names scopes in a sentence.
func scopeWords(scopes []string) string {
	if len(scopes) == 0 {
		return "the scope that the API needs"
	}
	return "the scope " + strings.Join(scopes, " ")
}

// without returns the scopes that are not in another list.
func without(scopes, others []string) []string {
	return slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool { return slices.Contains(others, scope) })
}

const insufficientScopeReason = "the upstream answered that the token lacks a scope"

// holdsScope reports whether granted contains scope between separators. The scope may contain
// separators itself, as Accelo's read(companies,contacts) does.
func holdsScope(granted, scope, separators string) bool {
	for from := 0; ; {
		at := strings.Index(granted[from:], scope)
		if at < 0 {
			return false
		}
		begin, end := from+at, from+at+len(scope)
		if (begin == 0 || strings.IndexByte(separators, granted[begin-1]) >= 0) &&
			(end == len(granted) || strings.IndexByte(separators, granted[end]) >= 0) {
			return true
		}
		from = begin + 1
	}
}
