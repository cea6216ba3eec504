package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// assertionProblems are the problems with the assertion of a grant. The client is not their cause.
var assertionProblems = []string{"assertion_refused", "no_installation", "beyond_installation", "grant_key"}

// explain reports why there is no token.
func (x *exam) explain(ctx context.Context, err error) {
	failure, ok := errors.AsType[*tokensource.Error](err)
	if !ok {
		x.fail("token", "no token came in time", "run doctor again; if it stays so, raise timeout")
		return
	}
	answered := failure.What()
	if said := failure.ProviderSaid(); said != "" {
		answered += fmt.Sprintf(" (the provider says %q)", said)
	}
	cfg := &x.Config
	x.timed = x.timed || strings.Contains(remedyOf(failure), "clock that is wrong: this machine's ")
	switch {
	case failure.Problem() == "expired_answer" && x.created(answered):
	case failure.Subject, slices.Contains(assertionProblems, failure.Problem()):
		x.fail("grant", answered, remedyOf(failure))
	case failure.Status == 0, len(x.recorder.tokenRequests()) == 0: // the failure may be a stored one
		x.unanswered(failure)
	case failure.Class == tokensource.ClassLogin:
		if failure.Code != "" && !slices.Contains(cfg.DeadGrantErrors, failure.Code) {
			x.accepted()
		}
		x.deadGrant(failure, answered)
	case failure.RefusesClient(), failure.Status == http.StatusUnauthorized:
		x.refusedClient(ctx, failure, answered+x.notAccepted(failure))
	case failure.Code == "invalid_request":
		x.refusedClient(ctx, failure, answered+": the provider does not understand the request. Often it looks for the "+
			"client's credentials in another place, or a parameter such as audience is missing")
	case failure.Code == "invalid_scope":
		x.accepted()
		x.refusedScope(failure, answered)
	case failure.Code == "invalid_target":
		x.accepted()
		x.fail("grant", answered+": the provider does not know the API that the token is for",
			remedyOf(failure))
	case failure.Code == "unauthorized_client": // it does not always mean that the client was accepted
		x.fail("grant", fmt.Sprintf("%s: the client %s may not use the grant %s", answered, cfg.ClientID, x.GrantName),
			remedyOf(failure))
	case failure.Code == "unsupported_grant_type":
		x.accepted()
		x.fail("grant", fmt.Sprintf("%s: the provider has no grant %s", answered, x.GrantName),
			remedyOf(failure)+x.knownGrants())
	case failure.Class == tokensource.ClassOperator && slices.Contains([]int{404, 405, 410, 415}, failure.Status):
		x.fail("token", answered, remedyOf(failure)+". The provider's documentation names the address")
		if x.server != nil && x.server.TokenURL != "" && x.server.TokenURL != cfg.TokenURL {
			x.change("token_url", "token_url "+cfg.TokenURL, x.server.TokenURL)
		}
	default:
		x.fail("token", answered, cmp.Or(remedyOf(failure), "look at the provider's documentation and status page"))
		if failure.Code == "" && failure.Class == tokensource.ClassWait && failure.Status >= 400 && failure.Status < 500 {
			x.tryAuth(ctx, cfg.AuthMethod())
		}
	}
}

// created reports a token that has ended because its created_at is long before the answer. It
// returns false if that is not the reason.
func (x *exam) created(answered string) bool {
	last := x.recorder.lastGrant()
	age := last.age()
	if age == 0 {
		return false
	}
	x.fail("token", fmt.Sprintf("%s: created_at is %s before the Date of the same answer, and the token lasts %s s "+
		"(expires_in) from there",
		answered, age, last.granted("expires_in")),
		"tell the provider that the clock of one of its servers is wrong, or that it answers with a token that has ended")
	return true
}

