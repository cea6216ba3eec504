//go:build !linux

package doctor

// holderOf names the process that listens at a TCP port. This system does not say it without rights.
func holderOf(string) string { return "" }
