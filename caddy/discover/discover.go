// Package discover reads what an API and its authorization server publish about themselves: the
// challenge of an API (RFC 6750), its metadata (RFC 9728), the metadata of an authorization server
// (RFC 8414, OpenID Connect Discovery), and the security schemes of an OpenAPI document. It imports
// no Caddy.
//
// All of it is text of strangers. A document is used only if it names what it was asked for: the
// resource (RFC 9728 section 3.3) or the issuer (RFC 8414 section 3.3). All requests go over https,
// or plain http on loopback, and sizes, redirects and times are limited.
package discover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/authinject/caddy-authinject/internal/host"
)

const (
	// maxDocument limits the size of metadata.
	maxDocument = 1 << 20
	// timeout limits one request.
	timeout = 15 * time.Second
)

// Client sends the requests of this package.
type Client struct {
	// Transport sends requests. Nil means [http.DefaultTransport].
	Transport http.RoundTripper
}

// answer is what a server sent.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// CheckURL returns why raw cannot be asked: it must be an absolute https URL, or plain http on
// loopback, without user name and fragment. what names it in the error.
func CheckURL(what, raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return fmt.Errorf("%s is not an absolute URL, such as https://api.example.com", what)
	case u.User != nil:
		return fmt.Errorf("%s must not hold a user name or password", what)
	case strings.Contains(raw, "#"):
		return fmt.Errorf("%s must not have a fragment", what)
	case u.Scheme == "https", u.Scheme == "http" && host.IsLoopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return fmt.Errorf("%s must be https: plain http is allowed only on loopback, and %s is another host",
			what, u.Hostname())
	}
	return fmt.Errorf("%s must be https", what)
}

// checkNamed returns why a URL that a document names cannot be asked: besides [CheckURL], a document
// of another machine must not name an address of this machine or of its network link, where
// administration endpoints and the metadata services of clouds are. from is where the document is;
// an empty one is on this machine.
func checkNamed(what, raw, from string) error {
	if err := CheckURL(what, raw); err != nil {
		return err
	}
	if from != "" && host.IsNear(host.OfURL(raw)) && !host.IsNear(host.OfURL(from)) {
		return fmt.Errorf("%s is on this machine or its network link, and %s is not; it is not used", what,
			host.Origin(from))
	}
	return nil
}

// get sends a GET. It follows no redirect.
func (c *Client) get(ctx context.Context, at string, limit int64) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return nil, errors.New("the URL cannot be requested")
	}
	req.Header.Set("Accept", "application/json, */*;q=0.5")
	req.Header.Set("User-Agent", "authinject")
	resp, err := cmp.Or(c.Transport, http.DefaultTransport).RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", host.Origin(at), err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s ended its answer too early", host.Origin(at))
	case int64(len(body)) > limit:
		return nil, fmt.Errorf("the answer of %s is over %d MiB", host.Origin(at), limit>>20)
	}
	return &answer{resp.StatusCode, resp.Header, body}, nil
}

// withPath returns a URL with the slash that a URL without a path has when it is requested.
func withPath(raw string) string {
	if u, err := url.Parse(raw); err == nil && u.Path == "" && u.RawQuery == "" {
		return raw + "/"
	}
	return raw
}

// shown returns an identifier that a document holds, for an error. It was never secret, and a slash
// too many is hard to find. Text that could not be a URL is not shown.
func shown(raw string) string {
	if raw == "" {
		return "nothing"
	}
	odd := strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r > '~' })
	if odd || len(raw) > 200 || CheckURL("", raw) != nil {
		return "something that is not an https URL"
	}
	return raw
}
