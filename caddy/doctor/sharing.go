package doctor

import (
	"os"
	"strconv"
)

// Others returns the processes other than this one that listen at a TCP address, in words such as
// "caddy (process 42)". Several processes can share an address (SO_REUSEPORT). Others returns none
// on systems other than Linux, and none of processes that belong to other users unless this process
// may see them.
func Others(address string) (names []string) {
	for _, h := range holdersOf(address) {
		if h.process != strconv.Itoa(os.Getpid()) {
			names = append(names, h.String())
		}
	}
	return names
}
