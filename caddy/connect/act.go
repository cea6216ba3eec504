package connect

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/authinject/caddy-authinject/internal/host"
	"github.com/authinject/caddy-authinject/tokensource"
)

// maxForm bounds the size of a form.
const maxForm = 64 << 10

// form is what a person sent from the page.
type form struct {
	Source
	account string
	values  url.Values
}

// act reads a form and calls do with it. The page then shows the result.
func (p *Page) act(
	w http.ResponseWriter, r *http.Request, do func(http.ResponseWriter, *http.Request, form) error,
) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return refuse(w, r, http.StatusBadRequest,
			"The form could not be read. Go back, load the page again, and try once more.", p.base())
	}
	if !checkCSRF(r, r.PostForm.Get("csrf")) {
		return refuse(w, r, http.StatusForbidden,
			"The page is too old, or the browser keeps no cookies. Load the page again, and try once more.", p.base())
	}
	at := slices.IndexFunc(p.Sources, func(s Source) bool { return s.Name == r.PostForm.Get("source") })
	if at < 0 {
		return refuse(w, r, http.StatusNotFound, "There is no such source on this page. Load the page again.", p.base())
	}
	f := form{Source: p.Sources[at], account: r.PostForm.Get("account"), values: r.PostForm}
	if !mayUse(r, f.account) {
		return refuse(w, r, http.StatusForbidden, othersAccount, p.base())
	}
	if _, limited := userOf(r); limited {
		f.values.Del(newAccountField) // with this field, the form could finish a login of any account
	} else if f.values.Has(newAccountField) { // a person typed the name
		f.account = strings.TrimSpace(f.account)
	}
	if r.PostForm.Has("account") {
		if err := tokensource.CheckAccountName(f.account); err != nil {
			return p.back(w, f, alert("Nothing was done: "+err.Error()+"."))
		}
	}
	return do(w, r, f)
}

// start begins a login and sends the browser to the provider.
func (p *Page) start(w http.ResponseWriter, r *http.Request, f form) error {
	redirect, problem := p.redirectURL(r, f.Source)
	if problem != "" {
		return p.back(w, f, alert(problem))
	}
	variables := make(map[string]string)
	for _, v := range f.Variables {
		value := strings.TrimSpace(f.values.Get(v.Name))
		if value == "" { // BeginLogin would use the value that the account has now
			return p.back(w, f, alert(fmt.Sprintf("%s is needed. Allowed are %s, such as %s.", v.Title, v.Allowed, v.Example)))
		}
		if err := v.Check(value); err != nil {
			return p.back(w, f, alert(fmt.Sprintf(
				"%s cannot be %q. Allowed are %s, such as %s.", v.Title, value, v.Allowed, v.Example)))
		}
		variables[v.Name] = value
	}
	login, err := f.Tokens.BeginLogin(r.Context(), tokensource.LoginRequest{
		Account: f.account, Variables: variables, RedirectURL: redirect,
	})
	if err != nil {
		return p.back(w, f, loginNotice(err, false))
	}
	if login.Device != nil {
		return p.back(w, f, nil) // the row shows the code
	}
	link, err := f.Tokens.LoginLink(r.Context(), login)
	if err != nil {
		_ = f.Tokens.CancelLogin(r.Context(), login) // if this fails, the login ends with its lifetime
		return p.back(w, f, loginNotice(err, false))
	}
	http.SetCookie(w, f.loginCookie(r, login))
	return seeOther(w, link.URL.Reveal())
}

// finish completes a login with the code or PIN that a person typed.
func (p *Page) finish(w http.ResponseWriter, r *http.Request, f form) error {
	code := strings.TrimSpace(f.values.Get("code"))
	cookies := f.manualCookies(r)
	switch {
	case len(cookies) == 0:
		return p.back(w, f, alert("Press Connect first: no login is under way for this account in this browser."))
	case code == "":
		return p.back(w, f, alert("Type the code or PIN that the provider shows after you have allowed access."))
	}
	forget := func() {
		for _, cookie := range cookies {
			//nolint:gosec // the attributes with which it was set
			http.SetCookie(w, &http.Cookie{
				Name: cookie.Name, MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
			})
		}
	}
	login, err := f.manualLogin(r, cookies)
	if errors.Is(err, errTwoLogins) {
		forget()
		return p.back(w, f, alert("Logins for more than one new account were under way in this browser, and the code "+
			"does not say for which it is. Nothing was changed. Press Connect again for one of them, and finish that "+
			"before the next."))
	}
	if err == nil {
		f.account = login.Account
		err = f.Tokens.FinishLogin(r.Context(), login, url.Values{"code": {code}})
	}
	if err != nil {
		return p.back(w, f, loginNotice(err, true))
	}
	forget()
	return p.back(w, f, connected(f.Source, f.account))
}

var errTwoLogins = errors.New("logins for more than one account are under way")

// manualLogin returns the login to which a typed code belongs: the newest login of the account. If
// logins for several new accounts are under way, the code does not say to which one it belongs.
// Then all are canceled.
func (f form) manualLogin(r *http.Request, cookies []*http.Cookie) (*tokensource.Login, error) {
	var found []*tokensource.Login
	for _, cookie := range cookies {
		login, err := f.Tokens.FindLogin(r.Context(), tokensource.NewSecret(cookie.Value))
		switch {
		case errors.Is(err, tokensource.ErrNoLogin):
			continue
		case err != nil:
			return nil, err
		}
		if login.Typed() && (f.values.Has(newAccountField) || login.Account == f.account) {
			found = append(found, login)
		}
	}
	if len(found) == 0 {
		return nil, tokensource.ErrNoLogin
	}
	newest := slices.MaxFunc(found, func(a, b *tokensource.Login) int { return a.Begun.Compare(b.Begun) })
	if slices.ContainsFunc(found, func(other *tokensource.Login) bool { return other.Account != newest.Account }) {
		for _, login := range found {
			_ = f.Tokens.CancelLogin(r.Context(), login) // if this fails, the login ends with its lifetime
		}
		return nil, errTwoLogins
	}
	return newest, nil
}

