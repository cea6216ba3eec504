package tokensource

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A window ends glance after the first caller that entered it, and only a window that a caller
// entered has a timer.
func TestWindowEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w window
		first := w.enter()
		time.Sleep(glance / 2)
		if w.enter() != first {
			t.Error("the window has ended early")
		}
		time.Sleep(glance/2 + 1)
		synctest.Wait()
		second := w.enter()
		if second == first {
			t.Error("the window has not ended")
		}
		time.Sleep(time.Hour)
		if n := w.number.Load(); n != second+1 {
			t.Errorf("%d windows have ended in an hour without callers, want 1", n-second)
		}
	})
}

// A token is handed out without a clock reading until its window ends, and only if it is due for a
// refresh much later.
func TestTokenInWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var readings int
		base := time.Now()
		s := &Source{window: new(window)}
		s.cfg.Clock = Clock{Now: time.Now, Elapsed: func() time.Duration { readings++; return time.Since(base) }}
		for name, c := range map[string]struct {
			due, lives time.Duration
			stale      bool
			readings   int
		}{
			"due in an hour":    {due: time.Hour, lives: 2 * time.Hour},
			"due soon":          {due: 2 * glance, lives: time.Hour, readings: 3},
			"due, and not dead": {lives: time.Hour, stale: true, readings: 3},
		} {
			l := &live{soft: s.cfg.Clock.in(c.due), hard: s.cfg.Clock.in(c.lives)}
			l.rearm(s, c.stale)
			readings = 0
			for range 3 {
				if !l.checked(s) {
					t.Errorf("%s: a check is due at once", name)
				}
			}
			if readings != c.readings {
				t.Errorf("%s: the clock was read %d times, want %d", name, readings, c.readings)
			}
			time.Sleep(glance)
			synctest.Wait()
			if l.checked(s) {
				t.Errorf("%s: no check is due after %v", name, glance)
			}
			l.rearm(s, c.stale)
			l.disarm()
			if l.checked(s) {
				t.Errorf("%s: no check is due although the token was refused", name)
			}
		}
	})
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
