//go:build !linux

package doctor

// holdersOf returns the processes that listen at a TCP address. Here it returns none: systems other
// than Linux tell this only to privileged processes.
func holdersOf(string) []holder { return nil }

// UserOf returns the effective uid of a process. Here it is not known.
func UserOf(string) (uid int, ok bool) { return 0, false }
