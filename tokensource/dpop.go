package tokensource

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/authinject/caddy-authinject/internal/host"
	"github.com/authinject/caddy-authinject/tokensource/internal/jwt"
)

// DPoP (RFC 9449) binds an account's tokens to a key. A token request carries a proof that its
// sender has the key. Every request to an API carries one, too. A stolen token cannot be used
// without the key.
//
// Each account has one key. It is made when it is first needed, and it is part of the account's
// record: a process that takes over a record has the key of its tokens too. A login that is under
// way keeps the key in its own stored form, because the code is bound to it as well (section 10).
// Disconnecting an account removes the key with the tokens. Connecting it again without that keeps
// the key. A source that stores no records keeps its keys in memory.

// DPoPAlgs are the algorithms of [Config.DPoP].
var DPoPAlgs = []string{"ES256"}

const (
	// The error codes of RFC 9449 sections 5, 7.1 and 8.
	codeInvalidProof = "invalid_dpop_proof"
	codeUseNonce     = "use_dpop_nonce"

	dpopType = "DPoP" // the token_type, and the scheme of the field Authorization
)

// checkDPoP checks the options that concern proofs.
func (cfg *Config) checkDPoP() error {
	if cfg.DPoP == "" {
		return nil
	}
	if err := CheckWord("dpop", cfg.DPoP, DPoPAlgs); err != nil {
		return err
	}
	if traits := cfg.Grant.Traits(); traits.Local || traits.NoTokenURL {
		return errors.New(
			"dpop needs a grant that sends token requests: the provider binds a token to the key of its request")
	}
	for _, h := range cfg.TokenHeaders {
		if strings.EqualFold(h.Name, "DPoP") {
			return fmt.Errorf("token_header %s is set by dpop; remove it", h.Name)
		}
	}
	for _, p := range cfg.AuthorizeParams {
		if p.Name == "dpop_jkt" {
			return errors.New("authorize_param dpop_jkt is sent by dpop; remove it")
		}
	}
	return nil
}

// dpopOffered returns an error if the issuer's metadata lists algorithms for proofs, but not the
// configured one.
func (cfg *Config) dpopOffered(m *metadata) *Error {
	if cfg.DPoP == "" || len(m.dpopAlgs) == 0 || slices.Contains(m.dpopAlgs, cfg.DPoP) {
		return nil
	}
	return &Error{Class: ClassOperator, Reason: "the issuer takes DPoP proofs, but none with " + cfg.DPoP}
}

// proofKey is the key of an account, ready for use.
type proofKey struct{ *jwt.Proofs }

// newDPoPKey returns a new private key in its stored form.
func newDPoPKey(alg string) (Secret, error) {
	key, err := jwt.GenerateKey(alg)
	if err != nil {
		return Secret{}, err
	}
	text, err := key.JWK()
	return NewSecret(string(text)), err
}

// parseDPoPKey reads the stored form of a key.
func parseDPoPKey(stored Secret) (*proofKey, error) {
	key, err := jwt.ParseKey(stored.Reveal(), "")
	if err == nil {
		var proofs *jwt.Proofs
		if proofs, err = key.Proofs("dpop+jwt"); err == nil {
			return &proofKey{proofs}, nil
		}
	}
	return nil, errors.New("the account's stored DPoP key cannot be used: " + err.Error())
}

// ensureDPoPKey makes a key for rec if its source needs one and rec has none. It changes rec, which
// must belong to the caller.
func (s *Source) ensureDPoPKey(rec *Record) error {
	if s.cfg.DPoP == "" || !rec.DPoPKey.IsZero() {
		return nil
	}
	key, err := newDPoPKey(s.cfg.DPoP)
	if err != nil {
		return errors.New("making a DPoP key failed")
	}
	rec.DPoPKey = key
	return nil
}

// proofKeyOf returns the key that signs the proofs of token requests for rec, or nil without DPoP.
// If rec has no key, it gets one.
func (s *Source) proofKeyOf(rec *Record) (*proofKey, *Error) {
	if s.cfg.DPoP == "" {
		return nil, nil
	}
	err := s.ensureDPoPKey(rec)
	if err == nil {
		var key *proofKey
		if key, err = parseDPoPKey(rec.DPoPKey); err == nil {
			return key, nil
		}
	}
	return nil, &Error{Class: ClassOperator, Reason: err.Error()}
}

// boundKeyFor gives a login the key to which its code will be bound: the account's own, or a new
// one.
func (s *Source) boundKeyFor(l *Login, found *Record) error {
	rec := &Record{}
	if found != nil {
		rec.DPoPKey = found.DPoPKey
	}
	err := s.ensureDPoPKey(rec)
	if s.cfg.DPoP != "" {
		l.DPoPKey = rec.DPoPKey
	}
	return err
}

// proof returns a proof for one request (section 4.2). target is the request's URL; its query and
// fragment are left out. ath is the digest of the access token that the request carries, or empty.
func (k *proofKey) proof(method string, target *url.URL, now time.Time, ath, nonce string) (string, error) {
	claims, _ := json.Marshal(struct { // texts and numbers always marshal
		ID    string `json:"jti"`
		HTM   string `json:"htm"`
		HTU   string `json:"htu"`
		IAT   int64  `json:"iat"`
		ATH   string `json:"ath,omitempty"`
		Nonce string `json:"nonce,omitempty"`
	}{jwt.NewID(), method, proofURL(target), now.Unix(), ath, nonce})
	return k.Sign(claims)
}

// proofURL returns the claim htu: the URL without query and fragment. Scheme and host are in lower
// case and without the default port (RFC 3986 section 6.2.3), because some servers compare texts.
// The path is as it is sent.
func proofURL(u *url.URL) string {
	return host.OriginOf(u) + cmp.Or(u.EscapedPath(), "/")
}