// unanswered reports a token request that got no answer or was not sent.
func (x *exam) unanswered(failure *tokensource.Error) {
	switch {
	case failure.Class == tokensource.ClassLogin && failure.Code != "":
		x.notSent("client_authentication")
		x.deadGrant(failure, "the provider refused the refresh token before, and it is not sent again: "+failure.What())
	case failure.Class == tokensource.ClassLogin:
		x.deadGrant(failure, failure.Reason)
	case x.Config.Grant.Traits().Local && strings.Contains(failure.Reason, "expired"):
		x.fail("grant", failure.What()+": the time of the option expires has passed", remedyOf(failure))
		x.change("expires", "expires …", "<time>")
	default:
		x.fail("token", failure.What(), cmp.Or(remedyOf(failure), "see the steps before"))
	}
}

// notSent reports a step that needs a token request, if the provider refused the refresh token before.
func (x *exam) notSent(step string) {
	x.skip(step, "not tried: no token request was sent, because the provider refused the refresh token before")
}

// deadGrant reports a grant that only a person can replace.
func (x *exam) deadGrant(failure *tokensource.Error, why string) {
	if _, interactive := x.Config.Grant.(tokensource.Interactive); interactive {
		x.fail("grant", why+": the login of "+x.who()+" was revoked or has ended", x.loginRemedy())
		return
	}
	if x.Config.Grant.Traits().Stored {
		x.fail("grant", why+": the refresh token was revoked, has ended, or was used by another program",
			remedyOf(failure))
		return
	}
	x.fail("grant", why+": the provider refuses the grant "+x.GrantName, "check the client's account at the provider")
}

// refusedClient reports a client that the provider did not accept.
func (x *exam) refusedClient(ctx context.Context, failure *tokensource.Error, text string) {
	now := x.Config.AuthMethod()
	x.noLogin = true
	x.fail("client_authentication", fmt.Sprintf("%s (client_id %s, client_auth %s)", text, x.Config.ClientID, now),
		x.authRemedy(now, remedyOf(failure)))
	x.tryAuth(ctx, now)
}

// notAccepted says what an answer of invalid_client means, or another answer with status 401.
func (x *exam) notAccepted(failure *tokensource.Error) string {
	last := x.recorder.tokenRequests()
	switch {
	case !failure.RefusesClient() && len(last) > 0 && last[len(last)-1].sent("refresh_token") != "":
		return ": the provider did not accept the client, or the refresh token"
	case !x.Config.AuthMethod().UsesSecret():
		return ": the provider did not accept the client id, or what proves the client"
	}
	return ": the provider did not accept the client id, the client secret, or the way in which they are sent"
}

// authRemedy returns remedy with a way of client authentication that the provider supports, or with
// how to find one.
func (x *exam) authRemedy(now tokensource.ClientAuth, remedy string) string {
	if x.server != nil {
		if listed, advice := x.Config.OtherAuth(x.server.AuthMethods); listed != "" {
			x.change("client_auth", "client_auth "+string(now), string(listed))
			if strings.Contains(remedy, advice) {
				return remedy
			}
			return advice + ". If that is not enough, " + remedy
		}
	}
	if now.IsJWT() || now.IsTLS() || x.TryAuth {
		return remedy
	}
	return remedy + ". --try-auth tries the other ways, but a provider may lock the client out after several failures"
}

// refusedScope reports invalid_scope.
func (x *exam) refusedScope(failure *tokensource.Error, answered string) {
	remedy := remedyOf(failure)
	if x.server != nil && x.server.Scopes != nil {
		var named, unknown []string
		for _, scope := range x.Config.Scopes {
			if slices.Contains(x.server.Scopes, scope) {
				named = append(named, scope)
			} else {
				unknown = append(unknown, scope)
			}
		}
		if len(unknown) > 0 {
			remedy = "remove " + strings.Join(unknown, " ") + ", which the issuer's metadata does not name"
			x.change("scopes", "scopes "+strings.Join(x.Config.Scopes, " "), strings.Join(named, " "))
		}
	}
	x.fail("scopes", fmt.Sprintf("%s: the provider does not grant the scopes %s to this client", answered,
		strings.Join(x.Config.Scopes, " ")), remedy)
	if x.server == nil || x.server.Scopes == nil {
		x.change("scopes", "scopes "+strings.Join(x.Config.Scopes, " "), "<scopes that the provider allows>")
	}
}

