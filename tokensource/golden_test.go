package tokensource_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// The files in testdata/stored hold what earlier releases stored: a first line with the key, then
// the bytes. They are never rewritten. A release that cannot read one of them loses its users'
// logins.

const goldenEncryptionKey = "golden encryption key of the tests, 32+ characters"

// goldenDPoPKey is the stored form of a key (RFC 7517 appendix A.2).
const goldenDPoPKey = `{"kty":"EC","crv":"P-256","alg":"ES256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",` +
	`"y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}`

// golden returns the key and the bytes of a file in testdata/stored.
func golden(t *testing.T, name string) (key string, data []byte) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "stored", name))
	if err != nil {
		t.Fatal(err)
	}
	first, rest, found := bytes.Cut(content, []byte("\n"))
	if !found {
		t.Fatalf("%s has no line with a key", name)
	}
	return string(first), bytes.TrimSuffix(rest, []byte("\n"))
}

// goldenTime returns a time on the bubble's first day, with a fraction of a second.
func goldenTime(d time.Duration) time.Time {
	return time.Date(2000, 1, 1, 0, 0, 0, 120003000, time.UTC).Add(d)
}

// goldenRecords returns the records in testdata/stored, by file name.
func goldenRecords() map[string]*tokensource.Record {
	at := goldenTime
	rec := func(edit func(*tokensource.Record)) *tokensource.Record {
		r := &tokensource.Record{
			Source: "orders", Generation: 7, AccessToken: tokensource.NewSecret("at<&>7"),
			RefreshToken: tokensource.NewSecret("rt7"),
			Obtained:     at(0), Expiry: at(time.Hour), Scope: "orders:read orders:write", Seed: "5eed", Config: plainSettings,
		}
		edit(r)
		return r
	}
	return map[string]*tokensource.Record{
		"fresh": rec(func(*tokensource.Record) {}),
		"account": rec(func(r *tokensource.Record) {
			r.Account, r.Decided, r.Variables = "alice@example.com", at(-time.Hour), map[string]string{"deployment": "acme"}
		}),
		"never ends": rec(func(r *tokensource.Record) { r.Expiry, r.Scope, r.Seed = time.Time{}, "", "" }),
		"intent": rec(func(r *tokensource.Record) {
			r.Intent = &tokensource.Intent{Generation: 7, Owner: "0123456789abcdef01", Since: at(time.Minute)}
		}),
		"lost": rec(func(r *tokensource.Record) {
			r.Intent = &tokensource.Intent{Generation: 7, Owner: "0123456789abcdef01", Since: at(time.Minute),
				Lost: true, Losses: 3}
		}),
		"refused": rec(func(r *tokensource.Record) {
			r.Failure = &tokensource.Failure{
				Class: tokensource.ClassLogin, Code: "invalid_grant", Reason: "the token endpoint refused", At: at(time.Minute),
				Refused: "d16e57",
			}
		}),
		"dpop": rec(func(r *tokensource.Record) { r.DPoPKey = tokensource.NewSecret(goldenDPoPKey) }),
		"disconnected": {
			Source: "orders", Account: "bob", Generation: 9, Decided: at(time.Minute),
			Variables: map[string]string{"deployment": "other"}, Disconnected: true,
		},
	}
}

// Records of earlier releases can be read, in the clear and sealed, and this release writes the
// same bytes.
func TestGoldenRecords(t *testing.T) {
	for name, want := range goldenRecords() {
		key, data := golden(t, name+".record")
		if k := tokensource.RecordKey("orders", want.Account, tokenURL, "orders-client"); k != key {
			t.Errorf("%s is stored under %s, was under %s", name, k, key)
		}
		got, err := tokensource.OpenRecord(data, key, "orders", want.Account)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: read %+v, %v", name, got, err)
		}
		if now, err := tokensource.SealRecord(want, key); err != nil || !bytes.Equal(now, data) {
			t.Errorf("%s: %v, stored as\n%s\nwas\n%s", name, err, now, data)
		}
		key, data = golden(t, name+".sealed-record")
		got, err = tokensource.OpenRecord(data, key, "orders", want.Account, "another key that is long enough to be one",
			goldenEncryptionKey)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s, sealed: read %+v, %v", name, got, err)
		}
		now, err := tokensource.SealRecord(want, key, goldenEncryptionKey)
		if err != nil || len(now) != len(data) ||
			!bytes.Equal(now[:bytes.Index(now, []byte(`"sealed"`))], data[:bytes.Index(data, []byte(`"sealed"`))]) {
			t.Errorf("%s, sealed: %v, stored as\n%s\nwas\n%s", name, err, now, data)
		}
	}
}

