package tokensource

import "sync"

// These limit the unfinished logins that one process begins at a source within LoginLifetime. Each is
// stored until it is finished, or until a later login removes those that are too old and that a key
// opens. Without a limit, anyone who can open the page could fill the storage. Each account has a limit
// of its own, so that one user of a page does not keep the others from logging in.
const (
	maxAccountLogins = 1_000
	maxLogins        = 20_000
)

// loginCount holds the logins that this process began and that are not over.
type loginCount struct {
	mu   sync.Mutex
	all  int
	ends map[string]map[string]deadline // by account and state: when each is too old
}

// add adds a login. It returns an error if there are too many.
func (c *loginCount) add(clock Clock, l *Login) *Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isFull(l.Account) {
		c.forgetEnded(clock)
	}
	if c.isFull(l.Account) {
		first := never
		for account, ends := range c.ends {
			for _, end := range ends {
				if (account == l.Account || c.all >= maxLogins) && end.mono < first.mono {
					first = end
				}
			}
		}
		return &Error{Class: ClassWait, Reason: "too many logins were begun and not finished", RetryAt: first.time()}
	}
	if c.ends == nil {
		c.ends = make(map[string]map[string]deadline)
	}
	if c.ends[l.Account] == nil {
		c.ends[l.Account] = make(map[string]deadline)
	}
	c.ends[l.Account][l.State.Reveal()] = clock.in(LoginLifetime)
	c.all++
	return nil
}

func (c *loginCount) isFull(account string) bool {
	return c.all >= maxLogins || len(c.ends[account]) >= maxAccountLogins
}

// forgetEnded removes the logins that are too old.
func (c *loginCount) forgetEnded(clock Clock) {
	for account, ends := range c.ends {
		for state, end := range ends {
			if clock.passed(end) {
				c.remove(account, state)
			}
		}
	}
}

// done removes a login that is over.
func (c *loginCount) done(l *Login) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(l.Account, l.State.Reveal())
}

func (c *loginCount) remove(account, state string) {
	ends := c.ends[account]
	if _, ok := ends[state]; !ok {
		return
	}
	delete(ends, state)
	c.all--
	if len(ends) == 0 {
		delete(c.ends, account)
	}
}