// tokenDigest returns the claim ath (section 4.2).
func tokenDigest(access string) string {
	sum := sha256.Sum256([]byte(access))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// nonces keeps the newest nonce of each server (section 8). A server is an origin.
type nonces struct {
	mu   sync.Mutex
	last map[string]string
}

const (
	// maxNonces limits the number of stored nonces. At the limit, the next nonce replaces them all:
	// each server then asks for its nonce once more.
	maxNonces = 1000
	// maxNonce bounds the length of a nonce.
	maxNonce = 1 << 10
)

// of returns the nonce of a server, or an empty string.
func (n *nonces) of(origin string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last[origin]
}

// note keeps the nonce in a server's response, and reports whether there is one that a proof can
// hold (section 8.1).
func (n *nonces) note(origin string, header http.Header) bool {
	values := header["Dpop-Nonce"]
	if len(values) != 1 || values[0] == "" || len(values[0]) > maxNonce ||
		strings.ContainsFunc(values[0], func(c rune) bool { return c < '!' || c > '~' || c == '"' || c == '\\' }) {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.last == nil || len(n.last) >= maxNonces {
		n.last = make(map[string]string)
	}
	n.last[origin] = values[0]
	return true
}

// prover makes the proofs of API requests with one token.
type prover struct {
	*proofKey
	ath    string
	nonces *nonces // of the source's APIs
	clock  Clock
}

// prover returns the prover for rec's access token, or nil if the source uses no DPoP.
func (a *account) prover(rec *Record) *prover {
	if a.src.cfg.DPoP == "" || rec.DPoPKey.IsZero() {
		return nil
	}
	key, err := parseDPoPKey(rec.DPoPKey)
	if err != nil {
		return nil // the record's checksum was right, so this cannot happen; the upstream would refuse the token
	}
	return &prover{proofKey: key, ath: tokenDigest(rec.AccessToken.Reveal()), nonces: &a.src.nonces,
		clock: a.src.cfg.Clock}
}

// IsBound reports whether the token is bound to a key (RFC 9449). Then a request carries it as
// "Authorization: DPoP <token>", with a proof from [Token.Proof] in the field DPoP.
func (t *Token) IsBound() bool { return t.prover != nil }

// Proof returns a new proof for one request with the token (RFC 9449 section 7.1). method and
// target are the method and the URL of the request as the server sees it. The query of target does
// not matter. The proof holds the newest nonce of the server, which [Token.NoteNonce] keeps. The
// token must be bound.
func (t *Token) Proof(method string, target *url.URL) (string, error) {
	p := t.prover
	return p.proof(method, target, p.clock.Now(), p.ath, p.nonces.of(host.OriginOf(target)))
}

// NoteNonce keeps the nonce in the header of a server's response to a request with the token, and
// reports whether there is one (RFC 9449 section 8.2). The token must be bound.
func (t *Token) NoteNonce(target *url.URL, header http.Header) bool {
	return t.prover.nonces.note(host.OriginOf(target), header)
}

// ProofRefused returns the error for a server's response that refuses the proof of a request with
// the token. code is the error of its DPoP challenge: invalid_dpop_proof, or use_dpop_nonce for the
// second time. If again is true, the class is wait: the nonce is known now, so the same request
// succeeds. The token must be bound.
func (t *Token) ProofRefused(code string, target *url.URL, header http.Header, again bool) *Error {
	e := &Error{Class: ClassOperator, Reason: "the upstream" + proofRefused, Code: code, Endpoint: host.OriginOf(target)}
	if code == codeUseNonce {
		e.Reason = "the upstream" + nonceWanted
	}
	now := t.prover.clock.Now()
	if again {
		e.Class, e.Reason, e.RetryAt = ClassWait, "the upstream asked for a new DPoP nonce, and the request's body cannot "+
			"be sent again by itself", now
	}
	return e.withFacts(facts{"clock": shownClock(now)}).withFacts(skew(now, header))
}

const (
	proofRefused = " refused the DPoP proof"
	nonceWanted  = " asked for a DPoP nonce, and sent none or refused its own"
)

// prove adds a proof for a POST request to an endpoint of the provider, unless key is nil.
func (w *wire) prove(header http.Header, key *proofKey, endpointURL string) *Error {
	if key == nil {
		return nil
	}
	u, err := url.Parse(endpointURL)
	if err == nil {
		var proof string
		if proof, err = key.proof(http.MethodPost, u, w.cfg.Clock.Now(), "", w.nonces.of(host.OriginOf(u))); err == nil {
			header.Set("DPoP", proof)
			return nil
		}
	}
	return &Error{Class: ClassOperator, Reason: "the DPoP proof could not be made"}
}

// proofAnswered keeps the nonce in the response to a request with a proof. If the response is
// failure, it notes whether to send the request again.
func (w *wire) proofAnswered(failure *Error, key *proofKey, endpointURL string, header http.Header) {
	if key == nil {
		return
	}
	known := w.nonces.note(host.Origin(endpointURL), header)
	if failure != nil {
		failure.newNonce = known && failure.Code == codeUseNonce
	}
}

// withNonce sends a request. If the answer demands a nonce and contains one, it sends the request
// again with that nonce. In this case the first request had no effect (section 8).
func withNonce(send func(Secret) *Error, secret Secret) *Error {
	failed := send(secret)
	if failed != nil && failed.newNonce {
		failed = send(secret)
	}
	return failed
}

func shownClock(now time.Time) string { return now.UTC().Format(time.RFC3339) }
