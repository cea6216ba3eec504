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

// CheckAccountName reports why name cannot be that of an account: it is empty, over 256
// bytes, or holds what is no text.
func CheckAccountName(name string) error {
	if name == "" || len(name) > maxAccountName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("an account's name has 1 to %d bytes of text, without control characters", maxAccountName)
	}
	return nil
}

// forgetAfter is for how long a disconnected account is listed. Its record stays: by it other
// processes know that a person has put an end to the login.
const forgetAfter = 24 * time.Hour

// Accounts returns the names of the named accounts that are connected, or were until a day ago,
// sorted. It reads every record of the source: it is for pages and commands. Its error is an
// [*Error]: the storage cannot be listed, or some records cannot be read, and the others are returned
// all the same.
func (s *Source) Accounts(ctx context.Context) ([]string, error) {
	var names []string
	var unreadable *Error
	if s.stores() {
		keys, err := s.recordKeys(ctx)
		if err != nil {
			return nil, &Error{Source: s.cfg.Name, Class: ClassWait, Reason: "the storage cannot be listed", cause: err}
		}
		left := 0
		for _, key := range keys {
			rec, err := s.recordAt(ctx, key)
			if err != nil {
				left++
				unreadable = &Error{Source: s.cfg.Name, Class: ClassWait, Reason: fmt.Sprintf("%d of its records cannot be read, the last because %v", left, err), cause: err}
				if vault.Unusable(err) {
					unreadable.Class = ClassOperator
				}
			}
			if rec != nil && rec.Account != "" && !s.forgotten(rec.Disconnected, rec.Decided) {
				names = append(names, rec.Account)
			}
		}
	}
	for _, a := range s.all() {
		if st := a.status(); st.Generation > 0 && !s.forgotten(st.Disconnected, st.Decided) && !slices.Contains(names, a.name) {
			names = append(names, a.name)
		}
	}
	slices.Sort(names)
	if unreadable != nil {
		return names, unreadable
	}
	return names, nil
}

func (s *Source) forgotten(disconnected bool, decided time.Time) bool {
	return disconnected && s.cfg.Clock.Now().Sub(decided) > forgetAfter
}

// Leftovers counts what no source seals or removes: the records in a storage that belong to none of
// these sources, but to others or to what these were before their name, endpoint or client changed;
// and the copies of damaged records.
func Leftovers(ctx context.Context, storage Storage, sources ...*Source) (strangers, copies int, err error) {
	keys, err := storage.List(ctx, "authinject/records", true)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, 0, fmt.Errorf("listing the storage: %w", err)
	}
	for _, key := range keys {
		switch {
		case strings.HasSuffix(key, vault.CopySuffix):
			copies++
		case strings.HasSuffix(key, ".json") && !slices.ContainsFunc(sources, func(s *Source) bool { return strings.HasPrefix(key, s.prefix()) }):
			strangers++
		}
	}
	return strangers, copies, nil
}
