package caddy

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/caddy/doctor"
)

// listeners returns the addresses that the configuration opens.
func (s *surveyed) listeners() (list []doctor.Listener) {
	add := func(listen, use, option string) {
		resolved, err := resolve(listen)
		if err != nil {
			return // Caddy reports the error
		}
		address, err := caddy.ParseNetworkAddress(resolved)
		if err != nil || address.IsUnixNetwork() || address.IsFdNetwork() ||
			!strings.HasPrefix(cmp.Or(address.Network, "tcp"), "tcp") {
			return
		}
		const most = 10 // of a range of ports
		for i := range min(address.PortRangeSize(), most) {
			list = append(list, doctor.Listener{Network: cmp.Or(address.Network, "tcp"),
				Address: address.JoinHostPort(i), Use: use, Option: option})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Apps.HTTP.Servers)) {
		for _, listen := range s.Apps.HTTP.Servers[name].Listen {
			add(listen, "server "+name, "")
		}
	}
	switch {
	case s.Admin.Disabled:
	case s.Admin.Listen == "":
		add(caddy.DefaultAdminListen, doctor.AdminUse, "")
	default:
		add(s.Admin.Listen, doctor.AdminUse, "admin "+s.Admin.Listen)
	}
	return list
}

// askRunning is how long the running server has to answer.
const askRunning = 3 * time.Second

// runningAt returns what is known of the running server. It asks the admin API when it is first
// needed. If the configuration turns the admin API off, the server's addresses are not known.
func (c *commandConfig) runningAt(ctx context.Context, config *surveyed) doctor.Server {
	server := doctor.Server{Config: c.file}
	server.Admin, _ = c.adminAddress() // empty if it is not known
	ask := sync.OnceValues(func() (*surveyed, error) { return c.askConfig(ctx) })
	server.Listens = func(l doctor.Listener) (listens, known bool) {
		if config.Admin.Disabled {
			return false, false
		}
		running, err := ask()
		// Something at the address of the admin API that does not answer as one is another program.
		refuses := errors.As(err, new(caddy.APIError))
		listens = running != nil &&
			slices.ContainsFunc(running.listeners(), func(at doctor.Listener) bool { return at.Address == l.Address })
		return listens, err == nil || l.Admin() && !refuses
	}
	server.Foreign = func() bool {
		running, _ := ask()
		if running == nil {
			return false
		}
		for name := range config.Apps.App.Sources {
			if _, has := running.Apps.App.Sources[name]; has {
				return false
			}
		}
		return len(config.Apps.App.Sources) > 0
	}
	return server
}

// askConfig asks the admin API for the configuration of the running server. It is nil if no server
// runs. An error says that it is not known: something is at the address of the admin API, and does not
// answer with a configuration.
func (c *commandConfig) askConfig(ctx context.Context) (*surveyed, error) {
	at, err := c.adminAddress()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askRunning)
	defer cancel()
	running := new(surveyed)
	if err := getAdmin(ctx, at, "/config/", running); err != nil {
		if strings.HasSuffix(err.Error(), syscall.ECONNREFUSED.Error()) { // Caddy wraps no error
			return nil, nil //nolint:nilnil // no server, and no error
		}
		return nil, err
	}
	return running, nil
}
