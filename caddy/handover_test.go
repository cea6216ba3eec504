package caddy_test

import (
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() { caddy.RegisterModule(handover{}) }

// handover is an app that knows when the servers of its configuration close their listeners. Caddy
// closes them in other goroutines; until then they accept connections beside the next
// configuration's servers.
type handover struct{}

// closing has a channel for each running server, which is closed once the server accepts no more
// connections.
var closing struct {
	sync.Mutex
	servers []chan struct{}
}

func (handover) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject_test_handover", New: func() caddy.Module { return new(handover) }}
}

func (handover) Provision(ctx caddy.Context) error {
	module, err := ctx.App("http")
	if err != nil {
		return err
	}
	var servers []chan struct{}
	for _, server := range module.(*caddyhttp.App).Servers {
		closed := make(chan struct{})
		server.RegisterOnShutdown(sync.OnceFunc(func() { close(closed) }))
		servers = append(servers, closed)
	}
	closing.Lock()
	defer closing.Unlock()
	closing.servers = servers
	return nil
}

func (handover) Start() error { return nil }
func (handover) Stop() error  { return nil }

// takeOver calls load. If that succeeds, takeOver waits until the servers of the previous
// configuration accept no more connections.
func takeOver(t testing.TB, load func() error) error {
	t.Helper()
	running := func() []chan struct{} {
		closing.Lock()
		defer closing.Unlock()
		return closing.servers
	}
	before := running()
	if err := load(); err != nil {
		closing.Lock()
		defer closing.Unlock()
		closing.servers = before // they go on
		return err
	}
	late := time.After(2 * time.Minute)
	for _, closed := range before {
		select {
		case <-closed:
		case <-late:
			t.Fatal("a server of the previous configuration still accepts connections")
		}
	}
	client.CloseIdleConnections() // those that were taken before
	return nil
}

// Interface guards
var (
	_ caddy.App         = (*handover)(nil)
	_ caddy.Provisioner = (*handover)(nil)
)
