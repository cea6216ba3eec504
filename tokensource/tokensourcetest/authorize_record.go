package tokensourcetest

import (
	"net/http"
	"net/url"
	"slices"
	"time"
)

// AuthorizeRequest is the record of one authorization request (RFC 6749 section 4.1.1 or 4.2.1). It
// holds secrets. Tests may inspect them but should not print them.
type AuthorizeRequest struct {
	// Time is when the request arrived, by Config.Now.
	Time time.Time
	// Method and RawQuery come from the HTTP request.
	Method, RawQuery string
	// Params are its parameters.
	Params url.Values
	// Deployment is the deployment to which the request was sent, if the provider has deployments.
	Deployment string
	// ClientID is the client that the request named.
	ClientID string
	// Outcome is [OutcomeIssued] or an error code. It is access_denied if the user denied access,
	// and empty while the request waits for the user.
	Outcome string
	// Redirect is where the browser was finally sent, or empty if it was not redirected.
	Redirect string
	// Code is the issued code or PIN, and AccessToken the issued token.
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
	// Time is when the request arrived, by Config.Now.
	Time time.Time
	// Auth is how the client authenticated.
	Auth AuthMethod
	// Token is the token to revoke.
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
