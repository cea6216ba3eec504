// Package connect is the page on which a person connects accounts of token sources, and the
// callback to which providers send the person back. The page works in any server: [Page] is
// an [http.Handler]. [Terminal] is the callback for a login that was begun in a terminal, and
// [Describe] describes the state of an account in words.
package connect

import (
	"cmp"
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// CallbackPath is where the callback is, below the page.
const CallbackPath = "/callback"

const startPath, finishPath, disconnectPath = "/start", "/finish", "/disconnect"

// Addresses returns the paths that a page at path answers.
func Addresses(path string) []string {
	return []string{path, path + CallbackPath, path + startPath, path + finishPath, path + disconnectPath}
}

// Page serves the page at Path, and the callback and the forms' addresses below it.
type Page struct {
	// Path is where the page is, such as /connect.
	Path string
	// AnyCaller accepts callers on other machines. Set it only if a guard is in front.
	AnyCaller bool
	// Ranges are addresses of other machines whose callers are accepted, too.
	Ranges []netip.Prefix
	// Client returns the address of a client behind a trusted proxy. It returns an empty text if
	// the request came through no such proxy. If it is nil, no proxy is trusted. Ranges are
	// compared with this address or, if it is empty, with the address of the connection.
	Client func(r *http.Request) string
	// User returns the name of the user who made the request, or empty if it is not known. With it,
	// each user sees and changes only the accounts of that name, and no one else sees the page.
	// Nil: everyone who may open the page sees all accounts.
	User func(r *http.Request) string
	// Hosts are the page's host names, in lower case. The page also answers to
	// addresses, to localhost, and to the hosts of the sources' redirect URLs.
	Hosts []string
	// Sources are the token sources on the page.
	Sources []Source
	// Shown returns a path with the prefix that was removed before the page got the request. Nil:
	// no prefix was removed.
	Shown func(r *http.Request, path string) string
	// Failed gets the error if an answer could not be written. Optional.
	Failed func(path string, err error)
}

// Source is a token source on the page.
type Source struct {
	// Name is the source's name in the configuration. Title is the name that people see. If Title
	// is empty, people see Name.
	Name, Title string
	// Tokens has its accounts.
	Tokens *tokensource.Source
	// Variables are the variables whose values differ from account to account.
	Variables []provider.Variable
	// RedirectURL is the configured URL to which the provider sends people back; empty: the page's
	// own callback; [provider.RedirectManual]: the provider shows a code instead.
	RedirectURL string
	// PerAccount says that requests choose the account.
	PerAccount bool
}

// manual reports whether the provider shows a code or PIN that a person types here.
func (s Source) manual() bool { return s.RedirectURL == provider.RedirectManual }

// redirect returns the configured URL to which the provider sends people back, or empty.
func (s Source) redirect() string {
	if s.manual() {
		return ""
	}
	return s.RedirectURL
}

// below returns the rest of path after the page's path, in lower case, and whether path belongs to
// the page. Matchers of paths ignore case, so the page does too: an answer to a login must not
// reach an upstream.
func (p *Page) below(path string) (rest string, ok bool) {
	if len(path) < len(p.Path) || !strings.EqualFold(path[:len(p.Path)], p.Path) {
		return "", false
	}
	rest = strings.ToLower(path[len(p.Path):])
	return rest, rest == "" || rest[0] == '/'
}

// Has reports whether the page answers requests for path.
func (p *Page) Has(path string) bool {
	_, ok := p.below(path)
	return ok
}

// ServeHTTP implements [http.Handler]. Do not log the request's URL and the response's header: they
// hold codes and states.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	rest, ok := p.below(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	// A browser that goes away during a login is not a failure.
	if err := p.serve(w, r, rest); err != nil && r.Context().Err() == nil && p.Failed != nil {
		p.Failed(p.Path+rest, err)
	}
}

func (p *Page) serve(w http.ResponseWriter, r *http.Request, rest string) error {
	r, refusal := p.identify(r)
	if refusal = cmp.Or(p.checkCaller(r), refusal); refusal != "" {
		return refuse(w, r, http.StatusForbidden, refusal, "")
	}
	switch {
	case rest == "" && isRead(r):
		return p.servePage(w, r)
	case rest == "/":
		return seeOther(w, "../"+p.base())
	case rest == CallbackPath:
		return p.callback().serve(w, r)
	case rest == startPath && r.Method == http.MethodPost:
		return p.act(w, r, p.start)
	case rest == finishPath && r.Method == http.MethodPost:
		return p.act(w, r, p.finish)
	case rest == disconnectPath && r.Method == http.MethodPost:
		return p.act(w, r, p.disconnect)
	case rest == "":
		return refuseMethod(w, r, "GET, HEAD")
	case slices.Contains(Addresses(""), rest):
		return refuseMethod(w, r, "POST")
	}
	return refuse(w, r, http.StatusNotFound, "There is nothing at this address.", "")
}

func isRead(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead
}

// seeOther redirects the browser with a GET, whatever the request's method was (RFC 9700 section
// 4.12).
func seeOther(w http.ResponseWriter, location string) error {
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// login returns the login under way with that state, and its source.
func (p *Page) login(ctx context.Context, state tokensource.Secret) (Source, *tokensource.Login, error) {
	err := tokensource.ErrNoLogin
	for _, s := range p.Sources {
		l, failure := s.Tokens.FindLogin(ctx, state)
		if failure == nil {
			return s, l, nil
		}
		if failure != tokensource.ErrNoLogin { //nolint:errorlint // the sentinel itself
			err = failure
		}
	}
	return Source{}, nil, err
}

// base is the last part of the page's path. The page's own links use it, so that they also work
// behind a proxy that has another path for the page.
func (p *Page) base() string { return p.Path[strings.LastIndexByte(p.Path, '/')+1:] }

// shown returns a path as the client knows it.
func (p *Page) shown(r *http.Request, path string) string {
	if p.Shown == nil {
		return path
	}
	return p.Shown(r, path)
}
