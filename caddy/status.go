package caddy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/authinject/caddy-authinject/caddy/connect"
	"github.com/authinject/caddy-authinject/tokensource"
)

// accountStatus is the state of an account, for people and programs.
type accountStatus struct {
	Source     string            `json:"source"`
	Account    string            `json:"account,omitempty"`
	Grant      string            `json:"grant"`
	State      tokensource.State `json:"state"`
	Words      string            `json:"words"`
	Generation uint64            `json:"generation,omitempty"`
	Obtained   time.Time         `json:"obtained,omitzero"`
	Expiry     time.Time         `json:"expiry,omitzero"`
	RefreshAt  time.Time         `json:"refresh_at,omitzero"`
	Live       bool              `json:"live"`
	Refused    bool              `json:"refused,omitempty"`
	Renews     bool              `json:"renews"`
	Scope      string            `json:"scope,omitempty"`
	// MissingScopes are the configured scopes that the provider did not grant.
	MissingScopes []string          `json:"missing_scopes,omitempty"`
	Variables     map[string]string `json:"variables,omitempty"`
	Class         tokensource.Class `json:"class,omitempty"`
	Error         string            `json:"error,omitempty"`
	// Problem is the error in one word, and Remedy what to do: docs/troubleshooting.md has both.
	Problem string `json:"problem,omitempty"`
	Remedy  string `json:"remedy,omitempty"`
	// Problems are the problems of Error, Warnings and RefusedRequest, each with what to do.
	// Upstreams that cannot be reached are among them.
	Problems []problemStatus `json:"problems,omitempty"`
	// Warnings are reasons to look at an account whose token serves all the same.
	Warnings []string `json:"warnings,omitempty"`
	// RefusedRequest says when and why a request of the source was last refused because of its
	// destination, or because the upstream refused the DPoP proof, if that was in the last hour. A
	// refused proof is shown only until the upstream accepts the proof of a later request.
	RefusedRequest string `json:"refused_request,omitempty"`
	// ProviderSaid is what the provider said of the last failure, if the request asks for it.
	ProviderSaid string `json:"provider_said,omitempty"`
	// StorageError is the storage's own error, in which a path may stand.
	StorageError string `json:"storage_error,omitempty"`
	Attempts     int    `json:"attempts,omitempty"`
	Unsaved      bool   `json:"unsaved,omitempty"`
	// Exchanges is true if the source exchanges the tokens of its callers, and has none of its own.
	Exchanges bool `json:"exchanges,omitempty"`
	// Disconnected is true if a person disconnected the account.
	Disconnected bool `json:"disconnected,omitempty"`
	// Wanted is when a request last asked for the account, which was never connected.
	Wanted time.Time `json:"wanted,omitzero"`
	// Login is the login with a code for another device that is under way.
	Login *pendingLogin `json:"login,omitempty"`
	// LastLogin is why the account's last login failed, if none has succeeded since.
	LastLogin *failedLogin `json:"last_login,omitempty"`
	// LoginURL is where a person connects the account, if that is what it needs and there is a page.
	LoginURL string `json:"login_url,omitempty"`
	// From is set by the command status: the running server, or the storage.
	From string `json:"from,omitempty"`
}

// problemStatus is a reason to look at an account.
type problemStatus struct {
	Problem string            `json:"problem,omitempty"`
	Class   tokensource.Class `json:"class"`
	Error   string            `json:"error"`
	Remedy  string            `json:"remedy,omitempty"`
}

// failedLogin is a login that failed.
type failedLogin struct {
	Failed  time.Time         `json:"failed"`
	Class   tokensource.Class `json:"class"`
	Error   string            `json:"error"`
	Problem string            `json:"problem,omitempty"`
	Remedy  string            `json:"remedy,omitempty"`
}

// pendingLogin is a login that a person finishes on any device (RFC 8628 section 3.3).
type pendingLogin struct {
	// UserCode is what the person types at VerificationURI. VerificationURIComplete has it filled
	// in.
	UserCode                string    `json:"user_code"`
	VerificationURI         string    `json:"verification_uri"`
	VerificationURIComplete string    `json:"verification_uri_complete,omitempty"`
	Ends                    time.Time `json:"ends"`
	// ExpiresIn is how many seconds are left until then.
	ExpiresIn int `json:"expires_in"`
}

// logins adds to s the login of the account that is under way, if there is one, and why the last
// one failed.
func (s accountStatus) logins(ctx context.Context, source *tokensource.Source) accountStatus {
	if last := source.LastLogin(s.Account); last.Err != nil {
		s.LastLogin = &failedLogin{last.At, last.Err.Class, last.Err.Error(), last.Err.Problem(), last.Err.Remedy()}
	}
	l, err := source.PendingLogin(ctx, s.Account)
	if err != nil || l == nil || l.Device.Failed != nil {
		return s
	}
	d := l.Device
	s.Login = &pendingLogin{
		UserCode: d.UserCode.Reveal(), VerificationURI: d.VerificationURI,
		VerificationURIComplete: d.VerificationURIComplete.Reveal(),
		Ends:                    d.Ends, ExpiresIn: max(int(time.Until(d.Ends).Seconds()), 0),
	}
	return s
}

