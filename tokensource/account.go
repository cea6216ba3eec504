package tokensource

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
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
	if e := h.src.find(h.name); e != nil {
		if tok := e.cur.checked(h.src.cfg.Clock); tok != nil {
			if h.name != "" { // the unnamed account is never dropped
				e.touch()
			}
			return tok, nil
		}
	}
	a := h.src.pin(h)
	defer a.unpin()
	tok, err := a.token(ctx, a.cur.Load())
	if failure, ok := errors.AsType[*Error](err); ok {
		err = h.src.withLastLogin(failure)
		if h.name == "" { // named accounts are tested when they are looked up
			err = h.src.TestLogin(ctx, err)
		}
	}
	return tok, err
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

// account is the state of an [Account] in memory: the token in use, and the newest known record.
type account struct {
	*entry

	// users counts the calls that use the account now.
	users atomic.Int32

	// kept is true if the token is to be kept fresh even while it is not used.
	kept atomic.Bool

	// foreign is true once this process has read another process's record.
	foreign atomic.Bool
	// withoutLock is true if the record's lock could not be taken the last time. Only the running
	// refresh uses it.
	withoutLock bool
	stopped     bool // guarded by mu
	// disconnects counts how often a person disconnected the account at this process. It is guarded by
	// mu. It is small, because there can be very many accounts, and only its changes matter.
	disconnects uint8

	// lastRead is when the stored record was last read. wrote is a digest of the record that this
	// process stored last.
	lastRead atomic.Int64
	wrote    atomic.Uint64

	// release ends the claim of the storage. It is nil if there is no claim. Only the running refresh,
	// login or logout uses it, or the code that drops or stops an account while none of these runs.
	release func()

	mu         sync.Mutex // guards the fields below; never held during I/O
	rec        *Record    // nil until a record was read or obtained; see know
	seen       uint64     // the checksum of stored bytes that were compared with rec and are not newer; 0: none
	dirty      deadline   // when to try again to store rec; zero if rec is stored
	unstored   bool       // rec has a new token, and is not stored
	refreshing *refresh   // the running refresh
	failed     *failed
	trouble    *Error        // with the storage, in the last refresh
	checking   *storageCheck // the running storage check
	timer      *time.Timer
	rejections *rejections // nil before the first refusal
}

// failed remembers the error of the last refresh. attempts, asked and lost count on from earlier
// failures.
type failed struct {
	err   *Error
	until deadline // when the next refresh may begin
	// attempts counts the failures that double the pause: since the account last needed a login, and
	// without those of the storage. asked counts the failed refreshes that sent a token request.
	attempts, asked int
	// unasked is true if the storage failed and the provider was therefore not asked. deferred is
	// true if a token was live at that time.
	unasked, deferred bool
	// lost is the time until which lostHurry applies, if the answer to a refresh was lost since the
	// last success.
	lost deadline
}

// refresh is one running refresh. All its waiting callers share it.
type refresh struct {
	done chan struct{}
	// served is closed if a live token was found in the storage while the refresh goes on.
	served chan struct{}
	live   *live // the new token, or the old one that stays in use; nil with err
	err    error
	// rejected is the generation that has to be replaced, or 0.
	rejected uint64
	// superseded is closed if a person connects or disconnects the account meanwhile. A refresh
	// that waits for its turn then ends.
	superseded   chan struct{}
	isSuperseded bool // guarded by the account's mu
}

func newRefresh(rejected uint64) *refresh {
	return &refresh{done: make(chan struct{}), served: make(chan struct{}), superseded: make(chan struct{}),
		rejected: rejected}
}

func (s *Source) newAccount(h Account) *account {
	h.src = s
	a := &account{entry: &entry{Account: h}}
	a.of = a
	return a
}

// pin returns the account of h. It loads the account into memory if necessary, and keeps it there
// until [account.unpin].
func (s *Source) pin(h *Account) *account {
	if h.name == "" {
		return s.unnamed
	}
	s.accountsMu.Lock()
	defer s.accountsMu.Unlock()
	a := s.loaded(h.name)
	if a == nil {
		a = s.newAccount(*h)
		s.accounts.add(a)
		s.watchIdle()
	}
	a.users.Add(1)
	a.touch()
	return a
}

func (a *account) unpin() { a.users.Add(-1) }

// find returns the entry of the account of that name if it is in memory, or nil.
func (s *Source) find(name string) *entry {
	if name == "" {
		return s.unnamed.entry
	}
	return s.accounts.find(name)
}

// loaded returns the account of that name if it is in memory, or nil.
func (s *Source) loaded(name string) *account {
	if e := s.find(name); e != nil {
		return e.of
	}
	return nil
}

