// Package guest has functions for the grants in the directory grants.
package guest

import (
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/authinject/caddy-authinject/internal/suggest"
)

// UnknownOption returns the error for a word in the block of a grant that is not one of its
// options.
func UnknownOption(d *caddyfile.Dispenser, grant, option string, options []string) error {
	return d.Errf("grant %s: unknown option %s%s", grant, option, suggest.Allowed(option, options))
}

// Client returns a client that follows no redirects, because a redirect could send a credential to
// another host.
func Client(base http.RoundTripper, timeout time.Duration) *http.Client {
	return &http.Client{Transport: base, Timeout: timeout, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// LocalClient is [Client] for a service on this machine's own network. It never uses a proxy, which
// would get the token.
func LocalClient(timeout time.Duration) *http.Client {
	return Client(&http.Transport{DisableKeepAlives: true}, timeout)
}

// Option is an option of a grant: its name and the field that holds its value.
type Option struct {
	Name  string
	Value *string
}

// Resolve replaces the placeholders in the options of a grant. A placeholder without a value is an
// error that names the first such option.
func Resolve(grant string, options ...Option) error {
	for _, option := range options {
		resolved, err := caddy.NewReplacer().ReplaceOrErr(*option.Value, true, true)
		if err != nil {
			return fmt.Errorf("grant %s: %s: %w", grant, option.Name, err)
		}
		*option.Value = resolved
	}
	return nil
}