func newAccountStatus(st tokensource.Status, grant string) accountStatus {
	s := accountStatus{
		Source: st.Source, Account: st.Account, Grant: grant, State: st.State, Generation: st.Generation,
		Obtained: st.Obtained, Expiry: st.Expiry, RefreshAt: st.RefreshAt, Live: st.Live, Refused: st.Refused,
		Renews: st.Renews, Scope: st.Scope, MissingScopes: st.MissingScopes, Variables: st.Variables,
		Attempts: st.Attempts, Unsaved: st.Unsaved, Disconnected: st.Disconnected, Exchanges: st.Exchanges,
	}
	if st.StorageErr != nil {
		s.StorageError = st.StorageErr.Error()
	}
	s.Words, _ = connect.Describe(st, time.Now())
	refusal := st.Refusal()
	for i, problem := range st.Problems() {
		entry := problemStatus{problem.Problem(), problem.Class, problem.Error(), problem.Remedy()}
		if slices.Contains(s.Problems, entry) {
			continue // the last failure can be the same as the state of the storage
		}
		s.Problems = append(s.Problems, entry)
		if problem == st.Err || i == 0 && refusal != nil {
			s.Class, s.Error = problem.Class, problem.Error()
			s.Problem, s.Remedy = problem.Problem(), problem.Remedy()
			if !st.Live || st.StorageErr == nil || !errors.Is(problem, st.StorageErr) {
				continue
			}
			// The token serves, but an operator has to act before it ends.
		}
		s.Warnings = append(s.Warnings, problem.Error())
	}
	return s
}

// accountStatus returns the status with what this server knows about the source's requests.
func (a *App) accountStatus(st tokensource.Status, grant string) accountStatus {
	s, now := newAccountStatus(st, grant), time.Now()
	if st.State == tokensource.StateLoginRequired || s.Class == tokensource.ClassLogin {
		s.LoginURL = a.connectURL(st.Source, st.Account)
	}
	refused, ok := a.refusals.lastOf(st.Source, now)
	expected := a.refusals.problems(st.Source, refused.text) // the refused request says the reason itself
	unreached, lacking := a.unreached[st.Source].problems(now), a.lackedScopes.of(st.Source, st.Account, now)
	for _, problem := range slices.Concat(expected, a.unusedProblems(st.Source), unreached, lacking,
		a.sharedAddresses(a.routes.listens[st.Source])) {
		s.Warnings, s.Problems = append(s.Warnings, problem.Error), append(s.Problems, problem)
	}
	if unreached != nil {
		s.Words = joined(" ", s.Words, "But an upstream cannot be reached.")
	}
	if lacking != nil {
		s.Words = joined(" ", s.Words, "But an upstream refused a request, because the token lacks a scope.")
	}
	if !ok {
		return s
	}
	ago := connect.Span(now.Sub(refused.at)) + " ago"
	s.RefusedRequest = fmt.Sprintf("%s a request was refused: %s", ago, refused.text)
	s.Words = joined(" ", s.Words, "But a request was refused "+ago+".")
	// The refused request comes first: no token helps it. The account's own problem follows.
	s.Class, s.Problem = tokensource.ClassOperator, refused.problem
	s.Remedy, s.Error = joined("; then ", refused.remedy, s.Remedy), joined("; ", refused.text, s.Error)
	s.Problems = slices.Insert(s.Problems, 0,
		problemStatus{refused.problem, tokensource.ClassOperator, refused.text, refused.remedy})
	return s
}

// distinctWarnings returns the warnings without those whose remedy an earlier one has.
func (s *accountStatus) distinctWarnings() (list []string) {
	remedies := make(map[string]bool)
	for _, warning := range s.Warnings {
		i := slices.IndexFunc(s.Problems, func(p problemStatus) bool { return p.Error == warning })
		if i >= 0 && s.Problems[i].Remedy != "" {
			if remedies[s.Problems[i].Remedy] {
				continue
			}
			remedies[s.Problems[i].Remedy] = true
		}
		list = append(list, warning)
	}
	return list
}

