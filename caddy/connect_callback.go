package caddy

import (
	"crypto/subtle"
	"net/http"
	"net/url"
	"strings"

	"github.com/authinject/caddy-authinject/tokensource"
)

// serveCallback takes a provider's answer to a login. It is the one address that
// another site's page sends a browser to, so the answer must carry the state of a login
// under way, and come from the browser that the login began in.
func (h *ConnectHandler) serveCallback(w http.ResponseWriter, r *http.Request) error {
	answer, err := url.ParseQuery(r.URL.RawQuery)
	switch {
	case err != nil || len(r.URL.RawQuery) > maxForm:
		return h.refuse(w, r, http.StatusBadRequest, "The provider's answer could not be read.")
	case r.Method == http.MethodPost:
		// From our own page: what stood in the fragment, and in the query.
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if r.ParseForm() != nil {
			return h.refuse(w, r, http.StatusBadRequest, "The provider's answer could not be read.")
		}
		answer = r.PostForm
	case !isRead(r):
		w.Header().Set("Allow", "GET, POST")
		return h.refuse(w, r, http.StatusMethodNotAllowed, "This address does not take "+r.Method+".")
	case !answer.Has("code") && !answer.Has("access_token") && !answer.Has("error"):
		return h.serveFragment(w)
	}
	return h.redeem(w, r, answer)
}

// redeem finishes the login that an answer belongs to.
func (h *ConnectHandler) redeem(w http.ResponseWriter, r *http.Request, answer url.Values) error {
	state := tokensource.NewSecret(answer.Get("state"))
	source, login, err := h.login(r.Context(), state)
	if err != nil || login.Typed() || len(answer["state"]) != 1 {
		return h.refuse(w, r, http.StatusBadRequest, "This answer belongs to no login that is under way: it was used before, took longer than 10 minutes, or was made up. Nothing was done with it. Open the page and press Connect to begin again.")
	}
	if !login.Terminal && !broughtBy(r, login) {
		return h.refuse(w, r, http.StatusBadRequest, "This login was begun in another browser, or this one keeps no cookies. Nothing was done with the answer. Open the page in this browser and press Connect.")
	}
	description := answer.Get("error_description")
	answer.Del("state")
	err = source.source.FinishLogin(r.Context(), login, answer)
	if gone := r.Context().Err(); gone != nil {
		return gone
	}
	// Spent, whatever came of it.
	//nolint:gosec // it ends a cookie, as that was
	http.SetCookie(w, &http.Cookie{Name: stateCookieName(state), Path: shownPath(r, r.URL.Path), MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil})
	f := form{connectSource: source, account: login.Account}
	if err != nil {
		n := loginNotice(err, false)
		if answer.Has("error") {
			n.Provider = clip(description)
		}
		return h.back(w, r, f, n)
	}
	n := h.connected(source, login.Account)
	if login.Terminal {
		n.Text += " The terminal goes on by itself."
	}
	return h.back(w, r, f, n)
}

// broughtBy reports whether r comes from the browser that the login began in.
func broughtBy(r *http.Request, login *tokensource.Login) bool {
	cookie, err := r.Cookie(stateCookieName(login.State))
	return err == nil && subtle.ConstantTimeCompare([]byte(cookie.Value), []byte(login.Binding.Reveal())) == 1
}

// clip cuts what a provider says to a readable length, and to one line.
func clip(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }), " ")
	const limit = 300
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit]) + " …"
	}
	return strings.ToValidUTF8(text, "?")
}
