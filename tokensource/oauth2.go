package tokensource

import (
	"context"
	"errors"
	"time"

	"golang.org/x/oauth2"
)

// OAuth2 returns the account's tokens as an [oauth2.TokenSource], for Go programs that use
// golang.org/x/oauth2. Token waits as [Account.Token] does, for as long as ctx allows. Do not put the
// result into [oauth2.ReuseTokenSource]: a live token is cheap to get here, and a copy would outlive a
// refusal or a logout. An [oauth2.Token] prints its secrets, unlike a [Token].
func (a *Account) OAuth2(ctx context.Context) oauth2.TokenSource {
	return tokenSource(func() (*oauth2.Token, error) {
		tok, err := a.Token(ctx)
		if err != nil {
			return nil, err
		}
		return &oauth2.Token{AccessToken: tok.AccessToken(), TokenType: "Bearer", Expiry: tok.Expiry}, nil
	})
}

// OAuth2 returns the tokens of the unnamed account; see [Account.OAuth2].
func (s *Source) OAuth2(ctx context.Context) oauth2.TokenSource { return s.unnamed.handle.OAuth2(ctx) }

// tokenSource is a function as an [oauth2.TokenSource].
type tokenSource func() (*oauth2.Token, error)

// Token implements [oauth2.TokenSource].
func (f tokenSource) Token() (*oauth2.Token, error) { return f() }

// OAuth2Grant gets tokens from any [oauth2.TokenSource], such as one of golang.org/x/oauth2/google.
// The source asks it ahead of a token's end. If it answers with the token that is in use already, as
// [oauth2.ReuseTokenSource] does, it is asked again until it has another one. Nothing is stored.
type OAuth2Grant struct {
	// TokenSource must not be nil. Its Token takes no context, so it should have a time-out of its own.
	TokenSource oauth2.TokenSource
}

// Traits implements [Grant].
func (OAuth2Grant) Traits() Traits { return Traits{Renews: true, NoTokenURL: true} }

// Next implements [Grant]. Its error holds no text of the [oauth2.TokenSource], which may quote an answer.
func (g OAuth2Grant) Next(context.Context, *Record) (Request, error) {
	tok, err := g.TokenSource.Token()
	if err != nil {
		var refused *oauth2.RetrieveError
		if errors.As(err, &refused) && refused.Response != nil {
			code := refused.ErrorCode
			if !isKnownCode(code) {
				code = "" // it may be anything
			}
			failure := refusal(refused.Response, code, time.Now())
			if failure.Class == ClassLogin {
				failure.Class = ClassOperator // the account, if there is one, is not connected here
			}
			return Request{}, failure
		}
		return Request{}, &Error{Class: ClassWait, Reason: "the oauth2.TokenSource failed"}
	}
	return Request{Response: &TokenResponse{
		AccessToken: NewSecret(tok.AccessToken), TokenType: tok.TokenType, ExpiresAt: tok.Expiry,
	}}, nil
}

// Interface guard
var _ Grant = OAuth2Grant{}