// goldenSource returns a source on a storage that contains the given file.
func goldenSource(t *testing.T, ep *endpoint, file string) (*tokensource.Source, *tokensource.MemoryStorage) {
	t.Helper()
	storage, sealed := goldenStorage(t, file)
	return newSource(t, ep, connecting(storage), sealed), storage
}

// goldenStorage returns a storage that contains the given file, and the encryption key that it
// needs.
func goldenStorage(t *testing.T, file string) (*tokensource.MemoryStorage, func(*tokensource.Config)) {
	t.Helper()
	storage := new(tokensource.MemoryStorage)
	if file != "" {
		key, data := golden(t, file)
		if err := storage.Store(t.Context(), key, data); err != nil {
			t.Fatal(err)
		}
	}
	return storage, func(c *tokensource.Config) {
		if strings.Contains(file, "sealed") {
			c.EncryptionKeys = []tokensource.Value{tokensource.Literal(goldenEncryptionKey)}
		}
	}
}

// A login that was begun under an earlier release can be finished.
func TestGoldenLogin(t *testing.T) {
	for _, file := range []string{"login", "sealed-login"} {
		synctest.Test(t, func(t *testing.T) {
			virtual.Advance(2 * time.Minute)
			src, _ := goldenSource(t, &endpoint{}, file)
			l, err := src.FindLogin(t.Context(), tokensource.NewSecret("golden-state"))
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if l.Account != "alice@example.com" || l.Binding.Reveal() != "golden-binding" ||
				l.Verifier.Reveal() != "golden-verifier-golden-verifier-golden-verifier" ||
				l.RedirectURL != "http://127.0.0.1:8080/connect/callback" ||
				!maps.Equal(l.Variables, map[string]string{"deployment": "acme"}) ||
				!l.Terminal || l.Issuer != "https://login.example.com" || !l.Begun.Equal(goldenTime(time.Minute)) {
				t.Errorf("%s: read %+v", file, l)
			}
		})
	}
	// A login of a source with dpop has the key too.
	synctest.Test(t, func(t *testing.T) {
		storage := new(tokensource.MemoryStorage)
		src := newSource(t, &endpoint{}, connecting(storage), withDPoP)
		l := begin(t, src, inBrowser)
		found, err := src.FindLogin(t.Context(), l.State)
		if err != nil || !found.DPoPKey.Equal(l.DPoPKey) || l.DPoPKey.IsZero() ||
			!slices.Contains(members(t, only(t, storage, "authinject/logins/")), "dpop_key") {
			t.Errorf("a login with a key: %v", err)
		}
	})
	// A login of this release has the same members as one of an earlier release, and no others.
	synctest.Test(t, func(t *testing.T) {
		src, storage := goldenSource(t, &endpoint{}, "")
		begin(t, src, tokensource.LoginRequest{Account: "alice@example.com", Terminal: true})
		_, was := golden(t, "login")
		if got, want := members(t, only(t, storage, "authinject/logins/")), members(t, was); !subset(got, want) {
			t.Errorf("members %v, want %v", got, want)
		}
	})
}

