package doctor

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// TakenRemedy says what to do if another process listens at an address of the configuration.
const TakenRemedy = "stop that process, or choose another port"

// Others returns the processes other than this one that listen at a TCP address, in words such as
// "caddy (process 42)". Several processes can share an address (SO_REUSEPORT). Others works only on
// Linux. It leaves out processes of other users that this process may not see.
func Others(address string) (names []string) {
	for _, h := range holdersOf(address) {
		if h.process != strconv.Itoa(os.Getpid()) {
			names = append(names, h.String())
		}
	}
	return names
}

// Taken says which processes listen at an address of the configuration, and what to do. The text is
// empty if no process does, or only the server of this configuration. server is the process of that
// server, or empty if it does not listen there or is not known.
func (s *Server) Taken(l Listener) (text, server string) {
	return s.takenBy(holdersOf(l.Address), l)
}

// Shares reports whether several processes listen at an address.
func (s *Server) Shares(l Listener) bool { return len(holdersOf(l.Address)) > 1 }

func (s *Server) takenBy(holders []holder, l Listener) (text, server string) {
	if len(holders) == 0 {
		return "", ""
	}
	at := l.Address
	if l.Admin() {
		at += ", the address of " + l.Use + ","
	}
	ours, how := s.which(holders, l)
	switch {
	case len(holders) > 1:
		return fmt.Sprintf("%s is shared by %d processes: %s. Each gets a part of the requests: %s", at,
			len(holders), listOf(holders, ", "), s.shared(holders, l)), ours.process
	case how != "":
		return "", ours.process
	case holders[0].mayServe(s.Config):
		return fmt.Sprintf("%s is taken by %s, which may be the server of this configuration: "+
			"if it is not, stop it, or choose another port", at, holders[0]), ""
	}
	return fmt.Sprintf("%s is taken by %s: %s", at, holders[0], TakenRemedy), ""
}

// mayServe reports whether a process may be the server of a configuration: if it runs that
// configuration, or if it is a Caddy process whose configuration is not known.
func (h holder) mayServe(config string) bool {
	return sameFile(h.config, config) || h.config == "" && (h.name == "caddy" || h.name == program())
}

// program returns the name of this program, as the system shortens it.
func program() string {
	const most = 15
	name := filepath.Base(cmp.Or(os.Args[0], "caddy"))
	return name[:min(len(name), most)]
}
