package tokensource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/authinject/caddy-authinject/internal/host"
)

// maxMetadata bounds the size of an issuer's metadata.
const maxMetadata = 1 << 20

// metadata is the part of an authorization server's metadata that is needed here (RFC 8414 section
// 2).
type metadata struct {
	issuer string
	// endpoints holds each endpoint under the name of its option. They are unchecked; see endpoint.
	endpoints map[string]string
	// alwaysIss is true if the server names itself in every response to a login (RFC 9207 section
	// 3).
	alwaysIss bool
	// requiresPAR is true if the server takes only pushed authorization requests (RFC 9126 section
	// 5).
	requiresPAR bool
	// authMethods are the ways of client authentication at the token endpoint; nil: it does not
	// say.
	authMethods []string
	// dpopAlgs are the algorithms of DPoP proofs that the server takes (RFC 9449 section 5.1);
	// empty: it does not say.
	dpopAlgs []string
}

// metadataMembers names the metadata member that holds the endpoint of each option.
var metadataMembers = map[string]string{
	"authorize_url": "authorization_endpoint",
	"token_url":     "token_endpoint",
	"device_url":    "device_authorization_endpoint", // RFC 8628 section 4
	"revoke_url":    "revocation_endpoint",
	"par_url":       "pushed_authorization_request_endpoint",
}

// useAliases replaces endpoints by those for connections with a client certificate (RFC 8705
// section 5). A browser that logs a person in presents none, so authorize_url stays.
func (m *metadata) useAliases(raw json.RawMessage) {
	aliases, err := parseObject(raw)
	if err != nil {
		return // there are none
	}
	for option, member := range metadataMembers {
		if alias := text(aliases, member); alias != "" && option != "authorize_url" {
			m.endpoints[option] = alias
		}
	}
}

// endpoint returns the endpoint for an option, or "" if the server names none. It may be of another
// origin than the issuer: some providers have several hosts (Google), and RFC 8414 only requires
// that the metadata names the issuer for which it was requested. The endpoint must use https, or
// plain http on loopback. If the issuer is elsewhere, the endpoint must not be an address of this
// machine or of its network link, because administration endpoints and the metadata services of
// clouds have such addresses.
func (m *metadata) endpoint(option string) (string, *Error) {
	raw := m.endpoints[option]
	if raw == "" {
		return "", nil
	}
	refuse := func(reason string) (string, *Error) {
		return "", &Error{Class: ClassOperator, Reason: fmt.Sprintf("the issuer's metadata names a %s that %s; write it "+
			"as %s into the configuration to accept it", metadataMembers[option], reason, option)}
	}
	if CheckEndpoint(option, raw) != nil {
		return refuse("is no https URL")
	}
	if host.IsNear(host.OfURL(raw)) && !host.IsNear(host.OfURL(m.issuer)) {
		return refuse("is on this machine or its network link, where the issuer is not")
	}
	return raw, nil
}

// elsewhere returns the sorted origins of the options' endpoints, without the issuer's own origin.
func (m *metadata) elsewhere(options []string) (origins []string) {
	for _, option := range options {
		if raw, failure := m.endpoint(option); raw != "" && failure == nil && host.Origin(raw) != host.Origin(m.issuer) {
			origins = append(origins, host.Origin(raw))
		}
	}
	slices.Sort(origins)
	return slices.Compact(origins)
}

// CheckIssuer reports why raw cannot be an issuer identifier (RFC 8414 section 2). An issuer uses
// https, or http on loopback, and has neither query nor fragment.
func CheckIssuer(raw string) error {
	if err := CheckEndpoint("issuer", raw); err != nil {
		return err
	}
	if strings.Contains(raw, "?") {
		return errors.New("issuer must not have a query (RFC 8414 section 2)")
	}
	if strings.HasSuffix(raw, "/.well-known/openid-configuration") ||
		strings.Contains(raw, "/.well-known/oauth-authorization-server") {
		return errors.New("issuer is the address of the metadata; it must be the identifier, which is that address " +
			"without /.well-known/…")
	}
	return nil
}

