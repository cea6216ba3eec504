package tokensource_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// Names that were never connected cost no memory, however many are looked up. Unfinished logins
// cost none either.
func TestUnknownNamesKeepNothing(t *testing.T) {
	storage := &tokensource.MemoryStorage{}
	src := newSource(t, &endpoint{}, connecting(storage))
	for i := range 100_000 {
		_, err := src.Lookup(t.Context(), fmt.Sprint("nobody", i))
		if e := asError(t, err, tokensource.ClassLogin); i == 0 &&
			(e.Account != "nobody0" || !strings.Contains(e.Reason, "not connected yet")) {
			t.Fatalf("got %v", e)
		}
	}
	begin(t, src, tokensource.LoginRequest{Account: "nobody"})
	if n := tokensource.KeptAccounts(src); n != 0 {
		t.Errorf("%d accounts are kept in memory", n)
	}
	if left := keys(t, storage, "authinject/records/"); len(left) != 0 {
		t.Errorf("%d records are stored", len(left))
	}
}

// Names that differ only in case, width, spaces or look are different accounts, and each has its
// own token. A name that is not text is refused, because no page could show it.
func TestNamesAreNotConfused(t *testing.T) {
	names := []string{"alice", "Alice", "ALICE", " alice", "alice ", "ａｌｉｃｅ", "alic\u00e9", "alice\u0301", "alice/..",
		"..", ".", "a:b", "a\\b",
		`a"b`, "a|b", "con", "*", "%61lice", "alice.json", "\u202ealice", "\ufffd", strings.Repeat("x", 256)}
	storage := &tokensource.MemoryStorage{}
	ep := rotating(0)
	src := newSource(t, ep, connecting(storage))
	for i, name := range names {
		if err := tokensource.CheckAccountName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		connect(t, src, name)
		if n := len(keys(t, storage, "authinject/records/")); n != i+1 {
			t.Fatalf("%q shares a record", name)
		}
	}
	restarted := newSource(t, ep, connecting(storage))
	for i, name := range names {
		a, err := restarted.Lookup(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if tok, err := a.Token(t.Context()); err != nil || tok.AccessToken() != fmt.Sprint("at", i+1) || a.Name() != name {
			t.Errorf("%q has %v, %v", name, tok, err)
		}
	}
	listed, err := restarted.Accounts(t.Context())
	if slices.Sort(names); err != nil || !slices.Equal(listed, names) {
		t.Errorf("the listed accounts are %q (%v), want %q", listed, err, names)
	}
	for _, name := range []string{"a\xff", "a\x00", "a\n", "a\u0085", strings.Repeat("x", 257)} {
		if err := tokensource.CheckAccountName(name); err == nil {
			t.Errorf("%q is accepted as a name", name)
		}
		_, err := src.BeginLogin(t.Context(), tokensource.LoginRequest{Account: name})
		asError(t, err, tokensource.ClassOperator)
		_, err = src.Lookup(t.Context(), name)
		asError(t, err, tokensource.ClassLogin)
	}
	if tokensource.CheckAccountName("") == nil {
		t.Error("the empty name is accepted")
	}
}

// Accounts lists the accounts with a record, even if they were disconnected a while ago, and
// accounts that are only in memory yet. It ignores foreign files. It reports a damaged record, and
// still lists the others. A storage that cannot be listed is an error.
func TestAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := &tokensource.MemoryStorage{}
		storage := &shelf{Storage: memory}
		ep := rotating(0)
		src := newSource(t, ep, connecting(storage))
		if names, err := src.Accounts(t.Context()); err != nil || len(names) != 0 {
			t.Errorf("%v, %v", names, err)
		}
		connect(t, src, "")
		connect(t, src, "bob")
		connect(t, src, "alice")
		disconnect(t, src, "bob")
		l := begin(t, src, tokensource.LoginRequest{Account: "carol"})
		ep.set(func(n int, _ url.Values) reply { storage.fail("records/", nil, errDisk); return rotated(n, time.Hour) })
		if err := finish(t, src, l, "code=c"); err != nil {
			t.Fatal(err)
		}
		prefix := recordKey[:strings.LastIndex(recordKey, "/")+1]
		_ = memory.Store(t.Context(), prefix+"x.json", []byte("{"))
		alice := tokensource.RecordKey("orders", "alice", tokenURL, "orders-client")
		_ = memory.Store(t.Context(), prefix+"y.json", storedBytes(t, memory, alice))
		src.Account("asked for")
		connect(t, newSource(t, ep, connecting(memory), func(c *tokensource.Config) { c.ClientID = "other" }), "dave")
		names, err := src.Accounts(t.Context())
		if e := asError(t, err, tokensource.ClassOperator); !slices.Equal(names, []string{"alice", "bob", "carol"}) ||
			!strings.Contains(e.Reason, "1 of the source's stored records") {
			t.Errorf("%v, %v", names, err)
		}
		// A damaged record makes it the operator's, though a later record only cannot be read now.
		storage.fail("y.json", errDisk, nil)
		_, err = src.Accounts(t.Context())
		if e := asError(t, err, tokensource.ClassOperator); !strings.Contains(e.Reason, "2 of the source's stored records") {
			t.Error(err)
		}
		storage.fail("records/", nil, errDisk)
		_ = memory.Delete(t.Context(), prefix+"x.json")
		virtual.Advance(25 * time.Hour)
		if names, err := src.Accounts(t.Context()); err != nil || !slices.Equal(names, []string{"alice", "carol"}) {
			t.Errorf("a day later: %v, %v", names, err)
		}
		if names, err := newSource(t, ep, connecting(memory)).Accounts(t.Context()); err != nil ||
			!slices.Equal(names, []string{"alice"}) {
			t.Errorf("in another process: %v, %v", names, err)
		}
		_ = memory.Store(t.Context(), alice+".damaged", []byte("{"))
		if n, copies, err := tokensource.Leftovers(t.Context(), memory, src); err != nil || n != 1 || copies != 1 {
			t.Errorf("%d records belong to others, %d are copies, %v", n, copies, err)
		}
		storage.fail("records/", nil, nil)
		disconnect(t, src, "alice")
		if _, copies, err := tokensource.Leftovers(t.Context(), memory, src); err != nil || copies != 0 {
			t.Errorf("the account was disconnected, and %d copies are left, %v", copies, err)
		}
	})
}

