package authinject

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/authinject/caddy-authinject/tokensource"
)

// Target is the address to which a request is sent. It may differ from the Host field and from the
// client's URL.
type Target struct {
	// Network is "tcp", "tcp4", "tcp6" or "unix". Empty means "tcp".
	Network string
	// Scheme is "https" or "http". It is not used for a unix socket.
	Scheme string
	// Host is a name or an IP address, with or without brackets, or the path of a unix socket.
	Host string
	// Port is a number; empty means the scheme's default port.
	Port string
}

// String returns the target in the form of a destination.
func (t Target) String() string {
	if t.Network == "unix" {
		return "unix/" + t.Host
	}
	host := strings.Trim(t.Host, "[]")
	if t.Port != "" {
		host = net.JoinHostPort(host, t.Port)
	} else if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return t.Scheme + "://" + host
}

// normalTarget is a Target in the form that is used to compare targets.
type normalTarget struct {
	scheme, host string
	port         uint16
	socket       string
}

func (t *Target) normalize() (normalTarget, error) {
	var to normalTarget
	switch t.Network {
	case "unix":
		if t.Host == "" {
			return to, errHostEmpty
		}
		to.socket = cleanSocket(t.Host)
		return to, checkSocket(t.Host)
	case "", "tcp", "tcp4", "tcp6":
	default:
		return to, fmt.Errorf("a destination cannot name its network %q", clip(t.Network))
	}
	if to.scheme = strings.ToLower(t.Scheme); to.scheme != "http" && to.scheme != "https" {
		return to, fmt.Errorf("its scheme %q is neither https nor http", clip(t.Scheme))
	}
	var err error
	if to.host, err = normalizeHost(t.Host); err != nil {
		return to, err
	}
	to.port, err = normalizePort(t.Port, to.scheme)
	return to, err
}

// DestinationError says why a token may not be sent to a target.
type DestinationError struct {
	// Target is the target of the request.
	Target Target
	// Reason is what is wrong with the target.
	Reason string
	// Insecure is true if plain http is the reason.
	Insecure bool
	// Allowed lists the configured destinations if the target is not among them. Otherwise it is
	// empty. Destinations are not secret.
	Allowed string
	// Preset is the name of the provider preset that has these destinations, or empty.
	Preset string
}

// Problem names the row of [tokensource.Remedies] that explains the error.
func (e *DestinationError) Problem() string {
	if e.Insecure {
		return "destination_insecure"
	}
	return "destination"
}

// Remedy is what an operator can do: [tokensource.Remedy].Do of the same row.
func (e *DestinationError) Remedy() string { return tokensource.RemedyFor(e.Problem()) }

// Error implements error. The text names the target, the option destinations and what it allows.
func (e *DestinationError) Error() string {
	target := e.Target
	target.Host, target.Port, target.Scheme = clip(target.Host), clip(target.Port), clip(target.Scheme)
	text := fmt.Sprintf("no token is sent to %s: %s; ", target, e.Reason)
	if e.Insecure {
		return text + fmt.Sprintf("use https, or allow it by writing %s in the option destinations", target)
	}
	text += "the option destinations lists what is allowed"
	if e.Allowed != "" {
		text += ": " + clip(e.Allowed)
	}
	if e.Preset != "" {
		text += fmt.Sprintf(" (set by provider %s, unless you write the option yourself)", clip(e.Preset))
	}
	return text
}

// Why a request gets no token, whatever its target is.
var (
	errOpaque   = errors.New("no token is sent for an opaque URL, which names no host")
	errRedirect = errors.New("no token is sent after a redirect, because the redirect chose the host; " +
		"the option destinations lists what is allowed")
)

// requestTarget returns the address to which an [http.Transport] without a proxy sends req.
func requestTarget(req *http.Request) Target {
	if req.URL == nil {
		return Target{}
	}
	return Target{Scheme: req.URL.Scheme, Host: req.URL.Hostname(), Port: req.URL.Port()}
}

// clip shortens a text that a client may have chosen, for use in an error.
func clip(s string) string {
	const most = 255
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
