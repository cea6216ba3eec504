package tokensourcetest

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Verdict is the API's decision about a request.
type Verdict string

// The verdicts. All but the first one are refusals.
const (
	// Accepted means that the token is good.
	Accepted Verdict = "accepted"
	// Missing means that there is no token. The status is 401 without an error code (RFC 6750
	// section 3.1).
	Missing Verdict = "missing"
	// Ambiguous means that there is more than one token. The status is 400 with invalid_request
	// (RFC 6750 section 2).
	Ambiguous Verdict = "ambiguous"
	// Malformed means that the header has another scheme. The status is 401 with invalid_token, as
	// for all verdicts below.
	Malformed Verdict = "malformed"
	// Unknown means that this server never issued the token.
	Unknown Verdict = "unknown"
	// Expired means that the token's lifetime is over.
	Expired Verdict = "expired"
	// Revoked means that the token was ended before its lifetime was over.
	Revoked Verdict = "revoked"
	// Unproved means that the proof is refused (RFC 9449 section 7.1), and NoNonce that it lacks
	// the nonce that the API wants.
	Unproved Verdict = "unproved"
	NoNonce  Verdict = "no nonce"
	// Unbound means that the token is bound to a client certificate that the connection did not
	// present (RFC 8705 section 3).
	Unbound Verdict = "unbound"
	// Refused means that [Server.RefuseAll] is on.
	Refused Verdict = "refused"
)

// APIRequest is the record of one request to the protected API. It holds secrets. Tests may inspect
// them but should not print them.
type APIRequest struct {
	// Time is when the request arrived, by Config.Now. Owner is the result of Config.Owner.
	Time  time.Time
	Owner string
	// Method, Host, Path, RawQuery and Header come from the HTTP request.
	Method, Host, Path, RawQuery string
	Header                       http.Header
	// Credentials are all tokens that were found, in this order: header, then query.
	Credentials []Credential
	// Verdict is the decision. Status is the status of a refusal, or 0 if the request was accepted.
	Verdict Verdict
	Status  int
	// TokenNumber is the number of the access token if this server issued it, or else 0.
	TokenNumber uint64
	// Deployment is the deployment to which the request was sent, if the [Provider] has
	// deployments.
	Deployment string

	certificate *x509.Certificate
}

// Caller describes the caller of a request, for handlers behind [Server.Protect].
type Caller struct {
	// ClientID, Subject and Scopes belong to the token.
	ClientID, Subject string
	Scopes            []string
	// TokenNumber is the number of the access token.
	TokenNumber uint64
	// Expiry is when the token ends.
	Expiry time.Time
}

type callerKey struct{}

// CallerOf returns the caller of a request that [Server.Protect] accepted.
func CallerOf(ctx context.Context) (Caller, bool) {
	c, ok := ctx.Value(callerKey{}).(Caller)
	return c, ok
}

// API returns the protected API. It answers any request that has a good token with a JSON object of
// method, path, subject, token_number and expires_in (whole seconds left). The object never
// contains the token itself.
func (s *Server) API() http.Handler {
	return s.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if under(r.URL.Path, s.emulation.forbiddenPath) {
			writeJSON(w, http.StatusForbidden, s.emulation.refusal(http.StatusForbidden, "Forbidden"))
			return
		}
		caller, _ := CallerOf(r.Context())
		path := r.URL.Path
		for _, c := range s.findCredentials(r) {
			path = strings.ReplaceAll(path, c.Token, "TOKEN")
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"method":       r.Method,
			"path":         path,
			"subject":      caller.Subject,
			"token_number": caller.TokenNumber,
			"expires_in":   int64(caller.Expiry.Sub(s.cfg.Now()) / time.Second),
		})
	}))
}

