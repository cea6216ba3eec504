//go:build race

package harness

// raceEnabled says that the tests run with the race detector, and so should
// the binary.
const raceEnabled = true
