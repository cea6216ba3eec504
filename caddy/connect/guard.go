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

// secure sets the fields that every answer has. The policy has no form-action: some browsers apply it
// to all redirects that follow a form, and the provider's redirects are not known.
func secure(header http.Header) {
	header.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'")
	header.Set("Cache-Control", "no-store")
	header.Set("Cross-Origin-Opener-Policy", "same-origin") // it is removed from upstreams' pages; see authinject.Browsers
	// The browser drops a policy for Network Error Logging that it has for this origin. Otherwise it would
	// report this address, with the answer to a login, to a collector.
	header.Set("NEL", `{"report_to":"","max_age":0}`)
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	// Browsers send the Origin of a form's page only if this policy allows it.
	header.Set("Referrer-Policy", "same-origin")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
}

// admit returns why a caller may not use the page; empty if it may.
func (p *Page) admit(r *http.Request) (refusal string) {
	if !p.AnyCaller && !isLocal(r) {
		return "This page is for callers on the machine itself. To open it to others, behind a guard of your own, the configuration must say: callers any."
	}
	if !p.knowsHost(r.Host) {
		return "This page is not served under this name, lest another site's name be pointed at it. Open it by the address or the name that the configuration has."
	}
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return "This request was made by a page of another site, and was not carried out."
	}
	// By speculation rules, any page can make the browser load an address before a person opens it.
	if authinject.IsPrefetch(r.Header) {
		return "Your browser loads this page ahead of time. It is shown when you open it."
	}
	// A page that an upstream serves under the same address has the same origin as this page.
	if dest := r.Header.Get("Sec-Fetch-Dest"); dest != "" && dest != "document" {
		return "This page is for people, and shown as one; it was asked for by a script or a part of another page."
	}
	return ""
}

// passedOn are the fields by which a proxy says that it passes on a request. Browsers send none of them.
var passedOn = []string{
	"Forwarded", "Via", "X-Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip",
	"X-Client-Ip", "X-Cluster-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Fly-Client-Ip",
}

// isLocal reports whether the caller is on this machine and is not a proxy that passes on a request.
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

// knowsHost reports whether a Host field names this page. The name of a site that was pointed at this
// machine (DNS rebinding) does not.
func (p *Page) knowsHost(field string) bool {
	name := host.Name(field)
	ip := net.ParseIP(name)
	return ip != nil && !ip.IsUnspecified() || host.IsLoopbackInZone(name) || p.isSite(strings.ToLower(name))
}

// csrfCookie binds the page's forms to the browser that was given the page.
const csrfCookie = "authinject-page"

// csrfKey belongs to this process. All ports of a host share cookies, so a page of another port can set
// the cookie. It cannot make the token that belongs to the cookie.
var csrfKey = func() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return key
}()

// csrfToken returns the token that a form must send, and sets the cookie that it belongs to.
func csrfToken(w http.ResponseWriter, r *http.Request) string {
	for _, cookie := range r.CookiesNamed(csrfCookie) {
		if len(cookie.Value) == 22 {
			return csrfOf(cookie.Value)
		}
	}
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails
	value := base64.RawURLEncoding.EncodeToString(raw)
	//nolint:gosec // Secure where there is TLS; on loopback there need be none
	http.SetCookie(w, &http.Cookie{Name: csrfCookie, Value: value, Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode})
	return csrfOf(value)
}

func csrfOf(cookie string) string {
	mac := hmac.New(sha256.New, csrfKey)
	mac.Write([]byte(cookie))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// checkCSRF reports whether a form comes from this page in the same browser. Another application on the
// host may have set a cookie of the same name for another path. Such a cookie is ignored.
func checkCSRF(r *http.Request) bool {
	return slices.ContainsFunc(r.CookiesNamed(csrfCookie), func(cookie *http.Cookie) bool {
		return hmac.Equal([]byte(csrfOf(cookie.Value)), []byte(r.PostForm.Get("csrf")))
	})
}
