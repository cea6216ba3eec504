package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// breaking is a grant and a storage of another module. Both panic while they are told to.
type breaking struct {
	tokensource.Grant
	tokensource.MemoryStorage
	grant, storage atomic.Bool
}

func (b *breaking) Next(ctx context.Context, rec *tokensource.Record) (tokensource.Request, error) {
	if b.grant.Load() {
		panic("canary " + rec.RefreshToken.Reveal())
	}
	return b.Grant.Next(ctx, rec)
}

func (b *breaking) Store(ctx context.Context, key string, value []byte) error {
	if b.storage.Load() {
		panic(fmt.Errorf("canary %s", value))
	}
	return b.MemoryStorage.Store(ctx, key, value)
}

// breakingLogin is a grant that a person begins. It panics like breaking.
type breakingLogin struct {
	breaking
	login tokensource.Interactive
}

func (b *breakingLogin) Authorize(l *tokensource.Login) url.Values { return b.login.Authorize(l) }
func (b *breakingLogin) Redeem(l *tokensource.Login, answer url.Values) (tokensource.Request, error) {
	if b.grant.Load() {
		panic("canary " + answer.Get("code"))
	}
	return b.login.Redeem(l, answer)
}

// wantPanic checks the error after a panic: it says so, has the stack, and contains nothing of the
// value.
func wantPanic(t *testing.T, err error) {
	t.Helper()
	e := asError(t, err, tokensource.ClassOperator)
	var p *tokensource.PanicError
	if !errors.As(err, &p) || !strings.Contains(string(p.Stack), "tokensource_test.(*breaking") {
		t.Errorf("got %v, want a panic with its stack", err)
	}
	if text := fmt.Sprintf("%v %+v %s", e, p, p.Stack); strings.Contains(text, "canary") {
		t.Errorf("the value is shown: %s", text)
	}
}

// If a grant or a storage panics, the error is of class operator. The process lives, no lock stays
// behind, and everything goes on after the cause is gone.
func TestPanicInAGrantOrStorage(t *testing.T) {
	for _, of := range []string{"grant", "storage"} {
		t.Run(of, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &breaking{Grant: tokensource.RefreshToken{Initial: tokensource.Literal("seed")}}
				broken := map[string]*atomic.Bool{"grant": &b.grant, "storage": &b.storage}[of]
				src := newSource(t, rotating(0), func(cfg *tokensource.Config) { cfg.Grant, cfg.Storage = b, b })
				broken.Store(true)
				_, err := src.Token(t.Context())
				wantPanic(t, err)
				broken.Store(false)
				virtual.Advance(time.Minute)
				wantToken(t, src, "at1")
			})
		})
	}
}

// Metadata is fetched on a goroutine of its own. If the transport panics there, the process lives.
func TestPanicWhileMetadataIsFetched(t *testing.T) {
	src := newSource(t, breakingTransport{}, func(cfg *tokensource.Config) {
		cfg.TokenURL, cfg.Issuer = "", "https://login.example.com"
	})
	_, err := src.Token(t.Context())
	var p *tokensource.PanicError
	if e := asError(t, err, tokensource.ClassOperator); !errors.As(err, &p) || strings.Contains(e.Error(), "canary") {
		t.Errorf("got %v", err)
	}
}

// breakingTransport panics.
type breakingTransport struct{}

func (breakingTransport) RoundTrip(*http.Request) (*http.Response, error) { panic("canary") }

// A panic during a login fails the login. A panic while an account is disconnected fails the
// disconnection, which can be tried again.
func TestPanicInALogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &breakingLogin{breaking: breaking{Grant: tokensource.AuthorizationCode{}},
			login: tokensource.AuthorizationCode{}}
		src := newSource(t, rotating(0), connecting(nil), func(cfg *tokensource.Config) { cfg.Grant, cfg.Storage = b, b })
		l := begin(t, src, inBrowser)
		b.grant.Store(true)
		wantPanic(t, finish(t, src, l, "code=c"))
		b.grant.Store(false)
		connect(t, src, "")
		wantToken(t, src, "at1")
		b.storage.Store(true)
		wantPanic(t, src.Account("").Disconnect(t.Context()))
		b.storage.Store(false)
		disconnect(t, src, "")
		wantError(t, src, tokensource.ClassLogin)
	})
}

// loadPanics is a storage with a bug.
type loadPanics struct {
	tokensource.MemoryStorage
	on atomic.Bool
}

func (s *loadPanics) Load(ctx context.Context, key string) ([]byte, error) {
	if s.on.Load() {
		panic("a bug of the storage")
	}
	return s.MemoryStorage.Load(ctx, key)
}

// A panic of the storage in a check for a login elsewhere does not end the process.
func TestPanicInAStorageCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := new(loadPanics)
		src := newSource(t, rotating(0), connecting(storage))
		connect(t, src, "")
		virtual.Advance(time.Minute)
		storage.on.Store(true)
		wantToken(t, src, "at1") // a live token; the storage is checked in the background
		virtual.Advance(time.Minute)
		storage.on.Store(false)
		wantToken(t, src, "at1")
	})
}

// A panic of the storage while the logins of an earlier process are looked for does not end the process.
func TestPanicWhileLoginsAreResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := new(loadPanics)
		src := newSource(t, answers("authorization_pending"), onDevice(storage))
		begin(t, src, tokensource.LoginRequest{})
		storage.on.Store(true)
		src.ResumeLogins()
		synctest.Wait()
		storage.on.Store(false)
	})
}

// A panic of the storage while a source closes does not end the process.
func TestPanicWhileASourceCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		view := &shelf{Storage: new(tokensource.MemoryStorage)}
		src := newSource(t, rotating(0), connecting(view))
		connect(t, src, "")
		l := begin(t, src, inBrowser)
		view.fail("records", nil, errDisk)
		if err := finish(t, src, l, "code=c"); err != nil || !src.Account("").Status().Unsaved {
			t.Fatal(err)
		}
		view.hook(func() { view.store = func(string, []byte) error { panic("a bug of the storage") } })
		_ = src.Close(t.Context())
	})
}