// Lookup finds an account with its record, without a call for its token. A storage failure does not
// count as an unknown name.
func TestLookup(t *testing.T) {
	memory := &tokensource.MemoryStorage{}
	storage := &shelf{Storage: memory}
	ep := rotating(0)
	connect(t, newSource(t, ep, connecting(memory)), "alice")
	src := newSource(t, ep, connecting(storage))
	storage.fail("", errDisk, nil)
	_, err := src.Lookup(t.Context(), "alice")
	asError(t, err, tokensource.ClassWait)
	storage.fail("", nil, nil)
	a, err := src.Lookup(t.Context(), "alice")
	if err != nil || !a.Status().Live || a != src.Account("alice") {
		t.Fatalf("%v", err)
	}
	storage.fail("", errDisk, nil)
	if again, err := src.Lookup(t.Context(), "alice"); err != nil || again != a {
		t.Errorf("while its token is in memory: %v", err)
	}
	_, err = src.Lookup(t.Context(), "")
	asError(t, err, tokensource.ClassWait)
	wantCount(t, &ep.endpoint, 1)
}

// An account's variables send its requests to its own deployment and to no other. A value that
// would lead to another host is refused, and so is a missing or unknown variable. A given value is
// remembered for the next login.
func TestVariables(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := rotating(0)
		storage := &tokensource.MemoryStorage{}
		src := newSource(t, ep, connecting(storage), perDeployment)
		for _, hostile := range []string{"evil.com/", "evil.com#", "a.b", "A", "a@b", "a:1", "{deployment}", "a\n",
			strings.Repeat("x", 64), "%61"} {
			_, err := src.BeginLogin(t.Context(), tokensource.LoginRequest{Variables: map[string]string{"deployment": hostile}})
			if e := asError(t, err, tokensource.ClassOperator); !strings.Contains(e.Reason, "allowed are lower-case") {
				t.Errorf("got %v", e)
			}
		}
		_, err := src.BeginLogin(t.Context(), tokensource.LoginRequest{Account: "alice"})
		if e := asError(t, err, tokensource.ClassOperator); !strings.Contains(e.Reason, "variable deployment has no value") {
			t.Errorf("got %v", e)
		}
		_, err = src.BeginLogin(t.Context(),
			tokensource.LoginRequest{Variables: map[string]string{"deployment": "a", "host": "b"}})
		asError(t, err, tokensource.ClassOperator)
		for account, deployment := range map[string]string{"alice": "acme", "bob": "other"} {
			if err := connectAt(t, src, account, deployment); err != nil {
				t.Fatal(err)
			}
			if got := src.Account(account).Variables()["deployment"]; got != deployment {
				t.Errorf("%s is at %s", account, got)
			}
		}
		l := begin(t, src, tokensource.LoginRequest{Account: "alice", Variables: map[string]string{"deployment": ""}})
		if !strings.HasPrefix(linkOf(t, src, l), "https://acme.example.com/authorize?") {
			t.Errorf("sent to %s", linkOf(t, src, l))
		}
		virtual.Advance(2 * time.Hour)
		for account, deployment := range map[string]string{"alice": "acme", "bob": "other"} {
			before := ep.count()
			if _, err := src.Account(account).Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			disconnect(t, src, account)
			calls := append(ep.all()[before:], ep.revocation.all()[ep.revocation.count()-2:]...)
			for _, c := range calls {
				if !strings.HasPrefix(c.url, "https://"+deployment+".example.com/") {
					t.Errorf("%s's went to %s", account, c.url)
				}
			}
		}
	})
}

