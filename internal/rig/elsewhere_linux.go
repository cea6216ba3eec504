package rig

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// RunElsewhere is [ListenElsewhere] with a process whose arguments are those of the command run of
// Caddy.
func RunElsewhere(t testing.TB, arguments ...string) (address string, process int) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "run"), []byte("read _\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address, process = ListenElsewhere(t, net.ListenConfig{}, "env", append([]string{"-C", dir, "sh", "run"}, arguments...)...)
	Eventually(t, func() bool {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", process))
		return err == nil && strings.HasPrefix(string(line), "sh\x00run\x00")
	}, "the shell to run")
	return address, process
}

// ListenElsewhere makes a TCP listener on loopback and leaves it to another process, which runs the
// program with the arguments until the test ends. The program must end when its input does. It
// returns the address of the listener and the number of the process.
func ListenElsewhere(t testing.TB, config net.ListenConfig, program string, arguments ...string) (
	address string, process int,
) {
	t.Helper()
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() // the child keeps the socket
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	child := exec.CommandContext(t.Context(), program, arguments...)
	child.ExtraFiles = []*os.File{socket}
	input, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = input.Close() // ends the child
		_ = child.Wait()
	})
	return listener.Addr().String(), child.Process.Pid
}