// disconnect revokes and removes an account's tokens, if the person has confirmed that.
func (p *Page) disconnect(w http.ResponseWriter, r *http.Request, f form) error {
	if f.values.Get(confirmField) == "" {
		return p.confirm(w, r, f)
	}
	account, err := f.Tokens.Lookup(r.Context(), f.account)
	if err == nil {
		err = account.Disconnect(r.Context())
	}
	if err != nil {
		if known, ok := errors.AsType[*tokensource.Error](err); ok {
			return p.back(w, f, alert(sentence(known.What())))
		}
		return p.back(w, f, alert("It is not certain that the account was disconnected. Load the page again."))
	}
	return p.back(w, f, &notice{Text: "Disconnected " + AccountName(f.Name, f.account) + "."})
}

// confirmField is in the form by which a person confirms what they pressed.
const confirmField = "confirm"

// confirm asks a person whether to disconnect an account.
func (p *Page) confirm(w http.ResponseWriter, r *http.Request, f form) error {
	return show(w, r, http.StatusOK, "confirm.html", view{
		Title: "Disconnect " + AccountName(f.Name, f.account) + "?", Base: p.base(), CSRF: csrfToken(w, r),
		Confirm: &confirmView{f.Name, f.account},
	})
}

// back sends the browser to the page, which shows n. n is nil if the account's row shows the
// result.
func (p *Page) back(w http.ResponseWriter, f form, n *notice) error {
	query := make(url.Values)
	if n != nil {
		query.Set("notice", storeNotice(n))
	}
	if (n == nil || n.Alert) && f.account != "" {
		query.Set("source", f.Name)
		query.Set("account", f.account)
	}
	return seeOther(w, "../"+p.base()+"?"+query.Encode()+"#source-"+f.Name)
}

// redirectURL returns the URL to which the provider sends people back: the configured one, or the
// callback at the address where they opened the page. Its host must be this machine or in the
// configuration: the Host field alone is never enough. If there is no such URL, problem says what
// to do. Both are empty if the provider sends no one back.
func (p *Page) redirectURL(r *http.Request, s Source) (redirect, problem string) {
	name := strings.ToLower(host.Name(r.Host))
	redirect = s.RedirectURL
	switch {
	case s.manual(), s.Tokens.OnDevice():
		return "", ""
	case redirect != "" && host.OfURL(redirect) != name:
		return "", "The provider sends people back to " + redirectPage(redirect) +
			". Open this page there, so that the login ends in the browser in which it begins."
	case redirect != "":
		return redirect, ""
	}
	if !slices.Contains(p.Hosts, name) && !host.IsLoopback(name) {
		return "", "The address to which the provider may send people back is not known. " +
			"Set redirect_url to the address of this page's callback, as it is registered with the provider."
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	here := url.URL{Scheme: scheme, Host: strings.ToLower(r.Host), Path: p.shown(r, p.Path) + CallbackPath}
	return here.String(), ""
}

// redirectPage returns the page whose callback a redirect URL is.
func redirectPage(redirect string) string { return strings.TrimSuffix(redirect, CallbackPath) }

// loginCookie returns the cookie that binds a login to the browser that begins it. The callback
// finds it by the login's state, and the form for a typed code by the account.
func (f form) loginCookie(r *http.Request, login *tokensource.Login) *http.Cookie {
	//nolint:gosec // Secure if there is TLS; loopback needs none
	cookie := &http.Cookie{HttpOnly: true, Secure: r.TLS != nil, MaxAge: int(tokensource.LoginLifetime.Seconds())}
	if login.Typed() {
		// If the cookie has no path, the browser sends it only below the page's path, not to an
		// upstream.
		cookie.Name, cookie.Value = f.manualCookieName(login.State), login.State.Reveal()
		cookie.SameSite = http.SameSiteStrictMode
		return cookie
	}
	cookie.Name, cookie.Value = stateCookieName(login.State), login.Binding.Reveal()
	cookie.SameSite = http.SameSiteLaxMode // the provider's redirect is a visit from another site
	if u, err := url.Parse(login.RedirectURL); err == nil {
		cookie.Path, cookie.Secure = u.Path, u.Scheme == "https"
	}
	return cookie
}

func stateCookieName(state tokensource.Secret) string {
	return "authinject-login-" + shortDigest(state.Reveal())
}

// newAccountField is a field of the forms for an account that is not on the page yet. The form for
// the code was shown before the account had a name, so each of its logins has a cookie of its own.
const newAccountField = "new"

const manualCookie, manualCookieOfNew = "authinject-typed-", "authinject-typed-new-"

func (f form) manualCookieName(state tokensource.Secret) string {
	if f.values.Has(newAccountField) {
		return manualCookieOfNew + shortDigest(f.Name+"\x00"+state.Reveal())
	}
	return manualCookie + shortDigest(f.Name+"\x00"+f.account)
}

// manualCookies returns the cookies of the logins that a code typed into this form can belong to.
func (f form) manualCookies(r *http.Request) (cookies []*http.Cookie) {
	name := f.manualCookieName(tokensource.Secret{})
	for _, cookie := range r.Cookies() {
		if cookie.Name == name || f.values.Has(newAccountField) && strings.HasPrefix(cookie.Name, manualCookieOfNew) {
			cookies = append(cookies, cookie)
		}
	}
	return cookies
}

func shortDigest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}
