package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
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

// Listeners checks that the addresses of a configuration can be opened. running reports whether a
// running Caddy server listens at an address: that server is the one that would load this configuration.
// The second result of running is false if it could not find out.
func Listeners(ctx context.Context, listeners []Listener, running func(Listener) (listens, known bool), report *Report) {
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
					len(holders), strings.Join(holders, ", ")),
					"stop all of them but the server of this configuration, or choose another port")
				continue
			}
			listens, known := running(l)
			if listens {
				add(OK, fmt.Sprintf("%s is in use by the running Caddy server, for %s", at, l.Use), "")
				continue
			}
			holder := strings.Join(append(holders, "another process")[:1], "")
			text := fmt.Sprintf("%s, for %s, is taken by %s", at, l.Use, holder)
			if strings.HasPrefix(holder, "caddy ") && !known {
				add(Warn, text+", which may be the running server of this configuration",
					"if it is not, stop it, or choose another port")
				continue
			}
			add(Fail, text, "stop that process, or choose another port")
			_, port, _ := net.SplitHostPort(l.Address)
			if !strings.HasPrefix(l.Use, "the admin API") {
				report.Change(Change{In: "the site", Remove: "… :" + port + " {", Add: "… :<a free port> {"})
			} else {
				report.Change(Change{In: "the global options", Remove: l.Option, Add: "admin localhost:<a free port>"})
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
