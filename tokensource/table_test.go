package tokensource

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"unsafe"
)

// A table holds what a map would hold, whatever is added and removed, and in all sizes.
func TestTableIsAMap(t *testing.T) {
	got, want := newTable(), make(map[string]*entry)
	names := make([]string, 300)
	for i := range names {
		names[i] = fmt.Sprint("account", i)
	}
	for step := range 100_000 {
		name := names[rand.IntN(len(names))]
		grows := step/5000%2 == 0
		switch a := got.find(name); {
		case a != want[name]:
			t.Fatalf("step %d: found %p under %s, want %p", step, a, name, want[name])
		case a == nil && (grows || rand.IntN(50) == 0):
			added := blank(name)
			got.add(added)
			want[name] = added.entry
		case !grows || rand.IntN(50) == 0:
			got.remove(name)
			delete(want, name)
		}
		if got.find("") != nil {
			t.Fatal("found an account that has left")
		}
		if got.size != len(want) || step%97 == 0 && len(got.all()) != len(want) {
			t.Fatalf("step %d: %d accounts, want %d", step, got.size, len(want))
		}
	}
	for _, name := range names {
		got.remove(name)
	}
	if n := len(*got.slots.Load()); got.size != 0 || n != fewestSlots || got.find("") != nil {
		t.Errorf("the empty table has %d accounts in %d slots", got.size, n)
	}
}

// An account is found under its own name only, also if another name has the same tag.
func TestTagIsNotTheName(t *testing.T) {
	table := newTable()
	names := []string{"a", "b", "c"}
	for _, name := range names {
		table.add(blank(name))
	}
	for i := range 100 {
		absent := fmt.Sprint("absent", i)
		tag, _, _ := table.search(*table.slots.Load(), absent)
		for _, a := range table.all() {
			a.tag = tag
		}
		if e := table.find(absent); e != nil {
			t.Fatalf("found %s under %s", e.name, absent)
		}
	}
}

// blank returns an account that belongs to no source.
func blank(name string) *account { return (*Source)(nil).newAccount(Account{name: name}) }

// Callers find an account while others come and go.
func TestTableIsReadWithoutALock(t *testing.T) {
	table := newTable()
	stays := blank("stays")
	table.add(stays)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if a := table.find("stays"); a != stays.entry {
					t.Errorf("found %v", a)
					return
				}
				if a := table.find("comes7"); a != nil && a.name != "comes7" {
					t.Errorf("found %s in place of comes7", a.name)
					return
				}
			}
		})
	}
	for range 200 {
		for i := range 50 {
			table.add(blank(fmt.Sprint("comes", i)))
		}
		for i := range 50 {
			table.remove(fmt.Sprint("comes", i))
		}
	}
	close(done)
	readers.Wait()
}

// All records of a source share the memory of the digest of its settings.
func TestRecordsShareTheDigestOfTheSettings(t *testing.T) {
	src, err := New(Config{Name: "s", TokenURL: "https://login.example/token", Grant: RefreshToken{Initial: Literal("rt")},
		ClientID: "c", Storage: new(MemoryStorage)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = src.Close(t.Context()) }()
	read := func(name, config string) *byte {
		t.Helper()
		a := src.pin(&Account{src: src, name: name})
		defer a.unpin()
		rec := &Record{Source: "s", Account: name, RefreshToken: NewSecret("rt"), Config: config}
		if err := a.save(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		found, err := a.load(t.Context())
		if err != nil || found == nil || found.Config != config {
			t.Fatalf("got %+v, %v, want the digest %s", found, err, config)
		}
		return unsafe.StringData(found.Config)
	}
	if first := read("ada", "digest"); read("grace", "digest") != first {
		t.Error("each record has a copy of its own")
	}
	read("ada", "another digest")
}
