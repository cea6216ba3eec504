package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"reflect"
	"strings"
	"testing"
)

// Two keys as users have them, and the text that must not be seen of them.
const (
	sealKey  = "canary-key-one-aaaaaaaaaaaaaaaaaaaaaaa"
	otherKey = "canary-key-two-bbbbbbbbbbbbbbbbbbbbbbb"
)

func literal(key string) Key { return func(context.Context) (string, error) { return key, nil } }

// shelf is a storage in memory, without locks.
type shelf map[string][]byte

func (s shelf) Load(_ context.Context, key string) ([]byte, error) {
	if data, ok := s[key]; ok {
		return data, nil
	}
	return nil, fs.ErrNotExist
}

func (s shelf) Store(_ context.Context, key string, value []byte) error {
	s[key] = bytes.Clone(value)
	return nil
}

func (s shelf) Delete(_ context.Context, key string) error { delete(s, key); return nil }

func (s shelf) List(context.Context, string, bool) ([]string, error) { return nil, fs.ErrNotExist }

func (s shelf) Lock(context.Context, string) error { return nil }

func (s shelf) Unlock(context.Context, string) error { return nil }

func with(keys ...Key) *Vault { return &Vault{Storage: shelf{}, Keys: keys} }

// A seal is bound to the name under which it was stored, and to the version of its form.
func TestSealHoldsItsName(t *testing.T) {
	v := with(literal(sealKey))
	if err := v.Put(t.Context(), "k", "secret"); err != nil {
		t.Fatal(err)
	}
	data := v.Storage.(shelf)["k"]
	v.Storage.(shelf)["k2"] = data
	if _, err := Get[string](t.Context(), v, "k2"); !errors.Is(err, ErrSealed) {
		t.Errorf("under another name: %v", err)
	}
	var env envelope
	if err := json.Unmarshal(data, &env); err != nil {
		t.Fatal(err)
	}
	aead, err := sealer(sealKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := aead.Open(nil, nil, env.Sealed, env.associated("k")); err != nil {
		t.Errorf("as it is: %v", err)
	}
	env.Version++
	if _, err := aead.Open(nil, nil, env.Sealed, env.associated("k")); err == nil {
		t.Error("it opens under another version")
	}
}

// An error about an encryption key says which key is wrong and why, and never shows the key.
func TestEncryptionKeyErrors(t *testing.T) {
	data, err := with(literal(sealKey)).seal(t.Context(), "k", []byte(`{"a":"b"}`))
	if err != nil {
		t.Fatal(err)
	}
	id, err := keyID(sealKey)
	if err != nil {
		t.Fatal(err)
	}
	other, err := keyID(otherKey)
	if err != nil {
		t.Fatal(err)
	}
	if id == other || len(id) != 16 {
		t.Errorf("the ids are %s and %s", id, other)
	}
	unreadable := func(context.Context) (string, error) { return "", errors.New("no such file") }
	short := literal("canary-" + strings.Repeat("ä", 24)) // 31 characters, 55 octets
	for name, c := range map[string]struct {
		keys       []Key
		want       []string
		unsealable bool
	}{
		"none":    {want: []string{id, "no encryption_key is configured"}},
		"another": {keys: []Key{literal(otherKey)}, want: []string{id, "not configured; configured are: " + other}},
		"unreadable": {keys: []Key{unreadable}, want: []string{id, "encryption_key (1 of 1): no such file"},
			unsealable: true},
		"second unreadable": {keys: []Key{literal(otherKey), unreadable},
			want: []string{id, "encryption_key (2 of 2): no such file"}},
		"short": {keys: []Key{short, literal(otherKey)},
			want: []string{id, "(1 of 2): it has fewer than 32 characters", "openssl rand -base64 32"}, unsealable: true},
		"empty": {keys: []Key{literal("")}, want: []string{id, "fewer than 32 characters"}, unsealable: true},
	} {
		s := with(c.keys...)
		_, err := s.open(t.Context(), "k", data)
		if !errors.Is(err, ErrSealed) {
			t.Fatalf("%s: open gave %v", name, err)
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: %v does not say %s", name, err, want)
			}
		}
		_, err = s.seal(t.Context(), "k", []byte("{}"))
		if c.unsealable != (err != nil) || err != nil && (!errors.Is(err, ErrKey) || !Unusable(err) ||
			strings.Contains(err.Error(), "canary")) {
			t.Errorf("%s: seal gave %v", name, err)
		}
	}
	if err := CheckKey(strings.Repeat("ä", 32)); err != nil {
		t.Errorf("32 characters: %v", err)
	}
}

// open returns any JSON that was given to seal; it need not be a record.
func TestSealOfAnyJSON(t *testing.T) {
	for _, s := range []*Vault{with(), with(literal(sealKey))} {
		for _, plain := range []string{`{"a":"<b>&` + "\u2028" + `"}`, `{ "a" : [ 1 , 2 ] }`, `"x"`, `[]`, `{}`} {
			data, err := s.seal(t.Context(), "authinject/logins/x.json", []byte(plain))
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.open(t.Context(), "authinject/logins/x.json", data)
			var a, b any
			if err != nil || json.Unmarshal(got, &a) != nil || json.Unmarshal([]byte(plain), &b) != nil ||
				!reflect.DeepEqual(a, b) {
				t.Errorf("sealed %s, opened %s, %v", plain, got, err)
			}
		}
		if _, err := s.seal(t.Context(), "k", []byte("canary")); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("a value that is not JSON gives %v", err)
		}
	}
}

// A value whose sum the caller knows is neither opened nor decoded. Every other one is.
func TestGetIfChanged(t *testing.T) {
	opened := 0
	v := with(func(context.Context) (string, error) { opened++; return sealKey, nil })
	get := func(known uint64) (*string, uint64) {
		t.Helper()
		value, sum, err := GetIfChanged[string](t.Context(), v, "k", known)
		if err != nil {
			t.Fatal(err)
		}
		return value, sum
	}
	if value, sum := get(0); value != nil || sum != 0 {
		t.Errorf("got %v, %d, and nothing is stored", value, sum)
	}
	put := func(value string) {
		if err := v.Put(t.Context(), "k", value); err != nil {
			t.Fatal(err)
		}
	}
	put("one")
	one, sum := get(0)
	if one == nil || *one != "one" || sum == 0 {
		t.Fatalf("got %v, %d", one, sum)
	}
	opened = 0
	if value, again := get(sum); value != nil || again != sum || opened != 0 {
		t.Errorf("got %v, %d of a value that is known; its key was read %d times", value, again, opened)
	}
	put("two")
	if value, other := get(sum); value == nil || *value != "two" || other == sum {
		t.Errorf("got %v, %d of a value that has changed", value, other)
	}
}