// A note of a provider's Retry-After from an earlier release still applies, and this release writes
// the same form.
func TestGoldenRetryAfter(t *testing.T) {
	for _, file := range []string{"retry-after", "sealed-retry-after"} {
		synctest.Test(t, func(t *testing.T) {
			ep := &endpoint{}
			src, storage := goldenSource(t, ep, file)
			rec := record(1, "", "rt1", 0)
			put(t, storage, rec)
			_, err := src.Token(t.Context())
			if e := asError(t, err, tokensource.ClassWait); !e.RetryAt.Equal(time.Date(2000, 1, 1, 0, 5, 0, 0, time.UTC)) {
				t.Errorf("%s: the next token request is at %v", file, e.RetryAt)
			}
			wantCount(t, ep, 0)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		src, storage := goldenSource(t, &endpoint{script: always(withHeader(reply{status: 429}, "Retry-After", "300"))}, "")
		put(t, storage, record(1, "", "rt1", 0))
		_, err := src.Token(t.Context())
		asError(t, err, tokensource.ClassWait)
		key, was := golden(t, "retry-after")
		now, err := storage.Load(context.Background(), key)
		if err != nil || !slices.Equal(members(t, now), members(t, was)) ||
			!bytes.Contains(now, []byte(`"until":"2000-01-01T00:05:00Z"`)) {
			t.Errorf("%v, noted as\n%s\nwas\n%s", err, now, was)
		}
	})
}

// only returns the value under the only key with that prefix.
func only(t *testing.T, storage tokensource.Storage, prefix string) []byte {
	t.Helper()
	keys, err := storage.List(t.Context(), prefix, true)
	if err != nil || len(keys) != 1 {
		t.Fatalf("%v, %v", keys, err)
	}
	data, err := storage.Load(t.Context(), keys[0])
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// members returns the member names of a value that is stored in the clear.
func members(t *testing.T, data []byte) []string {
	t.Helper()
	var env struct{ Record map[string]any }
	if err := json.Unmarshal(data, &env); err != nil || len(env.Record) == 0 {
		t.Fatalf("%s: %v", data, errors.Join(err, errors.New("no members")))
	}
	return slices.Sorted(maps.Keys(env.Record))
}

func subset(some, all []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

// A device login that was begun under an earlier release is asked for on, and this release stores
// the same members.
func TestGoldenDeviceLogin(t *testing.T) {
	for _, file := range []string{"device-login", "sealed-device-login"} {
		synctest.Test(t, func(t *testing.T) {
			virtual.Advance(2 * time.Minute)
			src, _ := goldenDevice(t, answers(), file)
			l, err := src.PendingLogin(t.Context(), "alice@example.com")
			if err != nil || l == nil {
				t.Fatalf("%s: %v, %v", file, l, err)
			}
			if d := l.Device; d.Code.Reveal() != "dc1" || d.UserCode.Reveal() != "UC-1" || d.Interval != 10*time.Second ||
				d.Failed != nil ||
				d.VerificationURI != "https://login.example.com/activate" ||
				l.URL.Reveal() != d.VerificationURI+"?user_code=UC-1" ||
				l.Account != "alice@example.com" || l.Verifier.IsZero() || d.Ends.Sub(l.Begun) != 10*time.Minute {
				t.Errorf("%s: read %+v of %+v", file, d, l)
			}
			src.ResumeLogins()
			virtual.Advance(time.Minute)
			if names, err := src.Accounts(t.Context()); len(names) != 1 || err != nil {
				t.Errorf("%s: connected %v, %v", file, names, err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		storage := goldenDeviceLogin(t)
		_, was := golden(t, "device-login")
		now := only(t, storage, "authinject/logins/")
		if got, want := members(t, now), members(t, was); !slices.Equal(got, want) {
			t.Errorf("members %v, want %v", got, want)
		}
		device := func(data []byte) []string {
			var env struct {
				Record struct{ Device map[string]any }
			}
			if err := json.Unmarshal(data, &env); err != nil {
				t.Fatal(err)
			}
			return slices.Sorted(maps.Keys(env.Record.Device))
		}
		if got, want := device(now), device(was); !slices.Equal(got, want) {
			t.Errorf("members of device %v, want %v", got, want)
		}
	})
}

// goldenDevice returns a source with device logins on a storage that contains the given file.
func goldenDevice(t *testing.T, s *deviceServer, file string) (*tokensource.Source, *tokensource.MemoryStorage) {
	t.Helper()
	storage, sealed := goldenStorage(t, file)
	return newSource(t, s, onDevice(storage), sealed), storage
}

// goldenDeviceLogin returns a storage with the login that is in the files.
func goldenDeviceLogin(t *testing.T, edits ...func(*tokensource.Config)) *tokensource.MemoryStorage {
	t.Helper()
	storage := new(tokensource.MemoryStorage)
	src := newSource(t, answers("slow_down", "authorization_pending"), append([]func(*tokensource.Config){onDevice(storage)}, edits...)...)
	begin(t, src, tokensource.LoginRequest{Account: "alice@example.com"})
	virtual.Advance(16 * time.Second)
	if err := src.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return storage
}
