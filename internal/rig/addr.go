package rig

import (
	"context"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// Ports are taken from below the range from which systems choose the local ports of outgoing
// connections and of listeners on port 0. So no other program gets a port between its choice and
// its use.
//
// Test binaries run at the same time. Each takes ports from blocks that it alone holds. To hold a
// block, it listens on the guard port of the block, which the system frees when the binary ends.
const (
	firstPort  = 12000
	blockSize  = 50
	blocks     = 400
	firstGuard = firstPort + blocks*blockSize // up to 32399
)

var (
	portsMu sync.Mutex
	ports   []int          // of this binary's block, not yet handed out
	guards  []net.Listener // of this binary's blocks, open until it ends
)

// FreeAddr returns a loopback address, "127.0.0.1:port", at which nothing listens. No running test
// has got it before.
func FreeAddr(t testing.TB) string {
	t.Helper()
	l := Listen(t)
	defer l.Close()
	return l.Addr().String()
}

// Listen returns a listener at such an address as [FreeAddr] returns. A test that listens itself
// needs Listen. FreeAddr itself listens for a moment, and a process that another test starts at
// that moment has a copy of the listener. Then the address may still be in use.
func Listen(t testing.TB) net.Listener {
	t.Helper()
	portsMu.Lock()
	defer portsMu.Unlock()
	for {
		if len(ports) == 0 && !holdBlock() {
			t.Fatal("no free port found")
		}
		addr := loopback(ports[0])
		ports = ports[1:]
		if l, err := listen(addr); err == nil {
			return l
		}
	}
}

// holdBlock takes a block that no test binary holds. It begins its search at random, so that a
// client that outlived its test does not find the next test's server.
func holdBlock() bool {
	for _, block := range rand.Perm(blocks) { //nolint:gosec // a port is no secret
		guard, err := listen(loopback(firstGuard + block))
		if err != nil {
			continue
		}
		guards = append(guards, guard)
		for i := range blockSize {
			ports = append(ports, firstPort+block*blockSize+i)
		}
		return true
	}
	return false
}

func loopback(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

func listen(addr string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
}
