package tokensourcetest

import (
	"net/http"
	"net/url"
	"slices"
	"time"
)

// AuthorizeRequest is the record of one authorization request (RFC 6749 section
// 4.1.1 or 4.2.1). It holds secrets: they are for tests to look at, not to print.
type AuthorizeRequest struct {
	// Time is by Config.Now.
	Time time.Time
	// Method and RawQuery are those of the HTTP request.
	Method, RawQuery string
	// Params are its parameters.
	Params url.Values
	// Deployment is the one addressed, if the provider has them.
	Deployment string
	// ClientID is the client that was named.
	ClientID string
	// Outcome is [OutcomeIssued], an error code, access_denied where the user said
	// so, or empty while it waits for the user.
	Outcome string
	// Redirect is where the browser was sent in the end; empty: to no place.
	Redirect string
	// Code is the code or PIN, AccessToken the token, that was handed out.
	Code, AccessToken string
}

// AuthorizeRequests returns the authorization requests so far, oldest first.
func (p *Provider) AuthorizeRequests() []AuthorizeRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]AuthorizeRequest, len(p.emulation.requests))
	for i, r := range p.emulation.requests {
		list[i] = *r
		list[i].Params = url.Values(http.Header(r.Params).Clone())
	}
	return list
}

// RevokeRequest is the record of one request to the revocation endpoint.
type RevokeRequest struct {
	// Time is by Config.Now.
	Time time.Time
	// Auth is how the client authenticated.
	Auth AuthMethod
	// Token is the token to end.
	Token string
	// Outcome is ok or an error code.
	Outcome string
}

// RevokeRequests returns the revocation requests so far, oldest first.
func (p *Provider) RevokeRequests() []RevokeRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.emulation.revoked)
}