func (x *exam) knownGrants() string {
	if x.server == nil {
		return ""
	}
	return ". The issuer's metadata names " + limit(strings.Join(x.server.Grants(), ", "), 200)
}

// invented is a code and a refresh token that no provider has issued.
const invented = "authinject-doctor"

// probeParams are, for each grant, the parameters of a request that only tests the client. They
// differ, because a client may use only the grants that it is registered for.
var probeParams = map[string]url.Values{
	"client_credentials": {"grant_type": {"client_credentials"}},
	"refresh_token":      {"grant_type": {"refresh_token"}, "refresh_token": {invented}},
	"authorization_code": {"grant_type": {"authorization_code"}, "code": {invented},
		"redirect_uri": {"http://127.0.0.1/"}},
}

// probeGrant is a grant that sends such a request.
type probeGrant struct{ params url.Values }

// Traits implements [tokensource.Grant].
func (probeGrant) Traits() tokensource.Traits { return tokensource.Traits{Renews: true} }

// Next implements [tokensource.Grant].
func (g probeGrant) Next(context.Context, *tokensource.Record) (tokensource.Request, error) {
	return tokensource.Request{Params: g.params, WithScope: g.params.Get("grant_type") == "client_credentials"}, nil
}

// client checks the client of an account that is not connected: the provider must refuse an
// invented code, and not the client. It returns true if the provider refused the client.
func (x *exam) client(ctx context.Context) (refused bool) {
	const step = "client_authentication"
	switch {
	case x.tokenURL == "" || x.Config.Grant.Traits().NoTokenURL:
		return false
	case x.Config.LockOut.Code != "" && !x.TryAuth:
		x.skip(step, "the client was not checked, because this provider locks a client out after several failures; "+
			"--try-auth checks it")
		return false
	}
	result, failure := x.tryOne(ctx, x.Config.AuthMethod())
	switch {
	case result == accepts:
		// Some providers look at the code first.
		x.skip(step, "the client "+x.how()+" seems right, because the provider refused only the invented code of a request. "+
			"Only the first login shows whether the client is right")
	case result == lockedOut:
		x.warn(step, "the client was not checked: the provider limits the attempts", "wait, and run doctor again")
	case failure != nil && (failure.Status == http.StatusUnauthorized || failure.RefusesClient()):
		x.refusedClient(ctx, failure, failure.What()+x.notAccepted(failure))
		return true
	case failure != nil:
		x.warn(step, "the client was not checked: to a request with an invented code, "+failure.What(),
			cmp.Or(remedyOf(failure), "see the steps before"))
	}
	return false
}

// tryAuth tries the other ways of client authentication if TryAuth is set. now is the way that was
// refused. It sends no real refresh token and no real code.
func (x *exam) tryAuth(ctx context.Context, now tokensource.ClientAuth) {
	if !x.TryAuth || now.IsJWT() || now.IsTLS() || x.tokenURL == "" || x.Config.Grant.Traits().NoTokenURL {
		return
	}
	var tried []string
	for _, way := range []tokensource.ClientAuth{tokensource.ClientSecretBasic, tokensource.ClientSecretPost,
		tokensource.ClientSecretBasicRaw, tokensource.ClientAuthNone} {
		switch {
		case way == now, way.UsesSecret() && len(x.Config.ClientSecrets) == 0,
			way == tokensource.ClientSecretBasicRaw && x.rawIsSame(ctx):
			continue
		}
		result, failure := x.tryOne(ctx, way)
		tried = append(tried, "client_auth "+string(way))
		switch {
		case result == accepts && way == tokensource.ClientAuthNone && failure != nil:
			// Some providers look at the code first if a request has no secret.
			x.warn("try_auth", "client_auth none may work, because the provider refused only the invented code of a request "+
				"without a secret", "if the client was registered as a public client, write client_auth none into the source. "+
				"Otherwise copy the client id and the secret again from the provider, because one of them is wrong")
			return
		case result == accepts:
			x.warn("try_auth", fmt.Sprintf("client_auth %s works", way), "write client_auth "+string(way)+" into the source")
			old := ""
			if x.Config.ClientAuth != "" {
				old = "client_auth " + string(now)
			}
			x.change("client_auth", old, string(way))
			return
		case result == lockedOut:
			x.warn("try_auth", "the provider limits the attempts; tried so far: "+strings.Join(tried, ", "),
				"wait, and ask the provider which way the client must use")
			return
		}
	}
	if tried == nil {
		x.skip("try_auth", "there is no other way to try without a client_secret. If the provider gave you one, write it into "+
			"the option client_secret")
		return
	}
	x.fail("try_auth", "the provider refuses the client in each other way, too: "+strings.Join(tried, ", "),
		"copy the client id and the secret again from the provider, because one of them is wrong")
}

