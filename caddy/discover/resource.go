package discover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/authinject/caddy-authinject/internal/challenge"
	"github.com/authinject/caddy-authinject/internal/host"
)

// Resource is the metadata of an API (RFC 9728 section 2).
type Resource struct {
	Resource string   `json:"resource"`
	Servers  []string `json:"authorization_servers"`
	Scopes   []string `json:"scopes_supported"`
	Methods  []string `json:"bearer_methods_supported"`

	// From is where the metadata was.
	From string `json:"-"`
}

// Challenge is what an API answered to a request without a token.
type Challenge struct {
	Status int
	// Bearer is true if the API asked for a bearer token (RFC 6750 section 3).
	Bearer bool
	// Metadata is the URL of the API's metadata (RFC 9728 section 5.1), if it was named.
	Metadata string
	// Scopes are the scopes that the API asked for.
	Scopes []string
}

// Ask requests an API without a token.
func (c *Client) Ask(ctx context.Context, api string) (*Challenge, error) {
	if err := CheckURL("the API's address", api); err != nil {
		return nil, err
	}
	got, err := c.get(ctx, api, maxDocument)
	if err != nil {
		return nil, err
	}
	found := &Challenge{Status: got.status}
	if got.status != http.StatusUnauthorized {
		return found, nil
	}
	for _, one := range challenge.Parse(got.header[challenge.Field]) {
		if !one.Is("Bearer") {
			continue
		}
		found.Bearer = true
		found.Metadata = cmp.Or(found.Metadata, one.Params["resource_metadata"])
		if len(found.Scopes) == 0 {
			found.Scopes = slices.DeleteFunc(strings.Fields(one.Params["scope"]), isNoScope)
		}
	}
	return found, nil
}

// ResourceAt reads the metadata of an API at the URL that its challenge named. It must name the URL
// that was requested (RFC 9728 section 3.3).
func (c *Client) ResourceAt(ctx context.Context, at, api string) (*Resource, error) {
	if err := checkNamed("resource_metadata in the API's challenge", at, api); err != nil {
		return nil, err
	}
	return c.resource(ctx, at, api)
}

// Resource looks for the metadata of an API at its well-known addresses (RFC 9728 section 3.1): for
// the URL, and for its origin. It returns nil without an error if there is none.
func (c *Client) Resource(ctx context.Context, api string) (*Resource, error) {
	u, err := url.Parse(api)
	if err != nil {
		return nil, errors.New("the API's address is not a URL")
	}
	origin := u.Scheme + "://" + u.Host
	const wellKnown = "/.well-known/oauth-protected-resource"
	places := [][2]string{{origin + wellKnown, origin}}
	if path := strings.TrimSuffix(u.EscapedPath(), "/"); path != "" {
		places = [][2]string{{origin + wellKnown + path, origin + u.EscapedPath()}, places[0]}
	}
	for _, place := range places {
		found, err := c.resource(ctx, place[0], place[1])
		if err == nil || !errors.As(err, new(missingError)) {
			return found, err
		}
	}
	return nil, nil
}

func (c *Client) resource(ctx context.Context, at, resource string) (*Resource, error) {
	found := &Resource{From: at}
	if err := c.document(ctx, at, found); err != nil {
		return nil, err
	}
	if found.Resource == "" {
		return nil, fmt.Errorf("the metadata at %s names no resource (RFC 9728 section 3.3 requires it)", at)
	}
	if withPath(found.Resource) != withPath(resource) {
		hint := ""
		if host.Origin(found.Resource) == host.Origin(resource) && shown(found.Resource) == found.Resource {
			hint = "; if that is the API, name it: caddy authinject init " + found.Resource
		}
		return nil, fmt.Errorf("the metadata at %s is for the resource %s, and not for %s (RFC 9728 section 3.3)%s",
			at, shown(found.Resource), resource, hint)
	}
	for _, issuer := range found.Servers {
		what := "an authorization server in the metadata of " + resource
		if err := checkNamed(what, issuer, resource); err != nil {
			return nil, err
		}
	}
	found.Scopes = slices.DeleteFunc(found.Scopes, isNoScope)
	return found, nil
}
