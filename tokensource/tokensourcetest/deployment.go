package tokensourcetest

import (
	"net"
	"net/http"
	"slices"
	"strings"
)

// A deployment is one customer of a provider that gives each customer a separate host. A request's
// deployment is found by the Host field if that is a name below another one (acme.api.localhost).
// Otherwise it is found by the port, because each deployment listens on its own port.

// locate notes the address of each deployment.
func (e *emulation) locate(listeners []*switchable) {
	e.byAddr = make(map[string]string)
	for i, name := range e.deployments {
		e.byAddr[listeners[i].Addr().String()] = name
	}
}

// deployment returns the deployment to which a request was sent, which may be unknown. It returns
// an empty string if the provider has no deployments.
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

// firstDeployment returns the deployment of tokens that are issued without a request.
func (e *emulation) firstDeployment() string {
	if len(e.deployments) == 0 {
		return ""
	}
	return e.deployments[0]
}

// DeploymentURL returns the address of a deployment's own port: scheme, host and port. It returns
// an empty string if the deployment does not exist. Every deployment is also found by its name at
// any port: https://acme.api.localhost:41234. That is for clients that resolve such names to
// loopback.
func (p *Provider) DeploymentURL(name string) string {
	i := slices.Index(p.emulation.deployments, name)
	if i < 0 {
		return ""
	}
	scheme, _, _ := strings.Cut(p.URL, "://")
	return scheme + "://" + p.listeners()[i].Addr().String()
}

// DeploymentHosts returns an address for all deployments that contains {deployment} and uses their
// names: http://{deployment}.api.localhost:41234. With TLS, the server's certificate includes these
// names.
func (p *Provider) DeploymentHosts() string {
	scheme, addr, _ := strings.Cut(p.URL, "://")
	_, port, _ := net.SplitHostPort(addr)
	return scheme + "://{deployment}" + deploymentDomain + ":" + port
}

// deploymentDomain follows a deployment's name in a host name.
const deploymentDomain = ".api.localhost"
