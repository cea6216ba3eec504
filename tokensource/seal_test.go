package tokensource

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

// Two keys as users have them, and the text that must not be seen of them.
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

// A sealed record is read as it was written, with every key in the list, and reveals nothing. Two
// seals of one record have nothing in common.
func TestSealedRecordRoundTrip(t *testing.T) {
	for _, rec := range []*Record{fullRecord(), {}} {
		data := sealed(t, rec, "k", sealKey, otherKey)
		for _, keys := range [][]string{{sealKey}, {otherKey, sealKey}, {"short", sealKey}} {
			got, err := OpenRecord(data, "k", rec.Source, rec.Account, keys...)
			if err != nil || !reflect.DeepEqual(got, rec) {
				t.Errorf("read %#v, %v, wrote %#v", got, err, rec)
			}
		}
		for _, seen := range []string{"orders", "alice", `"rt"`, `"a b"`, `"acme"`, "invalid_grant", "access_token",
			"generation", "canary"} {
			if bytes.Contains(data, []byte(seen)) {
				t.Errorf("%s is visible in %s", seen, data)
			}
		}
	}
	nonces, bodies := make(map[string]bool), make(map[string]bool)
	for range 100 {
		var env struct{ Sealed []byte }
		if err := json.Unmarshal(sealed(t, fullRecord(), "k", sealKey), &env); err != nil {
			t.Fatal(err)
		}
		nonces[string(env.Sealed[:12])], bodies[string(env.Sealed[12:])] = true, true
	}
	if len(nonces) != 100 || len(bodies) != 100 {
		t.Errorf("100 writes have %d nonces and %d ciphertexts", len(nonces), len(bodies))
	}
}

// A sealed record that was cut short anywhere, or that has any changed bit, is refused.
func TestDamagedSealedRecord(t *testing.T) {
	data := sealed(t, fullRecord(), "k", sealKey)
	refused := func(what string, at int, changed []byte) {
		t.Helper()
		for _, keys := range [][]string{{sealKey}, {otherKey}, nil} {
			if rec, err := OpenRecord(changed, "k", "orders", "alice", keys...); rec != nil || !vault.Unusable(err) {
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
	// No sealed record is written in one of these forms.
	for i, text := range []string{
		string(data) + "\n", " " + string(data), strings.Replace(string(data), `"version"`, `"Version"`, 1),
		strings.Replace(string(data), `{`, `{"sum":"",`, 1),
		strings.Replace(string(data), `{`, `{"record":{"source":"orders"},`, 1),
		`{"version":1,"key":"0123456789abcdef"}`, `{"version":1,"key":"0123456789abcdef","sealed":""}`,
		`{"version":1,"sealed":"AAAA"}`,
		`{"version":1,"key":"","sealed":"AAAA"}`, `{"version":1,"key":"words of somebody","sealed":"AAAA"}`,
	} {
		refused("text", i, []byte(text))
	}
	if _, err := OpenRecord([]byte(`{"version":1,"key":"words of somebody","sealed":"AAAA"}`), "k", "orders",
		"alice"); !errors.Is(err, vault.ErrDamaged) {
		t.Errorf("an id that is none is quoted: %v", err)
	}
}
