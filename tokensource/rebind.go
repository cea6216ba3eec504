package tokensource

import (
	"context"
	"fmt"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

// bindings are the parts of a source that a newer configuration may replace while the source
// keeps its tokens.
type bindings struct {
	grant    Grant
	storage  Storage
	observer Observer
}

// Rebind replaces the source's grant, storage and observer, so that a source can outlive the
// configuration that it came from. A call that is under way ends with the grant, storage and
// observer with which it began. If storage is nil, the storage stays. If g is of another kind than
// the source's grant, Rebind returns an error and changes nothing.
func (s *Source) Rebind(g Grant, storage Storage, o Observer) error {
	_, interactive := g.(Interactive)
	_, exchanges := g.(Exchanger)
	if g.Traits() != s.traits || interactive != s.Interactive() || exchanges != s.exchanges {
		return fmt.Errorf("source %s: a grant can be replaced only by a grant of the same kind", s.cfg.Name)
	}
	if storage == nil {
		storage = s.bound.Load().storage
	}
	s.bind(g, storage, o)
	return nil
}

func (s *Source) bind(g Grant, storage Storage, o Observer) {
	if o == nil {
		o = func(Event) {}
	}
	s.bound.Store(&bindings{grant: g, storage: storage, observer: o})
}

// bound is the pointer to the bindings in use. Its grants and storages forward each call.
type bound struct {
	atomic.Pointer[bindings]
	calls chan struct{} // holds an element for each running call of the storage
}

// forwarding returns a grant that forwards each call to the grant in use. Both are of the same kind
// as g.
func (b *bound) forwarding(g Grant) Grant {
	forward := boundGrant{b, g.Traits()}
	switch g.(type) {
	case Interactive:
		return boundInteractive{forward}
	case Exchanger:
		return boundExchanger{forward}
	}
	return forward
}

type boundGrant struct {
	*bound
	traits Traits
}

func (b boundGrant) Traits() Traits { return b.traits }

func (b boundGrant) Next(ctx context.Context, rec *Record) (Request, error) {
	return b.Load().grant.Next(ctx, rec)
}

type boundInteractive struct{ boundGrant }

func (b boundInteractive) Authorize(l *Login) url.Values {
	return b.Load().grant.(Interactive).Authorize(l)
}

func (b boundInteractive) Redeem(l *Login, answer url.Values) (Request, error) {
	return b.Load().grant.(Interactive).Redeem(l, answer)
}

type boundExchanger struct{ boundGrant }

func (b boundExchanger) Exchange(ctx context.Context, subject Secret) (Request, error) {
	return b.Load().grant.(Exchanger).Exchange(ctx, subject)
}

// boundStorage forwards each call to the storage in use.
type boundStorage struct{ in *bound }

func (b boundStorage) Load(ctx context.Context, key string) ([]byte, error) {
	return read(ctx, b, func(in Storage) ([]byte, error) { return in.Load(ctx, key) })
}

func (b boundStorage) Store(ctx context.Context, key string, value []byte) error {
	return b.call(ctx, func(in Storage) error { return in.Store(ctx, key, value) })
}

func (b boundStorage) Delete(ctx context.Context, key string) error {
	return b.call(ctx, func(in Storage) error { return in.Delete(ctx, key) })
}

func (b boundStorage) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	return read(ctx, b, func(in Storage) ([]string, error) { return in.List(ctx, prefix, recursive) })
}

// InUse implements [vault.Changing].
func (b boundStorage) InUse() vault.Storage { return b.in.Load().storage }

// call waits while too many calls are running. A storage that blocks an operating system's thread
// for each call must not get one for each of many accounts.
func (b boundStorage) call(ctx context.Context, do func(Storage) error) error {
	if !acquire(b.in.calls, ctx.Done()) {
		return ctx.Err()
	}
	defer func() { <-b.in.calls }()
	return ExplainStorage(do(b.in.Load().storage))
}

// readGrace is how long a read that was cancelled may take to return.
const readGrace = time.Second

// read is [boundStorage.call] for a call that changes nothing. If the storage ignores the end of ctx,
// as a directory on a server that does not answer does, read returns without it. A call that writes is
// never left behind: it could write over what a later call wrote.
func read[T any](ctx context.Context, b boundStorage, do func(Storage) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
		panic *Error
	}
	if !acquire(b.in.calls, ctx.Done()) {
		return *new(T), ctx.Err()
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-b.in.calls }()
		var r result
		defer func() {
			if value := recover(); value != nil {
				r.panic = panicked(value)
			}
			done <- r
		}()
		r.value, r.err = do(b.in.Load().storage)
	}()
	var r result
	select {
	case r = <-done:
	case <-ctx.Done():
		grace := time.NewTimer(readGrace)
		defer grace.Stop()
		select {
		case r = <-done:
		case <-grace.C:
			return *new(T), ctx.Err()
		}
	}
	if r.panic != nil {
		panic(r.panic)
	}
	return r.value, ExplainStorage(r.err)
}

func (b boundStorage) Lock(ctx context.Context, name string) error {
	return b.in.Load().storage.Lock(ctx, name)
}

func (b boundStorage) Unlock(ctx context.Context, name string) error {
	return b.in.Load().storage.Unlock(ctx, name)
}

var (
	_ Interactive = boundInteractive{}
	_ Exchanger   = boundExchanger{}
)
