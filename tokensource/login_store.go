package tokensource

import (
	"context"
	"crypto/subtle"
	"errors"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

// loginPrefix is the storage prefix of pending logins.
const loginPrefix = "authinject/logins/"

// storedLogin is the stored form of a [Login], with its secrets in the clear. It exists only
// between the codec and the storage.
type storedLogin struct {
	Account     string            `json:"account,omitempty"`
	State       string            `json:"state"`
	Binding     string            `json:"binding"`
	Verifier    string            `json:"verifier"`
	RedirectURL string            `json:"redirect_url,omitempty"`
	Variables   map[string]string `json:"variables,omitempty"`
	Terminal    bool              `json:"terminal,omitempty"`
	Issuer      string            `json:"issuer,omitempty"`
	AlwaysIss   bool              `json:"always_iss,omitempty"`
	Begun       time.Time         `json:"begun"`
	DPoPKey     string            `json:"dpop_key,omitempty"`
	Device      *storedDevice     `json:"device,omitempty"`
}

// until returns the time after which a stored login is deleted. A device login is kept for another
// LoginLifetime after its end, so that the page can show why it failed.
func (st *storedLogin) until() time.Time {
	if st.Device != nil {
		return st.Device.Ends.Add(LoginLifetime)
	}
	return st.Begun.Add(LoginLifetime)
}

// login returns the login of a source that st holds.
func (st *storedLogin) login(source string) *Login {
	device := st.Device.device()
	return &Login{
		URL: device.page(), Source: source, Account: st.Account, State: NewSecret(st.State), Binding: NewSecret(st.Binding),
		Verifier: NewSecret(st.Verifier), RedirectURL: st.RedirectURL, Variables: st.Variables, Terminal: st.Terminal,
		Issuer: st.Issuer, alwaysIss: st.AlwaysIss, Begun: st.Begun, Device: device, DPoPKey: NewSecret(st.DPoPKey),
	}
}

// loginKey returns the storage key of the login with that state. The key depends on the source's
// endpoint and client, so that the response to a login at one provider is never sent to another
// (RFC 9700 section 4.4).
func (s *Source) loginKey(state Secret) string {
	return loginPrefix + digestNames(s.prefix(), state.Reveal()) + ".json"
}

func (s *Source) storeLogin(ctx context.Context, l *Login) error {
	key := s.loginKey(l.State)
	if l.Device != nil {
		key = s.deviceKey(l.Account)
	}
	return s.vault.Put(ctx, key, storedLogin{
		Account: l.Account, State: l.State.Reveal(), Binding: l.Binding.Reveal(), Verifier: l.Verifier.Reveal(),
		RedirectURL: l.RedirectURL, Variables: l.Variables, Terminal: l.Terminal,
		Issuer: l.Issuer, AlwaysIss: l.alwaysIss, Begun: l.Begun, Device: l.Device.storedForm(), DPoPKey: l.DPoPKey.Reveal(),
	})
}

// FindLogin returns the pending login with that state. It does not find logins with a device code. It
// returns [ErrNoLogin] if there is none or it is too old, and an [*Error] if the storage cannot be
// read or no configured key opens the login.
func (s *Source) FindLogin(ctx context.Context, state Secret) (*Login, error) {
	if state.IsZero() || len(state.Reveal()) > maxParameter {
		return nil, ErrNoLogin
	}
	st, err := vault.Get[storedLogin](ctx, s.vault, s.loginKey(state))
	switch {
	case errors.Is(err, vault.ErrSealed):
		return nil, &Error{Source: s.cfg.Name, Class: ClassOperator, Reason: err.Error(), cause: err}
	case err != nil && !vault.Unusable(err):
		return nil, s.named("", unreadable(err))
	case st == nil || err != nil:
		return nil, ErrNoLogin
	}
	l := st.login(s.cfg.Name)
	age := s.cfg.Clock.Now().Sub(l.Begun)
	if subtle.ConstantTimeCompare([]byte(st.State), []byte(state.Reveal())) != 1 || age > LoginLifetime ||
		age < -LoginLifetime {
		return nil, ErrNoLogin
	}
	return l, nil
}

// loginLockTimeout bounds the wait for a login's lock. The holder reads the account's record, and
// reads, stores and deletes the login.
const loginLockTimeout = 3 * time.Second

// takeLogin removes a pending login and returns it. If two callers come with the same state, one
// gets the login. If the result of the login could not be stored, takeLogin fails and leaves the
// login, so that it can be finished later.
func (s *Source) takeLogin(ctx context.Context, state Secret) (*Login, error) {
	// The lock keeps out other processes. If it cannot be taken, go on: the provider accepts a code
	// only once. lockLogins keeps out other goroutines in any case.
	unlock, _ := s.vault.Lock(ctx, s.loginKey(state)+".lock", loginLockTimeout)
	defer unlock()
	defer s.lockLogins()()
	l, err := s.FindLogin(ctx, state)
	if err != nil {
		return nil, err
	}
	if _, err := s.replaceable(ctx, l.Account); err != nil {
		return nil, err
	}
	// Store the login unchanged first. On a full disk a delete succeeds and a store fails. Then the
	// login stays, and can be finished later.
	err = s.storeLogin(ctx, l)
	if err == nil {
		err = s.dropLogin(ctx, l)
	}
	if err != nil {
		return nil, unkept(err)
	}
	if s.taken == nil {
		s.taken = make(map[string]bool)
	}
	s.taken[state.Reveal()] = false
	return l, nil
}

// endTaking ends what takeLogin began. If again is true, the login is stored once more, so that the
// person can type another code, unless the login was cancelled meanwhile.
func (s *Source) endTaking(ctx context.Context, l *Login, again bool) {
	defer s.lockLogins()()
	cancelled := s.taken[l.State.Reveal()]
	delete(s.taken, l.State.Reveal())
	if again && !cancelled {
		_ = s.storeLogin(ctx, l) // if this fails, the person has to begin again; nothing else is lost
		return
	}
	s.begun.done(l)
}

// lockLogins waits until no other goroutine takes or cancels a login of the source.
func (s *Source) lockLogins() (unlock func()) {
	s.logins <- struct{}{}
	return func() { <-s.logins }
}

// unkept returns the failure of a login that cannot be stored.
func unkept(err error) *Error {
	if vault.Unusable(err) {
		return &Error{Class: ClassOperator, Reason: err.Error(), cause: err}
	}
	return failedStorage("the storage cannot be written, so nothing would be kept", err)
}

// dropLogin deletes a pending login in a browser. See dropDevice for logins with a device code.
func (s *Source) dropLogin(ctx context.Context, l *Login) error {
	return s.vault.Delete(ctx, s.loginKey(l.State))
}

// sweepEvery is the shortest time between two sweeps for abandoned logins.
const sweepEvery = time.Minute

// sweepLogins removes the logins that were never finished. It ignores errors, because such logins
// are useless and harmless.
func (s *Source) sweepLogins(ctx context.Context) {
	now, due := int64(s.cfg.Clock.Elapsed()), s.sweep.Load()
	if now < due || !s.sweep.CompareAndSwap(due, now+int64(sweepEvery)) {
		return
	}
	keys, err := s.vault.List(ctx, loginPrefix)
	if err != nil {
		return
	}
	for _, key := range keys {
		st, err := vault.Get[storedLogin](ctx, s.vault, key)
		if err == nil && st != nil && s.cfg.Clock.Now().After(st.until()) {
			_ = s.vault.Delete(ctx, key)
		}
	}
}
