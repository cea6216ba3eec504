package tokensourcetest

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// maxAssertionLifetime is the longest lifetime of an assertion that the client signs itself. For an
// assertion of a third party ([AssertionKey].Issuer) there is no limit.
const maxAssertionLifetime = 5 * time.Minute

// The algorithms of assertions.
var (
	keyAlgs = []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384,
		jose.ES512, jose.EdDSA,
	}
	secretAlgs = []jose.SignatureAlgorithm{jose.HS256, jose.HS384, jose.HS512}
)

// claims are those of an assertion (RFC 7523 section 3).
type claims struct {
	Issuer   string          `json:"iss"`
	Subject  string          `json:"sub"`
	Audience json.RawMessage `json:"aud"`
	ID       string          `json:"jti"`
	Issued   int64           `json:"iat"`
	Begin    int64           `json:"nbf"`
	End      int64           `json:"exp"`
}

// authenticateJWT verifies a client assertion as strictly as RFC 7523 section 3 allows. Its times
// are compared with this server's clock. An assertion that the client signed itself needs a new
// jti. The caller holds s.mu.
func (s *Server) authenticateJWT(p presented) (*Client, AuthMethod, *oauthError) {
	method, key, got, problem := s.verifyAssertion(p)
	if problem == "" {
		problem = s.checkAssertion(p.id, got, key)
	}
	if problem != "" {
		return nil, p.method, errorf(http.StatusUnauthorized, "invalid_client", "the client assertion is refused: "+problem)
	}
	return s.clients[p.id], method, nil
}

// verifyAssertion verifies the signature and decodes the claims. It returns the key that verified
// the signature, which is zero if a client secret did. problem says why the assertion is refused,
// or is empty.
func (s *Server) verifyAssertion(p presented) (method AuthMethod, key AssertionKey, got claims, problem string) {
	client := s.clients[p.id]
	if client == nil {
		return "", key, got, "the client is unknown"
	}
	signed, err := jose.ParseSignedCompact(p.assertion, slices.Concat(keyAlgs, secretAlgs))
	if err != nil {
		return "", key, got, "it is not a signed JWT"
	}
	var payload []byte // nil if nothing of the client verifies the signature
	if alg := jose.SignatureAlgorithm(signed.Signatures[0].Header.Algorithm); slices.Contains(secretAlgs, alg) {
		method = AuthSecretJWT
		for _, secret := range client.Secrets {
			if verified, err := signed.Verify([]byte(secret)); err == nil {
				payload = verified
			}
		}
	} else {
		method = AuthPrivateKeyJWT
		for _, k := range client.Keys {
			if verified, err := signed.Verify(k.Key); err == nil {
				payload, key = verified, k
			}
		}
	}
	switch {
	case payload == nil:
		return "", key, got, "no key of the client verifies it"
	case !client.mayUse(method):
		return "", key, got, "the client may not authenticate with " + string(method)
	case json.Unmarshal(payload, &got) != nil:
		return "", key, got, "its claims are not valid JSON"
	}
	return method, key, got, ""
}

// checkAssertion checks the claims, and notes the jti.
func (s *Server) checkAssertion(id string, got claims, key AssertionKey) (problem string) {
	issuer, subject, selfIssued := id, id, true
	if key.Issuer != "" {
		issuer, subject, selfIssued = key.Issuer, key.Subject, false
	}
	var audiences []string // empty if aud is neither a string nor a list of strings
	var one string
	if json.Unmarshal(got.Audience, &one) == nil {
		audiences = []string{one}
	} else if json.Unmarshal(got.Audience, &audiences) != nil {
		audiences = nil
	}
	isOurs := func(audience string) bool { return audience == s.URL || audience == s.TokenURL() }
	now := s.cfg.Now()
	switch {
	case got.Issuer != issuer || got.Subject != subject:
		return "iss or sub is wrong"
	case !slices.ContainsFunc(audiences, isOurs):
		return "aud is wrong"
	case got.End <= now.Unix():
		return "it has expired"
	case got.Issued > now.Unix() || got.Begin > now.Unix():
		return "it is not valid yet"
	case !selfIssued:
		return ""
	case got.End > now.Add(maxAssertionLifetime).Unix():
		return "it lives for too long"
	case got.ID == "" || s.records.assertions[id+" "+got.ID]:
		return "its jti is missing or was used before"
	}
	s.records.assertions[id+" "+got.ID] = true
	return ""
}
