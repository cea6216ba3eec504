package tokensource_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

const (
	keyA = "canary-encryption-key-a-aaaaaaaaaaaa"
	keyB = "canary-encryption-key-b-bbbbbbbbbbbb"
)

func sealedWith(keys ...string) func(*tokensource.Config) {
	return func(cfg *tokensource.Config) {
		for _, key := range keys {
			cfg.EncryptionKeys = append(cfg.EncryptionKeys, tokensource.Literal(key))
		}
	}
}

// changing is a key that can be lost and found again while a source runs.
type changing struct {
	mu  sync.Mutex
	key string
	err error
}

func (c *changing) set(key string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.key, c.err = key, err
}

func (c *changing) read(context.Context) (tokensource.Secret, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return tokensource.NewSecret(c.key), c.err
}

func (c *changing) seals(cfg *tokensource.Config) {
	cfg.EncryptionKeys = []tokensource.Value{c.read}
}

// at returns the bytes under that key.
func at(t testing.TB, s tokensource.Storage, key string) []byte {
	t.Helper()
	data, err := s.Load(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func wantUntouched(t testing.TB, s tokensource.Storage, key string, before []byte) {
	t.Helper()
	if now := at(t, s, key); !bytes.Equal(now, before) {
		t.Errorf("the stored record was overwritten:\n%s\nwas\n%s", now, before)
	}
}

// wantSealError returns the error of class operator for a record that cannot be opened.
func wantSealError(t testing.TB, src *tokensource.Source, account string) {
	t.Helper()
	tok, err := src.Account(account).Token(t.Context())
	if err == nil {
		t.Fatalf("got token %q", tok.AccessToken())
	}
	e := asError(t, err, tokensource.ClassOperator)
	if !strings.Contains(e.Reason, "encryption") ||
		strings.Contains(fmt.Sprintf("%v %+v %v", e, e, errors.Unwrap(e)), "canary") {
		t.Errorf("the error is %+v", e)
	}
}

// putSealed stores a record, as another process with that key would.
func putSealed(t testing.TB, s tokensource.Storage, rec *tokensource.Record, key string) []byte {
	t.Helper()
	rec.Source, rec.Config = "orders", plainSettings
	data, err := tokensource.SealRecord(rec, recordKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Store(context.Background(), recordKey, data); err != nil {
		t.Fatal(err)
	}
	return data
}

// written keeps every value that was ever written.
type written struct {
	tokensource.MemoryStorage
	mu  sync.Mutex
	all []string
}

func (w *written) Store(ctx context.Context, key string, value []byte) error {
	w.mu.Lock()
	w.all = append(w.all, key+" "+string(value))
	w.mu.Unlock()
	return w.MemoryStorage.Store(ctx, key, value)
}

// With a key, the storage never contains a token, a scope or an account in the clear. A process
// with the key continues from the sealed record.
func TestSealedStorageShowsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &written{}
		ep := &endpoint{script: func(n int, _ url.Values) reply {
			return reply{body: fmt.Sprintf(
				`{"access_token":"canary-at%d","refresh_token":"canary-rt%d","scope":"canary-scope","expires_in":3600}`, n, n)}
		}}
		for range 2 {
			src := newSource(t, ep, refreshing(storage, "canary-seed"), sealedWith(keyA))
			for _, account := range []string{"", "canary-account"} {
				if _, err := src.Account(account).Token(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := src.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantCount(t, ep, 2)
		}
		if len(storage.all) != 4 { // the mark and the token, for each of two accounts
			t.Errorf("%d writes", len(storage.all))
		}
		for _, text := range storage.all {
			for _, seen := range []string{"canary", "orders", "access_token", "spending", "generation"} {
				if strings.Contains(text, seen) {
					t.Errorf("%s is visible in %s", seen, text)
				}
			}
		}
	})
}

// If two records changed places, both are refused, and both stay as they are.
func TestSwappedSealedRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		ep := &endpoint{script: func(n int, _ url.Values) reply { return rotated(n, time.Hour) }}
		first := newSource(t, ep, refreshing(storage, "rt0"), sealedWith(keyA))
		lie := make(map[string][]byte)
		for _, account := range []string{"ada", "bob"} {
			if _, err := first.Account(account).Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			lie[account] = at(t, storage, tokensource.RecordKey("orders", account, tokenURL, "orders-client"))
		}
		for account, from := range map[string]string{"ada": "bob", "bob": "ada"} {
			if err := storage.Store(t.Context(), tokensource.RecordKey("orders", account, tokenURL, "orders-client"),
				lie[from]); err != nil {
				t.Fatal(err)
			}
		}
		second := newSource(t, ep, refreshing(storage, "rt0"), sealedWith(keyA))
		for range 20 {
			wantSealError(t, second, "ada")
			wantSealError(t, second, "bob")
			virtual.Advance(time.Minute)
		}
		wantCount(t, ep, 2)
		wantUntouched(t, storage, tokensource.RecordKey("orders", "ada", tokenURL, "orders-client"), lie["bob"])
		wantUntouched(t, storage, tokensource.RecordKey("orders", "bob", tokenURL, "orders-client"), lie["ada"])
	})
}

