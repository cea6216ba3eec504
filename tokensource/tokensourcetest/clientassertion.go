package tokensourcetest

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// maxAssertion is the longest lifetime of an assertion that a client makes itself.
const maxAssertion = 5 * time.Minute

// The algorithms of assertions.
var (
	keyAlgs = []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
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

// authenticateJWT verifies an assertion as strictly as RFC 7523 section 3 allows: each jti counts
// once, and the times are those of this server's clock. The caller holds s.mu.
func (s *Server) authenticateJWT(p presented) (*Client, AuthMethod, *oauthError) {
	method, key, read, problem := s.verifyAssertion(p)
	if problem == "" {
		problem = s.checkAssertion(p.id, read, key)
	}
	if problem != "" {
		return nil, p.method, errorf(http.StatusUnauthorized, "invalid_client", "the client assertion is refused: "+problem)
	}
	return s.clients[p.id], method, nil
}

// verifyAssertion finds the key that signed the assertion. Its result key is zero for a secret.
func (s *Server) verifyAssertion(p presented) (method AuthMethod, key AssertionKey, read claims, problem string) {
	client := s.clients[p.id]
	if client == nil {
		return "", key, read, "the client is unknown"
	}
	signed, err := jose.ParseSignedCompact(p.assertion, slices.Concat(keyAlgs, secretAlgs))
	if err != nil {
		return "", key, read, "it is not a signed JWT"
	}
	payload, failed := []byte(nil), true
	if alg := jose.SignatureAlgorithm(signed.Signatures[0].Header.Algorithm); slices.Contains(secretAlgs, alg) {
		method = AuthSecretJWT
		for _, secret := range client.Secrets {
			if verified, err := signed.Verify([]byte(secret)); err == nil {
				payload, failed = verified, false
			}
		}
	} else {
		method = AuthPrivateKeyJWT
		for _, k := range client.Keys {
			if verified, err := signed.Verify(k.Key); err == nil {
				payload, key, failed = verified, k, false
			}
		}
	}
	if failed || !client.mayUse(method) || json.Unmarshal(payload, &read) != nil {
		return "", key, read, "no key of the client verifies it"
	}
	return method, key, read, ""
}

// checkAssertion checks the claims, and notes the jti.
func (s *Server) checkAssertion(id string, read claims, key AssertionKey) (problem string) {
	issuer, subject, own := id, id, true
	if key.Issuer != "" {
		issuer, subject, own = key.Issuer, key.Subject, false
	}
	audiences := []string{string(read.Audience)}
	var one string
	if json.Unmarshal(read.Audience, &one) == nil {
		audiences = []string{one}
	} else {
		_ = json.Unmarshal(read.Audience, &audiences) // another text is no audience of this server
	}
	isOurs := func(audience string) bool { return audience == s.URL || audience == s.TokenURL() }
	now := s.cfg.Now()
	switch {
	case read.Issuer != issuer || read.Subject != subject:
		return "iss or sub is wrong"
	case !slices.ContainsFunc(audiences, isOurs):
		return "aud is wrong"
	case read.End <= now.Unix():
		return "it has expired"
	case read.Issued > now.Unix() || read.Begin > now.Unix():
		return "it is not valid yet"
	case !own:
		return ""
	case read.End > now.Add(maxAssertion).Unix():
		return "it lives for too long"
	case read.ID == "" || s.records.assertions[id+" "+read.ID]:
		return "its jti is missing or was used before"
	}
	s.records.assertions[id+" "+read.ID] = true
	return ""
}
