package doctor

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/authinject/caddy-authinject/internal/shell"
	"github.com/authinject/caddy-authinject/tokensource"
)

// tokenTimeout is added to twice the timeout of a token request when waiting for a token: another
// process may hold the lock.
const tokenTimeout = 30 * time.Second

// token gets a token, unless that could lose a refresh token. It returns the account if it got a
// token.
func (x *exam) token(ctx context.Context, secrets, storage, reachable bool) *tokensource.Account {
	cfg, traits := x.Config, x.Config.Grant.Traits()
	cfg.Transport = x.recorder
	src, err := tokensource.New(cfg)
	if err != nil {
		x.fail("configuration", err.Error(), "correct the option that the error names")
		return nil
	}
	account := src.Account(x.Account)
	if src.Exchanges() && x.Subject == nil {
		x.skip("token", "no token was requested, because the source exchanges the token of each caller. "+
			"To try one, use --subject-token")
		return nil
	}
	// Close waits until a refresh that is under way has ended and its token is stored.
	closeSource := func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		return src.Close(ctx)
	}
	defer func() { _ = closeSource() }() // it is closed already if all went well
	if !x.before(ctx, src, secrets, storage, reachable) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*cfg.Timeout+tokenTimeout)
	defer cancel()
	if src.Exchanges() {
		subject, err := x.Subject(ctx)
		x.report.Hide(subject.Reveal())
		if err == nil {
			account, err = src.Exchange(ctx, subject)
		}
		if err != nil {
			x.fail("token", "the token of --subject-token cannot be used: "+err.Error(), "write a caller's token into the "+
				"variable or file")
			return nil
		}
	}
	_, err = account.Token(ctx)
	asked := len(x.recorder.tokenRequests())
	var early error
	if x.Refresh && !traits.Local && asked == 0 {
		if failure, ok := errors.AsType[*tokensource.Error](err); err == nil {
			early = account.Refresh(ctx)
		} else if ok && failure.Problem() == "provider_wait" { // it is asked all the same
			err = account.Refresh(ctx)
			asked = len(x.recorder.tokenRequests())
		}
	}
	if closeSource() != nil {
		x.warn("token", "a token request is still under way", "run doctor again")
	}
	if err != nil {
		x.explain(ctx, err)
		return nil
	}
	x.obtained(account.Status(), asked, early)
	return account
}

// before reports whether a token can be requested. If not, it adds the reason to the report.
func (x *exam) before(ctx context.Context, src *tokensource.Source, secrets, storage, reachable bool) bool {
	traits := x.Config.Grant.Traits()
	if !secrets {
		x.skip("token", "no token was requested, because a secret cannot be read")
		return false
	}
	if !traits.Stored {
		if !reachable {
			x.skip("token", "no token was requested, because "+x.whyUnreached())
		}
		return reachable
	}
	if !storage {
		x.skip("token", "no token was requested, because "+x.whyNoStorage())
		return false
	}
	st, err := src.Stored(ctx, x.Account)
	if err != nil {
		x.fail("grant", "the stored record of the account cannot be used: "+st.Err.What(),
			cmp.Or(remedyOf(st.Err), "check encryption_key and the storage"))
		return false
	}
	if connected := st.Generation > 0 && !st.Disconnected; src.Interactive() && !connected {
		if x.PerAccount && x.Account == "" {
			x.skip("grant", "each request chooses its account. To examine one, name it with --account")
			return false
		}
		if x.Running.Unasked == "" && x.Running.Live {
			x.fail("grant", x.who()+" is not connected in this storage, but the running server has a token of it: the stored "+
				"record is gone, or the server uses another storage", "if the server uses this storage, run "+
				x.command("refresh")+", so that it stores a new record. Do not restart it before that")
			return false
		}
		if !reachable {
			x.noLogin = true
			x.skip("grant", x.who()+" is not connected. A login would fail, because "+x.whyUnreached())
			return false
		}
		if x.client(ctx) {
			x.skip("grant", x.who()+" is not connected. A login would fail, because the provider does not accept the client")
			return false
		}
		text, remedy := x.who()+" is not connected", x.loginRemedy()
		if last := x.Running.FailedLogin; last.Text != "" {
			text += ": the last login failed: " + last.Text
			if last.Fails { // no person can log in before that
				remedy = last.Remedy
			}
		}
		x.fail("grant", text, remedy)
		return false
	}
	if src.Interactive() && st.Err != nil && st.Err.Class == tokensource.ClassLogin {
		if !st.Live {
			x.notSent("token")
		}
		if !st.Live || !x.Refresh { // the step of the refresh says it
			x.fail("grant", "the refresh token of "+x.who()+" was refused: "+st.Err.What(), x.loginRemedy())
		}
		return st.Live
	}
	if !reachable && (!st.Live || x.Refresh) {
		x.skip("token", "no token was requested, because "+x.whyUnreached())
		return false
	}
	return true
}

// whyUnreached names the step that says why no request can reach the token endpoint.
func (x *exam) whyUnreached() string {
	connecting := []string{"name", "tcp", "tls", "metadata"}
	for _, s := range slices.Backward(x.report.Steps) {
		if s.Status == Fail && s.Source == x.Config.Name && slices.Contains(connecting, s.Name) {
			return "the step " + s.Name + " failed"
		}
	}
	return "the token endpoint cannot be reached"
}

