package authinject

import (
	"cmp"
	"net/http"
	"net/url"

	"github.com/authinject/caddy-authinject/internal/challenge"
	"github.com/authinject/caddy-authinject/tokensource"
)

// The fields, scheme and error codes of RFC 9449 (sections 4.1, 7.1 and 8). With use_dpop_nonce, a
// server asks for its nonce in the proof (section 9).
const (
	proofField   = "DPoP"
	proofScheme  = "DPoP"
	nonceField   = "Dpop-Nonce"
	useNonceCode = "use_dpop_nonce"
	proofCode    = "invalid_dpop_proof"
)

// DPoPInjection puts a token that is bound to a key into the header field Authorization, after the
// scheme DPoP, and a proof of possession into the field DPoP of each request (RFC 9449 section
// 7.1). The client's own field DPoP is removed.
func DPoPInjection() Injection { return Injection{scheme: proofScheme, dpop: true} }

// send sends a request that carries c.
func (x *exchange) send(out *http.Request, c *credential) (*http.Response, error) {
	if !x.t.Injection.dpop {
		return x.base().RoundTrip(out)
	}
	return x.sendProved(out, c)
}

// sendProved sends a request with a proof. If the upstream wants its nonce in the proof, the
// request is sent once more, under the rules for requests whose token was rejected. The token
// itself is not treated as rejected. If the upstream refuses the proof for another reason, the
// client is not told to authenticate, because it cannot: the error is a [*tokensource.Error].
func (x *exchange) sendProved(out *http.Request, c *credential) (*http.Response, error) {
	target := x.proofTarget(out)
	res, known, err := x.prove(out, c, target)
	if err != nil || proofError(res) != useNonceCode || !known {
		return x.checkProof(res, err, c, target, false)
	}
	var again *http.Request
	if x.replayable() {
		again = x.again(c)
	}
	if again == nil {
		return x.checkProof(res, nil, c, target, true)
	}
	discard(res.Body, drainWait)
	x.replayed = true
	res, _, err = x.prove(again, c, target)
	return x.checkProof(res, err, c, target, false)
}

// prove sends a request with a new proof, and reports whether the response has a nonce.
func (x *exchange) prove(out *http.Request, c *credential,
	target *url.URL) (res *http.Response, known bool, err error) {
	proof, err := c.token.Proof(cmp.Or(out.Method, http.MethodGet), target)
	if err != nil {
		return nil, false, x.t.operatorError("the DPoP proof could not be made")
	}
	out.Header[http.CanonicalHeaderKey(proofField)] = []string{proof}
	if res, err = x.base().RoundTrip(out); err != nil {
		return nil, false, err
	}
	return res, c.token.NoteNonce(target, res.Header), nil
}

// checkProof returns the error for a response that refuses the proof. again means that the same
// request would succeed if the client sent it again.
func (x *exchange) checkProof(res *http.Response, err error, c *credential, target *url.URL,
	again bool) (*http.Response, error) {
	if err != nil {
		return nil, err
	}
	code := proofError(res)
	if code != useNonceCode && code != proofCode {
		return res, nil
	}
	discard(res.Body, 0)
	refused := c.token.ProofRefused(code, target, res.Header, again)
	refused.Source = x.t.SourceName
	return nil, refused
}

// failProof returns the answer to the client for a proof that the upstream refused.
func (x *exchange) failProof(refused *tokensource.Error) (*http.Response, error) {
	res, err := x.fail(refused)
	if res != nil {
		x.outcome = OutcomeRefused
	}
	return res, err
}

// proofTarget returns the URL of a request as the upstream sees it: the scheme of the connection,
// the field Host, and the path that is sent.
func (x *exchange) proofTarget(out *http.Request) *url.URL {
	target := &url.URL{
		Scheme: out.URL.Scheme, Host: cmp.Or(out.Host, out.URL.Host), Path: out.URL.Path, RawPath: out.URL.RawPath,
	}
	if x.t.Target != nil {
		if at, err := x.t.Target(x.req); err == nil && at.Scheme != "" {
			target.Scheme = at.Scheme
		}
	}
	return target
}

// proofError returns the error of the challenge DPoP in a response with status 401, or an empty
// text (RFC 9449 section 7.1).
func proofError(res *http.Response) string {
	if res.StatusCode != http.StatusUnauthorized {
		return ""
	}
	for _, one := range challenge.Parse(res.Header[challenge.Field]) {
		if code := one.Params["error"]; one.Is(proofScheme) && code != "" {
			return code
		}
	}
	return ""
}

// fits reports whether a token fits the injection: a bound token needs proofs, and a bearer token
// cannot be proved.
func (in *Injection) fits(tok *tokensource.Token) bool { return tok.IsBound() == in.dpop }
