package connect

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/authinject/caddy-authinject/internal/host"
	"github.com/authinject/caddy-authinject/tokensource"
)

// callback handles a provider's answer to a login. It is the only address to which pages of other
// sites may send a browser. So the answer must have the state of a login that is under way.
type callback struct {
	// base is the last part of the page's path, for links to the page. It is empty if there is no
	// page.
	base string
	// find returns the source and the login that an answer with this state belongs to, or why the
	// answer is refused.
	find func(r *http.Request, state tokensource.Secret) (Source, *tokensource.Login, refusal)
	// done shows the result. said is the provider's description of an error.
	done func(w http.ResponseWriter, r *http.Request, s Source, l *tokensource.Login, said string, err error) error
}

func (c callback) serve(w http.ResponseWriter, r *http.Request) error {
	const unreadable = "The provider's answer could not be read."
	answer, err := url.ParseQuery(r.URL.RawQuery)
	switch {
	case err != nil || len(r.URL.RawQuery) > maxForm:
		return refuse(w, r, http.StatusBadRequest, unreadable, c.base)
	case r.Method == http.MethodPost:
		// The script of fragment.html (see below) sends the fragment and the query as a form.
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if r.ParseForm() != nil {
			return refuse(w, r, http.StatusBadRequest, unreadable, c.base)
		}
		answer = r.PostForm
	case r.Method != http.MethodGet: // HEAD is refused, too: it must change nothing, and an answer ends a login
		return refuseMethod(w, r, "GET, POST")
	case !HasAnswer(answer):
		// Only the browser can read a fragment (RFC 6749 section 4.2.2).
		return show(w, r, http.StatusOK, "fragment.html", view{Title: "Connecting …", Base: c.base})
	}
	var state tokensource.Secret
	if len(answer["state"]) == 1 {
		state = tokensource.NewSecret(answer.Get("state"))
	}
	s, l, refused := c.find(r, state)
	if refused.text != "" {
		return refuse(w, r, cmp.Or(refused.status, http.StatusBadRequest), refused.text, c.base)
	}
	said := ""
	if answer.Has("error") {
		said = clip(answer.Get("error_description"))
	}
	answer.Del("state")
	return c.done(w, r, s, l, said, s.Tokens.FinishLogin(r.Context(), l, answer))
}

// HasAnswer reports whether the parameters of a redirect hold an answer to a login.
func HasAnswer(params url.Values) bool {
	return params.Has("code") || params.Has("access_token") || params.Has("error")
}

// refusal says why an answer to a login is not used. Its text is empty if the answer is used. A status
// of 0 means 400.
type refusal struct {
	text   string
	status int
}

const noSuchLogin = "This answer belongs to no login that is under way. It was used before, the login began more than " +
	"10 minutes ago, or the address was made up. Nothing was changed. Open the page and press Connect to begin again."

// unreadLogin refuses an answer because the stored logins cannot be read.
func unreadLogin(err error) refusal {
	text := reasonOf(err) + " So it is not known whether this answer belongs to a login. Nothing was changed. "
	if failure, ok := errors.AsType[*tokensource.Error](err); ok && failure.Class == tokensource.ClassOperator {
		text += "Tell the operator of this proxy."
	} else {
		text += "Load this address again when the storage works: the answer can still be used for some minutes."
	}
	return refusal{text, http.StatusServiceUnavailable}
}

// callback returns the page's callback. An answer must come from the browser in which the login
// began.
func (p *Page) callback() callback {
	return callback{
		base: p.base(),
		find: func(r *http.Request, state tokensource.Secret) (Source, *tokensource.Login, refusal) {
			s, l, err := p.login(r.Context(), state)
			switch {
			case err != nil && !errors.Is(err, tokensource.ErrNoLogin):
				return s, l, unreadLogin(err)
			case err != nil || l.Typed():
				return s, l, refusal{text: noSuchLogin}
			case !mayUse(r, l.Account):
				return s, l, refusal{text: othersLogin}
			case !l.Terminal && !broughtBy(r, l):
				return s, l, refusal{text: "This login was begun in another browser, or this one keeps no cookies. " +
					"Nothing was changed. Open the page in this browser and press Connect."}
			}
			return s, l, refusal{}
		},
		done: func(w http.ResponseWriter, r *http.Request, s Source, l *tokensource.Login, said string, err error) error {
			if gone := r.Context().Err(); gone != nil {
				return gone
			}
			// The login is over, whatever its result.
			f := form{Source: s, account: l.Account}
			cookie := f.loginCookie(r, l) //nolint:gosec // it has the attributes with which it was set
			cookie.Value, cookie.MaxAge = "", -1
			http.SetCookie(w, cookie)
			if err != nil {
				n := loginNotice(err, false)
				n.Provider = said
				return p.back(w, f, n)
			}
			n := connected(s, l.Account)
			if l.Terminal {
				n.Text += " The terminal continues by itself."
			}
			return p.back(w, f, n)
		},
	}
}

