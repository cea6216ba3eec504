package tokensource

import (
	"context"
	"errors"
	"time"
)

// Account is a handle for one account of a source. The account's name says whose token it is. A
// handle holds no state, so it costs nothing and can be kept for as long as the source exists. Get
// one from [Source.Account] or [Source.Lookup].
type Account struct {
	src  *Source
	name string
	// subject is the token that is exchanged, or nil. Then name is a digest.
	subject *subject
}

// Name returns the account's name. The unnamed account has an empty name, and so has the account of
// a subject; see [Source.Exchange].
func (h *Account) Name() string {
	if h.subject != nil {
		return ""
	}
	return h.name
}

// Token returns the live token. If there is one, the call takes no lock and allocates nothing, and
// nearly always writes nothing that other calls read. Otherwise Token waits until the running
// refresh or ctx ends. Its error is an [*Error], or the error of ctx if ctx was cancelled.
func (h *Account) Token(ctx context.Context) (*Token, error) {
	// No pin is needed to read: an account that is dropped now was in memory when the call began.
	if a := h.src.find(h.name); a != nil {
		if tok := a.cur.checked(h.src.cfg.Clock); tok != nil {
			if h.name != "" { // the unnamed account is never dropped
				a.touch()
			}
			return tok, nil
		}
	}
	a := h.src.pin(h)
	defer a.unpin()
	tok, err := a.token(ctx, a.cur.Load())
	if failure := (*Error)(nil); errors.As(err, &failure) {
		err = h.src.withLastLogin(failure)
		if h.name == "" { // named accounts are tested when they are looked up
			err = h.src.TestLogin(ctx, err)
		}
	}
	return tok, err
}

// Reject reports that an upstream refused tok, and returns the token to try instead. If a newer
// generation is in use already, Reject returns that at once. Otherwise the token is replaced. All
// callers that report the same generation share one token request, and wait for it as long as ctx
// allows. [ErrNoReplacement] means that there is no other token: the grant has no other, or the
// upstream refused the last replacement too, not long ago. Any other error is an [*Error], or the
// error of ctx.
func (h *Account) Reject(ctx context.Context, tok *Token) (*Token, error) {
	a := h.src.pin(h)
	defer a.unpin()
	return a.reject(ctx, tok)
}

// Refused reports that an upstream refused tok, and returns at once. It does what [Account.Reject]
// does in the background, so that the next request gets a better token. [Source.Close] waits for
// it.
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

// Accept reports that an upstream accepted tok, which had replaced a refused token. If tok is
// refused later, it is replaced in turn. Other tokens need not be reported.
func (h *Account) Accept(tok *Token) {
	a := h.src.pin(h)
	defer a.unpin()
	a.accept(tok)
}

// Refresh requests a new token now, however long the token in use still lasts, and waits for it as
// long as ctx allows. The token in use serves meanwhile, and stays in use if Refresh fails. Refresh
// joins a refresh that is already running. It is a person's wish, so it sends a request even while
// a provider's Retry-After lasts, but sends nothing during a lock-out, which a request would
// prolong. Its error is an [*Error], or the error of ctx.
func (h *Account) Refresh(ctx context.Context) error {
	a := h.src.pin(h)
	defer a.unpin()
	a.forgetRetryAfter(ctx)
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

// Sync reads the stored record, and uses it if it is newer than the one in use: another process may
// have connected or disconnected the account. If no record exists anywhere, Sync returns a nil
// error and the account stays in [StateNone].
func (h *Account) Sync(ctx context.Context) error {
	a := h.src.pin(h)
	defer a.unpin()
	return a.sync(ctx)
}

// Disconnect makes the account forget its tokens. They are revoked at the provider, if it has a
// revocation endpoint (RFC 7009), and removed here. They are removed even if the revocation fails;
// then the error is an [*Error] that says so. Disconnect waits for a running refresh to end. If ctx
// is cancelled, it returns, but the disconnection goes on to its end.
func (h *Account) Disconnect(ctx context.Context) error {
	s := h.src
	if !s.Interactive() {
		return s.named(h.name, ErrNotInteractive)
	}
	if !s.begin() {
		return s.named(h.name, errClosed())
	}
	done := make(chan error, 1)
	go func() {
		defer s.running.Done()
		a := s.pin(h)
		defer a.unpin()
		done <- a.disconnect(context.WithoutCancel(ctx))
	}()
	select {
	case err := <-done:
		if err != nil {
			return s.named(h.name, err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Status returns the state of the account as far as this process knows it. It sends no request and
// does not read the storage, so it knows nothing about an account that is not in memory.
func (h *Account) Status() Status { return h.src.inMemory(h).status() }

// Variables returns the account's own variables, such as the name of its deployment. It returns nil
// while no record is in memory. The map must not be changed.
func (h *Account) Variables() map[string]string {
	a := h.src.inMemory(h)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rec == nil {
		return nil
	}
	return a.rec.Variables
}

// Account returns the account of that name. The empty name means the unnamed account. An account is
// loaded into memory when it is first used, and dropped from it after it was not used for a while.
func (s *Source) Account(name string) *Account {
	if a := s.find(name); a != nil {
		return &a.Account
	}
	return &Account{src: s, name: name}
}

// Lookup reads the record of the named account and returns the account, if it was connected before.
// Otherwise it returns an [*Error] of class login. It keeps nothing in memory for a name that was
// never connected, so it is safe to call with any name.
func (s *Source) Lookup(ctx context.Context, name string) (*Account, error) {
	h := &Account{src: s, name: name}
	a := s.inMemory(h)
	a.touch()
	if a.isKnown() {
		return &a.Account, nil
	}
	found, sum, err := a.loadIfChanged(ctx, 0)
	if err != nil {
		return nil, s.named(name, unreadable(err))
	}
	if found == nil {
		return nil, s.withLastLogin(s.named(name, notConnected(&Record{})))
	}
	a = s.pin(h)
	defer a.unpin()
	a.adopt(found, sum, a.lives(ctx, found))
	return &a.Account, nil
}

// Loaded returns the named account if its record is in memory.
func (s *Source) Loaded(name string) (*Account, bool) {
	a := s.find(name)
	if a == nil || !a.isKnown() {
		return nil, false
	}
	return &a.Account, true
}

// inMemory returns the account in memory, or a blank account if the account is not in memory.
func (s *Source) inMemory(h *Account) *account {
	if a := s.find(h.name); a != nil {
		return a
	}
	return s.newAccount(*h)
}

func errClosed() *Error { return &Error{Class: ClassWait, Reason: ErrClosed.Error(), cause: ErrClosed} }

// retryIn returns e with the time of the next try, which is d from now.
func (a *account) retryIn(d time.Duration, e *Error) *Error {
	e.Source, e.Account, e.RetryAt = a.src.cfg.Name, a.Name(), a.src.cfg.Clock.Now().Add(d)
	return e
}
