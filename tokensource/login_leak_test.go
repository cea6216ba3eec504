package tokensource_test

import (
	"errors"
	"fmt"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// No verb and no encoder prints a secret of a login.
func TestLoginsNeverPrint(t *testing.T) {
	s := tokensource.NewSecret(canary)
	l := tokensource.Login{State: s, Binding: s, Verifier: s}
	answer := &tokensource.TokenResponse{AccessToken: s, RefreshToken: s}
	req := tokensource.Request{Secrets: map[string]tokensource.Secret{"code": s}, RefreshToken: s, Response: answer}
	for name, v := range map[string]any{
		"link": tokensource.LoginLink{URL: s}, "login": l, "its pointer": &l, "request": req, "its request's pointer": &req,
		"list": []*tokensource.Login{&l}, "answer": answer, "map": map[string]any{"l": l, "r": req},
	} {
		for _, text := range printed(t, v) {
			rig.MustNotHold(t, name, text, canary)
		}
	}
	for _, grant := range []tokensource.Interactive{tokensource.AuthorizationCode{}, tokensource.Implicit{}} {
		req, err := grant.Redeem(&l, url.Values{"code": {canary}, "access_token": {canary}})
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range printed(t, req) {
			rig.MustNotHold(t, "a request to redeem", text, canary)
		}
	}
}

// No secret of a login gets into an error, an event or a status: not the response, whether good or
// bad, not the provider's text about it, and not a token that cannot be revoked.
func TestLoginErrorsHoldNoSecret(t *testing.T) {
	for _, answer := range []string{"code=" + canary, "error=" + canary, "error=access_denied&error_description=" + canary,
		canary + "=x&" + canary + "=y",
		"code=c&code=" + canary, "access_token=" + canary, "access_token=" + canary + "%0a&token_type=" + canary} {
		for name, r := range map[string]reply{
			"echo":  {status: 400, body: `{"error":"` + canary + `","error_description":"` + canary + `"}`},
			"trap":  {status: 500, body: canary},
			"break": {err: errors.New("Post https://x/?code=" + canary)},
			"token": {body: `{"access_token":"` + canary + `","refresh_token":"` + canary + `","expires_in":60}`},
		} {
			for _, grant := range []func(tokensource.Storage) func(*tokensource.Config){connecting, implicit} {
				synctest.Test(t, func(t *testing.T) {
					ep := &authServer{}
					ep.script = always(r)
					if name == "token" {
						r = reply{status: 400, body: canary}
					}
					ep.revocation.set(always(r))
					var ev events
					src := newSource(t, ep, grant(nil), observed(&ev), func(c *tokensource.Config) { c.RevokeURL = revokeURL })
					errs := []error{finish(t, src, begin(t, src, typed), answer), finish(t, src, begin(t, src, inBrowser), answer)}
					virtual.Advance(5 * time.Second)
					errs = append(errs, src.Account("").Disconnect(t.Context()))
					_, err := src.Token(t.Context())
					errs = append(errs, err)
					for _, err := range errs {
						for ; err != nil; err = errors.Unwrap(err) {
							for _, text := range printed(t, err) {
								rig.MustNotHold(t, name+" "+answer, text, canary)
							}
						}
					}
					texts := printed(t, src.Account("").Status())
					for _, e := range ev.all() {
						texts = append(texts, printed(t, e)...)
					}
					for _, text := range texts {
						rig.MustNotHold(t, fmt.Sprintf("%s %s", name, answer), text, canary)
					}
				})
			}
		}
	}
}
