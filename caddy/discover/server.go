package discover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Server is the metadata of an authorization server (RFC 8414 section 2).
type Server struct {
	Issuer       string   `json:"issuer"`
	AuthorizeURL string   `json:"authorization_endpoint"`
	TokenURL     string   `json:"token_endpoint"`
	RevokeURL    string   `json:"revocation_endpoint"`
	Scopes       []string `json:"scopes_supported"`
	GrantTypes   []string `json:"grant_types_supported"`
	// AuthMethods are the ways of client authentication at the token endpoint. Nil means
	// client_secret_basic.
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	PKCE        []string `json:"code_challenge_methods_supported"`

	// MutualTLS has the endpoints for connections with a client certificate (RFC 8705 section 5).
	MutualTLS struct {
		TokenURL string `json:"token_endpoint"`
	} `json:"mtls_endpoint_aliases"`

	// From is where the metadata was.
	From string `json:"-"`
}

// Grants returns the grant types that the server supports. RFC 8414 section 2 has a default.
func (s *Server) Grants() []string {
	if s.GrantTypes == nil {
		return []string{"authorization_code", "implicit"}
	}
	return s.GrantTypes
}

// Methods returns the ways of client authentication that the server supports. RFC 8414 section 2
// has a default.
func (s *Server) Methods() []string {
	if s.AuthMethods == nil {
		return []string{"client_secret_basic"}
	}
	return s.AuthMethods
}

// serverURLs returns where the metadata of an issuer can be: as RFC 8414 section 3.1 and OpenID
// Connect Discovery section 4 say.
func serverURLs(issuer string) []string {
	u, _ := url.Parse(issuer) // [CheckURL] found no error
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	base := u.Scheme + "://" + u.Host
	urls := []string{base + "/.well-known/oauth-authorization-server" + path}
	if path != "" {
		urls = append(urls, base+"/.well-known/openid-configuration"+path) // RFC 8414 section 5
	}
	return append(urls, base+path+"/.well-known/openid-configuration")
}

// Server reads the metadata of an issuer. It must name that issuer.
func (c *Client) Server(ctx context.Context, issuer string) (*Server, error) {
	if err := CheckURL("the issuer", issuer); err != nil {
		return nil, err
	}
	if strings.Contains(issuer, "?") {
		return nil, errors.New("the issuer must not have a query (RFC 8414 section 2)")
	}
	var failure error
	for _, at := range serverURLs(issuer) {
		found, err := c.serverAt(ctx, at, issuer)
		if err == nil {
			return found, nil
		}
		if failure == nil || errors.As(failure, new(missingError)) {
			failure = err
		}
	}
	return nil, failure
}

func (c *Client) serverAt(ctx context.Context, at, issuer string) (*Server, error) {
	found := &Server{From: at}
	if err := c.document(ctx, at, found); err != nil {
		return nil, err
	}
	if found.Issuer != issuer {
		return nil, fmt.Errorf("the metadata at %s names the issuer %s, and not %s; "+
			"the two must be the same to the letter (RFC 8414 section 3.3)", at, shown(found.Issuer), issuer)
	}
	for _, endpoint := range []struct{ name, url string }{
		{"authorization_endpoint", found.AuthorizeURL},
		{"token_endpoint", found.TokenURL},
		{"revocation_endpoint", found.RevokeURL},
		{"token_endpoint of mtls_endpoint_aliases", found.MutualTLS.TokenURL},
	} {
		if endpoint.url == "" {
			continue
		}
		if err := checkNamed("the "+endpoint.name+" in the metadata of "+issuer, endpoint.url, issuer); err != nil {
			return nil, err
		}
	}
	found.Scopes = slices.DeleteFunc(found.Scopes, isNoScope)
	return found, nil
}

// missingError is the error about a document that is not there.
type missingError struct{ at string }

func (e missingError) Error() string { return "there is no metadata at " + e.at }

// missingStatuses are the answers of a server that has no metadata at an address. Metadata is
// public, so an address that asks for credentials has none.
var missingStatuses = []int{
	http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone,
}

// document reads a JSON object.
func (c *Client) document(ctx context.Context, at string, into any) error {
	got, err := c.get(ctx, at, maxDocument)
	if err != nil {
		return err
	}
	switch {
	case slices.Contains(missingStatuses, got.status):
		return missingError{at}
	case got.status >= 300 && got.status < 400:
		return fmt.Errorf("%s redirects; redirects of metadata are not followed", at)
	case got.status != http.StatusOK:
		return fmt.Errorf("%s answered %d", at, got.status)
	}
	if err := json.Unmarshal(got.body, into); err != nil {
		return fmt.Errorf("the answer of %s is not metadata in JSON", at)
	}
	return nil
}

// isNoScope reports whether text cannot be one scope (RFC 6749 section 3.3).
func isNoScope(text string) bool {
	return text == "" || len(text) > 200 || strings.ContainsFunc(text,
		func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' })
}
