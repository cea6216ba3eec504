package tokensourcetest

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/authinject/caddy-authinject/internal/host"
)

// ProofWindow is how far the time of a proof may be from the server's clock.
const ProofWindow = time.Minute

// proofAlgs are the algorithms of proofs.
var proofAlgs = []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.ES512, jose.PS256, jose.EdDSA}

// Proofs checks DPoP proofs as strictly as RFC 9449 section 4.3 allows: each jti once, a narrow
// window of time, the URL compared as text, and a nonce if one is wanted. The zero value is ready
// to use. It is safe for concurrent use.
type Proofs struct {
	// Now is the clock. Default: time.Now.
	Now func() time.Time

	mu    sync.Mutex
	nonce string
	seen  map[string]bool
	texts []string
}

// Errors of [Proofs.Check].
var (
	// ErrProof is wrapped by the error for a proof that is refused: invalid_dpop_proof.
	ErrProof = errors.New("the proof is refused")
	// ErrNonce means that the proof must have the nonce of [Proofs.Nonce]: use_dpop_nonce.
	ErrNonce = errors.New("the proof needs a nonce")
)

// RequireNonce makes a new nonce, which all proofs must have from now on.
func (p *Proofs) RequireNonce() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nonce = "nonce-" + rand.Text()
	return p.nonce
}

// Nonce returns the nonce that proofs must have, or an empty text.
func (p *Proofs) Nonce() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nonce
}

// Texts returns all proofs that were presented, as they were sent. They are secrets.
func (p *Proofs) Texts() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.texts)
}

// RequestURL returns the URL of a request as its server sees it, without query, as htu must be.
func RequestURL(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	return host.WithoutDefaultPort(scheme+"://"+strings.ToLower(r.Host)) + path
}

// Check checks the proof of a request. access is the access token that the request carries, or
// empty for a token request. It returns the thumbprint of the proof's key (RFC 7638).
func (p *Proofs) Check(r *http.Request, access string) (thumbprint string, err error) {
	return p.check(r.Header, r.Method, RequestURL(r), access)
}

func (p *Proofs) check(header http.Header, method, url, access string) (thumbprint string, err error) {
	refuse := func(why string) (string, error) { return "", errors.Join(ErrProof, errors.New(why)) }
	fields := header["Dpop"]
	if len(fields) != 1 {
		return refuse("there is not exactly one field DPoP")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.texts = append(p.texts, fields[0])
	signed, err := jose.ParseSignedCompact(fields[0], proofAlgs)
	if err != nil {
		return refuse("it is no signed JWT")
	}
	protected := signed.Signatures[0].Protected
	key := protected.JSONWebKey
	if protected.ExtraHeaders["typ"] != "dpop+jwt" || key == nil || !key.IsPublic() || !key.Valid() {
		return refuse("its header has no typ dpop+jwt or no public key")
	}
	payload, err := signed.Verify(key)
	if err != nil {
		return refuse("its signature is wrong")
	}
	var claims struct {
		ID    string `json:"jti"`
		HTM   string `json:"htm"`
		HTU   string `json:"htu"`
		IAT   int64  `json:"iat"`
		ATH   string `json:"ath"`
		Nonce string `json:"nonce"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return refuse("its claims are no JSON")
	}
	now := time.Now
	if p.Now != nil {
		now = p.Now
	}
	age := now().Sub(time.Unix(claims.IAT, 0))
	ath := ""
	if access != "" {
		sum := sha256.Sum256([]byte(access))
		ath = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	switch {
	case claims.HTM != method:
		return refuse("htm is " + claims.HTM + ", and the method is " + method)
	case claims.HTU != url:
		return refuse("htu is " + claims.HTU + ", and the URL is " + url)
	case age > ProofWindow || age < -ProofWindow:
		return refuse("iat is too old or in the future")
	case claims.ATH != ath:
		return refuse("ath does not match the access token")
	case len(claims.ID) < 16 || p.seen[claims.ID]:
		return refuse("jti was used before, or is too short")
	case p.nonce != "" && claims.Nonce != p.nonce:
		return "", ErrNonce
	}
	if p.seen == nil {
		p.seen = make(map[string]bool)
	}
	p.seen[claims.ID] = true
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return refuse("its key has no thumbprint")
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// proofError returns the error of an endpoint for a proof that was refused.
func proofError(err error) *oauthError {
	if errors.Is(err, ErrNonce) {
		return errorf(http.StatusBadRequest, "use_dpop_nonce", "the proof needs the nonce in DPoP-Nonce")
	}
	return errorf(http.StatusBadRequest, "invalid_dpop_proof", err.Error())
}

// withNonce adds the endpoints' nonce to an answer, if proofs need one.
func (s *Server) withNonce(out answer) answer {
	if nonce := s.TokenProofs.Nonce(); nonce != "" {
		out.header.Set("DPoP-Nonce", nonce)
	}
	return out
}

// proved checks the proof of a request to one of the server's endpoints.
func (s *Server) proved(r *http.Request) (thumbprint string, oerr *oauthError) {
	if !s.cfg.DPoP {
		return "", nil
	}
	thumbprint, err := s.TokenProofs.Check(r, "")
	if err != nil {
		return "", proofError(err)
	}
	return thumbprint, nil
}