// If a stored variable would lead to another host, or is missing, nothing is sent.
func TestStoredVariableIsChecked(t *testing.T) {
	for _, variables := range []map[string]string{nil, {"deployment": "evil.example.org/"}, {"other": "x"}} {
		synctest.Test(t, func(t *testing.T) {
			ep := rotating(0)
			storage := &tokensource.MemoryStorage{}
			src := newSource(t, ep, connecting(storage), func(c *tokensource.Config) {
				c.TokenURL, c.Variables = tokenURL+"?d={deployment}", []provider.Variable{deployment}
			})
			rec := record(3, "at3", "rt3", -time.Second)
			rec.Source, rec.Variables, rec.Config = "orders", variables, plainSettings
			data, err := tokensource.EncodeRecord(rec)
			if err != nil {
				t.Fatal(err)
			}
			_ = storage.Store(t.Context(), tokensource.RecordKey("orders", "", tokenURL+"?d={deployment}", "orders-client"),
				data)
			wantError(t, src, tokensource.ClassOperator)
			wantCount(t, &ep.endpoint, 0)
		})
	}
}

// A name is text of 1 to 256 bytes without control characters, whatever its script.
func TestCheckAccountName(t *testing.T) {
	for name, allowed := range map[string]bool{
		"a": true, "user@example.com": true, "äcme": true, "名前": true, strings.Repeat("x", 256): true, " ": true,
		"": false, strings.Repeat("x", 257): false, "a\x00": false, "a\n": false, "a\x7f": false, "ä\n": false,
		"a\u0085": false, "\xff": false, "a\xc3": false,
	} {
		if err := tokensource.CheckAccountName(name); (err == nil) != allowed {
			t.Errorf("%q: %v", name, err)
		}
	}
}