// touch notes that the account is in use. It stores the number of the round of [Source.dropIdle],
// because that needs no clock reading.
func (e *entry) touch() {
	if round := e.src.round.Load(); e.used.Load() != round {
		e.used.Store(round)
	}
}

// token is the slow path of [Account.Token]. It runs if there is no token, or if it is time to
// check the wall clock, to check the storage or to refresh.
func (a *account) token(ctx context.Context, l *live) (*Token, error) {
	c := a.src.cfg.Clock
	if l.token(c) == nil {
		return a.wait(ctx, l, 0)
	}
	a.checkStorage(ctx)
	if now := a.cur.Load(); now != l {
		return a.token(ctx, now)
	}
	stale := c.passed(l.soft)
	switch {
	case stale && a.src.traits.Local:
		if tok, err := a.wait(ctx, l, 0); err == nil {
			return tok, nil
		}
	case l.refused.Load():
		// Wait for the replacement. If the refresh fails, the refused token is still the best one:
		// other requests may succeed with it.
		if r := a.replacing(); r != nil {
			if tok, err := a.await(ctx, r, true); err == nil || ctx.Err() != nil {
				return tok, err
			}
		}
		a.trigger()
	case stale:
		a.trigger()
	}
	tok := l.token(c)
	if tok == nil { // the token ended during one of the waits above
		return a.wait(ctx, l, 0)
	}
	a.arm(l, stale)
	return tok, nil
}

// wait joins or begins a refresh and waits for its end. seen is the token in use that is not good
// enough, or nil. rejected is its generation if it was refused, or else 0.
func (a *account) wait(ctx context.Context, seen *live, rejected uint64) (*Token, error) {
	a.mu.Lock()
	if l := a.cur.Load(); l != seen && l != nil && l.tok.Generation != rejected {
		if tok := l.token(a.src.cfg.Clock); tok != nil {
			a.mu.Unlock()
			return tok, nil // another caller's refresh has ended meanwhile
		}
	}
	known := a.failed
	if known != nil && a.refreshing == nil && !a.src.cfg.Clock.passed(known.until) {
		a.mu.Unlock()
		return nil, known.err
	}
	r := a.startLocked(rejected)
	a.mu.Unlock()
	if known == nil || known.deferred || r == nil {
		return a.await(ctx, r, rejected != 0)
	}
	// The last refresh failed. This one may succeed, but a caller does not wait as long for it.
	patience, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	tok, err := a.await(patience, r, rejected != 0)
	if err != nil && patience.Err() != nil && ctx.Err() == nil {
		return nil, known.err
	}
	return tok, err
}

// await waits for r as long as ctx allows. It returns earlier if a live token was found in the
// storage, unless toItsEnd says that such a token is not good enough. The refresh goes on without
// the caller. If r is nil, the source is closed.
func (a *account) await(ctx context.Context, r *refresh, toItsEnd bool) (*Token, error) {
	if r == nil {
		e := errClosed()
		e.Source, e.Account = a.src.cfg.Name, a.Name()
		return nil, e
	}
	served := r.served
	if toItsEnd {
		served = nil
	}
	select {
	case <-r.done:
		if r.err != nil {
			return nil, r.err
		}
		if tok := r.live.token(a.src.cfg.Clock); tok != nil {
			return tok, nil
		}
		return nil, a.retryIn(0, &Error{Class: ClassWait, Reason: "the token had ended before it could be used"})
	case <-served:
		if tok := a.cur.Load().token(a.src.cfg.Clock); tok != nil {
			return tok, nil
		}
		// The served token has ended since, or the account was disconnected.
		return a.await(ctx, r, true)
	case <-ctx.Done():
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, ctx.Err()
		}
		return nil, a.retryIn(time.Second, &Error{
			Class: ClassWait, Timeout: true, Reason: "the token request is still under way", cause: context.DeadlineExceeded,
		})
	}
}

// startLocked returns the running refresh, or begins one. It returns nil if the source is closed.
func (a *account) startLocked(rejected uint64) *refresh {
	if a.refreshing != nil {
		a.refreshing.rejected = max(a.refreshing.rejected, rejected)
		return a.refreshing
	}
	if !a.src.begin() {
		return nil
	}
	a.refreshing = newRefresh(rejected)
	go a.run(a.refreshing)
	return a.refreshing
}

// retryIn returns e with the time of the next try, which is d from now.
func (a *account) retryIn(d time.Duration, e *Error) *Error {
	e.Source, e.Account, e.RetryAt = a.src.cfg.Name, a.Name(), a.src.cfg.Clock.Now().Add(d)
	return e
}

func errClosed() *Error { return &Error{Class: ClassWait, Reason: ErrClosed.Error(), cause: ErrClosed} }
