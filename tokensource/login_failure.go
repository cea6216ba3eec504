package tokensource

import (
	"sync"
	"time"
)

// maxLoginFailures bounds how many accounts' failed logins are remembered.
const maxLoginFailures = 256

// loginFailures remembers why the last login of an account failed, until a login of it succeeds. An
// account that was never connected has no record that could keep this.
type loginFailures struct {
	mu        sync.Mutex
	byAccount map[string]LoginFailure
}

// LoginFailure is why the last login of an account failed.
type LoginFailure struct {
	Err *Error
	// At is when it failed.
	At time.Time
}

func (f *loginFailures) note(account string, failure LoginFailure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byAccount == nil {
		f.byAccount = make(map[string]LoginFailure)
	}
	if _, known := f.byAccount[account]; !known && len(f.byAccount) >= maxLoginFailures {
		for other := range f.byAccount {
			delete(f.byAccount, other)
			break
		}
	}
	f.byAccount[account] = failure
}

func (f *loginFailures) forget(account string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.byAccount, account)
}

// of returns the failure of an account's last login. Its Err is nil if the last login did not fail.
func (f *loginFailures) of(account string) LoginFailure {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byAccount[account]
}

// LastLogin returns why the last login of an account failed, also of an account that was never
// connected. Err is nil if no login of it failed in this process since one succeeded.
func (s *Source) LastLogin(account string) LoginFailure { return s.loginFailures.of(account) }

// withLastLogin returns e with the failure of the account's last login, if e says that a login is
// needed and the last one failed. If an operator has to mend that failure, e is of class operator,
// too: until then, no person can log in. If e says that the storage takes no writes, e stays as it
// is: that has to be mended first.
func (s *Source) withLastLogin(e *Error) *Error {
	last := s.loginFailures.of(e.Account).Err
	if last == nil || e.Class != ClassLogin || e.LoginWouldBeLost() {
		return e
	}
	own := *e // other callers have the same error
	if own.LastLogin = last; last.Class == ClassOperator {
		own.Class = ClassOperator
	}
	return &own
}
