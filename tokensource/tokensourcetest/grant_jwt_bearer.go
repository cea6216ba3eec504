package tokensourcetest

import (
	"cmp"
	"crypto"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const grantJWTBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// Signer is who signs the assertions that a provider grants tokens for (RFC 7523 section 2.1).
type Signer struct {
	// Key verifies the assertions.
	Key crypto.PublicKey
	// Issuer and Subject are the claims iss and sub. Without a Subject, an assertion must not have
	// one.
	Issuer, Subject string
	// KeyID is the header field kid, for a provider that wants one.
	KeyID string
}

// assertionRules say what assertions a token endpoint takes. It takes no other grant.
type assertionRules struct {
	signer Signer
	algs   []jose.SignatureAlgorithm
	// client is true if the client authenticates as well, with client_secret_post. Otherwise no
	// client does.
	client bool
	// unknown is the description of a signature that the key does not verify; empty: one of ours.
	unknown string
	// check returns why a verified assertion is refused, as an error code and a description, or
	// empty texts.
	check func(s *Server, read grantClaims, now time.Time) (code, description string)
}

// grantClaims are those of an assertion that a grant consists of.
type grantClaims struct {
	claims
	Scope      string `json:"scope"`
	BoxSubType string `json:"box_sub_type"`
	// has says which claims there are.
	has map[string]any
}

// grantAssertion grants a token for an assertion. The caller holds s.mu.
func (s *Server) grantAssertion(rec *TokenRequest, in input) (*issuance, *oauthError) {
	rules, allowed := s.emulation.assertions, []string{"grant_type", "assertion", "scope"}
	switch {
	case rules.client:
		if _, method, oerr := s.authenticate(in.presented); oerr != nil || method != AuthPost {
			return nil, errorf(http.StatusBadRequest, "invalid_client", "The client credentials are invalid")
		}
		allowed = []string{"grant_type", "assertion", "client_id", "client_secret"}
	case in.presented.method != "":
		return nil, errorf(http.StatusBadRequest, "invalid_request", "the assertion is the only proof")
	}
	if rec.Grant != grantJWTBearer {
		return nil, errorf(http.StatusBadRequest, "unsupported_grant_type", "grant_type must be "+grantJWTBearer)
	}
	for name, values := range rec.Params {
		if !slices.Contains(allowed, name) || len(values) != 1 {
			return nil, errorf(http.StatusBadRequest, "invalid_request", "unknown or repeated parameter "+name)
		}
	}
	read, ok := rules.verify(rec.Params.Get("assertion"))
	if !ok {
		return nil, errorf(http.StatusBadRequest, "invalid_grant", cmp.Or(rules.unknown, "the assertion has another "+
			"signature than this server knows"))
	}
	if code, description := rules.check(s, read, rec.Processed); code != "" {
		return nil, errorf(http.StatusBadRequest, code, description)
	}
	l := &login{client: read.Issuer, subject: read.Subject, grant: grantJWTBearer, scopes: []string{read.Scope}}
	if read.Scope == "" {
		l.scopes = nil
	}
	rec.ClientID = read.Issuer
	return &issuance{access: s.newAccess(l, l.scopes, rec.Processed)}, nil
}

// verify verifies a JWT, and returns its claims.
func (r *assertionRules) verify(token string) (read grantClaims, ok bool) {
	signed, err := jose.ParseSignedCompact(token, r.algs)
	if err != nil || r.signer.KeyID != "" && signed.Signatures[0].Header.KeyID != r.signer.KeyID {
		return read, false
	}
	payload, err := signed.Verify(r.signer.Key)
	if err != nil || json.Unmarshal(payload, &read) != nil || json.Unmarshal(payload, &read.has) != nil {
		return read, false
	}
	return read, true
}

// isFor reports whether the claim aud is one of these. It must be a single text.
func (c grantClaims) isFor(audiences ...string) bool {
	var one string
	return json.Unmarshal(c.Audience, &one) == nil && slices.Contains(audiences, one)
}

// startSigned starts a server whose token endpoint takes assertions alone.
func startSigned(t T, cfg Config, e *emulation) *Server {
	t.Helper()
	s, err := listen(cfg, e)
	if err != nil {
		panic("tokensourcetest: " + err.Error())
	}
	t.Cleanup(s.Close)
	return s
}
