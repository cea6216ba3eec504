package caddy_test

import (
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() { caddy.RegisterModule(handover{}) }

// handover is an app that tells when the servers of its configuration close their listeners: Caddy begins that in
// goroutines of their own, and until then they take connections beside those of the next configuration.
type handover struct{}

// closing are the servers that run: each channel is closed once its server takes no more connections.
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

// takeOver calls load, and if that puts a configuration in force waits until the servers of the one before take
// no more connections.
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
			t.Fatal("a server of the configuration before goes on")
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
