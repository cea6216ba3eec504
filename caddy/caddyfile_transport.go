package caddy

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
)

// UnmarshalCaddyfile sets up the transport from Caddyfile tokens. Syntax:
//
//	transport authinject <source> {
//	    # the options of the directive authinject
//
//	    transport <name> {
//	        ...
//	    }
//	}
func (t *Transport) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the transport's name
	if !d.NextArg() {
		return d.Err("the name of a token source is missing: transport authinject <source>")
	}
	t.Source = d.Val()
	if d.NextArg() {
		return d.Errf("unexpected %q: transport authinject takes one token source", d.Val())
	}
	inner := option{name: "transport", field: "TransportRaw", parse: into(t.unmarshalInner)}
	for all := append(slices.Clone(directiveOptions), inner); d.NextBlock(0); {
		if err := all.read(t, d, "transport authinject: "); err != nil {
			return err
		}
	}
	return nil
}

// retryStatuses reads "retry_statuses <status...>|none".
func retryStatuses(d *caddyfile.Dispenser, into **[]int) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.Err("retry_statuses needs at least one status such as 401, or none")
	}
	statuses := []int{}
	*into = &statuses
	if len(args) == 1 && args[0] == "none" {
		return nil
	}
	for _, arg := range args {
		status, err := strconv.Atoi(arg)
		if err != nil || status < 400 || status > 499 {
			return d.Errf("retry_statuses: %q is not a status of a rejected token; allowed are 400 to 499, or none", arg)
		}
		statuses = append(statuses, status)
	}
	return nil
}

// retryBody reads "retry_body <size>|off".
func retryBody(d *caddyfile.Dispenser, into *int64) error {
	text, err := oneArg(d)
	if err != nil {
		return err
	}
	if text == "off" {
		*into = -1
		return nil
	}
	size, err := humanize.ParseBytes(text)
	if err != nil || size == 0 || size > 1<<30 {
		return d.Errf("retry_body %q is not a size; allowed are sizes up to 1GiB such as 64KiB, and off", text)
	}
	*into = int64(size) // at most 1 GiB
	return nil
}

// unmarshalInner reads the transport that sends the requests, and sets TransportRaw.
func (t *Transport) unmarshalInner(d *caddyfile.Dispenser, _ *json.RawMessage) error {
	if !d.NextArg() {
		return d.Err("transport needs the name of a transport: transport http { ... }")
	}
	name := d.Val()
	if name == "authinject" {
		return d.Err("a transport authinject cannot be inside another: a request carries one token")
	}
	mod, err := caddyfile.UnmarshalModule(d, "http.reverse_proxy.transport."+name)
	if err != nil {
		return suggestSubdirective(err, nil)
	}
	inner, ok := mod.(http.RoundTripper)
	if !ok {
		return d.Errf("module http.reverse_proxy.transport.%s (%T) is not a RoundTripper", name, mod)
	}
	t.inner, t.innerName = inner, name
	t.encodeInner()
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Transport)(nil)
