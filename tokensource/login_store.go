package tokensource

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"
)

// loginPrefix is where logins under way are stored.
const loginPrefix = "authinject/logins/"

// storedLogin is a [Login] with its secrets in the clear: it exists only between
// the codec and the storage.
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
}

// loginKey is where the login with that state is stored. The source's own endpoint and
// client are part of it: an answer to a login at one provider is never taken
// to another (RFC 9700 section 4.4).
func (s *Source) loginKey(state Secret) string {
	id := fmt.Sprintf("%q", []string{s.prefix(), state.Reveal()})
	return loginPrefix + digest([]byte(id)) + ".json"
}

func (s *Source) storeLogin(ctx context.Context, l *Login) error {
	body, err := json.Marshal(storedLogin{
		Account: l.Account, State: l.State.Reveal(), Binding: l.Binding.Reveal(), Verifier: l.Verifier.Reveal(),
		RedirectURL: l.RedirectURL, Variables: l.Variables, Terminal: l.Terminal,
		Issuer: l.Issuer, AlwaysIss: l.alwaysIss, Begun: l.Begun,
	})
	if err != nil {
		return errors.New("encoding the login failed")
	}
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	data, err := s.seal(ctx, s.loginKey(l.State), body)
	if err != nil {
		return err
	}
	return s.cfg.Storage.Store(ctx, s.loginKey(l.State), data)
}

// FindLogin returns the login under way with that state, or [ErrNoLogin].
func (s *Source) FindLogin(ctx context.Context, state Secret) (*Login, error) {
	if state.IsZero() || len(state.Reveal()) > maxParameter {
		return nil, ErrNoLogin
	}
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	data, err := s.cfg.Storage.Load(ctx, s.loginKey(state))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoLogin
	}
	if err != nil {
		return nil, &Error{Source: s.cfg.Name, Class: ClassWait, Reason: "the storage cannot be read", cause: err}
	}
	body, err := s.open(ctx, s.loginKey(state), data)
	if errors.Is(err, errSealed) {
		return nil, &Error{Source: s.cfg.Name, Class: ClassOperator, Reason: err.Error(), cause: err}
	}
	var st storedLogin
	if err != nil || json.Unmarshal(body, &st) != nil {
		return nil, ErrNoLogin
	}
	l := &Login{
		Source: s.cfg.Name, Account: st.Account, State: NewSecret(st.State), Binding: NewSecret(st.Binding),
		Verifier: NewSecret(st.Verifier), RedirectURL: st.RedirectURL, Variables: st.Variables, Terminal: st.Terminal,
		Issuer: st.Issuer, alwaysIss: st.AlwaysIss, Begun: st.Begun,
	}
	age := s.cfg.Clock.Now().Sub(l.Begun)
	if subtle.ConstantTimeCompare([]byte(st.State), []byte(state.Reveal())) != 1 || age > LoginLifetime || age < -LoginLifetime {
		return nil, ErrNoLogin
	}
	return l, nil
}

// loginLock is how long the lock of a login is waited for. Who holds it reads and deletes.
const loginLock = 3 * time.Second

// takeLogin uses a login up: of two who come with the same state one gets it. It fails,
// and leaves the login to be finished later, where what it brings could not be kept.
func (s *Source) takeLogin(ctx context.Context, state Secret) (*Login, error) {
	// Without the lock it goes on: then the provider decides, whose code is good for one.
	unlock, _ := s.lock(ctx, s.loginKey(state)+".lock", loginLock)
	defer unlock()
	s.logins.Lock()
	defer s.logins.Unlock()
	l, err := s.FindLogin(ctx, state)
	if err != nil {
		return nil, err
	}
	if _, err := s.replaceable(ctx, l.Account); err != nil {
		return nil, err
	}
	err = s.storeLogin(ctx, l) // a full disk deletes, but keeps nothing
	if err == nil {
		err = s.dropLogin(ctx, state)
	}
	if err != nil {
		return nil, unkept(err)
	}
	s.begun.done()
	return l, nil
}

// unkept is the failure of a login that cannot be stored.
func unkept(err error) *Error {
	if isRecordError(err) {
		return &Error{Class: ClassOperator, Reason: err.Error(), cause: err}
	}
	return &Error{Class: ClassWait, Reason: "the storage cannot be written, so nothing would be kept", cause: err}
}

// maxLogins is how many logins one process begins at a source within LoginLifetime: each is stored until it is
// finished or too old, and who may open the page could else fill the storage.
const maxLogins = 1000

// loginCount counts the logins that were begun since some time, and not finished.
type loginCount struct {
	mu    sync.Mutex
	n     int
	since time.Duration
}

// add refuses one login too many.
func (c *loginCount) add(clock Clock) *Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := clock.Elapsed()
	if c.n == 0 || now-c.since > LoginLifetime {
		c.n, c.since = 0, now
	}
	if c.n >= maxLogins {
		return &Error{Class: ClassWait, Reason: "too many logins were begun and not finished", RetryAt: clock.Now().Add(LoginLifetime - (now - c.since))}
	}
	c.n++
	return nil
}

func (c *loginCount) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n = max(c.n-1, 0)
}

func (s *Source) dropLogin(ctx context.Context, state Secret) error {
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	return s.cfg.Storage.Delete(ctx, s.loginKey(state))
}

// sweepEvery is how often, at most, abandoned logins are looked for.
const sweepEvery = time.Minute

// sweepLogins removes the logins that were never finished. It is no matter when
// that fails: they are good for nothing.
func (s *Source) sweepLogins(ctx context.Context) {
	now, due := int64(s.cfg.Clock.Elapsed()), s.sweep.Load()
	if now < due || !s.sweep.CompareAndSwap(due, now+int64(sweepEvery)) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	keys, err := s.cfg.Storage.List(ctx, loginPrefix, false)
	if err != nil {
		return
	}
	for _, key := range keys {
		data, err := s.cfg.Storage.Load(ctx, key)
		if err != nil {
			continue
		}
		body, err := s.open(ctx, key, data)
		if err != nil {
			continue
		}
		var st storedLogin
		if json.Unmarshal(body, &st) == nil && s.cfg.Clock.Now().Sub(st.Begun) > LoginLifetime {
			_ = s.cfg.Storage.Delete(ctx, key)
		}
	}
}
