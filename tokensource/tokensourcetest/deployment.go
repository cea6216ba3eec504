package tokensourcetest

import (
	"net"
	"net/http"
	"slices"
	"strings"
)

// A deployment is a customer of a provider that gives each one a host of its own.
// Here it is found by the Host field, if that is a name below another one
// (acme.api.localhost), and else by the port: each deployment listens on one.

// locate notes which address belongs to which deployment.
func (e *emulation) locate(listeners []*switchable) {
	e.byAddr = make(map[string]string)
	for i, name := range e.deployments {
		e.byAddr[listeners[i].Addr().String()] = name
	}
}

// deployment is the one that a request addresses, which may be unknown. It is
// empty where there are none.
func (e *emulation) deployment(r *http.Request) string {
	if len(e.deployments) == 0 {
		return ""
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if label, _, below := strings.Cut(host, "."); below && net.ParseIP(host) == nil {
		return label
	}
	addr, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return e.byAddr[addr.String()]
}

// firstDeployment is where tokens are issued that no request asked for.
func (e *emulation) firstDeployment() string {
	if len(e.deployments) == 0 {
		return ""
	}
	return e.deployments[0]
}

// DeploymentURL is the address of a deployment's own port: scheme, host and
// port. It is empty for a deployment that does not exist. Every deployment is
// also found by its name, at any port: https://acme.api.localhost:41234, for
// clients that resolve such names to loopback.
func (p *Provider) DeploymentURL(name string) string {
	i := slices.Index(p.emulation.deployments, name)
	if i < 0 {
		return ""
	}
	scheme, _, _ := strings.Cut(p.URL, "://")
	return scheme + "://" + p.listeners()[i].Addr().String()
}

// DeploymentHosts is an address for all deployments, with {deployment} in it,
// which is found by its name: http://{deployment}.api.localhost:41234. With TLS
// the server's certificate holds these names.
func (p *Provider) DeploymentHosts() string {
	scheme, addr, _ := strings.Cut(p.URL, "://")
	_, port, _ := net.SplitHostPort(addr)
	return scheme + "://{deployment}" + deploymentDomain + ":" + port
}

// deploymentDomain is what stands behind a deployment's name in a host.
const deploymentDomain = ".api.localhost"
