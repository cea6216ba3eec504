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

// Level is the kind of a state, from which the page chooses its colour.
type Level string

// The levels. Soon means that a person should act soon.
const (
	Good Level = "good"
	Soon Level = "soon"
	Bad  Level = "bad"
	None Level = "none"
)

// loginSoon is how long before the end of a token the page warns, if the token cannot be renewed.
const loginSoon = 24 * time.Hour

// Describe describes the state of an account in words for people, and returns its Level.
func Describe(st tokensource.Status, now time.Time) (text string, as Level) {
	text, as = stateWords(st, now)
	switch {
	case st.Unsaved && st.Disconnected:
		return text + " The storage cannot be written. A restart now would connect it again.", Bad
	case st.Unsaved && st.State == tokensource.StateLoginRequired:
		return text + " The storage cannot be written.", as
	case st.Unsaved:
		return text + " The storage cannot be written. A restart now would lose this login.", Soon
	}
	return text, as
}

func stateWords(st tokensource.Status, now time.Time) (string, Level) {
	expires := Span(st.Expiry.Sub(now))
	connect := "connect again"
	if !st.Interactive { // no person can log in
		connect = "write a new refresh token into " + st.TokenIn()
	}
	refused := st.Err != nil && st.Err.Code != "" // without a code, the only failure is that the provider gave no refresh token
	switch {
	case st.Exchanges && st.Err != nil:
		return "The callers' tokens cannot be exchanged: " + st.Err.What() + ". The next request of a caller tries again" +
			after(st, now) + ".", Bad
	case st.Exchanges:
		return "Exchanges the token of each caller, and has none of its own.", Good
	case st.State == tokensource.StateLoginRequired && st.Live && st.Refused:
		return "The token is refused, and cannot be renewed. " + sentence(connect), Bad
	case st.State == tokensource.StateLoginRequired && st.Live && refused && !st.Expiry.IsZero():
		return ended(st) + " The token serves for another " + expires + ". Before that, " + connect + ".", Soon
	case st.State == tokensource.StateLoginRequired && st.Live && refused:
		return ended(st) + " The token serves until it is refused. Before that, " + connect + ".", Soon
	case st.State == tokensource.StateLoginRequired && st.Live:
		return "Expires in " + expires + ". Log in again before that.", Soon
	case st.Disconnected, st.Generation == 0 && st.Obtained.IsZero() && !st.Live && st.State != tokensource.StateExpired:
		return tokenless(st)
	case st.State == tokensource.StateLoginRequired:
		return ended(st) + " " + sentence(connect), Bad
	case st.State == tokensource.StateUncertain:
		return uncertain(st, expires) + nextTry(st, now), Soon
	case !st.Live && st.Err != nil:
		return "No valid token: " + st.Err.What() + "." + nextTry(st, now), Bad
	case st.RefusedAgain && st.Live:
		return "Connected, but " + st.Refusal().What() + ".", Bad
	case !st.Live:
		return "No valid token. A new one is being fetched.", Soon
	case st.Renews && st.Unsaved && !st.Expiry.IsZero():
		return "Connected for another " + expires + ".", Soon // Describe says what failed
	case st.Renews && st.Err != nil && !st.Expiry.IsZero():
		return "Connected for another " + expires + ". The renewal failed: " + st.Err.What() + "." + nextTry(st, now), Soon
	case st.Renews && st.State == tokensource.StateStale:
		return "Connected. The token is being renewed.", Good
	case st.Renews && st.RefreshAt.After(now):
		return "Connected, renews by itself, next in " + Span(st.RefreshAt.Sub(now)) + ".", Good
	case st.Renews:
		return "Connected, renews by itself.", Good
	case st.Refused:
		return "An upstream refuses the token, and there is no other.", Bad
	case st.Ended() != nil:
		return "Connected, but " + st.Ended().What() + ".", Soon
	case st.Expiry.IsZero():
		return "Connected. The token serves until the API refuses it.", Good
	}
	text := "Connected. Expires in " + expires + ". Log in again before that."
	if !st.Interactive { // the token itself is configured
		text = "Connected. The token ends in " + expires + ". Before that, write a new one into " + st.TokenIn() +
			", and its expiry time into the option expires."
	}
	if st.Expiry.Sub(now) < loginSoon {
		return text, Soon
	}
	return text, Good
}

// uncertain describes an account for which it is not known whether the provider replaced the refresh
// token. expires says how long its token lasts.
func uncertain(st tokensource.Status, expires string) string {
	failed := "A renewal was sent, and its answer was lost."
	if st.Err != nil {
		failed = "The renewal failed: " + st.Err.What() + "."
	}
	switch {
	case st.Live && !st.Expiry.IsZero():
		return "Connected for another " + expires + ". " + failed
	case st.Live:
		return "Connected. " + failed
	}
	return failed
}

// tokenless describes an account that has no token: it was never connected, or was disconnected.
func tokenless(st tokensource.Status) (string, Level) {
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

// after says how long requests must wait until there is another attempt.
func after(st tokensource.Status, now time.Time) string {
	if !st.RefreshAt.After(now) {
		return ""
	}
	return ", after " + Span(st.RefreshAt.Sub(now))
}

// ended says that a login or a configured refresh token has ended, and why.
func ended(st tokensource.Status) string {
	text := "The login has ended"
	if !st.Interactive {
		text = "The refresh token has ended"
	}
	if st.Err == nil {
		return text + "."
	}
	return text + ": " + st.Err.What() + "."
}

// nextTry says when the next token request is sent, or when a configured token is read again. A state
// that was only read from the storage does not say that.
func nextTry(st tokensource.Status, now time.Time) string {
	switch {
	case st.Refreshing:
		return " The next try is under way."
	case st.RefreshAt.IsZero():
		return " A running server tries again by itself."
	case st.RefreshAt.After(now) && !st.Renews && !st.Interactive:
		return " It is read again in " + Span(st.RefreshAt.Sub(now)) + "."
	case st.RefreshAt.After(now):
		return " The next try is in " + Span(st.RefreshAt.Sub(now)) + "."
	}
	return " The next request tries again."
}

// Span returns a duration in words. The shortest is "1 s", because "in 0 s" would mean now.
func Span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 90*time.Second:
		return fmt.Sprintf("%d s", int(math.Max(math.Round(d.Seconds()), 1)))
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
