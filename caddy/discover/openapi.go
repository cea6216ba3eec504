package discover

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// maxOpenAPI limits the size of an OpenAPI document.
	maxOpenAPI = 16 << 20
	// maxRedirects limits the redirects of an OpenAPI document's URL.
	maxRedirects = 3
)

// OpenAPI is what an OpenAPI document (3.x, or Swagger 2.0) says about tokens.
type OpenAPI struct {
	// API is the address of the first server, or empty.
	API string
	// Ways are the ways to get a token, best first.
	Ways []Way
}

// Way is a way to get a token.
type Way struct {
	// Scheme is the name of the security scheme.
	Scheme string
	// Grant is client_credentials, authorization_code, static (a token or API key that is
	// configured), or empty if the metadata of Issuer says more.
	Grant string
	// KeyIn is header or query, and KeyName the name of the field or parameter, of an API key.
	KeyIn, KeyName         string
	Issuer                 string
	TokenURL, AuthorizeURL string
	Scopes                 []string
	// AllScopes says that Scopes are all that there are, and not those that are needed.
	AllScopes bool
}

// openAPI is the part of a document that is read.
type openAPI struct {
	Servers []struct {
		URL string `json:"url" yaml:"url"`
	} `json:"servers" yaml:"servers"`
	Components struct {
		SecuritySchemes map[string]scheme `json:"securitySchemes" yaml:"securitySchemes"`
	} `json:"components" yaml:"components"`

	// Swagger 2.0.
	Schemes     []string          `json:"schemes" yaml:"schemes"`
	Host        string            `json:"host" yaml:"host"`
	BasePath    string            `json:"basePath" yaml:"basePath"`
	Definitions map[string]scheme `json:"securityDefinitions" yaml:"securityDefinitions"`
}

type scheme struct {
	Ref    string          `json:"$ref" yaml:"$ref"`
	Type   string          `json:"type" yaml:"type"`
	Scheme string          `json:"scheme" yaml:"scheme"`
	In     string          `json:"in" yaml:"in"`
	Name   string          `json:"name" yaml:"name"`
	OpenID string          `json:"openIdConnectUrl" yaml:"openIdConnectUrl"`
	Flows  map[string]flow `json:"flows" yaml:"flows"`

	// Swagger 2.0.
	Flow string `json:"flow" yaml:"flow"`
	flow `yaml:",inline"`
}

type flow struct {
	AuthorizeURL string            `json:"authorizationUrl" yaml:"authorizationUrl"`
	TokenURL     string            `json:"tokenUrl" yaml:"tokenUrl"`
	Scopes       map[string]string `json:"scopes" yaml:"scopes"`
}

// flowGrants are the grants of the flows of OpenAPI 3 and of Swagger 2.0.
var flowGrants = map[string]string{
	"clientCredentials": "client_credentials", "authorizationCode": "authorization_code",
	"application": "client_credentials", "accessCode": "authorization_code",
}

// ReadOpenAPI reads a document. base is its URL, against which relative addresses count, or empty.
func ReadOpenAPI(content []byte, base string) (*OpenAPI, error) {
	var document openAPI
	var err error
	if trimmed := strings.TrimSpace(string(content)); strings.HasPrefix(trimmed, "{") {
		err = json.Unmarshal(content, &document)
	} else {
		err = yaml.Unmarshal(content, &document)
	}
	if err != nil {
		return nil, errors.New("it is not an OpenAPI document in JSON or YAML")
	}
	found := &OpenAPI{API: document.api(base)}
	all := document.Components.SecuritySchemes
	if len(all) == 0 {
		all = document.Definitions
	}
	var unused []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := all[name]
		if target, local := strings.CutPrefix(s.Ref, "#/components/securitySchemes/"); local {
			s = all[target]
		}
		ways, err := s.ways(name, cmp.Or(found.API, base))
		if err != nil {
			return nil, fmt.Errorf("security scheme %q: %w", name, err)
		}
		if ways == nil {
			unused = append(unused, name)
		}
		found.Ways = append(found.Ways, ways...)
	}
	if len(found.Ways) == 0 {
		why := "it has no securitySchemes"
		if len(unused) > 0 {
			why = fmt.Sprintf("its security schemes (%q) are neither oauth2 with clientCredentials or "+
				"authorizationCode, nor openIdConnect, http bearer or apiKey",
				unused)
		}
		return nil, errors.New("the document does not say how to get a token: " + why)
	}
	order := []string{"client_credentials", "", "authorization_code", "static"}
	slices.SortStableFunc(found.Ways, func(a, b Way) int {
		return slices.Index(order, a.Grant) - slices.Index(order, b.Grant)
	})
	return found, nil
}