// A record in the clear, or under an older key, is read without a token request, and is sealed
// under the first key at its next write.
func TestKeyRotation(t *testing.T) {
	for name, before := range map[string][]string{"in the clear": nil, "under an older key": {keyA}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := &tokensource.MemoryStorage{}
				ep := &endpoint{script: func(n int, _ url.Values) reply { return rotated(n, time.Hour) }}
				src := newSource(t, ep, refreshing(storage, "rt0"), sealedWith(before...))
				wantToken(t, src, "at1")
				if err := src.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				lay := at(t, storage, recordKey)

				src = newSource(t, ep, refreshing(storage, "rt0"), sealedWith(append([]string{keyB}, before...)...))
				wantToken(t, src, "at1")
				wantCount(t, ep, 1)
				wantUntouched(t, storage, recordKey, lay)
				virtual.Advance(2 * time.Hour)
				wantToken(t, src, "at2")
				if got, err := tokensource.OpenRecord(at(t, storage, recordKey), recordKey, "orders", "", keyB); err != nil ||
					got.RefreshToken.Reveal() != "rt2" {
					t.Errorf("under the new key alone: %+v, %v", got, err)
				}
				if got := ep.spent(); got[1] != "rt1" {
					t.Errorf("spent %v", got)
				}
			})
		})
	}
}

// A process without the key of the record sends nothing and writes nothing, from its start.
func TestStartWithoutTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unreadable := &changing{err: errors.New("no such file")}
		for name, edit := range map[string]func(*tokensource.Config){
			"no key": sealedWith(), "another key": sealedWith(keyB), "short key": sealedWith("canary"),
			"unreadable key": unreadable.seals,
		} {
			for _, living := range []time.Duration{time.Hour, -time.Hour} {
				storage := &tokensource.MemoryStorage{}
				lay := putSealed(t, storage, record(3, "at3", "rt3", living), keyA)
				ep := &endpoint{}
				src := newSource(t, ep, refreshing(storage, "rt0"), edit)
				src.Warm()
				virtual.Advance(10 * time.Minute)
				wantSealError(t, src, "")
				wantCount(t, ep, 0)
				if err := src.Close(t.Context()); err != nil {
					t.Fatal(name, err)
				}
				wantUntouched(t, storage, recordKey, lay)
			}
		}
	})
}

// If a key is lost while a token lives, the token is served until it ends. Meanwhile no refresh
// token is spent and nothing is written. When the key is back, the source works again.
func TestKeyLostAtRunTime(t *testing.T) {
	for name, lost := range map[string]*changing{
		"unreadable": {err: errors.New("no such file")}, "another": {key: keyB}, "cut short": {key: "canary"}, "empty": {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := &tokensource.MemoryStorage{}
				ep := &endpoint{script: func(n int, _ url.Values) reply { return rotated(n, time.Hour) }}
				key := &changing{key: keyA}
				src := newSource(t, ep, refreshing(storage, "rt0"), key.seals)
				src.Warm()
				wantToken(t, src, "at1")
				lay := at(t, storage, recordKey)
				key.set(lost.key, lost.err)
				virtual.Advance(59 * time.Minute)
				wantToken(t, src, "at1")
				if st := src.Account("").Status(); st.Err == nil || st.Err.Class != tokensource.ClassOperator {
					t.Errorf("the status has no error: %+v", st)
				}
				if next, err := src.Account("").Reject(t.Context(), mustToken(t, src)); err == nil {
					t.Errorf("a refused token was replaced by %q", next.AccessToken())
				}
				virtual.Advance(2 * time.Hour)
				wantSealError(t, src, "")
				wantCount(t, ep, 1)
				wantUntouched(t, storage, recordKey, lay)
				key.set(keyA, nil)
				virtual.Advance(2 * time.Minute)
				wantToken(t, src, "at2")
			})
		})
	}
}

