//go:build !race

package harness

// raceEnabled reports whether the tests run with the race detector. If they do, the binary should
// too.
const raceEnabled = false
