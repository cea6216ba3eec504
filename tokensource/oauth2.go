package tokensource

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"golang.org/x/oauth2"
)

// OAuth2 returns the account's tokens as an [oauth2.TokenSource], for Go programs that use
// golang.org/x/oauth2. Its method Token waits as [Account.Token] does, for as long as ctx allows.
// Do not wrap the result in [oauth2.ReuseTokenSource]: a live token is cheap to get here, and a
// cached copy would outlive a refusal or a logout. Unlike a [Token], an [oauth2.Token] prints its
// secrets.
func (h *Account) OAuth2(ctx context.Context) oauth2.TokenSource {
	return tokenSource(func() (*oauth2.Token, error) {
		tok, err := h.Token(ctx)
		if err != nil {
			return nil, err
		}
		tokenType := "Bearer"
		if tok.IsBound() {
			tokenType = dpopType // the caller has to prove each request: see Token.Proof
		}
		return &oauth2.Token{AccessToken: tok.AccessToken(), TokenType: tokenType, Expiry: tok.Expiry}, nil
	})
}

// OAuth2 returns the tokens of the unnamed account; see [Account.OAuth2].
func (s *Source) OAuth2(ctx context.Context) oauth2.TokenSource { return s.unnamed.Account.OAuth2(ctx) }

// tokenSource is a function that implements [oauth2.TokenSource].
type tokenSource func() (*oauth2.Token, error)

// Token implements [oauth2.TokenSource].
func (f tokenSource) Token() (*oauth2.Token, error) { return f() }

// OAuth2Grant gets tokens from any [oauth2.TokenSource], such as one of golang.org/x/oauth2/google.
// The source calls it before a token ends. If the call returns the token that is already in use, as
// [oauth2.ReuseTokenSource] does, the source calls it again until it returns another token. Nothing
// is stored.
type OAuth2Grant struct {
	// TokenSource must not be nil. Its Token takes no context, so it should have a time-out of its
	// own.
	TokenSource oauth2.TokenSource
}

// Traits implements [Grant].
func (OAuth2Grant) Traits() Traits { return Traits{Renews: true, NoTokenURL: true} }

// Next implements [Grant]. If the error of the [oauth2.TokenSource] is an [*Error], Next returns
// it. Otherwise the error contains no text of the [oauth2.TokenSource], because that text may quote
// a response.
func (g OAuth2Grant) Next(context.Context, *Record) (Request, error) {
	tok, err := g.TokenSource.Token()
	if err != nil {
		if own, ok := errors.AsType[*Error](err); ok {
			return Request{}, own
		}
		if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refused.Response != nil {
			code := refused.ErrorCode
			if code == "" { // golang.org/x/oauth2/jwt leaves it in the body
				var answer struct {
					Error string `json:"error"`
				}
				_ = json.Unmarshal(refused.Body, &answer) // another body has no code
				code = answer.Error
			}
			if !isKnownCode(code) {
				code = "" // an unknown code may hold anything
			}
			failure := refusal(refused.Response, code, time.Now())
			if failure.Class == ClassLogin {
				failure.Class = ClassOperator // no person can log in here
			}
			return Request{}, failure
		}
		return Request{}, &Error{Class: ClassWait, Reason: "the oauth2.TokenSource returned an error, which is not " +
			"shown because it may quote a response; log it in the method Token"}
	}
	return Request{Response: &TokenResponse{
		AccessToken: NewSecret(tok.AccessToken), TokenType: tok.TokenType, ExpiresAt: tok.Expiry,
	}}, nil
}

// Interface guard
var _ Grant = OAuth2Grant{}
