package tokensource

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// Two keys as people have them, and what must not be seen of them.
const (
	sealKey  = "canary-key-one-aaaaaaaaaaaaaaaaaaaaaaa"
	otherKey = "canary-key-two-bbbbbbbbbbbbbbbbbbbbbbb"
)

func sealed(t *testing.T, rec *Record, key string, encryptionKeys ...string) []byte {
	t.Helper()
	data, err := SealRecord(rec, key, encryptionKeys...)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A sealed record is read as it was written, by every key in the list, and shows
// nothing of itself; the same one sealed twice has nothing in common.
func TestSealedRecordRoundTrip(t *testing.T) {
	for _, rec := range []*Record{fullRecord(), {}} {
		data := sealed(t, rec, "k", sealKey, otherKey)
		for _, keys := range [][]string{{sealKey}, {otherKey, sealKey}, {"short", sealKey}} {
			got, err := OpenRecord(data, "k", rec.Source, rec.Account, keys...)
			if err != nil || !reflect.DeepEqual(got, rec) {
				t.Errorf("read %#v, %v, wrote %#v", got, err, rec)
			}
		}
		for _, seen := range []string{"orders", "alice", `"rt"`, `"a b"`, `"acme"`, "invalid_grant", "access_token", "generation", "canary"} {
			if bytes.Contains(data, []byte(seen)) {
				t.Errorf("%s shows in %s", seen, data)
			}
		}
	}
	nonces, bodies := make(map[string]bool), make(map[string]bool)
	for range 100 {
		var env envelope
		if err := json.Unmarshal(sealed(t, fullRecord(), "k", sealKey), &env); err != nil {
			t.Fatal(err)
		}
		nonces[string(env.Sealed[:12])], bodies[string(env.Sealed[12:])] = true, true
	}
	if len(nonces) != 100 || len(bodies) != 100 {
		t.Errorf("100 writes have %d nonces and %d ciphertexts", len(nonces), len(bodies))
	}
}

// A sealed record cut short anywhere, or with any bit changed, is refused.
func TestDamagedSealedRecord(t *testing.T) {
	data := sealed(t, fullRecord(), "k", sealKey)
	refused := func(what string, at int, changed []byte) {
		t.Helper()
		for _, keys := range [][]string{{sealKey}, {otherKey}, nil} {
			if rec, err := OpenRecord(changed, "k", "orders", "alice", keys...); rec != nil || !isRecordError(err) {
				t.Errorf("%s at %d: read as %#v, %v", what, at, rec, err)
			}
		}
	}
	for i := range data {
		refused("cut", i, data[:i])
		for bit := range 8 {
			changed := bytes.Clone(data)
			changed[i] ^= 1 << bit
			refused("changed", i, changed)
		}
	}
	// None of these is how a sealed record is written.
	for i, text := range []string{
		string(data) + "\n", " " + string(data), strings.Replace(string(data), `"version"`, `"Version"`, 1),
		strings.Replace(string(data), `{`, `{"sum":"",`, 1), strings.Replace(string(data), `{`, `{"record":{"source":"orders"},`, 1),
		`{"version":1,"key":"0123456789abcdef"}`, `{"version":1,"key":"0123456789abcdef","sealed":""}`, `{"version":1,"sealed":"AAAA"}`,
		`{"version":1,"key":"","sealed":"AAAA"}`, `{"version":1,"key":"words of somebody","sealed":"AAAA"}`,
	} {
		refused("text", i, []byte(text))
	}
	if _, err := OpenRecord([]byte(`{"version":1,"key":"words of somebody","sealed":"AAAA"}`), "k", "orders", "alice"); !errors.Is(err, errCorruptRecord) {
		t.Errorf("an id that is none is quoted: %v", err)
	}
}

// A seal belongs to the name that it was stored under, and to the version of its form.
func TestSealHoldsItsName(t *testing.T) {
	rec := fullRecord()
	data := sealed(t, rec, "k", sealKey)
	if _, err := OpenRecord(data, "k2", "orders", "alice", sealKey); !errors.Is(err, errSealed) {
		t.Errorf("under another name: %v", err)
	}
	var env envelope
	if err := json.Unmarshal(data, &env); err != nil {
		t.Fatal(err)
	}
	aead, err := sealer(NewSecret(sealKey))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := aead.Open(nil, nil, env.Sealed, env.associated("k")); err != nil {
		t.Errorf("as it is: %v", err)
	}
	env.Version++
	if _, err := aead.Open(nil, nil, env.Sealed, env.associated("k")); err == nil {
		t.Error("it opens as one of another version")
	}
}

// An error about a key says what is wrong with which, and never shows it.
func TestEncryptionKeyErrors(t *testing.T) {
	data := sealed(t, fullRecord(), "k", sealKey)
	id, err := keyID(NewSecret(sealKey))
	if err != nil {
		t.Fatal(err)
	}
	other, err := keyID(NewSecret(otherKey))
	if err != nil {
		t.Fatal(err)
	}
	if id == other || len(id) != 16 {
		t.Errorf("the ids are %s and %s", id, other)
	}
	unreadable := func(context.Context) (Secret, error) { return Secret{}, errors.New("no such file") }
	short := Literal("canary-" + strings.Repeat("ä", 24)) // 31 characters, 55 octets
	for name, c := range map[string]struct {
		keys       []Value
		want       []string
		unsealable bool
	}{
		"none":              {want: []string{id, "no encryption_key is configured"}},
		"another":           {keys: []Value{Literal(otherKey)}, want: []string{id, "not configured; configured are: " + other}},
		"unreadable":        {keys: []Value{unreadable}, want: []string{id, "encryption_key (1 of 1): no such file"}, unsealable: true},
		"second unreadable": {keys: []Value{Literal(otherKey), unreadable}, want: []string{id, "encryption_key (2 of 2): no such file"}},
		"short":             {keys: []Value{short, Literal(otherKey)}, want: []string{id, "(1 of 2): it has fewer than 32 characters", "openssl rand -base64 32"}, unsealable: true},
		"empty":             {keys: []Value{Literal("")}, want: []string{id, "fewer than 32 characters"}, unsealable: true},
	} {
		s := &Source{cfg: Config{EncryptionKeys: c.keys}}
		_, err := s.open(t.Context(), "k", data)
		if !errors.Is(err, errSealed) {
			t.Fatalf("%s: open gave %v", name, err)
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: %v does not say %s", name, err, want)
			}
		}
		_, err = s.seal(t.Context(), "k", []byte("{}"))
		if c.unsealable != (err != nil) || err != nil && (!errors.Is(err, errEncryptionKey) || !isRecordError(err) || strings.Contains(err.Error(), "canary")) {
			t.Errorf("%s: seal gave %v", name, err)
		}
	}
	if err := CheckEncryptionKey(NewSecret(strings.Repeat("ä", 32))); err != nil {
		t.Errorf("32 characters: %v", err)
	}
	if _, err := New(Config{Name: "a", Grant: Static{Token: Literal("t")}, EncryptionKeys: []Value{nil}}); err == nil || !strings.Contains(err.Error(), "encryption_key") {
		t.Errorf("a nil key gives %v", err)
	}
}

// Whatever JSON is given to seal, open returns it: what is stored need not be a record.
func TestSealOfAnyJSON(t *testing.T) {
	for _, s := range []*Source{sealing(nil), sealing([]string{sealKey})} {
		for _, plain := range []string{`{"a":"<b>&` + "\u2028" + `"}`, `{ "a" : [ 1 , 2 ] }`, `"x"`, `[]`, `{}`} {
			data, err := s.seal(t.Context(), "authinject/logins/x.json", []byte(plain))
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.open(t.Context(), "authinject/logins/x.json", data)
			var a, b any
			if err != nil || json.Unmarshal(got, &a) != nil || json.Unmarshal([]byte(plain), &b) != nil || !reflect.DeepEqual(a, b) {
				t.Errorf("sealed %s, opened %s, %v", plain, got, err)
			}
		}
		if _, err := s.seal(t.Context(), "k", []byte("canary")); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("what is no JSON gives %v", err)
		}
	}
}
