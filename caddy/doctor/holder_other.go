//go:build !linux

package doctor

// holdersOf names the processes that listen at a TCP address. This system does not say it without
// rights.
func holdersOf(string) []string { return nil }
