package caddy

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/authinject/caddy-authinject/caddy/doctor"
	"github.com/authinject/caddy-authinject/tokensource"
)

// neighbours knows which other processes listen at the addresses of this one. Caddy opens its
// listeners so that two processes can share an address (SO_REUSEPORT). Neither gets an error, and
// each gets a part of the requests. The addresses belong to the process, so the configurations that
// it loads share one neighbours.
type neighbours struct {
	others func(address string) []string // the processes other than this one

	mu    sync.Mutex
	known map[string]neighbour // by address
}

// neighbour is what was found at an address.
type neighbour struct {
	looked    time.Time
	processes []string
}

var theNeighbours = &neighbours{others: doctor.Others}

const (
	// lookEvery is the shortest time between two looks at an address. If another process has the
	// address, a look reads the files of all processes.
	lookEvery = 10 * time.Second
	// sharedAddress is the problem of an address that another process has, too.
	sharedAddress = "shared_address"
)

// at returns the other processes at an address, and whether that is news since the last look.
func (n *neighbours) at(address string, now time.Time) (processes []string, news bool) {
	n.mu.Lock()
	known, ok := n.known[address]
	n.mu.Unlock()
	if ok && now.Sub(known.looked) < lookEvery {
		return known.processes, false
	}
	found := n.others(address)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil {
		n.known = make(map[string]neighbour)
	}
	news = !slices.Equal(n.known[address].processes, found)
	n.known[address] = neighbour{now, found}
	return found, news
}

// added returns those addresses that the last call did not have, and forgets the addresses that
// this call does not have.
func (n *neighbours) added(addresses []string) (fresh []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, address := range addresses {
		if _, known := n.known[address]; !known {
			fresh = append(fresh, address)
		}
	}
	maps.DeleteFunc(n.known, func(address string, _ neighbour) bool { return !slices.Contains(addresses, address) })
	return fresh
}

// sharedBegin is the beginning of the error about an address that another process has, too.
func sharedBegin(address string) string {
	return "another process listens at the same address " + address
}

// warnOfNeighbours logs which other processes listen at addresses that the configuration before did
// not have.
func (a *App) warnOfNeighbours() {
	a.sharedAddresses(theNeighbours.added(a.listens()))
}

// sharedAddresses returns the problems with addresses that other processes have, too. It logs a
// problem when it begins and when it ends. After the start, the addresses are only looked at when the
// admin API, status or a scrape of the metrics asks for the state.
func (a *App) sharedAddresses(addresses []string) (found []problemStatus) {
	remedy := tokensource.RemedyFor(sharedAddress)
	for _, address := range addresses {
		others, news := theNeighbours.at(address, time.Now())
		at := zap.String("listener", address)
		switch {
		case news && len(others) > 0:
			a.logger.Warn("another process listens at the same address, and gets a part of the requests", at,
				zap.Strings("processes", others), zap.String("problem", sharedAddress), zap.String("remedy", remedy))
		case news:
			a.logger.Info("no other process listens at the address any more", at)
		}
		if len(others) > 0 {
			text := sharedBegin(address) + ", and gets a part of the requests: " + strings.Join(others, ", ")
			found = append(found, problemStatus{sharedAddress, tokensource.ClassOperator, withRemedy(text, remedy), remedy})
		}
	}
	return found
}

// explainTaken logs which process has the address, and what to do, if this configuration ended
// because Caddy could not listen there. Caddy's own error does not say that.
func (a *App) explainTaken() {
	address, ok := takenAddress(context.Cause(a.ctx))
	if !ok {
		return
	}
	a.logger.Error("the configuration was not started, because another process listens at its address",
		zap.String("listener", address), zap.Strings("processes", theNeighbours.others(address)),
		zap.String("remedy", doctor.TakenRemedy))
}

// takenAddress returns the address in Caddy's error about a listener that another process has. Caddy
// does not wrap the error of package net, so only its text has the address.
func takenAddress(err error) (address string, ok bool) {
	if err == nil || !strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) {
		return "", false
	}
	_, rest, ok := strings.Cut(err.Error(), "listening on ")
	address, _, listens := strings.Cut(rest, ": listen ")
	return address, ok && listens
}

// listens returns the addresses of the sites that use a source.
func (a *App) listens() (addresses []string) {
	for _, list := range a.routes.listens {
		addresses = append(addresses, list...)
	}
	slices.Sort(addresses)
	return slices.Compact(addresses)
}

// tcpAddresses returns the TCP addresses in addresses to listen at. Of a range of ports, it returns
// the first.
func tcpAddresses(listens []string) (addresses []string) {
	for _, listen := range listens {
		address, err := caddy.ParseNetworkAddress(listen)
		if err == nil && strings.HasPrefix(address.Network, "tcp") {
			addresses = append(addresses, address.JoinHostPort(0))
		}
	}
	return addresses
}