// withoutName splits the text of an error into the name of the source or account that it begins
// with, as status shows names, and the rest. The name is empty if the text begins with no name.
func (s *accountStatus) withoutName(text string) (name, rest string) {
	source := fmt.Sprintf("token source %q", s.Source)
	if rest, ok := strings.CutPrefix(text, fmt.Sprintf("%s, account %q: ", source, s.Account)); ok {
		return connect.AccountName(s.Source, s.Account), rest
	}
	if rest, ok := strings.CutPrefix(text, source+": "); ok {
		return s.Source, rest
	}
	return "", text
}

// joined joins the texts that are not empty.
func joined(by string, texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(text string) bool { return text == "" }), by)
}

// withRemedy appends a remedy, which may be empty, to a text that does not have it yet.
func withRemedy(text, remedy string) string {
	if strings.Contains(text, remedy) {
		return text
	}
	return text + ": " + remedy
}

// withoutRemedy removes a remedy from the end of a text. It is for places that show the remedy apart.
func withoutRemedy(text, remedy string) string { return strings.TrimSuffix(text, ": "+remedy) }

// fullStatus returns accountStatus with the logins of the account and, if details is true, with what
// the provider said.
func (a *App) fullStatus(ctx context.Context, st tokensource.Status, details bool) accountStatus {
	s := a.accountStatus(st, a.Sources[st.Source].grantName)
	if details && st.Err != nil {
		s.ProviderSaid = st.Err.ProviderSaid()
	}
	return s.logins(ctx, a.pooled[st.Source].source)
}

// The exit statuses of `caddy authinject status`.
const (
	exitFine = iota
	exitLogin
	exitOperator
	exitWait
	// exitFailed is the exit status of every command that failed.
	exitFailed = exitLogin
)

// exit returns the exit status that the account calls for.
func (s accountStatus) exit() int {
	switch {
	case s.Class == tokensource.ClassOperator, s.RefusedRequest != "":
		return exitOperator
	case !s.Wanted.IsZero():
		return exitFine // any request can name an account
	case s.Disconnected && s.Account != "":
		return exitFine // a person wanted that
	case s.Class == tokensource.ClassLogin, s.State == tokensource.StateLoginRequired:
		return exitLogin
	case s.Exchanges && s.Class == "":
		return exitFine // it has no token of its own
	case !s.Live, s.Unsaved:
		return exitWait
	}
	return exitFine // also if the last attempt failed with class wait: the token serves
}

// urgency orders the exit statuses.
var urgency = map[int]int{exitFine: 0, exitWait: 1, exitLogin: 2, exitOperator: 3}

// exitOf returns the exit status of all accounts, and what it says in words.
func exitOf(list []accountStatus) (status int, words string) {
	waits := "the tokens of callers cannot be exchanged; the next request of a caller tries again"
	login := "a new refresh token must be configured"
	mend := false
	for _, st := range list {
		exit := st.exit()
		if urgency[exit] > urgency[status] {
			status = exit
		}
		switch {
		case exit == exitLogin && st.Problem == "storage_login":
			mend = true
		case exit == exitLogin && !hasNoLogin(st.Grant):
			login = "a login is needed"
		case exit != exitWait || st.Exchanges:
		case st.From == fromStorage:
			waits = "an account has no valid token in the storage; a running server gets one, and caddy authinject doctor says " +
				"why if it does not"
		case st.Live:
			waits = "a token is not stored yet; the server tries again by itself"
		default:
			waits = "an account has no token; the server tries again by itself"
		}
	}
	if mend { // first: until then, a login would be lost
		login = "the storage must be mended, and then a login is needed"
	}
	return status, map[int]string{
		exitLogin: login, exitOperator: "the configuration must be changed", exitWait: waits,
	}[status]
}

// hasNoLogin reports whether no person connects the accounts of a source with that grant.
func hasNoLogin(name string) bool {
	grant, err := newGrant(name)
	return err == nil && !isInteractive(grant)
}

// stateWord returns the state for the table.
func (s accountStatus) stateWord() string {
	if s.Exchanges {
		return "per caller"
	}
	if g, err := newGrant(s.Grant); err == nil && s.From == fromStorage && !g.Traits().Stored {
		return "unknown"
	}
	return string(cmp.Or(s.State, tokensource.StateNone))
}

// withCause adds the error of the storage to a failure, for the operator. The failure's own text
// leaves it out, because pages and clients see that text and the storage's error can have a path.
func withCause(err error) error {
	failure, ok := errors.AsType[*tokensource.Error](err)
	if !ok || failure.Unwrap() == nil {
		return err
	}
	text, remedy := failure.Error(), failure.Remedy()
	bare := withoutRemedy(text, remedy)
	return causedError{failure, bare + " (" + failure.Unwrap().Error() + ")" + strings.TrimPrefix(text, bare)}
}

// causedError is a failure whose text has its cause.
type causedError struct {
	error
	text string
}

func (e causedError) Error() string { return e.text }
func (e causedError) Unwrap() error { return e.error }
