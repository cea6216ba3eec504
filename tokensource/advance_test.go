package tokensource_test

import "time"

// advance moves the clock of the synctest bubble in which it is called. No real time passes, and
// everything that was due by then has begun. Outside of a bubble it would slow the tests down, and
// hide what they wait for, so it panics there.
func advance(d time.Duration) {
	if time.Now().Year() > 2020 { // the clock of a bubble begins in 2000
		panic("advance moves the clock of a synctest bubble, and this is none")
	}
	time.Sleep(d)
}
