package tokensource

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/authinject/caddy-authinject/internal/virtual"
)

// A window ends glance after the token entered it, and only a token in a window has a timer.
func TestWindowEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w window
		var cur current
		clock := Clock{}.withDefaults()
		cur.replace(new(live))
		w.enter(&cur)
		virtual.Advance(glance / 2)
		w.enter(&cur)
		if cur.checked(clock) == nil {
			t.Error("the window has ended early")
		}
		virtual.Advance(glance/2 + 1)
		synctest.Wait()
		if cur.checked(clock) != nil || w.timed.Load() {
			t.Error("the window has not ended")
		}
		w.enter(&cur)
		cur.check.Store(int64(time.Hour)) // the token has left the window
		virtual.Advance(2 * glance)
		synctest.Wait()
		if cur.checked(clock) == nil || w.timed.Load() {
			t.Error("the timer of a window ended something else, or is set again")
		}
	})
}

// A token is handed out without a clock reading until its window ends, and only the token of the
// unnamed account, if it is due for a refresh much later.
func TestTokenInWindow(t *testing.T) {
	for name, c := range map[string]struct {
		due, lives time.Duration
		account    string
		stale      bool
		readings   int
	}{
		"due in an hour":    {due: time.Hour, lives: 2 * time.Hour},
		"a named account":   {due: time.Hour, lives: 2 * time.Hour, account: "alice", readings: 3},
		"due soon":          {due: windowAhead, lives: time.Hour, readings: 3},
		"due, and not dead": {lives: time.Hour, stale: true, readings: 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var readings int
				base, s := time.Now(), new(Source)
				s.cfg.Clock = Clock{Now: time.Now, Elapsed: func() time.Duration { readings++; return time.Since(base) }}
				a := s.newAccount(Account{name: c.account})
				l := &live{soft: s.cfg.Clock.in(c.due), hard: s.cfg.Clock.in(c.lives)}
				checked := func() bool { return a.cur.checked(s.cfg.Clock) != nil }
				a.cur.replace(new(live))
				a.arm(l, c.stale) // it is not in use any more
				if checked() {
					t.Error("another token is handed out until this one's next check")
				}
				a.cur.replace(l)
				a.arm(l, c.stale)
				readings = 0
				for range 3 {
					if !checked() {
						t.Error("a check is due at once")
					}
				}
				if readings != c.readings {
					t.Errorf("the clock was read %d times, want %d", readings, c.readings)
				}
				virtual.Advance(glance)
				synctest.Wait()
				if checked() {
					t.Errorf("no check is due after %v", glance)
				}
				a.arm(l, c.stale)
				a.cur.disarm()
				if checked() {
					t.Error("no check is due although the token was refused")
				}
				a.arm(l, c.stale)
				a.cur.replace(new(live))
				if checked() {
					t.Error("a new token has the time of the old one")
				}
				virtual.Advance(glance) // the timer ends
			})
		})
	}
}

// A token that comes into use while a call looks at the clock is not handed out by the moment of
// the one before.
func TestTokenReplacedDuringACall(t *testing.T) {
	var cur current
	first, second := new(live), new(live)
	cur.replace(first)
	cur.check.Store(int64(time.Hour))
	meanwhile := func() {}
	clock := Clock{Elapsed: func() time.Duration { meanwhile(); return 0 }}
	if cur.checked(clock) != &first.tok {
		t.Error("the token is not handed out")
	}
	meanwhile = func() { cur.replace(second) }
	if cur.checked(clock) != nil {
		t.Error("a token was handed out while it was replaced")
	}
}

// A call for a live token writes no memory that other callers read: it pins nothing.
func TestLiveTokenPinsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{Name: "s", Grant: Static{Token: Literal("at")}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close(context.Background()) }()
		for _, h := range []*Account{&s.unnamed.Account, s.Account("a")} {
			if _, err := h.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.accountsMu.Lock() // a pin would wait for it
			_, err := h.Token(t.Context())
			s.accountsMu.Unlock()
			if err != nil {
				t.Error(err)
			}
		}
	})
}

// A caller that looked at a token before an upstream refused it must not put it into a window after
// that.
func TestARefusedTokenIsNotArmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{Name: "a", Grant: Static{Token: Literal("at")}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close(t.Context())
		if _, err := s.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		a := s.unnamed
		l := a.cur.Load()
		a.cur.disarm()
		l.refused.Store(true)
		if a.arm(l, false); a.cur.checked(s.cfg.Clock) != nil {
			t.Error("a refused token needs no check")
		}
	})
}

// What a call for a live token reads of an account is one line of the CPU's cache: objects of 64
// bytes begin at multiples of 64.
func TestAccountSize(t *testing.T) {
	if size := unsafe.Sizeof(entry{}); size > 64 {
		t.Errorf("an entry has %d bytes, want at most 64", size)
	}
	if size := unsafe.Sizeof(account{}); size > 144 {
		t.Errorf("an account has %d bytes besides, want at most 144, which is a size of the allocator", size)
	}
}
