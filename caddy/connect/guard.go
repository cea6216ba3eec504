package connect

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/internal/host"
)

// secure sets the response fields that every answer has. The policy has no form-action: some
// browsers apply it to all redirects after a form, and the provider's redirects are not known.
func secure(header http.Header) {
	header.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'")
	header.Set("Cache-Control", "no-store")
	header.Set("Cross-Origin-Opener-Policy", "same-origin") // authinject.Browsers removes it from upstreams' pages
	// This ends Network Error Logging for this origin. It could otherwise send the URL of the
	// callback, with the answer to a login, to a collector.
	header.Set("NEL", `{"report_to":"","max_age":0}`)
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	// Browsers send the Origin of a form's page only if this policy allows it.
	header.Set("Referrer-Policy", "same-origin")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
}

// checkCaller returns why a caller may not use the page, or an empty text.
func (p *Page) checkCaller(r *http.Request) (refusal string) {
	// A page that an upstream serves under the same address has the same origin as this page.
	dest := r.Header.Get("Sec-Fetch-Dest")
	switch {
	case !p.AnyCaller && p.Ranges != nil && !isLocal(r) && !p.isInRanges(r):
		return "This page is for callers at the addresses that the option callers names. Yours is not one of them, " +
			"or a proxy that is not trusted passed the request on."
	case !p.AnyCaller && p.Ranges == nil && !isLocal(r):
		return "This page is for callers on the machine itself. To open it to others, " +
			"behind a guard of your own, the configuration must say: callers any."
	case !p.knowsHost(r.Host):
		return "This page is not available under this host name (protection against DNS rebinding). " +
			"Open it at the address in the Caddy configuration."
	case http.NewCrossOriginProtection().Check(r) != nil:
		return "A page of another site made this request. The request was not carried out."
	case authinject.IsPrefetch(r.Header): // any page can make the browser prefetch, by speculation rules
		return "Your browser loads this page ahead of time. It is shown when you open it."
	case dest != "" && dest != "document" && !isRefresh(r):
		return "This page cannot be loaded by a script or as a part of another page."
	}
	return ""
}

// passedOn are the fields that proxies add to a request. Browsers do not send them.
var passedOn = []string{
	"Forwarded", "Via", "X-Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip",
	"X-Client-Ip", "X-Cluster-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Fly-Client-Ip",
}

// wasPassedOn reports whether the request came through a proxy.
func wasPassedOn(r *http.Request) bool {
	return slices.ContainsFunc(passedOn, func(name string) bool { return len(r.Header[name]) > 0 })
}

// isLocal reports whether the caller is on this machine and is not a proxy.
func isLocal(r *http.Request) bool {
	if wasPassedOn(r) {
		return false
	}
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		// A unix socket has no address. A caller that can open it is on this machine.
		return r.RemoteAddr == "" || strings.HasPrefix(r.RemoteAddr, "@") || strings.HasPrefix(r.RemoteAddr, "/")
	}
	return host.IsLoopbackInZone(address)
}

// isInRanges reports whether the caller's address is in the ranges. If a proxy that is not trusted
// passed the request on, the caller's address is not known.
func (p *Page) isInRanges(r *http.Request) bool {
	client := ""
	if p.Client != nil {
		client = p.Client(r)
	}
	if client == "" {
		if wasPassedOn(r) {
			return false
		}
		client, _, _ = net.SplitHostPort(r.RemoteAddr) // without a port, it is not an address
	}
	address, err := netip.ParseAddr(client)
	if err != nil {
		return false
	}
	address = address.Unmap().WithZone("")
	return slices.ContainsFunc(p.Ranges, func(within netip.Prefix) bool { return within.Contains(address) })
}

// knowsHost reports whether a Host field names this page: by an address, by a loopback name, or by
// a host of the configuration. Another site's name does not name this page, even if it points to
// this machine (DNS rebinding).
func (p *Page) knowsHost(field string) bool {
	name := strings.ToLower(host.Name(field))
	ip := net.ParseIP(name)
	return ip != nil && !ip.IsUnspecified() || host.IsLoopbackInZone(name) || slices.Contains(p.Hosts, name) ||
		slices.ContainsFunc(p.Sources, func(s Source) bool { return s.redirect() != "" && host.OfURL(s.redirect()) == name })
}

// csrfCookie binds the page's forms to the browser that got the page.
const csrfCookie = "authinject-page"

// csrfKey is known only to this process. All ports of a host share cookies, so a page of another
// port can set the cookie, but it cannot compute the token for that cookie.
var csrfKey = []byte(rand.Text())

// csrfToken returns the token that a form must send, and sets its cookie.
func csrfToken(w http.ResponseWriter, r *http.Request) string {
	value := rand.Text()
	for _, cookie := range r.CookiesNamed(csrfCookie) {
		if len(cookie.Value) == len(value) {
			return csrfOf(r, cookie.Value)
		}
	}
	//nolint:gosec // Secure if there is TLS; loopback needs none
	http.SetCookie(w, &http.Cookie{
		Name: csrfCookie, Value: value, Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	})
	return csrfOf(r, value)
}

// csrfOf returns the token for a cookie. It is valid for one user only: a user could put their own
// cookie into another user's browser with a page that an upstream serves, and would know the token
// of that cookie.
func csrfOf(r *http.Request, cookie string) string {
	mac := hmac.New(sha256.New, csrfKey)
	mac.Write([]byte(cookie))
	if user, limited := userOf(r); limited {
		mac.Write([]byte("\x00" + user))
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// checkCSRF reports whether token comes from this page in the same browser. It ignores cookies of
// the same name that another application on the host set for another path.
func checkCSRF(r *http.Request, token string) bool {
	return slices.ContainsFunc(r.CookiesNamed(csrfCookie), func(cookie *http.Cookie) bool {
		return hmac.Equal([]byte(csrfOf(r, cookie.Value)), []byte(token))
	})
}

// refreshField is the field of the request by which the page's script refreshes the page. Its value
// is the token of the forms: a page of an upstream does not know it, and so cannot read this page.
const refreshField = "X-Authinject-Page"

// isRefresh reports whether the page's own script made the request, to show the present states.
func isRefresh(r *http.Request) bool {
	token := r.Header.Get(refreshField)
	return token != "" && r.Method == http.MethodGet && checkCSRF(r, token)
}
