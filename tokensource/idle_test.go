package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// wantKept checks the number of accounts in memory.
func wantKept(t *testing.T, src *tokensource.Source, moment string, want int) {
	t.Helper()
	synctest.Wait()
	if n := tokensource.KeptAccounts(src); n != want {
		t.Errorf("%s: %d accounts are in memory, want %d", moment, n, want)
	}
}

// use gets an account's token like a request.
func use(t *testing.T, src *tokensource.Source, name string) *tokensource.Token {
	t.Helper()
	account, err := src.Lookup(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := account.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// Accounts that are not used are dropped from memory. When they are used again, they have the same
// token, without a token request.
func TestIdleAccountsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := rotating(0)
		src := newSource(t, ep, connecting(nil))
		tokens := make(map[string]string)
		for i := range 1000 {
			name := fmt.Sprint("account", i)
			connect(t, src, name)
			tokens[name] = use(t, src, name).AccessToken()
		}
		wantKept(t, src, "used", 1000)
		for range 30 { // one of them is used every minute
			virtual.Advance(time.Minute)
			use(t, src, "account7")
		}
		wantKept(t, src, "idle for 30 minutes", 1)
		for name, token := range tokens {
			if got := use(t, src, name).AccessToken(); got != token {
				t.Errorf("%s: got %s, want %s", name, got, token)
			}
		}
		wantCount(t, &ep.endpoint, 1000)
		virtual.Advance(30 * time.Minute)
		wantKept(t, src, "idle again", 0)
		if names, err := src.Accounts(t.Context()); err != nil || len(names) != 1000 {
			t.Errorf("%d accounts are known, %v", len(names), err)
		}
	})
}

// disk is a storage of one process. It accepts no writes while it is full.
type disk struct {
	tokensource.MemoryStorage
	exclusive
	full atomic.Bool
}

func (d *disk) Store(ctx context.Context, key string, value []byte) error {
	if d.full.Load() {
		return errors.New("full")
	}
	return d.MemoryStorage.Store(ctx, key, value)
}

// An account stays in memory if dropping it would lose something: a record that could not be
// stored, a running refresh, the time before which the provider must not be asked, or the token of
// a grant that stores none.
func TestWhatIsNotDropped(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*tokensource.Config)
		with func(t *testing.T, src *tokensource.Source, ep *authServer, storage *disk)
		kept int
	}{
		"nothing under way": {nil, func(*testing.T, *tokensource.Source, *authServer, *disk) {}, 0},
		"not stored": {nil, func(t *testing.T, src *tokensource.Source, _ *authServer, storage *disk) {
			virtual.Advance(2 * time.Hour) // while its token lives, it would wait for the disk
			storage.full.Store(true)
			if _, err := src.Account("a").Token(t.Context()); err != nil {
				t.Error(err)
			}
		}, 1},
		"told to wait": {nil, func(t *testing.T, src *tokensource.Source, ep *authServer, _ *disk) {
			ep.set(always(withHeader(reply{status: 429}, "Retry-After", "3600")))
			_ = src.Account("a").Refresh(t.Context())
		}, 1},
		"a refresh under way": {nil, func(t *testing.T, src *tokensource.Source, ep *authServer, _ *disk) {
			ep.set(always(reply{delay: time.Hour}))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_ = src.Account("a").Refresh(ctx)
		}, 1},
		"a grant that stores nothing": {
			func(cfg *tokensource.Config) { cfg.Grant, cfg.AuthorizeURL = tokensource.ClientCredentials{}, "" },
			func(t *testing.T, src *tokensource.Source, _ *authServer, _ *disk) {
				if _, err := src.Account("a").Token(t.Context()); err != nil {
					t.Error(err)
				}
			}, 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ep, storage := rotating(0), new(disk)
				src := newSource(t, ep, connecting(storage), func(cfg *tokensource.Config) {
					cfg.Timeout = 2 * time.Hour
					if c.edit != nil {
						c.edit(cfg)
					}
				})
				if src.Interactive() {
					connect(t, src, "a")
				}
				c.with(t, src, ep, storage)
				virtual.Advance(30 * time.Minute)
				wantKept(t, src, "after 30 minutes", c.kept)
				storage.full.Store(false)
				virtual.Advance(3 * time.Hour)
				wantKept(t, src, "after hours", 0)
			})
		})
	}
}

// A caller that holds an account for longer than it stays in memory still shares it with all other
// callers: the status, the token, and one refresh for all.
func TestAccountHeldForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &authServer{}
		ep.set(func(n int, _ url.Values) reply {
			r := rotated(n, time.Hour)
			r.delay = time.Second
			return r
		})
		src := newSource(t, ep, connecting(nil), perDeployment)
		if err := connectAt(t, src, "a", "acme"); err != nil {
			t.Fatal(err)
		}
		held := src.Account("a")
		tok, err := held.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		virtual.Advance(30 * time.Minute)
		wantKept(t, src, "idle", 0)
		if st := held.Status(); st.Generation != 0 || st.Live || held.Variables() != nil {
			t.Errorf("the status of an account that is not in memory: %+v", st)
		}

		// The upstream refuses the token. All callers that report it get the same new token.
		var group sync.WaitGroup
		for i := range 20 {
			group.Go(func() {
				account := held
				if i%2 == 0 {
					account = src.Account("a")
				}
				next, err := account.Reject(t.Context(), tok)
				if err != nil || next.AccessToken() != "at2" {
					t.Errorf("got %v, %v", next, err)
				}
			})
		}
		group.Wait()
		wantCount(t, &ep.endpoint, 2)
		for range 100 {
			if got, err := held.Token(t.Context()); err != nil || got.AccessToken() != "at2" {
				t.Fatalf("got %v, %v", got, err)
			}
		}
		wantCount(t, &ep.endpoint, 2)
		if st := held.Status(); st.Generation != 2 {
			t.Errorf("status %+v", st)
		}

		for range 30 {
			virtual.Advance(time.Minute)
			if _, err := held.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		wantKept(t, src, "in use", 1)
		other := src.Account("a")
		for range 30 {
			virtual.Advance(time.Minute)
			if _, err := other.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if src.Account("a") != other {
			t.Error("the account was dropped while a caller that holds it used it")
		}

		virtual.Advance(30 * time.Minute)
		wantKept(t, src, "idle again", 0)
		use(t, src, "a")
		if err := held.Disconnect(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := src.Account("a").Token(t.Context()); err == nil {
			t.Error("the account is still connected")
		}
	})
}

// Accounts that are used while they are dropped are neither lost nor duplicated.
func TestDroppedWhileUsed(t *testing.T) {
	src := newSource(t, rotating(0), connecting(nil))
	connect(t, src, "a")
	want := use(t, src, "a").AccessToken()
	done := make(chan struct{})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				account, err := src.Lookup(context.Background(), "a")
				if err != nil {
					t.Error(err)
					return
				}
				if tok, err := account.Token(context.Background()); err != nil || tok.AccessToken() != want {
					t.Errorf("got %v, %v", tok, err)
					return
				}
			}
		})
	}
	for range 100_000 {
		tokensource.DropIdle(src)
	}
	close(done)
	group.Wait()
}
