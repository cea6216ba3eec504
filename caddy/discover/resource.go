package discover

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

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
	challenge := &Challenge{Status: got.status}
	if got.status != http.StatusUnauthorized {
		return challenge, nil
	}
	for _, field := range got.header.Values("WWW-Authenticate") {
		for _, one := range parseChallenges(field) {
			if !strings.EqualFold(one.scheme, "Bearer") {
				continue
			}
			challenge.Bearer = true
			if at := one.params["resource_metadata"]; challenge.Metadata == "" {
				challenge.Metadata = at
			}
			if len(challenge.Scopes) == 0 {
				challenge.Scopes = slices.DeleteFunc(strings.Fields(one.params["scope"]), isNoScope)
			}
		}
	}
	return challenge, nil
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
		if err == nil || !isMissing(err) {
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
	if !sameURL(found.Resource, resource) {
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

// challenge is one challenge of WWW-Authenticate (RFC 9110 section 11.6.1).
type challenge struct {
	scheme string
	params map[string]string
}

// parseChallenges reads a field WWW-Authenticate. It skips what is not in its form.
func parseChallenges(field string) (list []challenge) {
	for rest := field; ; {
		rest = strings.TrimLeft(rest, " \t,")
		if rest == "" {
			return list
		}
		name, after := token(rest)
		if name == "" {
			return list
		}
		value, tail, isParam := paramValue(after)
		switch {
		case isParam && len(list) > 0:
			key := strings.ToLower(name)
			if _, twice := list[len(list)-1].params[key]; !twice {
				list[len(list)-1].params[key] = value
			}
			rest = tail
		case isParam:
			return list // a parameter of no scheme
		default:
			list = append(list, challenge{name, make(map[string]string)})
			rest = after
		}
	}
}

// token returns the token at the beginning of text, and what follows.
func token(text string) (name, rest string) {
	end := strings.IndexAny(text, " \t,=\"")
	if end < 0 {
		end = len(text)
	}
	return text[:end], text[end:]
}

// paramValue reads "= value", where value is a token or a quoted string.
func paramValue(text string) (value, rest string, ok bool) {
	text, ok = strings.CutPrefix(strings.TrimLeft(text, " \t"), "=")
	if !ok {
		return "", "", false
	}
	text = strings.TrimLeft(text, " \t")
	if !strings.HasPrefix(text, `"`) {
		end := strings.IndexAny(text, " \t,")
		if end < 0 {
			end = len(text)
		}
		return text[:end], text[end:], true
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			if i++; i < len(text) {
				b.WriteByte(text[i])
			}
		case '"':
			return b.String(), text[i+1:], true
		default:
			b.WriteByte(text[i])
		}
	}
	return b.String(), "", true // the closing quote is missing
}
