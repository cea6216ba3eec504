package virtual

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestAdvance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, due := time.Now(), false
		time.AfterFunc(time.Hour, func() { due = true })
		Advance(time.Hour)
		if passed := time.Since(began); passed != time.Hour || !due {
			t.Errorf("%v passed, and what was due has run: %v", passed, due)
		}
	})
}

func TestOutsideOfABubble(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it slept")
		}
	}()
	Sleep(0)
}
