package tokensource

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

// Whatever a token endpoint sends, reading it does not panic. An accepted token has only visible
// ASCII characters, and a lifetime in the future unless it never ends.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"at","token_type":"Bearer","expires_in":3600,"refresh_token":"rt","scope":"a b"}`,
		`{"access_token":"at","expires_in":"3600.5","created_at":"2000-01-01T00:00:00"}`,
		`{"access_token":"e.eyJleHAiOjE5MDAwMDAwMDB9.s"}`, `{"access_token":"at","expires_at":1e300}`,
		`access_token=a%2Bt&expires=60`, `{"error":"invalid_grant"}`, `{"access_token":"a","access_token":"b"}`,
		"\xef\xbb\xbf{}", `{"access_token":"at\r\nX: y"}`, `{"a":[[[[{}]]]]`,
		`{"access_token":"00D!a|b^c","token_type":"bot","expires_in":0,"scope":["a","b"]}`, `<html>`, `null`, `{`, ``,
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, body []byte, zeroIsNever bool) {
		members, err := parseMembers(body)
		if err != nil {
			return
		}
		_ = (&tokenCall{}).errorCode(members)
		_ = hasError(members)
		rules := responseRules{zeroIsNever: zeroIsNever}
		ans, err := parseTokenResponse(members, now, rules)
		if err != nil || ans.check(rules) != "" {
			return
		}
		for _, c := range []byte(ans.AccessToken.Reveal()) {
			if c < 0x21 || c > 0x7e {
				t.Fatalf("accepted %q", ans.AccessToken.Reveal())
			}
		}
		if ans.HasLifetime && (ans.Lifetime <= 0 || ans.Lifetime > maxLifetime) {
			t.Fatalf("accepted a lifetime of %s", ans.Lifetime)
		}
	})
}

// Whatever the storage contains, reading it does not panic. A record that can be read can be
// written, and reads back as the same.
func FuzzRecord(f *testing.F) {
	for _, rec := range []*Record{{}, {Source: "s", Account: "a"},
		{Source: "s", Account: "a", Generation: 1, AccessToken: NewSecret("at")}} {
		data, err := EncodeRecord(rec)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, false)
		if data, err = SealRecord(rec, "k", sealKey); err != nil {
			f.Fatal(err)
		}
		f.Add(data, false)
		f.Add(bytes.Replace(data, []byte(`"key":"`), []byte(`"key":"0`), 1), false)
		f.Add(data[:len(data)-6], false)
		f.Add(append(data[:len(data)-6:len(data)-6], `"}`...), false)
		f.Add(bytes.Replace(data, []byte(`{`), []byte(`{"record":{},`), 1), false)
	}
	f.Add([]byte(`{"version":1,"key":"0123456789abcdef","sealed":"AAAA"}`), false)
	f.Add([]byte(`{"version":1,"sealed":null,"key":null}`), false)
	f.Add([]byte(`{"source":"s","account":"a","expiry":"2026-01-01T00:00:00.000000001+01:00","variables":{"a":"b"}}`),
		true)
	f.Add([]byte(`{"source":"s","account":"a","failure":{"class":"login"},"spending":{"since":"0001-01-01T00:00:00Z"}}`),
		true)
	f.Fuzz(func(t *testing.T, data []byte, sign bool) {
		if sign { // with a valid checksum, so that the record itself is parsed
			data = bytes.Join([][]byte{[]byte(`{"version":1,"sum":"`), []byte(digest(data)), []byte(`","record":`), data,
				[]byte(`}`)}, nil)
		}
		rec, err := OpenRecord(data, "k", "s", "a", sealKey)
		if err != nil {
			if !vault.Unusable(err) {
				t.Fatalf("an error that would not prevent overwriting the record: %v", err)
			}
			return
		}
		sealed, err := SealRecord(rec, "k", sealKey)
		if err != nil {
			t.Fatalf("a record that was read cannot be sealed: %v", err)
		}
		if got, err := OpenRecord(sealed, "k", "s", "a", otherKey, sealKey); err != nil || got.Generation != rec.Generation {
			t.Fatalf("a record that was sealed cannot be read: %v", err)
		}
		again, err := EncodeRecord(rec)
		if err != nil {
			t.Fatalf("a record that was read cannot be written: %v", err)
		}
		got, err := DecodeRecord(again, "s", "a")
		if err != nil {
			t.Fatalf("a record that was written cannot be read: %v", err)
		}
		third, err := EncodeRecord(got)
		if err != nil || !bytes.Equal(again, third) || !reflect.DeepEqual(rec.Intent == nil, got.Intent == nil) ||
			got.Generation != rec.Generation {
			t.Fatalf("wrote %s, then %s (%v)", again, third, err)
		}
	})
}
