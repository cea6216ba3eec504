package connect

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/authinject/caddy-authinject/tokensource"
)

// Mood is the kind of a state, from which the page chooses its colour.
type Mood string

// The moods. Soon means that a person should act soon.
const (
	Good Mood = "good"
	Soon Mood = "soon"
	Bad  Mood = "bad"
	None Mood = "none"
)

// loginSoon is how long before the end of a token the page warns, if the token cannot be renewed.
const loginSoon = 24 * time.Hour

// Describe describes the state of an account in words for people, and returns its Mood.
func Describe(st tokensource.Status, now time.Time) (text string, as Mood) {
	text, as = stateWords(st, now)
	if st.Unsaved {
		return text + " The storage cannot be written; until it can, a restart would lose this login.", Soon
	}
	return text, as
}

func stateWords(st tokensource.Status, now time.Time) (string, Mood) {
	expires := Span(st.Expiry.Sub(now))
	connect := "connect again"
	if !st.Interactive {
		connect = "configure another refresh_token" // no person can log in
	}
	refused := st.Err != nil && st.Err.Code != "" // without a code, the provider only did not give a refresh token
	switch {
	case st.Exchanges && st.Err != nil:
		return "The callers' tokens cannot be exchanged: " + because(st) + "; the next request of a caller tries again" + after(st, now) + ".", Bad
	case st.Exchanges:
		return "Exchanges the token of each caller, and has none of its own.", Good
	case st.State == tokensource.StateLoginRequired && st.Live && st.Refused:
		return "The token is refused, and cannot be renewed. " + sentence(connect), Bad
	case st.State == tokensource.StateLoginRequired && st.Live && refused && !st.Expiry.IsZero():
		return "The login has ended: " + because(st) + ". The token serves for another " + expires + "; " + connect + " before.", Soon
	case st.State == tokensource.StateLoginRequired && st.Live && refused:
		return "The login has ended: " + because(st) + ". The token serves until it is refused; " + connect + " before.", Soon
	case st.State == tokensource.StateLoginRequired && st.Live:
		return "Expires in " + expires + ", log in again before.", Soon
	case st.Disconnected, st.Generation == 0 && st.Obtained.IsZero() && !st.Live && st.State != tokensource.StateExpired:
		return tokenless(st)
	case st.State == tokensource.StateLoginRequired:
		return sentence(connect + ": " + because(st)), Bad
	case st.State == tokensource.StateUncertain:
		return "A renewal was sent and its answer was lost; it is tried again" + tryAgain(st, now) + ".", Soon
	case !st.Live && st.Err != nil:
		return "No valid token: " + because(st) + "; it is tried again" + tryAgain(st, now) + ".", Bad
	case st.RefusedAgain && st.Live:
		return "Connected, but an upstream refused the token and the new one that replaced it.", Bad
	case !st.Live:
		return "No valid token; a new one is being fetched.", Soon
	case st.Renews && st.Err != nil && !st.Expiry.IsZero():
		return "Connected for another " + expires + ", but the renewal failed: " + because(st) + "; it is tried again" + tryAgain(st, now) + ".", Soon
	case st.Renews && st.State == tokensource.StateStale:
		return "Connected, is being renewed.", Good
	case st.Renews && st.RefreshAt.After(now):
		return "Connected, renews by itself, next in " + Span(st.RefreshAt.Sub(now)) + ".", Good
	case st.Renews:
		return "Connected, renews by itself.", Good
	case st.Refused:
		return "An upstream refuses the token, and there is no other.", Bad
	case st.Expiry.IsZero():
		return "Connected. The token serves until the API refuses it.", Good
	}
	text := "Connected. Expires in " + expires + ", log in again before."
	if st.Expiry.Sub(now) < loginSoon {
		return text, Soon
	}
	return text, Good
}

// tokenless describes an account that has no token: it was never connected, or was disconnected.
func tokenless(st tokensource.Status) (string, Mood) {
	none := "Not connected."
	if !st.Interactive {
		none = "No token yet."
	}
	switch {
	case st.Err == nil:
		return none, None
	case st.StorageErr != nil:
		return sentence(st.Err.What()), Bad // it is not known whether the account is connected, or a login would be lost
	case st.Err.LastLogin != nil:
		return none + " The last login failed: " + st.Err.LastLogin.What() + ".", Bad
	case st.Err.Class == tokensource.ClassLogin && st.Interactive:
		return none, None
	case st.Err.Class == tokensource.ClassOperator:
		return sentence(st.Err.What()), Bad
	}
	return none + " " + sentence(st.Err.What()), Bad
}

// because returns the reason of the last failure, with the provider's code for it.
func because(st tokensource.Status) string {
	if st.Err == nil {
		return "the login has ended"
	}
	return st.Err.What()
}

// after says how long requests must wait until there is another attempt.
func after(st tokensource.Status, now time.Time) string {
	if !st.RefreshAt.After(now) {
		return ""
	}
	return ", after " + Span(st.RefreshAt.Sub(now))
}

func tryAgain(st tokensource.Status, now time.Time) string {
	if !st.RefreshAt.After(now) {
		return ""
	}
	return " in " + Span(st.RefreshAt.Sub(now))
}

// Span returns a duration in words.
func Span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 90*time.Second:
		return fmt.Sprintf("%d s", int(math.Max(math.Round(d.Seconds()), 0)))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(math.Round(d.Minutes())))
	case d < 2*day:
		return fmt.Sprintf("%d h", int(math.Round(d.Hours())))
	}
	return fmt.Sprintf("%d days", int(math.Round(float64(d)/float64(day))))
}

// Printable returns a name as it can be shown. It is quoted if it has characters that cannot be
// seen, or that change how others are displayed.
func Printable(name string) string {
	if strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return strconv.Quote(name)
	}
	return name
}
