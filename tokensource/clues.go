package tokensource

import (
	"net/http"
	"strings"
	"time"
)

const (
	// leastSkew is the difference between two clocks that may be why a provider refuses a JWT, or why
	// a token has ended at its birth.
	leastSkew = time.Minute
	// leastProofSkew is the same for a DPoP proof: servers accept proofs that are a few seconds off.
	leastProofSkew = 5 * time.Second
)

// clues returns the facts about a failure that are in the header of the server's response: how far
// the local clock is from the server's, and which client authentication it asks for.
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

// clues adds to a failure what the header of the response says about it.
func (w *wire) clues(failure *Error, header http.Header) *Error {
	found := clues(w.cfg.Clock.Now(), header)
	if w.cfg.ClientAuth != ClientSecretPost && w.cfg.ClientAuth != ClientSecretQuery {
		delete(found, "basic") // it was sent, or there is no secret to send
	}
	return failure.know(found)
}
