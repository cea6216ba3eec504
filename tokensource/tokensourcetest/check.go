package tokensourcetest

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Violation is one breach of a rule. It names tokens by number and contains no token.
type Violation struct {
	// Rule names the rule in a few fixed words.
	Rule string
	// Detail says what happened.
	Detail string
}

// String implements fmt.Stringer.
func (v Violation) String() string { return v.Rule + ": " + v.Detail }

// Check runs the checks that need no knowledge of the client: CheckOwners, CheckReuse and
// CheckCredentials.
func (s *Server) Check() []Violation {
	return slices.Concat(s.CheckOwners(), s.CheckReuse(), s.CheckCredentials())
}

// CheckOwners finds refresh tokens that one owner (Config.Owner) sent after another owner had spent
// them and the grace was over. Then two processes refreshed the same login without knowing of each
// other. Without rotation there is nothing to find.
//
// A request counts from the time at which it was carried out or, if it was not carried out, from
// its arrival: sending a spent token is a mistake even if a fault hides it.
func (s *Server) CheckOwners() []Violation {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Violation
	for _, r := range s.records.token {
		t := s.tokens.refresh[r.Params.Get("refresh_token")]
		if t == nil || t.spent == nil || t.spent.Owner == r.Owner {
			continue
		}
		position, at := r.arrival, r.Arrived
		if r.processing != 0 {
			position, at = r.processing, r.Processed
		}
		if position < t.spent.processing || s.inGrace(t, at) {
			continue
		}
		found = append(found, Violation{
			Rule: "a refresh token has one owner",
			Detail: fmt.Sprintf("refresh token %d, spent by %q in token request %d, was sent by %q in token request %d, %v later",
				t.number, t.spent.Owner, t.spent.Number, r.Owner, r.Number, at.Sub(t.spent.Processed)),
		})
	}
	return found
}

// CheckStored finds refresh tokens that reached the client and were lost: the client never used
// them, and stored says that it did not store them. The server's lock is not held while stored is
// called.
//
// A token counts as having reached the client if the response with it was written completely. If a
// client closes its connection at that very moment, the finding can be wrong. Tokens that Revoke or
// RevokeAll ended do not count as lost. Neither do tokens of a client_credentials grant, because a
// client should ignore those (RFC 6749 section 4.4.3).
func (s *Server) CheckStored(stored func(token string) bool) []Violation {
	s.mu.Lock()
	var unused []*refreshToken
	for _, t := range s.tokens.refresh {
		if t.delivered && !t.used && !t.revoked && t.login.grant != grantClientCredentials {
			unused = append(unused, t)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(unused, func(a, b *refreshToken) int { return a.number - b.number })
	var found []Violation
	for _, t := range unused {
		if !stored(t.value) {
			found = append(found, Violation{
				Rule: "a refresh token is never lost",
				Detail: fmt.Sprintf("refresh token %d of %q was answered, never used, and is not stored", t.number,
					t.login.subject),
			})
		}
	}
	return found
}

// CheckRate finds more than n token requests within any period shorter than window, by their
// arrival. It reports one violation for each period.
func (s *Server) CheckRate(n int, window time.Duration) []Violation {
	s.mu.Lock()
	times := make([]time.Time, len(s.records.token))
	for i, r := range s.records.token {
		times[i] = r.Arrived
	}
	s.mu.Unlock()
	slices.SortFunc(times, time.Time.Compare) // the clock may have been set back
	var found []Violation
	for i := 0; i < len(times); {
		end := i
		for end < len(times) && times[end].Sub(times[i]) < window {
			end++
		}
		if end-i <= n {
			i++
			continue
		}
		found = append(found, Violation{
			Rule:   "token requests are few",
			Detail: fmt.Sprintf("%d in %v, where %d are allowed in %v", end-i, times[end-1].Sub(times[i]), n, window),
		})
		i = end
	}
	return found
}

// CheckReuse finds requests that used a spent refresh token past its grace, whichever owner sent
// them. Each of them revoked a login.
func (s *Server) CheckReuse() []Violation {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Violation
	for _, r := range s.records.token {
		if r.Reuse {
			found = append(found, Violation{
				Rule: "no refresh token is used again",
				Detail: fmt.Sprintf("token request %d by %q used refresh token %d, which was spent before",
					r.Number, r.Owner, s.tokens.refresh[r.Params.Get("refresh_token")].number),
			})
		}
	}
	return found
}

// CheckCredentials finds API requests with no credential or with more than one.
func (s *Server) CheckCredentials() []Violation {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Violation
	for i, r := range s.records.api {
		if n := len(r.Credentials); n != 1 {
			found = append(found, Violation{
				Rule:   "an API request carries one token",
				Detail: fmt.Sprintf("API request %d by %q carried %d", i+1, r.Owner, n),
			})
		}
	}
	return found
}

// CheckExpired finds API requests with a token past its end: the client knew, or could have known,
// that the API would refuse it.
func (s *Server) CheckExpired() []Violation {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Violation
	for i, r := range s.records.api {
		if r.Verdict == Expired {
			found = append(found, Violation{
				Rule:   "no expired token is sent",
				Detail: fmt.Sprintf("API request %d by %q carried access token %d after its end", i+1, r.Owner, r.TokenNumber),
			})
		}
	}
	return found
}

// CheckAbsent searches text for any secret of this server: access and refresh tokens, authorization
// codes and PINs, client secrets, and secrets in a Basic header. It finds them as they are and in
// their form in URLs. The text may be a log, a page or a config dump; where names it in the
// findings.
func (s *Server) CheckAbsent(where, text string) []Violation {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Violation
	look := func(what, secret string) {
		if secret != "" && (strings.Contains(text, secret) || strings.Contains(text, url.QueryEscape(secret))) {
			found = append(found, Violation{Rule: "secrets stay secret", Detail: what + " stands in " + where})
		}
	}
	for _, a := range s.tokens.issued {
		look(fmt.Sprintf("access token %d", a.number), a.value)
	}
	for _, t := range s.tokens.refresh {
		look(fmt.Sprintf("refresh token %d", t.number), t.value)
	}
	for _, c := range s.emulation.codes {
		look(fmt.Sprintf("authorization code %d", c.number), c.value)
	}
	for _, proofs := range []*Proofs{&s.TokenProofs, &s.APIProofs} {
		for i, proof := range proofs.Texts() {
			look(fmt.Sprintf("DPoP proof %d", i+1), proof)
		}
	}
	for _, c := range s.clients {
		for i, secret := range c.Secrets {
			look(fmt.Sprintf("secret %d of client %q", i+1, c.ID), secret)
			for _, pair := range []string{c.ID + ":" + secret, url.QueryEscape(c.ID) + ":" + url.QueryEscape(secret)} {
				look(fmt.Sprintf("secret %d of client %q, as a Basic header,", i+1, c.ID),
					base64.StdEncoding.EncodeToString([]byte(pair)))
			}
		}
	}
	slices.SortFunc(found, func(a, b Violation) int { return strings.Compare(a.Detail, b.Detail) })
	return slices.Compact(found)
}