// Protect passes requests with a good access token to next and refuses the others (RFC 6750 section
// 3). It records both. It can be mounted in any server. It does not look for a token in the body
// (RFC 6750 section 2.2).
func (s *Server) Protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := &APIRequest{
			Owner: s.cfg.Owner(r), Method: r.Method, Host: r.Host, Path: r.URL.Path,
			RawQuery: r.URL.RawQuery, Header: r.Header.Clone(), Credentials: s.findCredentials(r),
			Deployment: s.emulation.deployment(r), certificate: certificateOf(r),
		}
		var thumbprint string
		var proofErr error
		if s.cfg.DPoP && len(req.Credentials) == 1 {
			thumbprint, proofErr = s.APIProofs.Check(r, req.Credentials[0].Token)
			if nonce := s.APIProofs.Nonce(); nonce != "" {
				w.Header().Set("DPoP-Nonce", nonce)
			}
		}
		caller, challenge := s.judge(req, thumbprint, proofErr)
		if req.Verdict == Accepted {
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, caller)))
			return
		}
		if s.emulation.refusal != nil {
			writeJSON(w, req.Status, s.emulation.refusal(req.Status, "Unauthorized"))
			return
		}
		w.Header().Set("WWW-Authenticate", challenge)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(req.Status)
		_ = json.NewEncoder(w).Encode(map[string]string{"verdict": string(req.Verdict)})
	})
}

// judge decides about req, fills in its verdict and records it.
func (s *Server) judge(req *APIRequest, thumbprint string, proofErr error) (caller Caller, challenge string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	req.Time = s.cfg.Now()
	var token *accessToken
	if len(req.Credentials) == 1 {
		if token = s.tokens.access[req.Credentials[0].Token]; token != nil {
			req.TokenNumber = token.number
		}
	}
	req.Verdict = s.verdict(req, token)
	if req.Verdict == Accepted && s.cfg.DPoP {
		switch {
		case errors.Is(proofErr, ErrNonce):
			req.Verdict = NoNonce
		case proofErr != nil, thumbprint != token.login.thumbprint:
			req.Verdict = Unproved
		}
	}
	scheme := "Bearer"
	if s.cfg.DPoP {
		scheme = "DPoP"
	}
	switch req.Verdict {
	case Unproved:
		req.Status, challenge = http.StatusUnauthorized, `DPoP algs="ES256", error="invalid_dpop_proof"`
	case NoNonce:
		req.Status, challenge = http.StatusUnauthorized, `DPoP error="use_dpop_nonce", error_description="a nonce, is needed"`
	case Accepted:
		caller = Caller{
			ClientID: token.login.client, Subject: token.login.subject, Scopes: slices.Clone(token.scopes),
			TokenNumber: token.number, Expiry: token.expiry,
		}
	case Missing:
		req.Status, challenge = http.StatusUnauthorized, scheme+` realm="api"`
	case Ambiguous:
		req.Status, challenge = http.StatusBadRequest, scheme+` realm="api", error="invalid_request"`
	default:
		req.Status, challenge = http.StatusUnauthorized, scheme+` realm="api", error="invalid_token"`
	}
	s.records.api = append(s.records.api, req)
	s.records.changed()
	return caller, challenge
}

func (s *Server) verdict(req *APIRequest, token *accessToken) Verdict {
	switch {
	case len(req.Credentials) == 0:
		return Missing
	case len(req.Credentials) > 1:
		return Ambiguous
	case !s.fits(req.Credentials[0]):
		return Malformed
	case s.refuseAll:
		return Refused
	case token == nil, token.login.deployment != req.Deployment:
		return Unknown
	case token.revoked || token.login.revoked:
		return Revoked
	case !token.live(req.Time):
		return Expired
	case token.certificate != nil && !token.certificate.Equal(req.certificate):
		return Unbound
	}
	return Accepted
}

// RefuseAll makes the API refuse every token with 401, including good ones, until it is called with
// false.
func (s *Server) RefuseAll(refuse bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuseAll = refuse
}

// APIRequests returns the requests that the API has judged, in the order of the decisions.
func (s *Server) APIRequests() []APIRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]APIRequest, len(s.records.api))
	for i, r := range s.records.api {
		list[i] = *r
		list[i].Header = r.Header.Clone()
		list[i].Credentials = slices.Clone(r.Credentials)
	}
	return list
}
