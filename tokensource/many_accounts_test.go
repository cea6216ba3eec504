package tokensource_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/authinject/caddy-authinject/tokensource"
)

// A thousand accounts have names that storages and people confuse, and 50 callers use each of them
// at once. Every caller gets the token of the account that it named, from that account's own login.
func TestThousandAccounts(t *testing.T) {
	var names []string
	for i := range 125 {
		for _, form := range []string{"Acme%d", "acme%d", "ACME%d", "acme/../%d", "acme:%d", "acme-%d", "äcme%d",
			"a\u0308cme%d"} {
			names = append(names, fmt.Sprintf(form, i))
		}
	}
	ep := &endpoint{}
	ep.set(func(_ int, form url.Values) reply {
		// The token contains the code for which it was issued.
		return reply{body: fmt.Sprintf(`{"access_token":"at.%s","refresh_token":"rt","expires_in":3600}`, form.Get("code"))}
	})
	storage := new(tokensource.MemoryStorage)
	first := newSource(t, ep, connecting(storage))
	var logins sync.WaitGroup
	work := make(chan int)
	for range 16 {
		logins.Go(func() {
			for i := range work {
				l := begin(t, first, tokensource.LoginRequest{Account: names[i], RedirectURL: callbackURL})
				if err := finish(t, first, l, fmt.Sprintf("code=%d", i)); err != nil {
					t.Errorf("%q: %v", names[i], err)
				}
			}
		})
	}
	for i := range names {
		work <- i
	}
	close(work)
	logins.Wait()

	// One source has the accounts in memory. The other one has to read them all.
	for _, src := range []*tokensource.Source{first, newSource(t, ep, connecting(storage))} {
		var users sync.WaitGroup
		for range 50 {
			users.Go(func() {
				for i, name := range names {
					account, err := src.Lookup(context.Background(), name)
					if err != nil {
						t.Errorf("%q: %v", name, err)
						return
					}
					tok, err := account.Token(context.Background())
					if err != nil || tok.AccessToken() != fmt.Sprintf("at.%d", i) {
						t.Errorf("%q got the token of another account: %v", name, err)
						return
					}
				}
			})
		}
		users.Wait()
	}
	for _, name := range []string{"", "acme", "Acme0 ", " Acme0", "Acme0\x00", strings.ToUpper("äcme0")} {
		if account, err := first.Lookup(context.Background(), name); err == nil && name != "" {
			t.Errorf("the name %q finds the account %q", name, account.Name())
		}
	}
	if n := ep.count(); n != len(names) {
		t.Errorf("%d token requests for %d accounts", n, len(names))
	}
}
