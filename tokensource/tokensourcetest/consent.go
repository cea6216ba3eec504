package tokensourcetest

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Consent is the result of sending a user to the authorize endpoint.
type Consent struct {
	// Redirect is the URL to which the browser was redirected. The URL was not requested.
	Redirect string
	// PIN and QR were shown to the user instead of a redirect.
	PIN, QR string
	// Page is the last page, if there was no redirect.
	Page string
}

var (
	pageRequest = regexp.MustCompile(`name="request" value="([^"]*)"`)
	pagePIN     = regexp.MustCompile(`id="pin">([^<]*)<`)
	pageQR      = regexp.MustCompile(`id="qr">([^<]*)<`)
	pageAlert   = regexp.MustCompile(`role="alert">([^<]*)<`)
)

// Allow acts like a user with a browser: it opens an authorize URL of this provider, logs in as the
// first user, and allows access. If the provider redirects at once because of an error, that
// redirect is the result. If the provider shows a page which says that nothing can be authorized,
// Allow returns an error.
func (p *Provider) Allow(ctx context.Context, authorizeURL string) (Consent, error) {
	return p.consent(ctx, authorizeURL, "allow")
}

// Deny is like [Provider.Allow], but the user denies access.
func (p *Provider) Deny(ctx context.Context, authorizeURL string) (Consent, error) {
	return p.consent(ctx, authorizeURL, "deny")
}

func (p *Provider) consent(ctx context.Context, authorizeURL, decision string) (Consent, error) {
	u, err := url.Parse(authorizeURL)
	if err != nil {
		return Consent{}, fmt.Errorf("opening the authorize URL: %w", err)
	}
	client := p.browser()
	c, err := step(ctx, client, authorizeURL, nil)
	if err != nil || c.Redirect != "" {
		return c, err
	}
	approve := u.Scheme + "://" + u.Host + p.emulation.authorizePath + approvePath
	for _, form := range []url.Values{
		{"username": {p.emulation.authorize.users[0]}, "password": {"any"}},
		{"decision": {decision}},
	} {
		request := pageRequest.FindStringSubmatch(c.Page)
		if request == nil {
			return c, errors.New("the page has no form")
		}
		form.Set("request", html.UnescapeString(request[1]))
		if c, err = step(ctx, client, approve, form); err != nil {
			return c, err
		}
	}
	return c, nil
}

// browser returns a client that finds deployments by name and follows no redirects.
func (p *Provider) browser() *http.Client {
	transport := p.client.Transport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(addr)
		if err == nil && strings.HasSuffix(host, ".localhost") {
			addr = net.JoinHostPort("127.0.0.1", port)
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// step opens a page, or posts a form.
func step(ctx context.Context, client *http.Client, to string, form url.Values) (Consent, error) {
	method, body := http.MethodGet, ""
	if form != nil {
		method, body = http.MethodPost, form.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(body))
	if err != nil {
		return Consent{}, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := client.Do(req)
	if err != nil {
		return Consent{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return Consent{}, err
	}
	if resp.StatusCode == http.StatusFound {
		return Consent{Redirect: resp.Header.Get("Location")}, nil
	}
	c := Consent{Page: string(data)}
	text := func(pattern *regexp.Regexp) string {
		if found := pattern.FindStringSubmatch(c.Page); found != nil {
			return html.UnescapeString(found[1])
		}
		return ""
	}
	if resp.StatusCode != http.StatusOK {
		return c, fmt.Errorf("the provider answered %d: %s", resp.StatusCode, text(pageAlert))
	}
	c.PIN, c.QR = text(pagePIN), text(pageQR)
	return c, nil
}
