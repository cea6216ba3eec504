package connect

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/internal/host"
)

// secure sets the fields that every answer has. The policy has no form-action: some browsers apply
// it to all redirects after a form, and the provider's redirects are not known.
func secure(header http.Header) {
	header.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'")
	header.Set("Cache-Control", "no-store")
	header.Set("Cross-Origin-Opener-Policy", "same-origin") // authinject.Browsers removes it from upstreams' pages
	// This ends Network Error Logging for this origin, which could report the address with the
	// answer to a login to a collector.
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
	case !p.AnyCaller && !isLocal(r):
		return "This page is for callers on the machine itself. To open it to others, " +
			"behind a guard of your own, the configuration must say: callers any."
	case !p.knowsHost(r.Host):
		return "This page is not available under this host name (protection against DNS rebinding). " +
			"Open it at the address in the Caddy configuration."
	case http.NewCrossOriginProtection().Check(r) != nil:
		return "This request was made by a page of another site, and was not carried out."
	case authinject.IsPrefetch(r.Header): // any page can make the browser prefetch, by speculation rules
		return "Your browser loads this page ahead of time. It is shown when you open it."
	case dest != "" && dest != "document":
		return "This page cannot be loaded by a script or as a part of another page."
	}
	return ""
}

// passedOn are the fields that proxies add to a request. Browsers do not send them.
var passedOn = []string{
	"Forwarded", "Via", "X-Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip",
	"X-Client-Ip", "X-Cluster-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Fly-Client-Ip",
}

// isLocal reports whether the caller is on this machine and is not a proxy.
func isLocal(r *http.Request) bool {
	for _, name := range passedOn {
		if len(r.Header[name]) > 0 {
			return false
		}
	}
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		// A unix socket has no address. A caller that can open it is on this machine.
		return r.RemoteAddr == "" || strings.HasPrefix(r.RemoteAddr, "@") || strings.HasPrefix(r.RemoteAddr, "/")
	}
	return host.IsLoopbackInZone(address)
}

// knowsHost reports whether a Host field names this page: by an address, by a loopback name, or by
// a host of the configuration. The name of another site that points to this machine (DNS rebinding)
// does not.
func (p *Page) knowsHost(field string) bool {
	name := strings.ToLower(host.Name(field))
	ip := net.ParseIP(name)
	return ip != nil && !ip.IsUnspecified() || host.IsLoopbackInZone(name) || slices.Contains(p.Hosts, name) ||
		slices.ContainsFunc(p.Sources, func(s Source) bool { return s.redirect() != "" && host.OfURL(s.redirect()) == name })
}

// csrfCookie binds the page's forms to the browser that got the page.
const csrfCookie = "authinject-page"

// csrfKey belongs to this process. All ports of a host share cookies, so a page of another port can
// set the cookie, but it cannot make the token of that cookie.
var csrfKey = []byte(rand.Text())

// csrfToken returns the token that a form must send, and sets its cookie.
func csrfToken(w http.ResponseWriter, r *http.Request) string {
	value := rand.Text()
	for _, cookie := range r.CookiesNamed(csrfCookie) {
		if len(cookie.Value) == len(value) {
			return csrfOf(cookie.Value)
		}
	}
	//nolint:gosec // Secure if there is TLS; loopback needs none
	http.SetCookie(w, &http.Cookie{
		Name: csrfCookie, Value: value, Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	})
	return csrfOf(value)
}

func csrfOf(cookie string) string {
	mac := hmac.New(sha256.New, csrfKey)
	mac.Write([]byte(cookie))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// checkCSRF reports whether a form comes from this page in the same browser. It ignores cookies of
// the same name that another application on the host set for another path.
func checkCSRF(r *http.Request) bool {
	return slices.ContainsFunc(r.CookiesNamed(csrfCookie), func(cookie *http.Cookie) bool {
		return hmac.Equal([]byte(csrfOf(cookie.Value)), []byte(r.PostForm.Get("csrf")))
	})
}
