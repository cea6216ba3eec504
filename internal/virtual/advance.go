// Package virtual moves the clock of tests that run in a [testing/synctest] bubble. It imports
// nothing of this project, so that every test can import it.
package virtual

import (
	"testing/synctest"
	"time"
)

// Advance moves the clock of the synctest bubble in which it is called, without real time. It
// returns when everything that was due by then has ended or waits for something else, so that a
// test may read what other goroutines wrote. Only one goroutine of a bubble may call it at a time.
// Outside of a bubble it panics.
func Advance(d time.Duration) {
	Sleep(d)
	synctest.Wait()
}

// Sleep stops the calling goroutine until the clock of its synctest bubble has moved by d. A fake
// that takes its time calls it, and so does one of several callers. Outside of a bubble it panics:
// it would slow the tests down, and hide what they wait for.
func Sleep(d time.Duration) {
	if time.Now().Year() > 2020 { // the clock of a bubble begins in 2000
		panic("this moves the clock of a synctest bubble, but it was called outside of one")
	}
	time.Sleep(d)
}
