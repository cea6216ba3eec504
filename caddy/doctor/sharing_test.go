package doctor

import (
	"net"
	"testing"
)

// This process is not among the others at its own address.
func TestOthersAreNotThisProcess(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if got := Others(listener.Addr().String()); got != nil {
		t.Errorf("got %q", got)
	}
}