// If a key cannot seal, no refresh token is spent even before the first token, because the next
// refresh token could not be stored.
func TestNothingIsSpentThatCannotBeSealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, lay := range []*tokensource.Record{nil, record(3, "", "rt3", 0)} {
			storage := &tokensource.MemoryStorage{}
			if lay != nil {
				put(t, storage, lay)
			}
			ep := &endpoint{script: func(n int, _ url.Values) reply { return rotated(n, time.Hour) }}
			key := &changing{err: errors.New("no such file")}
			src := newSource(t, ep, refreshing(storage, "rt0"), key.seals)
			for range 10 {
				wantSealError(t, src, "")
				virtual.Advance(time.Minute)
			}
			wantCount(t, ep, 0)
			key.set(keyA, nil)
			virtual.Advance(2 * time.Minute)
			wantToken(t, src, "at1")
		}
	})
}

// While a token request was under way, another process sealed the record under a key that this
// process does not have. That record is not overwritten, however the request ends.
func TestOvertakenByARecordUnderAnotherKey(t *testing.T) {
	for name, end := range map[string]func(n int) reply{
		"granted":     func(n int) reply { return rotated(n, time.Hour) },
		"dead grant":  func(int) reply { return refused(400, "invalid_grant") },
		"refused":     func(int) reply { return refused(400, "invalid_scope") },
		"answer lost": func(int) reply { return reply{err: errReset} },
		"never sent":  func(int) reply { return reply{err: errReset, unsent: true} },
		"unusable": func(int) reply {
			return reply{body: `{"access_token":"x","token_type":"mac","refresh_token":"rt9"}`}
		},
		"not available": func(int) reply { return reply{status: 503} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := &tokensource.MemoryStorage{}
				var once sync.Once
				ep := &endpoint{script: func(n int, _ url.Values) reply {
					once.Do(func() { putSealed(t, storage, record(7, "at7", "rt7", 3*time.Hour), keyB) })
					return end(n)
				}}
				src := newSource(t, ep, refreshing(storage, "rt0"), sealedWith(keyA))
				src.Warm()
				virtual.Advance(time.Millisecond)
				lay := at(t, storage, recordKey)
				if _, err := tokensource.OpenRecord(lay, recordKey, "orders", "", keyB); err != nil {
					t.Fatalf("the record of the other process is missing: %v", err)
				}
				virtual.Advance(30 * time.Minute)
				if name == "granted" {
					wantToken(t, src, "at1")
					if !src.Account("").Status().Unsaved {
						t.Error("the status does not say that the record is unsaved")
					}
				}
				wantUntouched(t, storage, recordKey, lay)
				virtual.Advance(time.Hour)
				wantSealError(t, src, "")
				wantCount(t, ep, 1)
				if err := src.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				wantUntouched(t, storage, recordKey, lay)
			})
		})
	}
}

// keeping is a grant whose records are stored although it spends no refresh token.
type keeping struct{}

func (keeping) Traits() tokensource.Traits { return tokensource.Traits{Stored: true, Renews: true} }

func (keeping) Next(context.Context, *tokensource.Record) (tokensource.Request, error) {
	return tokensource.Request{Params: url.Values{"grant_type": {"client_credentials"}}}, nil
}

// The same holds for a grant that spends no refresh token: its token is served without being
// stored.
func TestOvertakenWithoutSpending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		ep := &endpoint{script: func(n int, _ url.Values) reply {
			putSealed(t, storage, record(7, "at7", "", 3*time.Hour), keyB)
			return granted(n, time.Hour)
		}}
		src := newSource(t, ep, refreshing(storage, ""), sealedWith(keyA), func(cfg *tokensource.Config) {
			cfg.Grant = keeping{}
		})
		src.Warm()
		virtual.Advance(30 * time.Minute)
		wantToken(t, src, "at1")
		if _, err := tokensource.OpenRecord(at(t, storage, recordKey), recordKey, "orders", "", keyB); err != nil {
			t.Errorf("the record of the other process was overwritten: %v", err)
		}
	})
}
