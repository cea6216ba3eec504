package tokensource_test

import "time"

// advance moves the clock of the synctest bubble that it is called in: no real time passes, and what was due
// until then has begun. Outside of one it would only slow the tests down, and hide what they wait for.
func advance(d time.Duration) {
	if time.Now().Year() > 2020 { // the clock of a bubble begins in 2000
		panic("advance moves the clock of a synctest bubble, and this is none")
	}
	time.Sleep(d)
}
