package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// crowd is a provider that grants a token after a while, except for the tenants that hang. It
// counts the token requests that are under way.
type crowd struct {
	takes time.Duration
	hangs string // a host; its requests end only by their time limit

	mu        sync.Mutex
	running   int
	most      int
	refreshed []string // the refresh tokens, in the order in which their requests came
}

func (c *crowd) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.Contains(req.URL.Path, "revoke") {
		return (&endpoint{script: always(reply{})}).RoundTrip(req)
	}
	_ = req.ParseForm()
	refresh := req.PostForm.Get("refresh_token")
	if refresh == "" {
		name := req.PostForm.Get("code")
		return answered(req, `{"access_token":"at.`+name+`","refresh_token":"rt.`+name+`","expires_in":3600}`), nil
	}
	c.mu.Lock()
	c.running++
	c.most = max(c.most, c.running)
	c.refreshed = append(c.refreshed, refresh)
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.running--
		c.mu.Unlock()
	}()
	if req.URL.Hostname() == c.hangs {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	virtual.Sleep(c.takes)
	return answered(req, `{"access_token":"new.`+refresh[3:]+`","refresh_token":"`+refresh+`","expires_in":3600}`), nil
}

func answered(req *http.Request, body string) *http.Response {
	rec, _ := (&endpoint{script: always(reply{body: body})}).RoundTrip(req)
	return rec
}

// connectMany connects accounts, and returns when their tokens have expired. It returns another
// source with the same storage, which has not loaded the accounts.
func connectMany(t *testing.T, c *crowd, storage tokensource.Storage, names ...string) *tokensource.Source {
	t.Helper()
	first := newSource(t, c, connecting(storage), perDeployment)
	for _, name := range names {
		tenant, _, _ := strings.Cut(name, "-")
		l := begin(t, first, tokensource.LoginRequest{Account: name, RedirectURL: callbackURL,
			Variables: map[string]string{"deployment": tenant}})
		if err := finish(t, first, l, "code="+name+"&state="+l.State.Reveal()); err != nil {
			t.Fatalf("FinishLogin: %v", err)
		}
	}
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	virtual.Advance(2 * time.Hour)
	return newSource(t, c, connecting(storage), perDeployment)
}

func named(tenant string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("%s-%d", tenant, i))
	}
	return names
}

// A source sends at most sixteen token requests at a time to a host, however many accounts need a
// token. Accounts are served in the order in which they came.
func TestRequestsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{takes: time.Second}
		names := named("acme", 100)
		src := connectMany(t, c, new(tokensource.MemoryStorage), names...)
		var callers sync.WaitGroup
		for i, name := range names {
			if i >= 20 {
				synctest.Wait() // so that the order in which they come is known
			}
			callers.Go(func() {
				if tok, err := src.Account(name).Token(context.Background()); err != nil || tok.AccessToken() != "new."+name {
					t.Errorf("%s got %v, %v", name, tok, err)
				}
			})
		}
		callers.Wait()
		if c.most != 16 || len(c.refreshed) != 100 {
			t.Errorf("%d requests, %d at a time", len(c.refreshed), c.most)
		}
		for i, sent := range c.refreshed {
			// Sixteen requests begin at the same moment, so their order is not known.
			if place := slices.Index(names, sent[3:]); place >= 20 && place/16 != i/16 {
				t.Errorf("account %d had turn %d", place, i)
			}
		}
	})
}

