package tokensource

import (
	"net/http"
	"strings"
	"time"
)

const (
	// leastSkew is the smallest clock difference that can explain why a provider refuses a JWT, or why
	// a token has already expired when it is issued.
	leastSkew = time.Minute
	// leastProofSkew is the limit for a DPoP proof: servers accept proofs that are only a few seconds off.
	leastProofSkew = 5 * time.Second
)

// clues returns facts about a failure from the header of the server's response: how far
// the local clock is from the server's clock, and whether the server asks for HTTP Basic.
func clues(now time.Time, header http.Header) facts {
	found := make(facts)
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		off := now.Sub(date).Round(time.Second)
		text := off.Abs().String() + " ahead of"
		if off < 0 {
			text = off.Abs().String() + " behind"
		}
		if off.Abs() > leastProofSkew {
			found["proof_skew"] = text
		}
		if off.Abs() >= leastSkew {
			found["skew"] = text
		}
	}
	for _, challenge := range header.Values("WWW-Authenticate") {
		if scheme, _, _ := strings.Cut(challenge, " "); strings.EqualFold(scheme, "Basic") {
			found["basic"] = string(ClientSecretBasic)
		}
	}
	return found
}

// clues adds the facts from the response's header to the failure.
func (w *wire) clues(failure *Error, header http.Header) *Error {
	found := clues(w.cfg.Clock.Now(), header)
	if w.cfg.ClientAuth != ClientSecretPost && w.cfg.ClientAuth != ClientSecretQuery {
		delete(found, "basic") // the request already used HTTP Basic, or the client sends no secret
	}
	return failure.know(found)
}
