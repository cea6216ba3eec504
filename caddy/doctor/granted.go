package doctor

import (
	"fmt"
	"strings"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

// rotation reports whether the provider replaced the refresh token. Some grants have none.
func (x *exam) rotation(st tokensource.Status) {
	if traits := x.Config.Grant.Traits(); !traits.Stored || !traits.Renews {
		return
	}
	if st.Unsaved {
		x.fail("rotation", "the new refresh token could not be stored, so the login may be lost",
			x.storageRemedy(st.StorageErr))
		return
	}
	if last := x.recorder.lastGrant(); last != nil {
		before, after := last.sent("refresh_token"), last.granted("refresh_token")
		switch {
		case before == "" && after != "":
			x.ok("rotation", "the provider sent a refresh token, and it was stored")
		case after == "":
			x.ok("rotation", "the provider sent no new refresh token, so the old one stays in use")
		case before == after:
			x.ok("rotation", "the provider keeps the refresh token")
		default:
			x.ok("rotation", "the provider replaced the refresh token, and the new one was stored")
		}
		return
	}
	if st.State == tokensource.StateLoginRequired && st.Err != nil && st.Err.Code != "" {
		return // the step grant says that the refresh token was refused
	}
	if !st.Renews {
		x.warn("rotation", "the provider gave no refresh token, so a person must log in again when the token expires",
			"request a refresh token. Many providers want the scope offline_access, or an authorize_param such as "+
				"access_type offline")
		return
	}
	x.skip("rotation", "no refresh was made, so it is not known whether the provider replaces refresh tokens")
}

// scopes compares the granted scopes with the configured ones.
func (x *exam) scopes(st tokensource.Status) {
	asked := x.Config.Scopes
	if x.Config.Grant.Traits().Local || len(asked) == 0 {
		return
	}
	switch missing := st.MissingScopes; {
	case len(missing) > 0:
		x.warn("scopes", fmt.Sprintf("the provider did not grant %s. It granted %s",
			strings.Join(missing, " "), limit(st.Scope, 300)),
			"allow these scopes for the client at the provider. Without them, the upstream may answer 403. If no request "+
				"needs them, remove them from scopes")
	case st.Scope == "":
		x.ok("scopes", "the provider did not say which scopes it granted. That means those that were requested "+
			"(RFC 6749 section 5.1): "+strings.Join(asked, " "))
	default:
		x.ok("scopes", "the provider granted all scopes: "+strings.Join(asked, " "))
	}
}

const (
	// shortLife is a lifetime that is worth a warning.
	shortLife = 30 * time.Second
	// endsSoon is how long before the end of a configured token a person is warned.
	endsSoon = 24 * time.Hour
)

// lifetime reports how long the token lasts, and when it would be refreshed.
func (x *exam) lifetime(st tokensource.Status) {
	if st.Expiry.IsZero() {
		if x.expired {
			return // the step grant says it
		}
		if !x.tokenEnd.IsZero() {
			text := "the configured token is a JWT that ends on " + moment(x.tokenEnd)
			if time.Until(x.tokenEnd) < endsSoon {
				x.warn("lifetime", text, "write a new token before that")
			} else {
				x.ok("lifetime", text)
			}
			return
		}
		if x.Config.Grant.Traits().Local {
			x.warn("lifetime", "the end of the token is not known, so it is used until the upstream refuses it",
				"add expires <time>, if you know when the token expires")
			return
		}
		x.ok("lifetime", "the token does not expire. It is used until the upstream refuses it")
		return
	}
	left := time.Until(st.Expiry).Round(time.Second)
	text := fmt.Sprintf("the token lasts %s more, until %s", left, moment(st.Expiry))
	if !st.RefreshAt.IsZero() && st.RefreshAt.Before(st.Expiry) {
		due := max(0, time.Until(st.RefreshAt)).Round(time.Second)
		text += fmt.Sprintf(". A running server refreshes it in %s", due)
	}
	last := x.recorder.lastGrant()
	if age := last.age(); age > 0 {
		text += fmt.Sprintf(". The provider says that it made the token %s before its answer (created_at). "+
			"The lifetime counts from there", age)
	}
	total := st.Expiry.Sub(st.Obtained)
	switch {
	case x.Config.DefaultLifetime == 0 && !last.namesEnd():
		x.warn("lifetime", text+". The provider named no end, so this is default_lifetime",
			"set default_lifetime to what the provider's documentation says, or to never")
		x.change("default_lifetime", "", "<duration>|never")
	case x.Config.Grant.Traits().Local && left < endsSoon:
		x.warn("lifetime", text+", which the option expires says", "write a new token and its expiry time before that")
	case x.Config.Grant.Traits().Local:
		x.ok("lifetime", text+", which the option expires says")
	case !st.Obtained.IsZero() && total > 0 && total < shortLife:
		x.warn("lifetime", text+". That is short",
			"ask the provider for a longer lifetime, if requests are refused now and then")
	default:
		x.ok("lifetime", text)
	}
}

// namesEnd reports whether the answer, or the access token in it, says when the token ends. Without
// an answer, that is not known, and namesEnd returns true.
func (x *exchange) namesEnd() bool {
	if x == nil {
		return true
	}
	_, end := jwtTimes(x.granted("access_token"))
	return !end.IsZero() || x.granted("expires_in")+x.granted("expires")+x.granted("expires_at")+x.granted("expires_on") != ""
}