// who names the account.
func (x *exam) who() string {
	if x.Account == "" {
		return "the account"
	}
	return fmt.Sprintf("the account %q", x.Account)
}

// loginRemedy says how a person connects the account.
func (x *exam) loginRemedy() string {
	command := x.command("login")
	switch {
	case x.ConnectURL == "":
		return "run " + command
	case x.Running.Unasked != "": // the page may not be served
		return "run " + command + ", or start the server with this configuration, open " + x.ConnectURL + " and press Connect"
	}
	return "open " + x.ConnectURL + " and press Connect, or run " + command
}

// command returns a command of authinject for the account.
func (x *exam) command(name string) string {
	command := "caddy authinject " + name + " " + x.Config.Name
	if x.Account != "" {
		command += " --account " + shell.Word(x.Account)
	}
	return command
}

// obtained reports on a token that was got with asked token requests. early is the error of a
// refresh while the token was live.
func (x *exam) obtained(st tokensource.Status, asked int, early error) {
	traits := x.Config.Grant.Traits()
	requests := len(x.recorder.tokenRequests())
	ended := st.Err != nil && st.Err.Class == tokensource.ClassLogin // the refresh token was refused
	if ended {
		st.RefreshAt = time.Time{}
	}
	switch {
	case traits.Local:
		x.staticToken()
	case requests == 0 && ended:
		x.ok("token", fmt.Sprintf("the stored token of %s is live. It cannot be refreshed", x.who()))
		if _, interactive := x.Config.Grant.(tokensource.Interactive); !interactive && early == nil && st.Err.Code != "" {
			x.deadGrant(st.Err, "the provider refused the refresh token before: "+st.Err.What())
		}
	case requests == 0 && x.Refresh:
		x.ok("token", fmt.Sprintf("the stored token of %s is live", x.who()))
	case requests == 0:
		x.ok("token", fmt.Sprintf("the stored token of %s is live, so no token request was needed (--refresh "+
			"requests a new token)", x.who()))
	case asked > 0:
		x.accepted()
		x.ok("grant", "the provider granted a token with the grant "+x.GrantName)
	case early == nil:
		x.accepted()
		x.ok("early_refresh", "the provider gives a new token while the old one is live")
	}
	if early != nil {
		x.earlyRefused(early)
	}
	x.rotation(st)
	x.scopes(st)
	x.lifetime(st)
}

// accepted reports that the provider accepted the client.
func (x *exam) accepted() {
	x.ok("client_authentication", "the provider accepted the client "+x.how())
}

// how returns the client id and the way of client authentication.
func (x *exam) how() string {
	return fmt.Sprintf("(client_id %s, client_auth %s)", x.Config.ClientID, x.Config.AuthMethod())
}

// staticToken reports on a token that is written in the configuration.
func (x *exam) staticToken() {
	for _, s := range x.Secrets {
		if s.Option != "token" {
			continue
		}
		value, err := s.Value(context.Background())
		if err != nil {
			continue // it was reported
		}
		begin, end := jwtTimes(value.Reveal())
		now, in := time.Now(), cmp.Or(x.Config.TokenIn, "the option token")
		switch {
		case !end.IsZero() && now.After(end):
			x.expired = true
			x.fail("grant", "the configured token is a JWT that expired on "+moment(end), "write a new token into "+in)
			return
		case begin.After(now):
			x.fail("grant", fmt.Sprintf("the configured token is a JWT that is not valid before %s, and this machine says "+
				"that it is %s", moment(begin), moment(now)),
				"check the clock of this machine. If it is right, write a token that is valid already into "+in)
			return
		}
		x.tokenEnd = end
	}
	x.ok("grant", "the token of the configuration can be used. Only the upstream knows whether it accepts the token "+
		"(--probe asks the upstream)")
}

// jwtTimes returns the claims nbf and exp of a token that is a JWT, or zero for a claim that is not
// there.
func jwtTimes(token string) (begin, end time.Time) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return begin, end
	}
	var claims struct {
		Nbf, Exp float64
	}
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	_ = json.Unmarshal(payload, &claims) // a claim that cannot be read stays zero
	at := func(seconds float64) time.Time {
		if seconds <= 0 || seconds > 1<<40 {
			return time.Time{}
		}
		return time.Unix(int64(seconds), 0)
	}
	return at(claims.Nbf), at(claims.Exp)
}

// earlyRefused reports on a refresh that failed while the token was live.
func (x *exam) earlyRefused(err error) {
	failure, ok := errors.AsType[*tokensource.Error](err)
	if !ok {
		x.warn("early_refresh", "the refresh did not end in time", "run doctor again")
		return
	}
	if failure.Class == tokensource.ClassOperator && failure.Code == "invalid_request" {
		x.warn("early_refresh", fmt.Sprintf("the provider refused to give a new token while the old one is "+
			"live (%d %s)", failure.Status, failure.Code),
			"set refresh_before to a short time, such as 30s, so that the token is refreshed shortly before its end")
		x.change("refresh_before", "", "30s")
		return
	}
	if len(x.recorder.tokenRequests()) == 0 {
		x.notSent("early_refresh")
	}
	x.explain(context.Background(), err)
}
