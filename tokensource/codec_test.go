package tokensource

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

func fullRecord() *Record {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	return &Record{
		Source: "orders", Account: "alice", Generation: 7, Decided: at, AccessToken: NewSecret("at<&>\u2028"),
		RefreshToken: NewSecret("rt"),
		Obtained:     at, Expiry: at.Add(time.Hour), Scope: "a b", Variables: map[string]string{"deployment": "acme"},
		Seed: "seed", Config: "config", DPoPKey: NewSecret("key"), Intent: &Intent{Generation: 7, Owner: "me", Since: at},
		Failure:      &Failure{Class: ClassLogin, Code: "invalid_grant", Reason: "refused", At: at, Refused: "digest"},
		Disconnected: true,
	}
}

// A record is read back as it was written, with every member.
func TestRecordRoundTrip(t *testing.T) {
	rec := fullRecord()
	for i := range reflect.TypeFor[Record]().NumField() {
		if reflect.ValueOf(*rec).Field(i).IsZero() {
			t.Fatalf("the test leaves %s out", reflect.TypeFor[Record]().Field(i).Name)
		}
	}
	for _, r := range []*Record{rec, {}} {
		data, err := EncodeRecord(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeRecord(data, r.Source, r.Account)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, r) {
			t.Errorf("read %#v, wrote %#v", got, r)
		}
	}
}

// A record that was cut short anywhere, or that has any changed octet, counts as damaged.
func TestDamagedRecord(t *testing.T) {
	data, err := EncodeRecord(fullRecord())
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		if _, err := DecodeRecord(data[:i], "orders", "alice"); !errors.Is(err, vault.ErrDamaged) {
			t.Errorf("cut at %d: %v", i, err)
		}
		changed := append([]byte(nil), data...)
		changed[i] ^= 1
		rec, err := DecodeRecord(changed, "orders", "alice")
		if err == nil && !reflect.DeepEqual(rec, fullRecord()) {
			t.Errorf("changed at %d: read as %#v", i, rec)
		}
	}
}

// A record of another account counts as damaged. A record of a newer release is reported as such.
func TestForeignRecord(t *testing.T) {
	data, err := EncodeRecord(fullRecord())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range [][2]string{{"orders", "bob"}, {"other", "alice"}, {"orders", ""}, {"orders", "Alice"}} {
		if _, err := DecodeRecord(data, name[0], name[1]); !errors.Is(err, vault.ErrDamaged) {
			t.Errorf("the record was read for %v: %v", name, err)
		}
	}
	if _, err := DecodeRecord([]byte(`{"version":2,"record":"?"}`), "orders", "alice"); !errors.Is(err, vault.ErrNewer) {
		t.Errorf("version 2: %v", err)
	}
}

// No two accounts share a key, whatever their names are, and no key contains the name.
func TestRecordKey(t *testing.T) {
	seen := make(map[string][]string)
	for _, id := range [][]string{
		{"s", "", "u", "c"}, {"s", "a", "u", "c"}, {"s", "A", "u", "c"}, {"sa", "", "u", "c"}, {"s", "a\x00u", "", "c"},
		{"s", `a","u`, "", "c"}, {"s", "../a", "u", "c"}, {"s", "a", "u2", "c"}, {"s", "a", "u", "c2"}, {"s", "ä", "u", "c"},
		{"s", "a\u0308", "u", "c"},
		{"s", "\xff", "u", "c"}, {"s", "\xfe", "u", "c"}, {"s", "\ufffd", "u", "c"},
	} {
		key := RecordKey(id[0], id[1], id[2], id[3])
		if other, twice := seen[key]; twice {
			t.Errorf("%q and %q share %s", id, other, key)
		}
		seen[key] = id
		if len(key) != len("authinject/records//.json")+32+64 {
			t.Errorf("%q has key %s", id, key)
		}
	}
}
