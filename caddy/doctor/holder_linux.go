package doctor

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// holdersOf returns the processes that listen at a TCP address. Several processes can share an
// address (SO_REUSEPORT). Each of them then gets some of the connections. A socket that several
// processes inherited is counted for this process, or for the first of them. The list is empty if
// the processes cannot be found, for example because they belong to other users.
func holdersOf(address string) []holder {
	wanted, port, ok := parseListen(address)
	if !ok {
		return nil
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
			if len(fields) <= 9 || fields[3] != listening {
				continue
			}
			at, atPort, ok := parseSocket(fields[1])
			if ok && atPort == port && (at == wanted || at.IsUnspecified() || wanted.IsUnspecified()) {
				sockets["socket:["+fields[9]+"]"] = true
			}
		}
	}
	// Most addresses have one holder, often this process. Its files are read first. The files of
	// other processes, which take much longer to read, are then not needed.
	holders := holdersIn("/proc/"+strconv.Itoa(os.Getpid())+"/fd/*", sockets)
	if len(sockets) > 0 {
		holders = append(holders, holdersIn("/proc/[0-9]*/fd/*", sockets)...)
	}
	return holders
}

// holdersIn returns the processes that have one of the sockets among the files that match pattern.
// It removes what it found from sockets.
func holdersIn(pattern string, sockets map[string]bool) (holders []holder) {
	files, _ := filepath.Glob(pattern) // the pattern has no error
	for _, file := range files {
		link, err := os.Readlink(file)
		if err != nil || !sockets[link] {
			continue
		}
		process := filepath.Dir(filepath.Dir(file))
		name, err := os.ReadFile(filepath.Join(process, "comm"))
		if err != nil {
			continue
		}
		delete(sockets, link)
		found := holder{name: printable(strings.TrimSpace(string(name))), process: filepath.Base(process),
			config: configOf(process)}
		if !slices.Contains(holders, found) {
			holders = append(holders, found)
		}
	}
	return holders
}

// configOf returns the path in the flag --config of a process that runs Caddy's command run, under
// any name. Otherwise it returns an empty string: another program's -c can hold a secret.
func configOf(process string) string {
	line, err := os.ReadFile(filepath.Join(process, "cmdline"))
	if err != nil {
		return ""
	}
	path, args := "", strings.Split(string(line), "\x00")
	if len(args) < 2 || args[1] != "run" {
		return ""
	}
	for i, arg := range args {
		name, value, given := strings.Cut(arg, "=")
		if name != "--config" && name != "-c" {
			continue
		}
		if !given && i+1 < len(args) {
			value = args[i+1]
		}
		path = value
	}
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	directory, err := os.Readlink(filepath.Join(process, "cwd"))
	if err != nil {
		return ""
	}
	return filepath.Join(directory, path)
}

// UserOf returns the effective uid of a process.
func UserOf(process string) (uid int, ok bool) {
	// The owner of the directory /proc/<process> is root if the program has capabilities.
	status, err := os.ReadFile(filepath.Join("/proc", process, "status"))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(status)) {
		// Uid: real, effective, saved and file system uid
		if fields := strings.Fields(line); len(fields) > 2 && fields[0] == "Uid:" {
			uid, err := strconv.Atoi(fields[2])
			return uid, err == nil
		}
	}
	return 0, false
}

// parseListen parses an address to listen at. localhost means 127.0.0.1. No host, or any other
// name, means all addresses.
func parseListen(address string) (netip.Addr, uint16, bool) {
	at := strings.LastIndexByte(address, ':')
	port, err := strconv.ParseUint(address[at+1:], 10, 16)
	if at < 0 || err != nil {
		return netip.Addr{}, 0, false
	}
	host := strings.Trim(address[:at], "[]")
	if host == "localhost" {
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		ip = netip.IPv6Unspecified()
	}
	return ip.Unmap(), uint16(port), true
}

// parseSocket parses an address in /proc/net/tcp: words of four bytes in the order of this machine,
// and a port.
func parseSocket(text string) (netip.Addr, uint16, bool) {
	address, portText, _ := strings.Cut(text, ":")
	port, err := strconv.ParseUint(portText, 16, 16)
	raw, malformed := hex.DecodeString(address)
	if err != nil || malformed != nil || len(raw)%4 != 0 {
		return netip.Addr{}, 0, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.BigEndian.PutUint32(raw[i:], binary.NativeEndian.Uint32(raw[i:]))
	}
	ip, ok := netip.AddrFromSlice(raw)
	return ip.Unmap(), uint16(port), ok
}
