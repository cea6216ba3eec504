package connect

import (
	"context"
	"net/http"

	"github.com/authinject/caddy-authinject/tokensource"
)

// userKey is the context key of the user who made a request.
type userKey struct{}

// identify stores in r's context which user made the request. If the request has no usable user
// name, it returns the reason. An empty name never means the unnamed account.
func (p *Page) identify(r *http.Request) (identified *http.Request, refusal string) {
	if p.User == nil {
		return r, ""
	}
	user := p.User(r)
	r = r.WithContext(context.WithValue(r.Context(), userKey{}, user))
	switch err := tokensource.CheckAccountName(user); {
	case user == "":
		return r, "This page shows people their own accounts, and the request does not say who you are. " +
			"Log in first. If nothing asked you to log in, authentication is missing in front of this page."
	case err != nil:
		return r, "This page shows people their own accounts. Your user name cannot be the name of an account: " +
			err.Error() + "."
	}
	return r, ""
}

// userOf returns the user who made the request, if the page shows each user only their own
// accounts.
func userOf(r *http.Request) (user string, limited bool) {
	user, limited = r.Context().Value(userKey{}).(string)
	return user, limited
}

// mayUse reports whether the user who made the request may see and change an account. Names are
// compared byte by byte.
func mayUse(r *http.Request, account string) bool {
	user, limited := userOf(r)
	return !limited || user != "" && account == user
}

const (
	othersAccount = "This account belongs to another user. You can change only your own. Nothing was done."
	othersLogin   = "This login was begun by another user. Nothing was changed. " +
		"To connect your own account, open the page and press Connect."
)
