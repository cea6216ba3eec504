package tokensource

import (
	"context"
	"time"
)

// Account names whose token it is. It is a handle: it holds no state, so it can be kept for as long as the source
// exists, and costs nothing. Get one from [Source.Account] or [Source.Lookup].
type Account struct {
	src  *Source
	name string
}

// Name returns the account's name, empty for the unnamed one.
func (h *Account) Name() string { return h.name }

// Token returns the live token. While there is one, it costs an atomic load and a look at the clock, and no
// allocation. Otherwise it waits until the refresh under way ends, or ctx does. Its error is an [*Error], or ctx's own
// if ctx was cancelled.
func (h *Account) Token(ctx context.Context) (*Token, error) {
	a := h.src.pin(h.name)
	l := a.cur.Load()
	if l != nil && int64(a.src.cfg.Clock.Elapsed()) < l.check.Load() {
		a.unpin()
		return &l.tok, nil
	}
	defer a.unpin()
	return a.token(ctx, l)
}

// Reject tells that an upstream refused tok, and returns the token to try instead. If a newer generation is in use
// already, that is returned at once. Otherwise the token is replaced: all who report the same generation share one
// request, and wait for it as long as ctx allows. [ErrNoReplacement] means that there is no other token: the grant
// has no other, or the upstream refused the last replacement too, not long ago. Any other error is an [*Error], or
// ctx's own.
func (h *Account) Reject(ctx context.Context, tok *Token) (*Token, error) {
	a := h.src.pin(h.name)
	defer a.unpin()
	return a.reject(ctx, tok)
}

// Refused tells that an upstream refused tok, and returns at once: what [Account.Reject] does goes on in the background,
// so that the next request gets a better token. [Source.Close] waits for it.
func (h *Account) Refused(tok *Token) {
	if !h.src.begin() {
		return
	}
	go func() {
		defer h.src.running.Done()
		ctx, cancel := context.WithTimeout(context.Background(), refusedWait)
		defer cancel()
		_, _ = h.Reject(ctx, tok) // the next request gets the result
	}()
}

// Accept tells that an upstream accepted tok, which had replaced a refused one. If it is refused later, it is replaced
// in turn. There is no need to tell of other tokens.
func (h *Account) Accept(tok *Token) {
	a := h.src.pin(h.name)
	defer a.unpin()
	a.accept(tok)
}

// Refresh asks for a new token now, however long the one in use lasts, and waits for it as long as ctx allows. The token
// in use serves meanwhile, and also if this fails. Its error is an [*Error], or ctx's own. A lock-out, and a refresh
// under way, are respected.
func (h *Account) Refresh(ctx context.Context) error {
	a := h.src.pin(h.name)
	defer a.unpin()
	a.mu.Lock()
	var generation uint64
	if l := a.cur.Load(); l != nil {
		generation = l.tok.Generation
	}
	r := a.startLocked(generation)
	a.mu.Unlock()
	_, err := a.await(ctx, r, true)
	return err
}

// Sync reads the stored record, and uses it if it is newer than the one in use: another process may have connected or
// disconnected the account. A nil error with no record anywhere leaves [StateNone].
func (h *Account) Sync(ctx context.Context) error {
	a := h.src.pin(h.name)
	defer a.unpin()
	return a.sync(ctx)
}

// Disconnect makes the account forget its tokens: they are revoked at the provider, if it has a revocation endpoint (RFC
// 7009), and removed here, also if the revocation fails; then the error is an [*Error] that says so. It waits for a
// refresh under way, and goes on to its end if ctx is cancelled.
func (h *Account) Disconnect(ctx context.Context) error {
	s := h.src
	if !s.Interactive() {
		return s.loginError(h.name, ErrNotInteractive)
	}
	if !s.begin() {
		return s.loginError(h.name, errClosed())
	}
	done := make(chan error, 1)
	go func() {
		defer s.running.Done()
		a := s.pin(h.name)
		defer a.unpin()
		done <- a.disconnect(context.WithoutCancel(ctx))
	}()
	select {
	case err := <-done:
		if err != nil {
			return s.loginError(h.name, err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Status returns how the account stands, as far as this process knows it. It makes no request and reads no storage: of
// an account that is not in memory it knows nothing.
func (h *Account) Status() Status { return h.src.inMemory(h.name).status() }

// Variables are the account's own, such as the name of its deployment; nil while no record is in memory. They must not
// be changed.
func (h *Account) Variables() map[string]string {
	a := h.src.inMemory(h.name)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rec == nil {
		return nil
	}
	return a.rec.Variables
}

// Account returns the account of that name; the empty name is the unnamed one. An account comes into memory when it is
// first used, and leaves it when it was not used for a while.
func (s *Source) Account(name string) *Account {
	if a := s.find(name); a != nil {
		return &a.handle
	}
	return &Account{src: s, name: name}
}

// Lookup returns the account of that name, with its record read, if it was connected before. Otherwise it returns an
// [*Error] of class login. It keeps nothing in memory for a name that was never connected, so any name can be asked for.
func (s *Source) Lookup(ctx context.Context, name string) (*Account, error) {
	a := s.inMemory(name)
	a.touch()
	if a.isKnown() {
		return &a.handle, nil
	}
	found, err := a.load(ctx)
	if err != nil {
		return nil, s.loginError(name, unreadable(err))
	}
	if found == nil {
		return nil, s.loginError(name, notConnected(&Record{}))
	}
	a = s.pin(name)
	defer a.unpin()
	a.adopt(found, a.lives(ctx, found))
	return &a.handle, nil
}

// Loaded returns the named account if its record is in memory.
func (s *Source) Loaded(name string) (*Account, bool) {
	a := s.find(name)
	if a == nil || !a.isKnown() {
		return nil, false
	}
	return &a.handle, true
}

// inMemory returns what is in memory of an account: nothing, if it is not used.
func (s *Source) inMemory(name string) *account {
	if a := s.find(name); a != nil {
		return a
	}
	return s.newAccount(name)
}

func errClosed() *Error { return &Error{Class: ClassWait, Reason: ErrClosed.Error(), cause: ErrClosed} }

// retryIn returns e with the time after which to try again.
func (a *account) retryIn(d time.Duration, e *Error) *Error {
	e.Source, e.Account, e.RetryAt = a.src.cfg.Name, a.name, a.src.cfg.Clock.Now().Add(d)
	return e
}
