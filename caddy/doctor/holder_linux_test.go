package doctor

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// The process that listens at an address is found, also by an address that includes it, and not by
// another one with the same port.
func TestHoldersOf(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	self := fmt.Sprintf("(process %d)", os.Getpid())
	for address, want := range map[string]int{"127.0.0.1:" + port: 1, "localhost:" + port: 1, ":" + port: 1, "[::]:" + port: 1, "127.0.0.2:" + port: 0, "no address": 0} {
		if got := holdersOf(address); len(got) != want || want > 0 && !strings.HasSuffix(got[0], self) {
			t.Errorf("%s: %v", address, got)
		}
	}
}

func TestParseSocket(t *testing.T) {
	for text, want := range map[string]string{
		"00000000000000000000000000000000:0050": "[::]:80", "malformed": "",
	} {
		ip, port, ok := parseSocket(text)
		if got := netip.AddrPortFrom(ip, port).String(); ok != (want != "") || ok && got != want {
			t.Errorf("%s is %s, %v", text, got, ok)
		}
	}
}
