package rig

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// Ports are taken below the range from which systems pick the local ports of
// outgoing connections and of listeners on port 0, so that nothing grabs one
// between its choice and its use.
const (
	firstPort = 12000
	lastPort  = 31999
)

var (
	addrMu sync.Mutex
	addrs  = map[int]bool{} // ports handed out by this process
)

// FreeAddr returns a loopback address, "127.0.0.1:port", where nothing listens
// and which this process has not handed out before.
func FreeAddr(t testing.TB) string {
	t.Helper()
	addrMu.Lock()
	defer addrMu.Unlock()
	for range 200 {
		port := firstPort + rand.IntN(lastPort-firstPort+1) //nolint:gosec // a port is no secret
		if addrs[port] {
			continue
		}
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
		if err != nil {
			continue
		}
		_ = l.Close()
		addrs[port] = true
		return addr
	}
	t.Fatal("no free port found")
	return ""
}
