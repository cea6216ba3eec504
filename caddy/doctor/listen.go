package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
)

// Listener is an address that the configuration would open.
type Listener struct {
	// Network and Address are as for [net.Listen].
	Network, Address string
	// Use is what the address is for, such as "server srv0".
	Use string
	// Option is the global option that has the address, such as "admin localhost:2020". It is empty
	// for the default address, and for a site.
	Option string
}

// AdminUse is the use of the address of the admin API.
const AdminUse = "the admin API"

// Admin reports whether the address is that of the admin API.
func (l *Listener) Admin() bool { return l.Use == AdminUse }

// holder is a process that listens at an address.
type holder struct {
	name, process string
	config        string // the path in its flag --config; empty: not known
}

// String returns a text such as "nginx (process 42)".
func (h holder) String() string {
	if h.config == "" {
		return fmt.Sprintf("%s (process %s)", h.name, h.process)
	}
	return fmt.Sprintf("%s (process %s, --config %s)", h.name, h.process, printable(h.config))
}

// Server is what is known of the running server that would load the configuration.
type Server struct {
	// Config is the path of the configuration.
	Config string
	// Admin is the address of the admin API.
	Admin string
	// Listens reports whether a running Caddy server listens at an address. The second result is
	// false if it could not find out.
	Listens func(Listener) (listens, known bool)
	// Foreign reports whether the running server, as far as it can be asked, has none of the
	// configuration's sources. Then it may be another server than the one that would load it.
	Foreign func() bool
}

// Process returns the process of the running server, if one of the addresses shows it. Otherwise it
// returns an empty text.
func (s *Server) Process(listeners []Listener) string {
	for _, l := range listeners {
		if server, how := s.which(holdersOf(l.Address), l); how != "" {
			return server.process
		}
	}
	return ""
}

// byConfig is how the server of a configuration is known by its flag.
const byConfig = "its --config is this configuration"

// which returns the process among the holders that is the server of this configuration, and how
// that is known. If it is not known, how is empty.
func (s *Server) which(holders []holder, l Listener) (server holder, how string) {
	if server, ok := only(holders, func(h holder) bool { return sameFile(h.config, s.Config) }); ok {
		return server, byConfig
	}
	if listens, known := s.Listens(l); !listens || !known {
		return holder{}, ""
	}
	apis := holdersOf(s.Admin)
	server, ok := only(holders, func(h holder) bool { return len(apis) == 1 && h.process == apis[0].process })
	if !ok {
		return holder{}, ""
	}
	return server, "the admin API at " + s.Admin + " is its own, and says that it serves this address"
}

// only returns the holder for which a function is true, if it is the only one.
func only(holders []holder, is func(holder) bool) (found holder, ok bool) {
	n := 0
	for _, h := range holders {
		if is(h) {
			found, n = h, n+1
		}
	}
	return found, n == 1
}

func sameFile(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

// shared says what to do about several processes at an address.
func (s *Server) shared(holders []holder, l Listener) string {
	server, how := s.which(holders, l)
	if how == "" {
		return "find out which of them is the server of this configuration, and stop the others; or choose another port"
	}
	others := slices.DeleteFunc(slices.Clone(holders), func(h holder) bool { return h.process == server.process })
	return fmt.Sprintf("stop %s, or choose another port; process %s is the server of this configuration: %s",
		listOf(others, " and "), server.process, how)
}

// listOf names processes.
func listOf(holders []holder, separator string) string {
	names := make([]string, len(holders))
	for i, h := range holders {
		names[i] = h.String()
	}
	return strings.Join(names, separator)
}

// Listeners checks that the addresses of a configuration can be opened. An address that the
// running server listens at is fine: that server is the one that would load this configuration.
func Listeners(ctx context.Context, listeners []Listener, server Server, report *Report) {
	add := func(status Status, text, remedy string) {
		report.Add(Step{Name: "listeners", Status: status, Text: text, Remedy: remedy})
	}
	for _, l := range listeners {
		at := l.Address
		if host, port, err := net.SplitHostPort(at); err == nil && host == "" {
			at = "port " + port + " of all addresses"
		}
		opened, err := new(net.ListenConfig).Listen(ctx, l.Network, l.Address)
		switch {
		case err == nil:
			_ = opened.Close() // only the opening was to be tested
			add(OK, fmt.Sprintf("%s is free, for %s", at, l.Use), "")
		case errors.Is(err, syscall.EADDRINUSE):
			holders := holdersOf(l.Address)
			if len(holders) > 1 {
				add(Fail, fmt.Sprintf("%s, for %s, is shared by %d processes: %s; each gets a part of the requests", at, l.Use,
					len(holders), listOf(holders, ", ")), server.shared(holders, l))
				continue
			}
			taker := "another process"
			if len(holders) > 0 {
				taker = holders[0].String()
			}
			text := fmt.Sprintf("%s, for %s, is taken by %s", at, l.Use, taker)
			_, how := server.which(holders, l)
			listens, known := server.Listens(l)
			switch {
			case (how != "" || listens) && how != byConfig && server.Foreign():
				add(Warn, text+", a Caddy server that has none of the sources of this configuration",
					"choose another port, unless you mean to load this configuration into that server with caddy reload")
				continue
			case how != "":
				add(OK, fmt.Sprintf("%s is in use by the server of this configuration, for %s", at, l.Use), "")
				continue
			case listens:
				add(OK, fmt.Sprintf("%s is in use by the running Caddy server, for %s", at, l.Use), "")
				continue
			}
			if !known {
				add(Warn, text+", which may be the running server of this configuration",
					"if it is not, stop it, or choose another port")
				continue
			}
			add(Fail, text, "stop that process, or choose another port")
			name, port, _ := net.SplitHostPort(l.Address)
			if !l.Admin() {
				report.Change(Change{In: "the site", Remove: "…:" + port + " {", Add: "…:<a free port> {"})
			} else {
				report.Change(Change{In: "the global options", Remove: l.Option, Add: "admin " + net.JoinHostPort(cmp.Or(name, "localhost"), "<a free port>")})
			}
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			add(Fail, fmt.Sprintf("%s, for %s, is not an address of this machine", at, l.Use),
				"correct the address in bind or of the site")
		case errors.Is(err, fs.ErrPermission):
			add(Fail, fmt.Sprintf("%s, for %s, may not be opened by this user", at, l.Use),
				"use a port from 1024 on, or allow Caddy the lower ones: setcap cap_net_bind_service=+ep "+
					"$(command -v caddy)")
		default:
			add(Fail, fmt.Sprintf("%s, for %s, cannot be opened", at, l.Use), "correct the address in bind or of the site")
		}
	}
}