// api returns the address of the API.
func (d *openAPI) api(base string) string {
	address := ""
	switch {
	case len(d.Servers) > 0:
		address = d.Servers[0].URL
	case d.Host != "":
		address = "https://" + d.Host + d.BasePath
		if len(d.Schemes) > 0 && !slices.Contains(d.Schemes, "https") {
			address = "http://" + d.Host + d.BasePath
		}
	}
	address = absolute(address, base)
	if strings.ContainsAny(address, "{}") || CheckURL("", address) != nil {
		return "" // a template, or no address: it must be given
	}
	return address
}

// ways returns the ways of one security scheme; nil if there is none.
func (s scheme) ways(name, base string) (ways []Way, err error) {
	switch strings.ToLower(s.Type) {
	case "oauth2":
		flows := s.Flows
		if flows == nil {
			flows = map[string]flow{s.Flow: s.flow}
		}
		for _, kind := range slices.Sorted(maps.Keys(flows)) {
			grant, known := flowGrants[kind]
			if !known {
				continue
			}
			f := flows[kind]
			way := Way{
				Scheme: name, Grant: grant, TokenURL: absolute(f.TokenURL, base), AllScopes: true,
				Scopes: slices.DeleteFunc(slices.Sorted(maps.Keys(f.Scopes)), isNoScope),
			}
			if err := checkNamed("tokenUrl", way.TokenURL, base); err != nil {
				return nil, err
			}
			if grant == "authorization_code" {
				way.AuthorizeURL = absolute(f.AuthorizeURL, base)
				if err := checkNamed("authorizationUrl", way.AuthorizeURL, base); err != nil {
					return nil, err
				}
			}
			ways = append(ways, way)
		}
	case "openidconnect":
		at := absolute(s.OpenID, base)
		if err := checkNamed("openIdConnectUrl", at, base); err != nil {
			return nil, err
		}
		issuer, found := strings.CutSuffix(at, "/.well-known/openid-configuration")
		if !found {
			return nil, errors.New("openIdConnectUrl does not end with /.well-known/openid-configuration")
		}
		ways = append(ways, Way{Scheme: name, Issuer: issuer})
	case "http":
		if strings.EqualFold(s.Scheme, "bearer") {
			ways = append(ways, Way{Scheme: name, Grant: "static"})
		}
	case "apikey":
		if s.In == "header" || s.In == "query" {
			ways = append(ways, Way{Scheme: name, Grant: "static", KeyIn: s.In, KeyName: s.Name})
		}
	}
	return ways, nil
}

// absolute resolves a URL against base.
func absolute(raw, base string) string {
	if raw == "" || base == "" {
		return raw
	}
	from, err := url.Parse(base)
	if err != nil {
		return raw
	}
	to, err := from.Parse(raw)
	if err != nil {
		return raw
	}
	return to.String()
}

// OpenAPI reads a document at a URL. It follows a few redirects.
func (c *Client) OpenAPI(ctx context.Context, at string) (*OpenAPI, error) {
	from := at
	for range maxRedirects + 1 {
		if err := checkNamed("the address of the OpenAPI document", at, from); err != nil {
			return nil, err
		}
		got, err := c.get(ctx, at, maxOpenAPI)
		if err != nil {
			return nil, err
		}
		switch location := got.header.Get("Location"); {
		case got.status == http.StatusOK:
			return ReadOpenAPI(got.body, at)
		case got.status >= 300 && got.status < 400 && location != "":
			at = absolute(location, at)
		default:
			return nil, fmt.Errorf("%s answered %d", at, got.status)
		}
	}
	return nil, fmt.Errorf("%s redirects more than %d times", from, maxRedirects)
}
