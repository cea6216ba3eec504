package tokensource

import (
	"sync/atomic"
	"time"
)

// window counts spans of time of at most [glance]. Reading the clock takes longer than everything
// else that a call for a live token does. So a token that was checked is handed out without a clock
// reading until the window in which it was checked ends; see [live.rearm].
//
// One timer for each source ends the window. It is set when a token is checked, so an unused source
// has no timer.
type window struct {
	number atomic.Int64
	timed  atomic.Bool // the timer is set
}

// enter returns the number of the window, which ends after glance at the latest.
func (w *window) enter() int64 {
	number := w.number.Load() // before the timer: if that ends the window meanwhile, the caller is in none
	if !w.timed.Swap(true) {
		time.AfterFunc(glance, w.end)
	}
	return number
}

func (w *window) end() {
	w.timed.Store(false) // first, so that the timer is set again for the window that begins
	w.number.Add(1)
}
