package doctor

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// holderOf names the process that listens at a TCP port, such as "nginx (process 42)". It is empty if
// that cannot be found out, as for processes of other users.
func holderOf(address string) string {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return ""
	}
	sockets := make(map[string]bool)
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		content, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(content)) {
			fields := strings.Fields(line)
			const listening = "0A"
			if len(fields) > 9 && fields[3] == listening && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
				sockets["socket:["+fields[9]+"]"] = true
			}
		}
	}
	files, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil || len(sockets) == 0 {
		return ""
	}
	for _, file := range files {
		if link, err := os.Readlink(file); err != nil || !sockets[link] {
			continue
		}
		process := filepath.Dir(filepath.Dir(file))
		if name, err := os.ReadFile(filepath.Join(process, "comm")); err == nil {
			return fmt.Sprintf("%s (process %s)", printable(strings.TrimSpace(string(name))), filepath.Base(process))
		}
	}
	return ""
}
