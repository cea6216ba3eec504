package tokensource

import "strings"

// publicScope is what the provider says it granted. It is shown in the status, and so taken only
// if it looks like scopes (RFC 6749 section 3.3) and echoes no credential.
func publicScope(ans *TokenResponse, sent ...string) string {
	for _, c := range ans.Scope {
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return ""
		}
	}
	for _, secret := range append(sent, ans.AccessToken.Reveal(), ans.RefreshToken.Reveal()) {
		if len(secret) >= shortestSecret && strings.Contains(ans.Scope, secret) {
			return ""
		}
	}
	return ans.Scope
}

// shortestSecret keeps a parameter such as "1" from being found in every text.
const shortestSecret = 4

// missingScopes are the configured scopes that are not among those granted. When the provider
// says nothing of scopes it granted what was asked for (RFC 6749 section 5.1). A token with fewer is
// used all the same: providers rename what they grant, and leave out what is for
// themselves; what it is too little for, the upstream refuses.
func (s *Source) missingScopes(granted string) (missing []string) {
	if granted == "" {
		return nil
	}
	for _, scope := range s.cfg.Scopes {
		switch {
		case scope == "openid", scope == "offline_access": // these ask for other tokens, not for access
		case !holdsScope(granted, scope, " ,"+s.cfg.ScopeSeparator):
			missing = append(missing, scope)
		}
	}
	return missing
}

// holdsScope reports whether scope stands in granted between separators. The scope may hold
// separators itself: Accelo's read(companies,contacts) does.
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
