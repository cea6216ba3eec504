package tokensource

import "sync"

// maxLoginFailures bounds how many accounts' failed logins are remembered.
const maxLoginFailures = 256

// loginFailures remembers why the last login of an account failed, until a login of it succeeds. An
// account that was never connected has no record that could keep this.
type loginFailures struct {
	mu        sync.Mutex
	byAccount map[string]*Error
}

func (f *loginFailures) note(account string, err *Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byAccount == nil {
		f.byAccount = make(map[string]*Error)
	}
	if _, known := f.byAccount[account]; !known && len(f.byAccount) >= maxLoginFailures {
		for other := range f.byAccount {
			delete(f.byAccount, other)
			break
		}
	}
	f.byAccount[account] = err
}

func (f *loginFailures) forget(account string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.byAccount, account)
}

func (f *loginFailures) of(account string) *Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byAccount[account]
}

// withLastLogin returns e with the failure of the account's last login, if e says that a login is
// needed and the last one failed.
func (s *Source) withLastLogin(e *Error) *Error {
	last := s.loginFailures.of(e.Account)
	if last == nil || e.Class != ClassLogin {
		return e
	}
	own := *e // other callers have the same error
	own.LastLogin = last
	return &own
}