// verdict is what an attempt showed.
type verdict int

const (
	rejects verdict = iota
	accepts
	lockedOut
)

// tryOne makes one token request with a way of client authentication. If it gets a token, the token
// is dropped.
func (x *exam) tryOne(ctx context.Context, way tokensource.ClientAuth) (verdict, *tokensource.Error) {
	cfg := x.Config
	cfg.Name, cfg.ClientAuth, cfg.Transport = "doctor", way, dates{x.recorder}
	switch {
	case !way.IsJWT():
		cfg.ClientJWT, cfg.ClientAssertion = tokensource.ClientJWT{}, nil
	case cfg.ClientAssertion == nil: // the issuer, which is cleared below, is the usual audience
		// the token URL, if a variable is missing
		audience, _ := provider.Expand(cfg.Variables, cfg.ClientJWT.Audience, x.Variables)
		cfg.ClientJWT.Audience = cmp.Or(audience, x.issuer)
	}
	cfg.Storage, cfg.Observer, cfg.EncryptionKeys = nil, nil, nil
	cfg.TokenURL, cfg.Issuer, cfg.AuthorizeURL, cfg.RevokeURL, cfg.Variables = x.tokenURL, "", "", "", nil
	if !way.UsesSecret() {
		cfg.ClientSecrets = nil
	} else {
		cfg.ClientSecrets = cfg.ClientSecrets[:1]
	}
	params, known := probeParams[x.GrantName]
	if !known {
		params = probeParams["authorization_code"]
	}
	cfg.Grant = probeGrant{params}
	cfg.Params = slices.DeleteFunc(slices.Clone(cfg.Params), func(p tokensource.Param) bool {
		return p.Name == "client_id" || p.Name == "client_secret" // a preset's, for one way only
	})
	src, err := tokensource.New(cfg)
	if err != nil {
		return rejects, nil
	}
	defer func() { _ = src.Close(ctx) }() // it keeps nothing
	_, err = src.Token(ctx)
	failure, ok := errors.AsType[*tokensource.Error](err)
	switch {
	case err == nil:
		return accepts, nil
	case !ok:
		return rejects, nil
	case failure.Status == http.StatusTooManyRequests:
		return lockedOut, failure
	case failure.RefusesClient():
		return rejects, failure
	case slices.Contains([]string{"invalid_grant", "unauthorized_client", "invalid_scope", "invalid_target",
		"access_denied"}, failure.Code):
		return accepts, failure
	}
	return rejects, failure
}

// rawIsSame reports whether client_secret_basic_raw would send the same as client_secret_basic.
func (x *exam) rawIsSame(ctx context.Context) bool {
	secret, err := x.Config.ClientSecrets[0](ctx)
	return err != nil || url.QueryEscape(secret.Reveal()) == secret.Reveal() &&
		url.QueryEscape(x.Config.ClientID) == x.Config.ClientID
}

// remedyOf returns the remedy of a failure. If doctor shows the provider's own words, the remedy does
// not say where else they are.
func remedyOf(failure *tokensource.Error) string {
	remedy := failure.Remedy()
	if failure.ProviderSaid() != "" {
		remedy, _, _ = strings.Cut(remedy, ". GET /authinject/sources/")
	}
	return remedy
}
