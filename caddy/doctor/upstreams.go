package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/internal/host"
)

// Upstream is an upstream of a route.
type Upstream struct {
	Address string // as the configuration has it
	Target  authinject.Target
	// Unset is an environment variable in Address that is not set. Then the other fields are empty.
	Unset string
	// Meant is a destination that is written almost like Address, if there is one.
	Meant string
	// TLS and Proxy are the settings of the transport to the upstream. If TLS is nil, they are not
	// known, and the way to the upstream is not checked.
	TLS   *tls.Config
	Proxy func(*http.Request) (*url.URL, error)
}

// upstream checks that an upstream can be reached: its name, its port and its certificate. No
// request is sent over the connection. That the upstream is down is only a warning, because it may
// start later than the proxy. A wrong name or certificate is a failure: every request would fail.
func (x *exam) upstream(ctx context.Context, u Upstream) {
	if u.TLS == nil {
		return
	}
	way := *x
	way.TLS, way.Proxy, way.mayStart = u.TLS, u.Proxy, true
	way.trust = "Write the line tls_trust_pool file /path/to/ca.pem into a block transport http inside the directive " +
		"authinject. In reverse_proxy, that block belongs inside transport authinject, not beside it"
	if way.Proxy == nil {
		way.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	}
	if u.Target.Network == "unix" {
		conn, err := (&net.Dialer{Timeout: connectTimeout}).DialContext(ctx, "unix", u.Target.Host)
		if err != nil {
			way.down("tcp", fmt.Sprintf("the upstream %s accepts no connections", u.Address),
				"check the path of the socket, that this user may write to it, and whether the server of the upstream runs")
			return
		}
		_ = conn.Close() // nothing was sent
		return
	}
	way.endpoint(ctx, "upstream", "the upstream's address", u.Address)
}

// upstreams checks that the upstreams of the routes may get the token.
func (x *exam) upstreams(ctx context.Context) {
	told := make(map[string]bool) // several routes to one upstream may connect in different ways
	for _, u := range x.Upstreams {
		first := !told[u.Address]
		told[u.Address] = true
		if u.Unset != "" {
			if first {
				x.fail("destinations", fmt.Sprintf("the upstream %s has no address, because the environment variable %s is not set",
					u.Address, u.Unset),
					fmt.Sprintf("set the environment variable %s where Caddy is started, and in this shell", u.Unset))
			}
			continue
		}
		err := x.Destinations.Check(u.Target)
		refused, isRefusal := errors.AsType[*authinject.DestinationError](err)
		switch {
		case err == nil:
			text := fmt.Sprintf("the upstream %s may get the token", u.Address)
			if x.Probe == "" {
				text += "; --probe <url> requests a URL of it"
			}
			if first {
				x.ok("destinations", text)
			}
			x.upstream(ctx, u)
		case !first: // it was reported
		case isRefusal && refused.Insecure:
			secure := u.Target
			secure.Scheme = "https"
			if secure.Port == "80" {
				secure.Port = "443"
			}
			x.fail("destinations", fmt.Sprintf("requests to the upstream %s are refused: it is plain http, "+
				"where others on the way can read the token", u.Address),
				"use https:// for the upstream. Only if the network is trusted, add "+origin(u.Target)+" to destinations")
			x.changeUpstream(u, origin(secure))
		default:
			x.notAllowed(u)
		}
	}
}

// notAllowed reports an upstream that is not among the destinations. It proposes to change the
// upstream if the list is that of a preset, or has a similar name. Otherwise the upstream or the list
// can be wrong.
func (x *exam) notAllowed(u Upstream) {
	text := fmt.Sprintf("requests to the upstream %s are refused: it is not among the destinations of the source (%s)",
		u.Address, x.Destinations)
	remedy := fmt.Sprintf("correct the upstream; only if %s is to get the token, write the line destinations %s into the source",
		u.Address, strings.Join(slices.Concat(x.Configured, []string{origin(u.Target)}), " "))
	if x.Preset != "" {
		text += ", which provider " + x.Preset + " sets"
		remedy += ", which replaces those of the provider"
	}
	x.fail("destinations", text, remedy)
	meant := u.Meant
	if only := x.Destinations.String(); meant == "" && x.Preset != "" && !strings.ContainsAny(only, " *") {
		meant = only
	}
	if meant != "" {
		x.changeUpstream(u, meant)
	}
}

// changeUpstream proposes another upstream in the directives of the source.
func (x *exam) changeUpstream(u Upstream, to string) {
	directive := "authinject… " + x.Config.Name + " " // … is a matcher, or empty
	x.report.Change(Change{In: "the site", Remove: directive + u.Address, Add: directive + to})
}

func origin(t authinject.Target) string { return host.WithoutDefaultPort(t.String()) }
