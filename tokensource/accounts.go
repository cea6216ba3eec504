package tokensource

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

// maxAccountName bounds the length of an account's name in bytes.
const maxAccountName = 256

// CheckAccountName reports why name cannot be the name of an account: it is empty, longer than 256
// bytes, not valid UTF-8, or it has control characters.
func CheckAccountName(name string) error {
	if name == "" || len(name) > maxAccountName || !isText(name) {
		return fmt.Errorf("an account's name must be 1 to %d bytes of UTF-8 text without control characters", maxAccountName)
	}
	return nil
}

// isText reports whether s is valid UTF-8 without control characters.
func isText(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f { // few names have such a character
			return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
		}
	}
	return true
}

// Account returns the account of that name. The empty name means the unnamed account. An account is
// loaded into memory at its first use, and dropped from memory after a while without use.
func (s *Source) Account(name string) *Account {
	if e := s.find(name); e != nil {
		return &e.Account
	}
	return &Account{src: s, name: name}
}

// Lookup reads the record of the named account and returns the account, if it was connected before.
// Otherwise it returns an [*Error] of class login. It keeps nothing in memory for a name that was
// never connected, so it is safe to call with any name.
func (s *Source) Lookup(ctx context.Context, name string) (*Account, error) {
	if e := s.find(name); e != nil && e.cur.Load() != nil { // this reads no more than the entry
		e.touch()
		return &e.Account, nil
	}
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
	lives, _ := a.usable(ctx, found)
	a.adopt(found, sum, lives)
	return &a.Account, nil
}

// Loaded returns the named account if its record is in memory.
func (s *Source) Loaded(name string) (*Account, bool) {
	a := s.loaded(name)
	if a == nil || !a.isKnown() {
		return nil, false
	}
	return &a.Account, true
}

// isKnown reports whether a record of the account is in memory.
func (a *account) isKnown() bool {
	if a.cur.Load() != nil {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rec != nil && a.rec.Generation > 0
}

// inMemory returns the account in memory, or a blank account if the account is not in memory.
func (s *Source) inMemory(h *Account) *account {
	if a := s.loaded(h.name); a != nil {
		return a
	}
	return s.newAccount(*h)
}

// forgetAfter is how long a disconnected account is listed. Its record stays in the storage: it
// tells other processes that a person ended the login.
const forgetAfter = 24 * time.Hour

// Accounts returns the sorted names of the named accounts that are connected, or were connected
// until a day ago. It reads every record of the source, so it is meant for pages and commands. Its
// error is an [*Error]: the storage cannot be listed, or some records cannot be read. If only some
// records cannot be read, Accounts still returns the names of the others.
func (s *Source) Accounts(ctx context.Context) ([]string, error) {
	var names []string
	var unreadable error
	if s.stores() {
		keys, err := s.recordKeys(ctx)
		if err != nil {
			return nil, s.named("", failedStorage("the storage cannot be listed", err))
		}
		failed, class := 0, ClassWait
		for _, key := range keys {
			rec, err := s.recordAt(ctx, key)
			if err != nil {
				failed++
				if vault.Unusable(err) {
					class = ClassOperator // one damaged record is enough
				}
				unreadable = &Error{Source: s.cfg.Name, Class: class,
					Reason: fmt.Sprintf("%d of the source's stored records cannot be read", failed), cause: err}
			}
			if rec != nil && rec.Account != "" && !s.forgotten(rec.Disconnected, rec.Decided) {
				names = append(names, rec.Account)
			}
		}
	}
	for _, a := range s.all() {
		if a.subject != nil {
			continue
		}
		if st := a.status(); st.Generation > 0 && !s.forgotten(st.Disconnected, st.Decided) {
			names = append(names, a.Name())
		}
	}
	slices.Sort(names)
	return slices.Compact(names), unreadable
}

func (s *Source) forgotten(disconnected bool, decided time.Time) bool {
	return disconnected && s.cfg.Clock.Now().Sub(decided) > forgetAfter
}

// Leftovers counts the stored items that no source seals or removes. strangers are records that
// belong to none of these sources: they belong to other sources, or to these sources before their
// name, endpoint or client changed. copies are the copies of damaged records.
func Leftovers(ctx context.Context, storage Storage, sources ...*Source) (strangers, copies int, err error) {
	keys, err := storage.List(ctx, "authinject/records", true)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, 0, fmt.Errorf("listing the storage: %w", err)
	}
	for _, key := range keys {
		switch {
		case strings.HasSuffix(key, vault.CopySuffix):
			copies++
		case strings.HasSuffix(key, ".json") && !slices.ContainsFunc(sources, func(s *Source) bool {
			return strings.HasPrefix(key, s.prefix())
		}):
			strangers++
		}
	}
	return strangers, copies, nil
}