// broughtBy reports whether r comes from the browser in which the login was begun.
func broughtBy(r *http.Request, login *tokensource.Login) bool {
	cookie, err := r.Cookie(stateCookieName(login.State))
	return err == nil && subtle.ConstantTimeCompare([]byte(cookie.Value), []byte(login.Binding.Reveal())) == 1
}

// Terminal returns the handler of the redirect URL of a login that was begun in a terminal (RFC
// 8252 section 7.3). It takes one answer and sends the result to results, once. ctx limits the
// token request. It must not end with the browser's request.
func Terminal(ctx context.Context, s Source, login *tokensource.Login, results chan<- error) http.Handler {
	redirect, err := url.Parse(login.RedirectURL)
	if err != nil {
		redirect = new(url.URL) // it was checked when the configuration was loaded
	}
	var used atomic.Bool
	c := callback{
		find: func(_ *http.Request, state tokensource.Secret) (Source, *tokensource.Login, refusal) {
			switch {
			case !state.Equal(login.State):
				return s, login, refusal{text: "This answer belongs to no login that is under way. Nothing was changed."}
			case used.Swap(true):
				return s, login, refusal{text: "This answer was used already. The terminal shows the result."}
			}
			return s, login, refusal{}
		},
		done: func(w http.ResponseWriter, r *http.Request, s Source, l *tokensource.Login, _ string, err error) error {
			defer func() { results <- err }()
			if err != nil {
				n := loginNotice(err, false)
				return refuse(w, r, http.StatusBadRequest, inTerminal.Replace(n.Text)+" "+n.Detail, "")
			}
			n := &notice{Text: "Connected " + AccountName(s.Name, l.Account) + ". You can close this page."}
			return show(w, r, http.StatusOK, "message.html", view{Title: "Connected", Notice: n})
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		// Errors are ignored: the browser has gone, and the terminal gets the result from results.
		switch {
		case r.URL.Path == redirect.Path+terminalStart && r.Method == http.MethodGet && host.IsLoopback(host.Name(r.Host)):
			if subtle.ConstantTimeCompare([]byte(r.URL.Query().Get("login")), []byte(login.Binding.Reveal())) != 1 {
				_ = refuse(w, r, http.StatusNotFound, "There is no such login. Use the address that the terminal shows.", "")
				return
			}
			link, err := s.Tokens.LoginLink(ctx, login)
			if err != nil {
				n := loginNotice(err, false)
				_ = refuse(w, r, http.StatusBadGateway, inTerminal.Replace(n.Text)+" "+n.Detail, "")
				if !used.Swap(true) {
					results <- err
				}
				return
			}
			_ = seeOther(w, link.URL.Reveal())
		case r.URL.Path != redirect.Path || !host.IsLoopback(host.Name(r.Host)):
			_ = refuse(w, r, http.StatusNotFound, "There is nothing at this address.", "")
		case http.NewCrossOriginProtection().Check(r) != nil:
			_ = refuse(w, r, http.StatusForbidden, "This request was made by a page of another site.", "")
		default:
			_ = c.serve(w, r.WithContext(ctx))
		}
	})
}

// terminalStart is added to the path of the redirect URL: the handler of [Terminal] begins the
// login there.
const terminalStart = "/start"

// TerminalLink returns the address on this machine at which the handler of [Terminal] sends the
// person to the provider. The link to the provider is made only then: a link to a pushed
// authorization request expires soon (RFC 9126 section 2.2).
func TerminalLink(login *tokensource.Login) string {
	u, err := url.Parse(login.RedirectURL)
	if err != nil {
		u = new(url.URL) // it was checked when the configuration was loaded
	}
	at := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path + terminalStart,
		RawQuery: "login=" + login.Binding.Reveal()}
	return at.String()
}

// clip shortens a text of a provider to a readable length, on one line.
func clip(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }), " ")
	const limit = 300
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit]) + " …"
	}
	return strings.ToValidUTF8(text, "?")
}