// metadataURLs returns the URLs at which an issuer's metadata may be: those of RFC 8414 section 3.1
// and of OpenID Connect Discovery section 4.
func metadataURLs(issuer string) ([]string, error) {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil, errors.New("issuer is no URL")
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	base := u.Scheme + "://" + u.Host
	return []string{base + "/.well-known/oauth-authorization-server" + path,
		base + path + "/.well-known/openid-configuration"}, nil
}

// fetchMetadata fetches the metadata from the issuer. If both URLs fail, it returns the failure
// that says more than "not found".
func (w *wire) fetchMetadata(ctx context.Context, issuer string) (*metadata, *Error) {
	ctx, cancel := w.cfg.Clock.limit(ctx, w.cfg.Timeout)
	defer cancel()
	urls, err := metadataURLs(issuer)
	if err != nil {
		return nil, &Error{Class: ClassOperator, Reason: err.Error()}
	}
	var failure *Error
	for _, at := range urls {
		m, failed := w.fetchMetadataAt(ctx, at, issuer)
		if failed == nil {
			return m, nil
		}
		// Some servers refuse what they do not have. So after a refusal, a place that fails counts.
		unsettled := failed.Class == ClassWait && failed.Status != http.StatusOK
		if failure == nil || failure.Status == http.StatusNotFound || failure.Class == ClassOperator && unsettled {
			failure = failed
		}
	}
	return nil, failure
}

func (w *wire) fetchMetadataAt(ctx context.Context, at, issuer string) (*metadata, *Error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, &Error{Class: ClassOperator, Reason: "issuer is no URL"}
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", w.cfg.UserAgent)
	resp, err := w.base.RoundTrip(req) // a RoundTripper follows no redirects
	if err != nil {
		failure := transportFailure(err, false).withFacts(w.facts("issuer"))
		failure.Reason = strings.ReplaceAll(failure.Reason, "the token endpoint", "the issuer")
		failure.Endpoint = host.Origin(at)
		return nil, failure
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxMetadata+1))
	fail := func(class Class, reason string) (*metadata, *Error) {
		failure := &Error{Class: class, Reason: "the issuer's metadata " + reason, Status: resp.StatusCode,
			Endpoint: host.Origin(at)}
		return nil, failure.withFacts(w.facts("issuer"))
	}
	switch status := resp.StatusCode; {
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		return fail(ClassWait, "endpoint answered")
	case status == http.StatusNotFound, status == http.StatusGone:
		return fail(ClassOperator, "is not at its well-known addresses")
	case status >= 300 && status < 400:
		return fail(ClassOperator, "was redirected; redirects are not followed")
	case status != http.StatusOK:
		return fail(ClassOperator, "endpoint answered")
	case err != nil:
		return fail(ClassWait, "was cut short")
	case len(body) > maxMetadata:
		return fail(ClassWait, "is over 1 MiB")
	}
	members, err := parseObject(withoutBOM(body))
	if err != nil {
		return fail(ClassWait, "is not a JSON object")
	}
	var named string
	_ = json.Unmarshal(members["issuer"], &named) // a value that is not a string counts as another issuer
	if named != issuer {
		// The name can be shown: no part of it was ever secret, and an extra slash is hard to find
		// otherwise.
		if CheckIssuer(named) != nil || len(named) > 200 {
			named = "nothing that could be one"
		}
		return fail(ClassOperator, fmt.Sprintf("belongs to another issuer: it names %s, and the two must be the same to "+
			"the letter (RFC 8414 section 3.3)", named))
	}
	m := &metadata{issuer: issuer, endpoints: make(map[string]string)}
	for option, member := range metadataMembers {
		m.endpoints[option] = text(members, member)
	}
	if w.cfg.MutualTLS {
		m.useAliases(members["mtls_endpoint_aliases"])
	}
	_ = json.Unmarshal(members["authorization_response_iss_parameter_supported"], &m.alwaysIss) // absent: false
	_ = json.Unmarshal(members["require_pushed_authorization_requests"], &m.requiresPAR)        // likewise
	_ = json.Unmarshal(members["token_endpoint_auth_methods_supported"], &m.authMethods)        // likewise
	_ = json.Unmarshal(members["dpop_signing_alg_values_supported"], &m.dpopAlgs)               // likewise
	return m, nil
}
