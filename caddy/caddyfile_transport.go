package caddy

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/authinject/caddy-authinject/authinject"
)

// UnmarshalCaddyfile sets up the transport from Caddyfile tokens. Syntax:
//
//	transport authinject <source> {
//	    account        <placeholder>
//	    allow_origins  <origin...>|*
//	    allow_hosts    <host...>|*
//	    retry_statuses <status...>|none
//	    retry_body     <size>|off
//	    wait           <duration>
//	    inject_health_checks
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
	for d.NextBlock(0) {
		if d.Val() == "transport" {
			if err := t.unmarshalInner(d); err != nil {
				return err
			}
			continue
		}
		known, err := t.unmarshalOption(d)
		if err != nil {
			return err
		}
		if !known {
			return d.Errf("unknown option %q of transport authinject; allowed are %s, transport", d.Val(), strings.Join(directiveOptions, ", "))
		}
	}
	return nil
}

// unmarshalOption reads an option that the transport and the directive share. It
// reports whether it was one.
func (t *Transport) unmarshalOption(d *caddyfile.Dispenser) (known bool, err error) {
	switch option := d.Val(); option {
	case "account":
		if t.Account != "" {
			return true, d.Err("account is given twice")
		}
		t.Account, err = caddyfileText(d, option)
		return true, err
	case "allow_origins":
		return true, allowed(d, &t.AllowOrigins, authinject.ParseOrigins)
	case "allow_hosts":
		return true, allowed(d, &t.AllowHosts, authinject.ParseHosts)
	case "retry_statuses":
		if t.RetryStatuses != nil {
			return true, d.Err("retry_statuses is given twice")
		}
		return true, t.unmarshalRetryStatuses(d)
	case "retry_body":
		if t.RetryBody != 0 {
			return true, d.Err("retry_body is given twice")
		}
		arg, err := oneArg(d)
		if err != nil {
			return true, err
		}
		if arg == "off" {
			t.RetryBody = -1
			return true, nil
		}
		size, err := humanize.ParseBytes(arg)
		if err != nil || size == 0 || size > 1<<30 {
			return true, d.Errf("retry_body %q is no size; allowed are sizes up to 1GiB such as 64KiB, and off", arg)
		}
		t.RetryBody = int64(size) // at most 1 GiB
		return true, nil
	case "inject_health_checks":
		if t.InjectHealthChecks {
			return true, d.Err("inject_health_checks is given twice")
		}
		return true, noValue(d, &t.InjectHealthChecks)
	case "wait":
		if t.Wait != 0 {
			return true, d.Err("wait is given twice")
		}
		return true, duration(d, &t.Wait)
	}
	return false, nil
}

// allowed reads a list that may be repeated, or a star alone.
func allowed(d *caddyfile.Dispenser, into *[]string, parse func(...string) ([]string, error)) error {
	option := d.Val()
	if err := list(d, into); err != nil {
		return err
	}
	if slices.Equal(*into, []string{"*"}) {
		return nil
	}
	for _, item := range *into {
		if item == "*" {
			return d.Errf("%s * means all; remove the others", option)
		}
		if hasPlaceholder(item) {
			continue
		}
		if _, err := parse(item); err != nil {
			return d.Errf("%s: %v", option, err)
		}
	}
	return nil
}

func (t *Transport) unmarshalRetryStatuses(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.Err("retry_statuses needs at least one status such as 401, or none")
	}
	statuses := []int{}
	if len(args) == 1 && args[0] == "none" {
		t.RetryStatuses = &statuses
		return nil
	}
	for _, arg := range args {
		status, err := strconv.Atoi(arg)
		if err != nil || status < 400 || status > 499 {
			return d.Errf("retry_statuses: %q is no status for a refused token; allowed are 400 to 499, or none", arg)
		}
		statuses = append(statuses, status)
	}
	t.RetryStatuses = &statuses
	return nil
}

func (t *Transport) unmarshalInner(d *caddyfile.Dispenser) error {
	if t.inner != nil {
		return d.Err("transport is given twice")
	}
	if !d.NextArg() {
		return d.ArgErr()
	}
	name := d.Val()
	if name == "authinject" {
		return d.Err("a transport authinject cannot stand inside another: a request carries one token")
	}
	mod, err := caddyfile.UnmarshalModule(d, "http.reverse_proxy.transport."+name)
	if err != nil {
		return err
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
