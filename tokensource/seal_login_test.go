package tokensource_test

import (
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

func authorizing(cfg *tokensource.Config) {
	cfg.Grant, cfg.AuthorizeURL = tokensource.AuthorizationCode{}, "https://login.example.com/authorize"
}

// Pending logins are sealed like records. Another process with the key finishes them, and lists the
// accounts. Without the key the error is of class operator.
func TestSealedLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &written{}
		ep := &endpoint{script: func(n int, _ url.Values) reply { return rotated(n, time.Hour) }}
		begins := newSource(t, ep, refreshing(storage, ""), authorizing, sealedWith(keyA))
		finishes := newSource(t, ep, refreshing(storage, ""), authorizing, sealedWith(keyB, keyA))
		lost := newSource(t, ep, refreshing(storage, ""), authorizing, sealedWith(keyB))
		login, err := begins.BeginLogin(t.Context(), tokensource.LoginRequest{Account: "canary-account",
			RedirectURL: "https://canary.example.com/callback"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = lost.FindLogin(t.Context(), login.State)
		asError(t, err, tokensource.ClassOperator)
		found, err := finishes.FindLogin(t.Context(), login.State)
		if err != nil || found.Account != "canary-account" || !found.Verifier.Equal(login.Verifier) {
			t.Fatalf("found %+v, %v", found, err)
		}
		if err := finishes.FinishLogin(t.Context(), found, url.Values{"code": {"c"}}); err != nil {
			t.Fatal(err)
		}
		for _, text := range storage.all {
			for _, seen := range []string{"canary", "binding", login.State.Reveal(), login.Verifier.Reveal(),
				login.Binding.Reveal(), "access_token"} {
				if strings.Contains(text, seen) {
					t.Errorf("%s is visible in %s", seen, text)
				}
			}
		}
		another := newSource(t, ep, refreshing(storage, ""), authorizing, sealedWith(keyB))
		if names, err := another.Accounts(t.Context()); err != nil || len(names) != 1 || names[0] != "canary-account" {
			t.Errorf("the accounts are %q, %v", names, err)
		}
		unusable := newSource(t, ep, refreshing(storage, ""), authorizing, sealedWith("canary"))
		_, err = unusable.BeginLogin(t.Context(),
			tokensource.LoginRequest{RedirectURL: "https://canary.example.com/callback"})
		if e := asError(t, err, tokensource.ClassOperator); strings.Contains(e.Error(), "canary") ||
			!strings.Contains(e.Reason, "32 characters") {
			t.Errorf("with a key that cannot seal: %v", e)
		}
	})
}

// Neither a login nor a logout overwrites a record that no key opens. Its result is used by this
// process, and stored once the key is back.
func TestLoginOverARecordUnderALostKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		ep := &endpoint{script: func(n int, _ url.Values) reply { return rotated(n, time.Hour) }}
		key := &changing{key: keyA}
		src := newSource(t, ep, refreshing(storage, ""), authorizing, key.seals)
		login, err := src.BeginLogin(t.Context(), tokensource.LoginRequest{RedirectURL: "https://example.com/callback"})
		if err != nil {
			t.Fatal(err)
		}
		if err := src.FinishLogin(t.Context(), login, url.Values{"code": {"c"}}); err != nil {
			t.Fatal(err)
		}
		key.set(keyB, nil)
		_, err = src.BeginLogin(t.Context(), tokensource.LoginRequest{RedirectURL: "https://example.com/callback"})
		asError(t, err, tokensource.ClassOperator)
		lay := at(t, storage, recordKey)
		if err := src.Account("").Disconnect(t.Context()); err == nil {
			t.Error("the logout returned no error")
		}
		virtual.Advance(time.Hour)
		wantUntouched(t, storage, recordKey, lay)
		wantError(t, src, tokensource.ClassOperator)
		key.set(keyA, nil)
		virtual.Advance(5 * time.Minute)
		if rec, err := tokensource.OpenRecord(at(t, storage, recordKey), recordKey, "orders", "", keyA); err != nil ||
			!rec.Disconnected {
			t.Errorf("once the key is back: %+v, %v", rec, err)
		}
	})
}