// A tenant whose host does not answer delays no account of another tenant.
func TestATenantThatHangsDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{hangs: "slow.example.com"}
		slow := named("slow", 200)
		storage := new(tokensource.MemoryStorage)
		disconnect(t, connectMany(t, c, storage, append(slow, "quick-0", "slow-gone", "slow-last")...), "slow-gone")
		var ev events
		src := newSource(t, c, connecting(storage), perDeployment, observed(&ev))
		var callers sync.WaitGroup
		for _, name := range slow {
			callers.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				if _, err := src.Account(name).Token(ctx); err == nil {
					t.Errorf("%s has a token", name)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		tok, err := src.Account("quick-0").Token(t.Context())
		if took := time.Since(began); err != nil || tok.AccessToken() != "new.quick-0" || took != 0 {
			t.Errorf("after %v: %v, %v", took, tok, err)
		}
		if c.most != 17 {
			t.Errorf("%d requests at a time", c.most)
		}
		// A disconnected account has nothing to send, so its error comes at once.
		began = time.Now()
		_, err = src.Account("slow-gone").Token(t.Context())
		asError(t, err, tokensource.ClassLogin)
		if took := time.Since(began); took != 0 {
			t.Errorf("told after %v", took)
		}
		callers.Wait()
		// If an account waits for its turn, a person who connects or disconnects it does not have
		// to wait.
		go func() { _, _ = src.Account("slow-last").Token(t.Context()) }()
		synctest.Wait()
		ev.forget()
		began = time.Now()
		disconnect(t, src, "slow-last")
		if took := time.Since(began); took != 0 || ev.count(tokensource.EventRefreshFailed) != 0 {
			t.Errorf("disconnected after %v, %d refreshes failed", took, ev.count(tokensource.EventRefreshFailed))
		}
		// A closed source sends no more requests, and does not wait for those in the queue. These
		// do not count as failures.
		ev.forget()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := src.Close(ctx); err != nil {
			t.Error(err)
		}
		sent := len(c.refreshed)
		if failed := ev.count(tokensource.EventRefreshFailed); failed > 16 {
			t.Errorf("closing made %d refreshes fail", failed)
		}
		virtual.Advance(time.Hour)
		if sent > 100 || len(c.refreshed) != sent {
			t.Errorf("%d requests before the end of Close, %d after", sent, len(c.refreshed))
		}
	})
}

// While an account waits for its turn, another process may refresh its token. Then the account is
// not refreshed again.
func TestATokenThatCameWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, storage := &crowd{takes: 5 * time.Second}, new(tokensource.MemoryStorage)
		names := named("acme", 17)
		src := connectMany(t, c, storage, names...)
		for _, name := range names[:16] {
			go func() { _, _ = src.Account(name).Token(context.Background()) }()
		}
		synctest.Wait()
		last := make(chan error)
		go func() {
			tok, err := src.Account(names[16]).Token(context.Background())
			if err == nil && tok.AccessToken() != "new."+names[16] {
				err = errors.New("another token")
			}
			last <- err
		}()
		synctest.Wait()
		other := newSource(t, &crowd{}, connecting(storage), perDeployment)
		if _, err := other.Account(names[16]).Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-last; err != nil || len(c.refreshed) != 16 {
			t.Errorf("%v, %d requests", err, len(c.refreshed))
		}
	})
}

// countingStorage counts the calls that are running. Each call takes some time.
type countingStorage struct {
	tokensource.MemoryStorage
	mu            sync.Mutex
	loads         int
	running, most int
}

func (s *countingStorage) loaded() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loads
}

func (s *countingStorage) Load(ctx context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	s.loads++
	s.running++
	s.most = max(s.most, s.running)
	s.mu.Unlock()
	virtual.Sleep(10 * time.Millisecond)
	s.mu.Lock()
	s.running--
	s.mu.Unlock()
	return s.MemoryStorage.Load(ctx, key)
}

// At most sixteen storage calls of a source run at a time, however many accounts are read. A caller
// that gives up stops waiting for its turn.
func TestStorageCallsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := new(countingStorage)
		src := newSource(t, &crowd{}, connecting(storage), perDeployment)
		for _, name := range named("acme", 1000) {
			go func() { _, _ = src.Account(name).Token(context.Background()) }()
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		began := time.Now()
		if _, err := src.Lookup(ctx, "acme-1000"); err == nil || time.Since(began) > 60*time.Millisecond {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		virtual.Advance(time.Minute)
		storage.mu.Lock()
		defer storage.mu.Unlock()
		if storage.most != 16 {
			t.Errorf("%d calls at a time", storage.most)
		}
	})
}

// At most eight storage calls check for logins in other processes. So a refresh does not wait for
// the checks of many accounts.
func TestLoginChecksLeaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := new(countingStorage)
		names := named("acme", 100)
		src := connectMany(t, &crowd{}, storage, names...)
		tokens := func() {
			for _, name := range names {
				if _, err := src.Account(name).Token(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		tokens()
		virtual.Advance(6 * time.Second)
		before := storage.loaded()
		tokens()
		virtual.Advance(10 * time.Millisecond)
		if began := storage.loaded() - before; began != 8 {
			t.Errorf("%d checks began, want 8", began)
		}
		for range 50 { // the other accounts' checks come later
			virtual.Advance(time.Second)
			tokens()
		}
		if began := storage.loaded() - before; began < 100 {
			t.Errorf("%d checks", began)
		}
	})
}
